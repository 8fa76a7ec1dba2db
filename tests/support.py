"""Comparing a warehouse with the simulated page that it was loaded from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from operator import itemgetter
from typing import Any

import dlt

from tests.fake_pancake import FakePage

Row = dict[str, Any]

STAMPS = ("inserted_at", "updated_at")
OURS = ("synced_at", "sender_id", "sender_name", "_dlt_id", "_dlt_load_id")


def table(pipeline: dlt.Pipeline, name: str, *key: str) -> dict[Any, Row]:
    """Return a table's rows by key, JSON decoded; the key is `id`, or the columns given."""
    with pipeline.sql_client() as client:
        query = f"SELECT * FROM {client.make_qualified_table_name(name)}"
        with client.execute_query(query) as cursor:
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]
    json_columns = {
        column["name"]
        for column in pipeline.default_schema.tables[name]["columns"].values()
        if column.get("data_type") == "json"
    }
    for row in rows:
        for column in json_columns & row.keys():
            if isinstance(row[column], str):
                row[column] = json.loads(row[column])
    key_of = itemgetter(*(key or ("id",)))
    found = {key_of(row): row for row in rows}
    assert len(found) == len(rows), f"{name} holds a row twice"
    return found


def as_sent(row: Mapping[str, Any]) -> Row:
    """Undo the shape of a warehouse row: what the API sent, without nulls, stamps as datetimes."""
    sent = {key: value for key, value in row.items() if key not in OURS and value is not None}
    sent.update(sent.pop("extra", {}))
    if "sender" in sent:
        sent["from"] = sent.pop("sender")
    for key in STAMPS:
        if key in sent:
            sent[key] = sent[key].astimezone(timezone.utc)
    return sent


def as_expected(row: Mapping[str, Any]) -> Row:
    """Return an API row without nulls and credentials, stamps as datetimes."""
    expected = {key: _clean(value) for key, value in row.items() if value is not None}
    for key in STAMPS:
        if key in expected:
            stamp = datetime.fromisoformat(expected[key].replace("Z", "+00:00"))
            expected[key] = stamp if stamp.tzinfo else stamp.replace(tzinfo=timezone.utc)
    return expected


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        hidden = ("session_id", "token_for_business")
        return {key: _clean(inner) for key, inner in value.items() if key not in hidden}
    return [_clean(inner) for inner in value] if isinstance(value, list) else value


def assert_equal(pipeline: dlt.Pipeline, page: FakePage) -> None:
    """Check that the warehouse holds exactly what the page holds, field by field."""
    conversations = table(pipeline, "conversations")
    messages = table(pipeline, "messages")
    listed = {row["id"]: as_expected(row) for row in page.rows()}
    sent = {
        row["id"]: as_expected(row)
        for conversation_id in page.conversations
        for row in page.message_rows(conversation_id)
    }
    assert {key: as_sent(row) for key, row in conversations.items()} == listed
    assert {key: as_sent(row) for key, row in messages.items()} == sent


def assert_complete(pipeline: dlt.Pipeline, page: FakePage) -> None:
    """Check that no conversation or message is missing, and that each conversation is in its last version."""
    loaded = {key: row["updated_at"] for key, row in table(pipeline, "conversations").items()}
    expected = {key: row.updated_at for key, row in page.conversations.items()}
    assert loaded.keys() == expected.keys(), f"{len(loaded)} conversations of {len(expected)}"
    assert loaded == expected
    messages = {message.id for row in page.conversations.values() for message in row.messages}
    assert table(pipeline, "messages").keys() == messages


def custom_metrics(pipeline: dlt.Pipeline, resource: str) -> dict[str, Any]:
    """Return what a resource counted in the last run."""
    trace = pipeline.last_trace
    assert trace is not None
    assert trace.last_extract_info is not None
    (package,) = trace.last_extract_info.metrics.values()
    return dict(package[0]["resource_metrics"][resource].custom_metrics)
