"""The one room that knows destinations by name: what each needs beside its configuration."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TypedDict
from uuid import uuid4

import dlt
from dlt.common.destination import AnyDestination, Destination, TLoaderFileFormat
from dlt.destinations.adapters import bigquery_adapter
from dlt.destinations.sql_client import SqlClientBase
from dlt.extract import DltSource
from humanize import naturalsize

from pipelines.findings import WAREHOUSE as CHECKED
from pipelines.findings import Finding, Level
from sources.pancake.schema import (
    ASSIGNEE_EVENTS,
    CONVERSATION_ADS,
    CONVERSATION_ASSIGNEES,
    CONVERSATION_TAGS,
    CONVERSATIONS,
    COVERAGE,
    MESSAGES,
    PAGE_CUSTOMERS,
    TAG_EVENTS,
    USER_STATISTICS,
)

WAREHOUSE = "warehouse"
DEFAULT_TYPE = "duckdb"
WHERE_TO_SET = (
    "The warehouse is set as `destination_type` and `credentials` under [destination.warehouse] in"
    " .dlt/config.toml and .dlt/secrets.toml, or as DESTINATION__WAREHOUSE__DESTINATION_TYPE and"
    " DESTINATION__WAREHOUSE__CREDENTIALS in the environment."
)
HOW_TO_REACH = (
    "Check that it runs, that it lets this user create schemas and tables, and that there is space."
    f" {WHERE_TO_SET}"
)
WHAT_TO_CHECK = f"{HOW_TO_REACH} What was read is kept: the next run loads it first."
WHAT_TO_INSTALL = (
    'For PostgreSQL and BigQuery: pip install "dlt-pancake[postgres]" or "dlt-pancake[bigquery]".'
)


class WarehouseError(Exception):
    """The warehouse cannot be reached, or refuses what a load needs."""


class LoadOptions(TypedDict, total=False):
    """Arguments of `pipeline.run` that depend on the type of the destination."""

    loader_file_format: TLoaderFileFormat


_LOAD_OPTIONS: dict[str, LoadOptions] = {
    # dlt's default for DuckDB, SQL text, costs ten times the time and memory.
    "duckdb": {"loader_file_format": "parquet"},
}

_ENVIRONMENT: dict[str, dict[str, str]] = {
    # Its jobs wait for each other: side by side, each on several threads, they take more memory and no less
    # time. With 100 MB a load of 25,000 messages of 20 kB fails, with 200 MB it does not.
    "duckdb": {
        "LOAD__WORKERS": "1",
        "DESTINATION__WAREHOUSE__CREDENTIALS__GLOBAL_CONFIG": json.dumps(
            {"threads": 1, "preserve_insertion_order": False, "memory_limit": "256MB"}
        ),
    },
}
"""What is set for a load unless the configuration sets it. It stands in the environment, since dlt takes
credentials, of which this is a part, from no other place that is not the user's own."""


def warehouse(pipeline_name: str, dataset_name: str) -> AnyDestination:
    """Return the destination named `warehouse`; its type and credentials come from the configuration.

    Every pipeline has a staging dataset of its own: two that load into one dataset would otherwise
    overwrite each other's staged rows.
    """
    configured = dlt.config.get(f"destination.{WAREHOUSE}.destination_type", str)
    return of_type(configured or DEFAULT_TYPE, pipeline_name, dataset_name)


def of_type(kind: str, pipeline_name: str, dataset_name: str, credentials: Any = None) -> AnyDestination:
    """Return the destination named `warehouse` of a given type, with given or configured credentials."""
    staging = "%s_staging" if pipeline_name == dataset_name else f"%s_{pipeline_name}_staging"
    found = Destination.from_reference(
        kind,
        destination_name=WAREHOUSE,
        credentials=credentials,
        staging_dataset_name_layout=staging,
    )
    assert found is not None  # noqa: S101  # it is for an empty reference only
    return found


def load(pipeline: dlt.Pipeline, source: Any) -> None:
    """Run a pipeline the way that suits its destination.

    Args:
        pipeline: Into the warehouse.
        source: A source or resource; clustered and partitioned where the destination does so.
    """
    kind = _kind(pipeline)
    if kind == "bigquery":
        _cluster(source)
    with _environment(_ENVIRONMENT.get(kind, {})):
        if pipeline.has_pending_data:  # `run` would drop it where the dataset does not exist yet
            pipeline.normalize()
            pipeline.load()
        pipeline.run(source, **_LOAD_OPTIONS.get(kind, {}))
    if kind == "postgres":
        _create_indexes(pipeline)


@contextmanager
def _environment(wanted: dict[str, str]) -> Iterator[None]:
    unset = {name: value for name, value in wanted.items() if not _is_set(name)}
    os.environ.update(unset)
    try:
        yield
    finally:
        for name in unset:
            del os.environ[name]


def _is_set(name: str) -> bool:
    return dlt.config.get(name.lower().replace("__", ".")) is not None


def is_in_use(error: BaseException) -> bool:
    """Tell whether another process has the warehouse open: DuckDB lets in one at a time."""
    return "Could not set lock on file" in str(error)


def _kind(pipeline: dlt.Pipeline) -> str:
    assert pipeline.destination is not None  # noqa: S101  # it is made with one
    return pipeline.destination.destination_type.rsplit(".", 1)[-1]


