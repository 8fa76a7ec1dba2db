"""Rows become Arrow tables of their table's types, or stay rows."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timezone
from typing import Any

import dlt
import pyarrow as pa
import pytest

from sources.pancake.arrow import in_arrow, to_arrow
from sources.pancake.records import shape
from sources.pancake.resources.coverage import Coverage
from sources.pancake.schema import CONVERSATION_TAGS, CONVERSATIONS, COVERAGE, MESSAGES, Table
from tests.conftest import MakePipeline
from tests.fake_pancake import FakePage

NOW = datetime(2026, 3, 20, 12, 0, 0, 5, tzinfo=timezone.utc)
TAG = {"page_id": "1", "conversation_id": "1_2", "tag_id": "7", "synced_at": NOW}


def unpacked(table: Table, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows after a way through Arrow, JSON decoded, without what dlt adds."""
    found: list[dict[str, Any]] = to_arrow(rows, table, "load").to_pylist()
    for row in found:
        del row["_dlt_id"], row["_dlt_load_id"]
        for column in table.columns:
            if column.data_type == "json" and row[column.name] is not None:
                row[column.name] = json.loads(row[column.name])
    return found


def test_every_value_of_a_row_survives(page: FakePage) -> None:
    page.populate(days=5, conversations=40)
    conversations = [shape(row, CONVERSATIONS, page.page_id, NOW) for row in page.rows()]
    messages = [
        shape({**row, "unheard_of": [1, {"ạ": None}]}, MESSAGES, page.page_id, NOW)
        for key in page.conversations
        for row in page.message_rows(key)
    ]
    assert unpacked(CONVERSATIONS, conversations) == conversations
    assert unpacked(MESSAGES, messages) == messages
    assert unpacked(COVERAGE, [Coverage("1_2", "1", checked_at=NOW).row()]) == [
        Coverage("1_2", "1", checked_at=NOW).row()
    ]


def test_every_row_gets_an_id_of_its_own_and_the_load() -> None:
    rows = to_arrow([TAG, TAG, TAG], CONVERSATION_TAGS, "load").to_pylist()
    assert len({row["_dlt_id"] for row in rows}) == 3
    assert {row["_dlt_load_id"] for row in rows} == {"load"}


@pytest.mark.parametrize(
    "row",
    [
        {**TAG, "more": 1},
        {key: value for key, value in TAG.items() if key != "tag_id"},
        {**TAG, "tag_id": 7},
        {**TAG, "synced_at": "yesterday"},
    ],
    ids=["a column more", "a column less", "another type", "no stamp"],
)
def test_what_is_no_row_of_the_table_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises((LookupError, TypeError, ValueError)):
        to_arrow([TAG, row], CONVERSATION_TAGS, "load")


def resource(*rows: dict[str, Any]) -> Any:
    made = dlt.resource(
        [list(rows)],
        name=CONVERSATION_TAGS.name,
        columns=CONVERSATION_TAGS.hints(),
        primary_key=list(CONVERSATION_TAGS.key),
    )
    return in_arrow(made, CONVERSATION_TAGS)


def loaded(pipeline: dlt.Pipeline) -> list[tuple[Any, ...]]:
    return list(pipeline.dataset()(f"SELECT tag_id FROM {CONVERSATION_TAGS.name} ORDER BY 1").fetchall())


def files(pipeline: dlt.Pipeline) -> set[str]:
    info = pipeline.last_trace.last_load_info if pipeline.last_trace else None
    assert info is not None
    jobs = info.load_packages[0].jobs["completed_jobs"]
    return {
        job.job_file_info.file_format
        for job in jobs
        if job.job_file_info.table_name == CONVERSATION_TAGS.name
    }


def test_duckdb_gets_arrow(pipeline: dlt.Pipeline) -> None:
    pipeline.run(resource(TAG))
    assert loaded(pipeline) == [("7",)]
    assert files(pipeline) == {"parquet"}


def test_whoever_adds_a_step_finds_rows(pipeline: dlt.Pipeline) -> None:
    changed = resource(TAG).add_map(lambda row: {**row, "tag_id": row["tag_id"] * 2})
    pipeline.run(changed.add_filter(lambda row: row["page_id"] == "1"))
    assert loaded(pipeline) == [("77",)]
    assert files(pipeline) == {"parquet"}


def test_rows_that_a_step_has_made_others_of_are_loaded_as_they_are(pipeline: dlt.Pipeline) -> None:
    pipeline.run(resource(TAG).add_map(lambda row: {**row, "colour": "red"}))
    assert loaded(pipeline) == [("7",)]
    assert files(pipeline) == {"insert_values"}
    found = pipeline.dataset()(f"SELECT colour FROM {CONVERSATION_TAGS.name}").fetchall()
    assert found == [("red",)]


def test_without_a_run_rows_stay_rows(pipeline: dlt.Pipeline) -> None:
    assert pipeline.is_active
    assert list(resource(TAG)) == [TAG]


def test_nothing_is_said_of_json_in_text_columns(
    make_pipeline: MakePipeline, caplog: pytest.LogCaptureFixture, page: FakePage
) -> None:
    page.add_conversation()
    rows = [shape(row, MESSAGES, "1", NOW) for key in page.conversations for row in page.message_rows(key)]
    made = dlt.resource(
        [rows], name="messages", columns=MESSAGES.hints(), primary_key="id", write_disposition="merge"
    )
    messages = in_arrow(made, MESSAGES)
    pipeline = make_pipeline()
    logging.getLogger("dlt").addHandler(caplog.handler)
    try:
        pipeline.run(messages)
    finally:
        logging.getLogger("dlt").removeHandler(caplog.handler)
    assert [record.getMessage() for record in caplog.records] == []
    assert pipeline.dataset()("SELECT json_type(sender) FROM messages").fetchall() == [("OBJECT",)]
    assert pipeline.default_schema.tables["messages"]["columns"]["sender"]["data_type"] == "json"


def test_the_types_are_those_of_the_columns() -> None:
    schema = to_arrow([TAG], CONVERSATION_TAGS, "load").schema
    assert schema.field("synced_at").type == pa.timestamp("us", tz="UTC")
    assert [field.nullable for field in schema] == [False, False, False, True, False, False]
