"""The same load as a careful person writes it without dlt: `requests`, batches, an upsert by Arrow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import duckdb
import pyarrow as pa
import requests

from benchmarks import settings

Row = dict[str, Any]

ROWS_PER_UPSERT = 5_000
TEXT = {"TEXT": pa.string(), "BIGINT": pa.int64(), "BOOLEAN": pa.bool_(), "JSON": pa.string()}
STAMP = pa.timestamp("us", "UTC")

CONVERSATIONS = """
    id TEXT, page_id TEXT, page_uid TEXT, type TEXT, post_id TEXT, customer_id TEXT, customers JSON,
    sender JSON, page_customer JSON, participants JSON, snippet TEXT, last_message JSON, last_sent_by JSON,
    message_count BIGINT, seen BOOLEAN, has_phone BOOLEAN, recent_phone_numbers JSON, tags JSON,
    tag_histories JSON, assignee_ids JSON, current_assign_users JSON, assignee_group_id TEXT,
    assignee_histories JSON, ad_ids JSON, ads JSON, inserted_at TIMESTAMPTZ, updated_at TIMESTAMPTZ,
    synced_at TIMESTAMPTZ, extra JSON
"""
MESSAGES = """
    id TEXT, conversation_id TEXT, page_id TEXT, type TEXT, message TEXT, original_message TEXT, sender JSON,
    sender_id TEXT, sender_name TEXT, inserted_at TIMESTAMPTZ, attachments JSON, phone_info JSON,
    message_tags JSON, rich_message JSON, edit_history JSON, seen BOOLEAN, has_phone BOOLEAN,
    is_hidden BOOLEAN, is_removed BOOLEAN, removed_by JSON, is_parent BOOLEAN, is_parent_hidden BOOLEAN,
    parent_id TEXT, comment_count BIGINT, like_count BIGINT, user_likes BOOLEAN, show_info BOOLEAN,
    can_comment BOOLEAN, can_hide BOOLEAN, can_like BOOLEAN, can_remove BOOLEAN,
    can_reply_privately BOOLEAN, is_livestream_order BOOLEAN, private_reply_conversation JSON,
    synced_at TIMESTAMPTZ, extra JSON
"""


class Table:
    """One table, filled by upserts of many rows."""

    def __init__(self, database: duckdb.DuckDBPyConnection, name: str, columns: str) -> None:
        self._database = database
        self._name = name
        self._types = dict(map(str.split, columns.split(",")))
        self._schema = pa.schema([(column, TEXT.get(kind, STAMP)) for column, kind in self._types.items()])
        self._rows: list[Row] = []
        database.execute(f"CREATE TABLE IF NOT EXISTS {name} ({columns}, PRIMARY KEY (id))")

    def add(self, sent: Row, synced_at: datetime, **more: Any) -> None:
        """Keep a row for the next upsert."""
        sent = {**sent, **more, "sender": sent.get("from")}
        row: Row = {}
        for column, kind in self._types.items():
            value = sent.pop(column, None)
            if value is not None and kind == "JSON":
                value = json.dumps(value)
            elif value is not None and kind == "TIMESTAMPTZ":
                value = datetime.fromisoformat(value).replace(tzinfo=timezone.utc)
            row[column] = value
        sent.pop("from", None)
        row["extra"] = json.dumps(sent) if sent else None
        row["synced_at"] = synced_at
        self._rows.append(row)
        if len(self._rows) >= ROWS_PER_UPSERT:
            self.flush()

    def flush(self) -> None:
        """Upsert what was kept."""
        batch = pa.Table.from_pylist(self._rows, self._schema)
        sets = ", ".join(f"{column} = EXCLUDED.{column}" for column in self._types if column != "id")
        self._database.register("batch", batch)
        self._database.execute(
            f"INSERT INTO {self._name} SELECT * FROM batch ON CONFLICT (id) DO UPDATE SET {sets}"
        )
        self._database.unregister("batch")
        self._rows.clear()


def main() -> None:
    """Load everything."""
    with duckdb.connect(settings.database()) as database, requests.Session() as session:
        session.params = {"page_access_token": settings.token()}
        conversations = Table(database, "conversations", CONVERSATIONS)
        messages = Table(database, "messages", MESSAGES)
        for row in listed(session):
            conversations.add(row, datetime.now(timezone.utc))
            for message in thread(session, row["id"]):
                sender = message.get("from") or {}
                messages.add(
                    message,
                    datetime.now(timezone.utc),
                    sender_id=sender.get("id"),
                    sender_name=sender.get("name"),
                )
        conversations.flush()
        messages.flush()


def listed(session: requests.Session) -> Iterator[Row]:
    """Yield the conversations of the last 30 days."""
    since, until = settings.span()
    params: dict[str, str | int] = {"since": since, "until": until, "order_by": "updated_at"}
    while rows := get(session, "v2", "conversations", params):
        yield from rows
        params["last_conversation_id"] = rows[-1]["id"]


def thread(session: requests.Session, conversation_id: str) -> Iterator[Row]:
    """Yield the messages of a conversation."""
    count = 0
    while True:
        rows = get(session, "v1", f"conversations/{conversation_id}/messages", {"current_count": count})
        yield from rows
        count += len(rows)
        if len(rows) < settings.MESSAGES_PER_BATCH:
            return


def get(session: requests.Session, version: str, path: str, params: dict[str, str | int]) -> list[Row]:
    """Return the rows of one call."""
    address = f"{settings.url()}/api/public_api/{version}/pages/{settings.page_id()}/{path}"
    response = session.get(address, params=params, timeout=60)
    response.raise_for_status()
    body = response.json()
    if body.get("success") is False:
        raise RuntimeError(body["message"])
    rows: list[Row] = body[path.rpartition("/")[2]]
    return rows


if __name__ == "__main__":
    main()
