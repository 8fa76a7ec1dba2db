"""What hangs on a conversation, in tables of its own: tags, assignees, ads, and their histories.

All of it stands in the rows of `conversations` already, so it costs no call.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import dlt
from dlt.extract import DltResource

from ..arrow import in_arrow
from ..guard import first_wins, guarded, newest_set_wins
from ..records import Row, parse_stamp
from ..schema import (
    ASSIGNEE_EVENTS,
    CONVERSATION_ADS,
    CONVERSATION_ASSIGNEES,
    CONVERSATION_TAGS,
    CONVERSATIONS,
    TAG_EVENTS,
    Table,
)

Rows = Callable[[Row], Iterator[Row]]


def links(parent: DltResource, table: Table, *, name: str = "") -> DltResource:
    """The rows of one table that the listed conversations hold.

    Args:
        parent: The conversations.
        table: One of `LINKS`.
        name: Name of the resource; default: the table's, which is always the same.
    """
    resource = dlt.transformer(
        _sets if table in _SETS else _events,
        data_from=parent,
        name=name or table.name,
        table_name=table.name,
        primary_key=list(table.key),
        write_disposition="merge",
        columns=table.hints(),
    )
    return in_arrow(resource(table), table)


def _sets(batch: list[Row], table: Table) -> Iterator[Any]:
    if not batch:  # what creates the parent's table comes before its rows
        yield guarded(table, newest_set_wins(table, CONVERSATIONS))
        return
    members_of = _SETS[table]
    nothing = dict.fromkeys(column.name for column in table.columns)
    rows: list[Row] = []
    for conversation in batch:
        members = list(members_of(conversation)) or [{table.key[-1]: ""}]
        rows += ({**nothing, **member, **_of(conversation)} for member in members)
    yield rows


def _events(batch: list[Row], table: Table) -> Iterator[Any]:
    if not batch:
        yield guarded(table, first_wins(table))
        return
    yield [event for conversation in batch for event in _numbered(_EVENTS[table](conversation), conversation)]


def _of(conversation: Row) -> Row:
    return {
        "page_id": conversation["page_id"],
        "conversation_id": conversation["id"],
        "synced_at": conversation["synced_at"],
    }


def _tags(conversation: Row) -> Iterator[Row]:
    for tag in _listed(conversation["tags"]):
        if tag_id := _id(tag):
            yield {"tag_id": tag_id}


def _assignees(conversation: Row) -> Iterator[Row]:
    for user in (*_listed(conversation["assignee_ids"]), *_listed(conversation["current_assign_users"])):
        if user_id := _id(user):
            yield {"user_id": user_id}


def _ads(conversation: Row) -> Iterator[Row]:
    described: set[str] = set()
    for ad in _listed(conversation["ads"]):
        if isinstance(ad, dict) and (ad_id := _id(ad.get("ad_id"))):
            described.add(ad_id)
            stamp = parse_stamp(ad.get("inserted_at"))
            yield {"ad_id": ad_id, "post_id": _id(ad.get("post_id")) or None, "inserted_at": stamp}
    for ad in _listed(conversation["ad_ids"]):
        if (ad_id := _id(ad)) and ad_id not in described:
            yield {"ad_id": ad_id}


def _tag_events(conversation: Row) -> Iterator[Row]:
    for entry, payload in _history(conversation["tag_histories"]):
        tag = payload.get("tag")
        yield {
            "action": _text(payload.get("action")),
            "tag_id": _id(tag) or None,
            "tag_text": _text(tag.get("text")) if isinstance(tag, dict) else None,
            "editor_id": _id(payload.get("editor_id")) or None,
            "editor_name": _text(payload.get("editor_name")),
            "inserted_at": parse_stamp(entry.get("inserted_at")),
        }


def _assignee_events(conversation: Row) -> Iterator[Row]:
    for entry, payload in _history(conversation["assignee_histories"]):
        for action, field in (("add", "added_users"), ("remove", "deleted_users")):
            for user in _listed(payload.get(field)):
                yield {
                    "action": action,
                    "user_id": _id(user) or None,
                    "user_name": _text(user.get("name")) if isinstance(user, dict) else None,
                    "inserted_at": parse_stamp(entry.get("inserted_at")),
                }


def _history(entries: Any) -> list[tuple[Row, Row]]:
    """Return entries with their payloads, oldest first: pages list them either way."""
    found = [
        (entry, entry["payload"])
        for entry in _listed(entries)
        if isinstance(entry, dict) and isinstance(entry.get("payload"), dict)
    ]
    stamps = [str(entry.get("inserted_at")) for entry, _ in found]
    return found[::-1] if stamps and stamps[0] > stamps[-1] else found


def _numbered(events: Iterator[Row], conversation: Row) -> Iterator[Row]:
    """Give events an id. A tag's own id is no part of it: it goes when the tag is deleted from the page."""
    alike: Counter[str] = Counter()
    for event in events:
        what = f"{conversation['id']} {event['inserted_at']} {event['action']}"
        alike[what] += 1
        event_id = hashlib.sha256(f"{what} {alike[what]}".encode()).hexdigest()[:32]
        yield {"id": event_id, **event, **_of(conversation)}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _id(value: Any) -> str:
    """Return an id that is sent as text, as a number or in an object; empty when there is none."""
    found = value.get("id") if isinstance(value, dict) else value
    return str(found) if isinstance(found, str | int) and not isinstance(found, bool) else ""


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


_SETS: dict[Table, Rows] = {
    CONVERSATION_TAGS: _tags,
    CONVERSATION_ASSIGNEES: _assignees,
    CONVERSATION_ADS: _ads,
}
_EVENTS: dict[Table, Rows] = {TAG_EVENTS: _tag_events, ASSIGNEE_EVENTS: _assignee_events}
LINKS = (*_SETS, *_EVENTS)
