"""The list of conversations: which rows, in which order, from which cursor on."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from operator import attrgetter, ge, gt, itemgetter, le, lt
from typing import TYPE_CHECKING, Any

from .clock import EPOCH
from .replies import TRANSIENT, Query, RefusedError
from .rows import conversation_row

if TYPE_CHECKING:
    from .entities import Conversation
    from .model import FakePage

ORDERS = ("updated_at", "inserted_at")

Place = tuple[bool, float, Any]
"""Where a row stands in the list; a greater place comes later."""


class ConversationList:
    """Answers `conversations` for any page, and remembers where it last served each row."""

    def __init__(self) -> None:
        self._served: dict[tuple[str, str], dict[str, Place]] = {}

    def __call__(self, page: FakePage, query: Query, conversation_id: str | None) -> dict[str, Any]:
        """The body of one answer."""
        order_by = query.one("order_by") or "updated_at"
        if order_by not in ORDERS:
            raise RefusedError(500, "Internal server error")
        with page.lock:
            listed = self._listed(page, query, order_by)
            served = self._served.setdefault((page.page_id, order_by), {})
            following = _after(page, listed, query.one("last_conversation_id"), served)
            batch = following[: _batch_size(page, query)]
            served.update((conversation.id, place) for place, conversation in batch)
            rows = [conversation_row(page, conversation) for _, conversation in batch]
        return {"conversations": rows, "success": True}

    def _listed(self, page: FakePage, query: Query, order_by: str) -> list[tuple[Place, Conversation]]:
        """Every row asked for, first to last."""
        sort_field = attrgetter(order_by)
        unread_first = query.one("unread_first") == "true"
        reverse_ties = page.dialect.ties == "reverse_id"
        listed: list[tuple[Place, Conversation]] = []
        for conversation in _in_window(page, query, order_by, _filtered(page, query)):
            tie = _reversed(conversation.id) if reverse_ties else conversation.id
            place = (unread_first and conversation.seen, -sort_field(conversation).timestamp(), tie)
            listed.append((place, conversation))
        listed.sort(key=itemgetter(0))
        return listed


def _reversed(text: str) -> tuple[int, ...]:
    """Sorts as the text does, backwards."""
    return (*(-ord(letter) for letter in text), 1)


def _in_window(
    page: FakePage, query: Query, order_by: str, conversations: list[Conversation]
) -> list[Conversation]:
    """The rows that `since` and `until` leave."""
    since, until = _moment(query, "since"), _moment(query, "until")
    if since is not None and until is None and page.dialect.since_alone == "refused":
        raise RefusedError(200, "since and until must be used together")
    field = attrgetter("updated_at" if page.dialect.window_field == "updated_at" else order_by)
    if since is not None:
        late_enough = ge if page.dialect.since_inclusive else gt
        conversations = [row for row in conversations if late_enough(field(row), since)]
    if until is not None:
        early_enough = le if page.dialect.until_inclusive else lt
        conversations = [row for row in conversations if early_enough(field(row), until)]
    return conversations


def _moment(query: Query, name: str) -> datetime | None:
    seconds = query.number(name)
    try:
        return None if seconds is None else EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        raise RefusedError(500, "Internal server error") from None


def _filtered(page: FakePage, query: Query) -> list[Conversation]:
    """The rows that `type`, `tags` and `post_ids` leave."""
    if query.all("type[]"):
        raise RefusedError(500, "Internal server error")
    if len(query.all("type")) > 1:
        return []
    conversations = list(page.conversations.values())
    if wanted_type := query.one("type"):
        conversations = [row for row in conversations if row.type == wanted_type]
    if wanted_tags := set(_comma_list(query.one("tags"))):
        conversations = [row for row in conversations if wanted_tags <= {str(tag) for tag in row.tags}]
    if wanted_posts := _comma_list(query.one("post_ids")):
        conversations = [row for row in conversations if row.post_id in wanted_posts]
    return conversations


def _comma_list(value: str | None) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()] if value else []


def _after(
    page: FakePage, listed: list[tuple[Place, Conversation]], cursor: str | None, served: dict[str, Place]
) -> list[tuple[Place, Conversation]]:
    """The rows that follow the cursor."""
    if cursor is None:
        return listed
    for index, (_, conversation) in enumerate(listed):
        if conversation.id == cursor:
            return listed[index + 1 :]
    lost = page.dialect.lost_cursor
    if lost == "error":
        raise RefusedError(200, TRANSIENT)
    if lost == "empty":
        return []
    if lost == "goes_on" and cursor in served:
        return [entry for entry in listed if entry[0] > served[cursor]]
    return listed


def _batch_size(page: FakePage, query: Query) -> int:
    size = page.dialect.conversation_batch
    if not page.dialect.conversation_batch_jitter:
        return size
    asked = [query.one(name) for name in ("since", "until", "last_conversation_id")]
    return random.Random(f"{page.seed}:{asked}").randint(1, size)
