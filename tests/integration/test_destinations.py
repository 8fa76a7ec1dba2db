"""The same load into DuckDB, PostgreSQL and BigQuery: the same rows, types and promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dlt
import pytest
import sqlglot
from dlt.destinations.impl.bigquery.bigquery import BigQueryMergeJob
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.destinations.sql_jobs import SqlMergeFollowupJob
from dlt.pipeline.exceptions import PipelineStepFailed
from sqlglot import exp

from pipelines import destinations, loading
from sources.pancake import pancake_backfill, pancake_source
from sources.pancake.guard import guarded
from sources.pancake.schema import CONVERSATIONS, COVERAGE, MESSAGES, TABLES
from tests.conftest import MakeClient
from tests.fake_pancake import FakePage, FakePancake, FakeTime
from tests.support import assert_complete, assert_equal, custom_metrics, table
from tests.warehouses import Warehouse

Sync = Callable[..., dlt.Pipeline]


@pytest.fixture
def sync(make_client: MakeClient, warehouse: Warehouse, tmp_path: Path) -> Sync:
    """Run one sync as the command line does, and return its pipeline."""

    def run(name: str = "pancake", folder: str = "here", **arguments: Any) -> dlt.Pipeline:
        pipeline = warehouse.pipeline(tmp_path / folder, name)
        destinations.load(pipeline, pancake_source("any", "any", client=make_client(), **arguments))
        return pipeline

    return run


def test_a_first_load_and_a_delta_hold_what_the_page_holds(
    sync: Sync, page: FakePage, pancake: FakePancake, time: FakeTime
) -> None:
    page.populate(days=10, conversations=40)
    assert_equal(sync(), page)
    time.advance(600)
    page.add_message(next(iter(page.conversations)), text="còn hàng không shop 😍🙏🏼 “ạ”")
    page.add_conversation(messages=33)
    pancake.clear_calls()
    pipeline = sync()
    assert_complete(pipeline, page)
    texts = {row["original_message"] for row in table(pipeline, "messages").values()}
    assert "còn hàng không shop 😍🙏🏼 “ạ”" in texts
    assert pancake.count("conversations") == 3


TYPES = {
    "duckdb": {
        "text": "VARCHAR",
        "bool": "BOOLEAN",
        "bigint": "BIGINT",
        "timestamp": "TIMESTAMP WITH TIME ZONE",
        "json": "JSON",
    },
    "postgres": {
        "text": "character varying",
        "bool": "boolean",
        "bigint": "bigint",
        "timestamp": "timestamp with time zone",
        "json": "jsonb",
    },
    "bigquery": {
        "text": "STRING",
        "bool": "BOOL",
        "bigint": "INT64",
        "timestamp": "TIMESTAMP",
        "json": "JSON",
    },
}


def ddl(pipeline: dlt.Pipeline, name: str) -> exp.Create:
    """Return the statement by which dlt creates a table, parsed."""
    columns = list(pipeline.default_schema.get_table_columns(name).values())
    with pipeline.destination_client() as client:
        assert isinstance(client, SqlJobClientBase)
        (statement, *_) = client._get_table_update_sql(name, columns, generate_alter=False)
    parsed = sqlglot.parse_one(statement, dialect="bigquery")
    assert isinstance(parsed, exp.Create)
    return parsed


def columns_of(pipeline: dlt.Pipeline, name: str, kind: str) -> dict[str, str]:
    """Return the columns of a table and their types, in the warehouse's own words."""
    if kind == "bigquery":  # the emulator keeps JSON apart from text but calls both STRING
        found = ddl(pipeline, name).find_all(exp.ColumnDef)
        return {column.name: column.kind.sql("bigquery") for column in found if column.kind}
    with pipeline.sql_client() as client:
        rows = client.execute_sql(
            "SELECT column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = %s AND table_name = %s",
            client.dataset_name,
            name,
        )
    return {row[0]: row[1] for row in rows or ()}


def test_an_empty_page_makes_every_table_with_the_declared_types(sync: Sync, warehouse: Warehouse) -> None:
    pipeline = sync(tables=[declared.name for declared in TABLES if declared is not COVERAGE])
    for expected in TABLES:
        found = columns_of(pipeline, expected.name, warehouse.kind)
        declared = {column.name: TYPES[warehouse.kind][column.data_type] for column in expected.columns}
        assert {name: kind for name, kind in found.items() if not name.startswith("_dlt")} == declared
        if expected in (CONVERSATIONS, MESSAGES, COVERAGE):
            assert table(pipeline, expected.name, *expected.key) == {}


