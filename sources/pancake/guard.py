"""The version guard: a row that was read earlier never replaces one that was read later."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dlt
from dlt.common.configuration.container import Container
from dlt.common.pipeline import PipelineContext
from dlt.common.schema.typing import TDeleteInsertStrategyDict

from .schema import Table


def active_pipeline() -> Any | None:
    """Return the pipeline that is running, or None when rows are only looked at."""
    context = Container()[PipelineContext]
    return context.pipeline() if context.is_active() else None


def newest_wins(table: Table) -> TDeleteInsertStrategyDict:
    """Return a write disposition that merges by key and leaves out rows older than what is there.

    It names the tables of the destination, so it can only be made while a pipeline runs; without one it is a
    plain merge.
    """
    disposition: TDeleteInsertStrategyDict = {"disposition": "merge", "strategy": "delete-insert"}
    pipeline = active_pipeline()
    if pipeline is None:
        return disposition
    with pipeline.sql_client() as client:
        loaded = client.make_qualified_table_name(table.name)
        with client.with_staging_dataset():
            staged = client.make_qualified_table_name(table.name)
        quote = client.escape_column_name
        disposition["source_filter"] = _newer_than_loaded(table, loaded, staged, quote)
    return disposition


def _newer_than_loaded(table: Table, loaded: str, staged: str, quote: Any) -> str:
    row = quote("_dlt_id")
    same_key = " AND ".join(f"d.{quote(name)} = s.{quote(name)}" for name in table.key)
    older: list[str] = []
    for place, column in enumerate(table.version):
        same = [f"d.{quote(before)} = s.{quote(before)}" for before in table.version[:place]]
        older.append(" AND ".join([*same, f"d.{quote(column)} > s.{quote(column)}"]))
    condition = (
        f"{row} NOT IN (SELECT s.{row} FROM {staged} AS s JOIN {loaded} AS d ON {same_key}"  # noqa: S608
        f" WHERE {' OR '.join(f'({part})' for part in older)})"
    )
    # dlt formats the condition; braces in names must survive it.
    return condition.replace("{", "{{").replace("}", "}}")


def guarded(table: Table) -> Any:
    """Return an item that creates the resource's own table even without rows, and guards it."""
    return dlt.mark.with_hints(
        dlt.mark.materialize_table_schema(), dlt.mark.make_hints(write_disposition=newest_wins(table))
    )


def guarded_beside(table: Table) -> Iterator[Any]:
    """Yield items that create `table` beside the resource's own, and guard it.

    dlt makes the hints of such a table from the resource's own, so they are emptied first.
    """
    yield dlt.mark.with_hints(
        [],
        dlt.mark.make_hints(table_name=table.name, columns={}, primary_key=list(table.key)),
        create_table_variant=True,
    )
    yield dlt.mark.with_hints(
        dlt.mark.materialize_table_schema(),
        dlt.mark.make_hints(
            table_name=table.name,
            columns=table.hints(),
            primary_key=list(table.key),
            write_disposition=newest_wins(table),
        ),
        create_table_variant=True,
    )