def _cluster(source: Any) -> None:
    """Lay out BigQuery tables so that a page, a conversation and a day are found without a full scan."""
    for resource in source.resources.values() if isinstance(source, DltSource) else [source]:
        if resource.table_name == CONVERSATIONS.name:
            bigquery_adapter(resource, cluster=["page_id", "id"])
        elif resource.table_name == MESSAGES.name:
            bigquery_adapter(resource, cluster=["page_id", "conversation_id"], partition="inserted_at")


_INDEXES = (
    (CONVERSATIONS, "id"),
    (CONVERSATIONS, "page_id", "updated_at"),
    (MESSAGES, "id"),
    (MESSAGES, "conversation_id", "inserted_at"),
    (COVERAGE, "conversation_id"),
    (COVERAGE, "page_id", "status"),
    (PAGE_CUSTOMERS, "page_id", "id"),
    (USER_STATISTICS, "page_id", "user_id", "hour_utc"),
    (CONVERSATION_TAGS, "conversation_id"),
    (CONVERSATION_TAGS, "page_id", "tag_id"),
    (CONVERSATION_ASSIGNEES, "conversation_id"),
    (CONVERSATION_ADS, "conversation_id"),
    (TAG_EVENTS, "id"),
    (ASSIGNEE_EVENTS, "id"),
)
"""For PostgreSQL: the merge keys, and what people look for."""


def _create_indexes(pipeline: dlt.Pipeline) -> None:
    """Create what is missing of the indexes, without locking the tables against readers or writers."""
    loaded = pipeline.default_schema.data_table_names()
    with pipeline.sql_client() as client:
        for table, *columns in _INDEXES:
            if table.name in loaded:
                name = client.escape_column_name("_".join((table.name, *columns, "idx")))
                keys = ", ".join(map(client.escape_column_name, columns))
                client.execute_sql(
                    f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name}"
                    f" ON {client.make_qualified_table_name(table.name)} ({keys})"
                )


_LITTLE_SPACE = 2**30  # bytes, ours: a load of some 100,000 messages and what it needs on the way


def check(pipeline: dlt.Pipeline) -> Iterator[Finding]:
    """Yield whether a load can be written to the warehouse, and leave nothing behind there.

    Args:
        pipeline: Into the warehouse.

    Raises:
        Exception: What dlt raises when the warehouse cannot be reached or refuses.
    """
    client = pipeline.sql_client()
    file = _file(pipeline)
    if file is None or file.exists():
        with client:
            yield Finding(CHECKED, "reach", Level.OK, f"{_kind(pipeline)} answers")
            yield Finding(CHECKED, "create", Level.OK, _try_creating(client))
    else:
        with TemporaryFile(dir=file.parent):
            found = f"{file} is not there yet; its folder can be written to, and the first load creates it"
        yield Finding(CHECKED, "create", Level.OK, found)
    if file is not None:
        yield _space(file)


def is_there(pipeline: dlt.Pipeline) -> bool:
    """Tell whether the warehouse can be looked into without creating it: a DuckDB file may not exist yet."""
    file = _file(pipeline)
    return file is None or file.exists()


def _file(pipeline: dlt.Pipeline) -> Path | None:
    return Path(pipeline.sql_client().credentials.database) if _kind(pipeline) == "duckdb" else None


def _try_creating(client: SqlClientBase[Any]) -> str:
    """Create what a load creates, undo it, and return how that went."""
    scratch = f"pancake_check_{uuid4().hex[:8]}"
    if client.capabilities.supports_ddl_transactions:
        with suppress(_TriedError), client.begin_transaction():
            for in_staging in (False, True):
                _create(client, scratch, in_staging=in_staging)
            raise _TriedError
        return "schemas and tables can be created (tried in a transaction that was rolled back)"
    for in_staging in (False, True):
        _create_and_drop(client, scratch, in_staging=in_staging)
    return "datasets and tables can be created (tried with empty ones, which were dropped again)"


class _TriedError(Exception):
    """Rolls a transaction back."""


def _create(client: SqlClientBase[Any], table: str, *, in_staging: bool) -> None:
    name = client.staging_dataset_name if in_staging else client.dataset_name
    with client.with_alternative_dataset_name(name):
        if not client.has_dataset():
            client.create_dataset()
        _create_table(client, table)


def _create_and_drop(client: SqlClientBase[Any], scratch: str, *, in_staging: bool) -> None:
    name = client.staging_dataset_name if in_staging else client.dataset_name
    with client.with_alternative_dataset_name(name):
        if client.has_dataset():
            _create_table(client, scratch)
            client.drop_tables(scratch)
            return
    with client.with_alternative_dataset_name(f"{name}_{scratch}"):
        client.create_dataset()
        try:
            _create_table(client, scratch)
        finally:
            client.drop_dataset()


def _create_table(client: SqlClientBase[Any], table: str) -> None:
    client.execute_sql(f"CREATE TABLE {client.make_qualified_table_name(table)} (n INTEGER)")


def _space(file: Path) -> Finding:
    free = shutil.disk_usage(file.parent).free
    found = f"{naturalsize(free, binary=True)} free on the disk of {os.fspath(file)}"
    if free >= _LITTLE_SPACE:
        return Finding(CHECKED, "space", Level.OK, found)
    return Finding(CHECKED, "space", Level.WARNING, found, "Make room before a first load or a backfill.")