def test_an_older_copy_that_arrives_later_never_wins(
    sync: Sync, warehouse: Warehouse, page: FakePage, time: FakeTime, tmp_path: Path, make_client: MakeClient
) -> None:
    key = page.add_conversation(text="first", messages=2).id
    late = warehouse.pipeline(tmp_path / "late", "late")
    late.extract(pancake_backfill("any", "any", client=make_client(), since="2026-03-01"))
    time.advance(600)
    newer = page.add_message(key, text="second")
    page.edit_message(key, page.conversations[key].messages[0].id, "edited")
    pipeline = sync()
    late.normalize()
    late.load()
    assert table(pipeline, "conversations")[key]["updated_at"] == newer.inserted_at
    texts = {row["original_message"] for row in table(pipeline, "messages").values()}
    assert texts == {"edited", "first", "second"}
    coverage = table(pipeline, "conversation_coverage", "conversation_id")[key]
    assert coverage["newest_message_at"] == newer.inserted_at


def test_the_same_row_twice_in_one_load_is_one_row_the_one_read_last(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    stamp = datetime(2026, 3, 1, tzinfo=timezone.utc)
    empty = dict.fromkeys(column.name for column in CONVERSATIONS.columns)

    @dlt.resource(
        name="conversations", primary_key="id", write_disposition="merge", columns=CONVERSATIONS.hints()
    )
    def twice() -> Any:
        yield guarded(CONVERSATIONS)
        for seconds, snippet in ((5, "newer"), (1, "older")):
            synced_at = stamp + timedelta(seconds=seconds)
            yield [{**empty, "id": "c", "updated_at": stamp, "snippet": snippet, "synced_at": synced_at}]

    pipeline = warehouse.pipeline(tmp_path)
    destinations.load(pipeline, twice())
    assert table(pipeline, "conversations")["c"]["snippet"] == "newer"


def test_fields_nobody_declared_and_values_of_other_types_are_kept_in_extra(
    sync: Sync, page: FakePage, time: FakeTime
) -> None:
    page.add_conversation()
    columns = set(table(sync(), "conversations")[next(iter(page.conversations))])
    time.advance(600)
    drift = {"seen": "yes", "message_count": {"of": 3}, "+84900000001": 1, "mood": {"score": 0.5}}
    drifted = page.add_conversation()
    drifted.drift = drift
    row = table(sync(), "conversations")[drifted.id]
    assert set(row) == columns
    assert (row["seen"], row["message_count"]) == (None, None)
    assert row["extra"] == drift


def test_a_load_killed_after_the_rows_and_before_the_state_repeats_and_is_whole(
    sync: Sync, page: FakePage, time: FakeTime, monkeypatch: pytest.MonkeyPatch, warehouse: Warehouse
) -> None:
    page.populate(days=5, conversations=20)
    with monkeypatch.context() as broken:
        broken.setattr("dlt.load.load.Load.complete_package", _killed)
        with pytest.raises((PipelineStepFailed, ConnectionAbortedError)):
            sync()
    elsewhere = sync(folder="another machine")
    assert_equal(elsewhere, page)


def _killed(*_: Any) -> None:
    raise ConnectionAbortedError


def test_a_fresh_machine_goes_on_from_the_warehouse(
    sync: Sync, page: FakePage, pancake: FakePancake, time: FakeTime
) -> None:
    page.populate(days=10, conversations=40)
    sync(folder="one machine")
    time.advance(600)
    page.add_conversation(messages=2)
    pancake.clear_calls()
    pipeline = sync(folder="another machine")
    assert_complete(pipeline, page)
    assert custom_metrics(pipeline, "conversations")["conversations_listed"] < 5
    assert pancake.count() < 10


@pytest.mark.parametrize("warehouse", ["bigquery"], indirect=True)
def test_bigquery_tables_are_partitioned_and_clustered(sync: Sync) -> None:
    pipeline = sync()
    conversations, messages = (ddl(pipeline, name).sql("bigquery") for name in ("conversations", "messages"))
    assert "CLUSTER BY `page_id`, `id`" in conversations
    assert "PARTITION BY DATE(`inserted_at`)" in messages
    assert "CLUSTER BY `page_id`, `conversation_id`" in messages


@pytest.mark.parametrize("warehouse", ["postgres"], indirect=True)
def test_postgres_tables_are_indexed_by_key_and_by_what_people_look_for(sync: Sync) -> None:
    pipeline = sync()
    sync()
    with pipeline.sql_client() as client:
        rows = client.execute_sql(
            "SELECT indexname FROM pg_indexes WHERE schemaname = %s", client.dataset_name
        )
    assert {
        "conversations_page_id_updated_at_idx",
        "messages_conversation_id_inserted_at_idx",
        "conversations_id_idx",
        "messages_id_idx",
        "conversation_coverage_conversation_id_idx",
        "conversation_tags_conversation_id_idx",
        "tag_events_id_idx",
    } <= {row[0] for row in rows or ()}


TAG_QUERIES = {
    "duckdb": "SELECT id FROM {table} WHERE list_contains(tags ->> '$[*].text', 'Khách quen')",
    "postgres": """SELECT id FROM {table} WHERE tags @> '[{{"text": "Khách quen"}}]'""",
    "bigquery": "SELECT id FROM {table} WHERE EXISTS (SELECT 1 FROM UNNEST(JSON_QUERY_ARRAY(tags)) AS tag"
    " WHERE JSON_VALUE(tag, '$.text') = 'Khách quen')",
}


def test_a_query_finds_conversations_by_tag(sync: Sync, page: FakePage, warehouse: Warehouse) -> None:
    page.populate(days=10, conversations=40)
    pipeline = sync()
    with pipeline.sql_client() as client:
        name = client.make_qualified_table_name("conversations")
        found = client.execute_sql(TAG_QUERIES[warehouse.kind].format(table=name))
    expected = {
        row["id"] for row in page.rows() if any(tag and tag["text"] == "Khách quen" for tag in row["tags"])
    }
    assert expected
    assert {row[0] for row in found or ()} == expected


def merge_statements(pipeline: dlt.Pipeline, name: str, job: type[SqlMergeFollowupJob]) -> list[str]:
    """Return the statements by which dlt merges a table."""
    with pipeline.destination_client() as client:
        assert isinstance(client, SqlJobClientBase)
        return job.gen_merge_sql([client.prepare_load_table(name)], client.sql_client)


@pytest.mark.parametrize("warehouse", ["bigquery"], indirect=True)
def test_the_merge_statements_are_bigquery_sql(sync: Sync) -> None:
    pipeline = sync()
    for name in pipeline.default_schema.data_table_names():
        statements = merge_statements(pipeline, name, BigQueryMergeJob)
        parsed = [sqlglot.parse_one(statement, dialect="bigquery") for statement in statements]
        assert [type(statement) for statement in parsed] == [exp.Delete, exp.Insert]
        assert all(" NOT IN (SELECT " in statement for statement in statements)


@pytest.mark.parametrize("warehouse", ["postgres"], indirect=True)
def test_a_merge_into_a_million_rows_goes_by_the_index(sync: Sync, page: FakePage) -> None:
    page.populate(days=10, conversations=40)
    pipeline = sync()
    with pipeline.sql_client() as client:
        name = client.make_qualified_table_name("messages")
        columns = ", ".join(
            map(client.escape_column_name, pipeline.default_schema.get_table_columns("messages"))
        )
        copied = columns.replace('"id"', "\"id\" || '_' || n").replace('"_dlt_id"', '"_dlt_id" || n')
        client.execute_sql(
            f"INSERT INTO {name} ({columns}) SELECT {copied} FROM {name},"
            f" generate_series(1, 1000000 / (SELECT COUNT(*) FROM {name})) AS n"
        )
        client.execute_sql(f"ANALYZE {name}")
        for statement in merge_statements(pipeline, "messages", SqlMergeFollowupJob):
            plan = client.execute_sql(f"EXPLAIN {statement}")
            steps = "\n".join(row[0] for row in plan or ())
            assert "Index Scan using messages_id_idx" in steps
            assert "Seq Scan on messages d" not in steps


@pytest.mark.parametrize(
    ("configured", "memory_limit"),
    [
        ({}, "244.1 MiB"),
        ({"DESTINATION__WAREHOUSE__CREDENTIALS": "elsewhere.duckdb"}, "244.1 MiB"),
        (
            {"DESTINATION__WAREHOUSE__CREDENTIALS__GLOBAL_CONFIG": '{"memory_limit": "1GiB", "threads": 1}'},
            "1.0 GiB",
        ),
    ],
    ids=["by default", "in a file", "unless configured"],
)
def test_duckdb_loads_in_little_memory(
    configured: dict[str, str], memory_limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in configured.items():
        monkeypatch.setenv(name, value)
    found: list[Any] = []
    pipeline = loading.make_pipeline("pancake", "loaded")

    @dlt.resource
    def settings() -> Iterator[dict[str, int]]:
        query = "SELECT current_setting('memory_limit'), current_setting('threads')"
        with pipeline.sql_client() as client:
            found.extend(client.execute_sql(query) or ())
        yield {"id": 1}

    destinations.load(pipeline, settings)
    assert found == [(memory_limit, 1)]
