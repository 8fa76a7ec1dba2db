"""Hourly counts, of the page and of its staff, worked out from the messages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from .lookups import moment
from .replies import Query, RefusedError
from .rows import phones_in, variety

if TYPE_CHECKING:
    from .entities import Conversation, Message, Row
    from .model import FakePage

DATE = "%d/%m/%Y %H:%M:%S"
COUNTS = (
    "customer_inbox_count",
    "customer_comment_count",
    "page_inbox_count",
    "page_comment_count",
    "inbox_interactive_count",
    "new_customer_count",
    "new_inbox_count",
    "phone_number_count",
    "uniq_phone_number_count",
    "today_uniq_website_referral",
    "today_website_guest_referral",
)
USER_COUNTS = (
    "inbox_count",
    "comment_count",
    "unique_inbox_count",
    "unique_comment_count",
    "private_reply_count",
    "phone_number_count",
    "order_count",
)


def of_page(page: FakePage, query: Query, conversation_id: str | None) -> dict[str, Any]:
    """The body of one answer to `statistics/pages`; `hour` is in the page's zone."""
    since, until = moment(query, "since"), moment(query, "until")
    with page.lock:
        hours = _page_hours(page, since, until)
    rows = [{"hour": _local(page, hour), **counts} for hour, counts in sorted(hours.items())]
    return {"success": True, "data": rows}


def _page_hours(page: FakePage, since: datetime, until: datetime) -> dict[datetime, dict[str, int]]:
    hours: defaultdict[datetime, dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTS, 0))
    talked: set[tuple[datetime, str]] = set()
    numbers: set[tuple[datetime, str]] = set()
    for conversation in page.conversations.values():
        if since <= conversation.inserted_at < until:
            began = hours[_hour(conversation.inserted_at)]
            began["new_customer_count"] += 1
            began["new_inbox_count"] += conversation.type == "INBOX"
    for conversation, message in _messages(page, since, until):
        hour = _hour(message.inserted_at)
        counts = hours[hour]
        who = "page" if message.from_id == page.page_id else "customer"
        kind = "inbox" if conversation.type == "INBOX" else "comment"
        counts[f"{who}_{kind}_count"] += 1
        if (who, kind) == ("customer", "inbox") and (hour, conversation.id) not in talked:
            talked.add((hour, conversation.id))
            counts["inbox_interactive_count"] += 1
        for phone in phones_in(message):
            counts["phone_number_count"] += 1
            counts["uniq_phone_number_count"] += (hour, phone["captured"]) not in numbers
            numbers.add((hour, phone["captured"]))
    return hours


@dataclass
class _Work:
    """What one member of staff did in one hour."""

    inbox: list[str] = field(default_factory=list)
    comment: list[str] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)
    phones: int = 0

    def counts(self) -> Row:
        mean_s = round(sum(self.waits_s) / len(self.waits_s)) if self.waits_s else 0
        return {
            "inbox_count": len(self.inbox),
            "comment_count": len(self.comment),
            "unique_inbox_count": len(set(self.inbox)),
            "unique_comment_count": len(set(self.comment)),
            "private_reply_count": 0,
            "phone_number_count": self.phones,
            "order_count": 0,
            "average_response_time": mean_s,
        }


def of_users(page: FakePage, query: Query, conversation_id: str | None) -> dict[str, Any]:
    """The body of one answer to `statistics/users`.

    `date_range` and `hour` are in the page's zone, `hour_in_integer` is UTC, `average_response_time` is in
    seconds and 0 where nothing was measured.
    """
    since, until = _date_range(page, query)
    with page.lock:
        work = _work(page, since, until)
    names = {uid: name for name, uid in page.staff.items()}
    rows: dict[str, list[Row]] = {}
    for (uid, hour), done in sorted(work.items()):
        row = {
            "hour": _local(page, hour),
            "hour_in_integer": hour.strftime("%Y%m%d%H%M%S"),
            "page_id": page.page_id,
            **done.counts(),
        }
        rows.setdefault(uid, []).append(row)
    sums = {
        uid: {
            "user_name": names[uid],
            "user_fb_id": str(variety(uid)),
            **{count: sum(row[count] for row in found) for count in USER_COUNTS},
        }
        for uid, found in rows.items()
    }
    return {"success": True, "data": {"statistics": rows, "users": sums}}


def _work(page: FakePage, since: datetime, until: datetime) -> dict[tuple[str, datetime], _Work]:
    work: defaultdict[tuple[str, datetime], _Work] = defaultdict(_Work)
    before: dict[str, Message] = {}
    for conversation, message in _messages(page, since, until):
        last = before.get(conversation.id)
        before[conversation.id] = message
        if message.admin_name is None:
            continue
        done = work[page.staff[message.admin_name], _hour(message.inserted_at)]
        (done.inbox if conversation.type == "INBOX" else done.comment).append(conversation.id)
        done.phones += len(phones_in(message))
        if last is not None and last.from_id != page.page_id:
            done.waits_s.append((message.inserted_at - last.inserted_at).total_seconds())
    return work


def _messages(page: FakePage, since: datetime, until: datetime) -> Iterator[tuple[Conversation, Message]]:
    """Every message in the span, the begin included."""
    for conversation in page.conversations.values():
        for message in conversation.messages:
            if since <= message.inserted_at < until:
                yield conversation, message


def _date_range(page: FakePage, query: Query) -> tuple[datetime, datetime]:
    """The span asked for; its last second is part of it."""
    begin, _, end = (query.one("date_range") or "").partition(" - ")
    zone = timezone(timedelta(hours=page.utc_offset_hours))
    try:
        since, last = (datetime.strptime(text, DATE).replace(tzinfo=zone) for text in (begin, end))
    except ValueError:
        raise RefusedError(500, "Internal server error") from None
    utc = timezone.utc
    return since.astimezone(utc), last.astimezone(utc) + timedelta(seconds=1)


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def _local(page: FakePage, hour: datetime) -> str:
    return (hour + timedelta(hours=page.utc_offset_hours)).strftime("%Y-%m-%dT%H:%M:%S")
