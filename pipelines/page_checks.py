"""What a few calls tell about a page and about the way its account speaks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from statistics import median
from typing import Any

from pipelines.findings import Finding, Level
from sources.pancake import PancakeClient, settings
from sources.pancake.endpoints import CONVERSATIONS, MESSAGES, Endpoint
from sources.pancake.errors import PancakeError, PancakeRequestError, PancakeTransientError
from sources.pancake.filters import INSERTED_AT, UPDATED_AT
from sources.pancake.records import Batch, Row, parse_stamp
from sources.pancake.windows import unix_ceil, unix_floor

SPAN = timedelta(days=30)  # as far back as a first sync looks
AHEAD = timedelta(days=1)  # ours: shows stamps that lie in the future
APART = timedelta(seconds=10)  # ours: two stamps that no window of a few seconds holds both
SKEW_WARNING_S = 5.0  # ours: far more than the second to which `Date` is exact
FUTURE_S = 60.0  # ours: how far ahead the newest change may lie

_SIMPLE = {"last_message", "participants"}
_WIDE = {"customers", "from", "message_count", "page_customer", "snippet"}
_OFFSET = re.compile(r"[+-]\d\d:?\d\d$")
_AGAIN = "Run the check again."

Said = tuple[Level, str, str]
"""Level, what was found, what to do."""


def check_page(client: PancakeClient, *, workers: int, lag_s: float) -> Iterator[Finding]:
    """Yield what is found of one page, in at most eleven calls, not counting repeated ones.

    Args:
        client: Reads the page, and has read nothing yet.
        workers: Threads that a sync reads side by side.
        lag_s: How far before the cursor a sync starts, in seconds.
    """
    for check, (level, found, advice) in _PageCheck(client, workers, lag_s).run():
        yield Finding(client.page_id, check, level, found, advice)


def refused(error: PancakeError) -> Said:
    """Return an error as what was found and what to do."""
    quotes_server = isinstance(error, PancakeRequestError)
    found, _, advice = str(error).rpartition(". ") if quotes_server else str(error).partition(". ")
    return Level.ERROR, found or advice, advice if found else ""


def _ok(found: str) -> Said:
    return Level.OK, found, ""


def _warning(found: str, advice: str) -> Said:
    return Level.WARNING, found, advice


def _error(found: str, advice: str) -> Said:
    return Level.ERROR, found, advice


def _undecided(found: str, advice: str = "") -> Said:
    return Level.UNDECIDED, f"cannot be told: {found}", advice


class _PageCheck:
    def __init__(self, client: PancakeClient, workers: int, lag_s: float) -> None:
        self._client = client
        self._workers = workers
        self._lag_s = lag_s
        self._took_s: list[float] = []
        self._skews: list[tuple[float, float]] = []  # least and most that the server's clock is ahead
        self._rows: list[Row] = []
        self._params: dict[str, str | int] = {}

    def run(self) -> Iterator[tuple[str, Said]]:
        """Yield every check with what it says."""
        try:
            said = self._api()
        except PancakeError as error:
            yield "api", refused(error)
        else:
            yield "api", said
            yield from self._about_rows()
        yield "clock", self._clock()
        yield "latency", self._latency()
        yield "rate", self._rate()

    def _about_rows(self) -> Iterator[tuple[str, Said]]:
        yield "rows", (shown := self._row_shape())
        if shown[0] is Level.ERROR:
            return
        checks: dict[str, Callable[[], Said]] = {
            "stamps": self._stamps,
            "future": self._future,
            "order": self._order,
            "window": self._window,
            "range_window": self._range_window,
            "since_alone": self._since_alone,
            "list_batches": self._list_batches,
        }
        for name, check in checks.items():
            yield name, self._said_by(check)
        yield from self._thread()

    def _said_by(self, check: Callable[[], Said]) -> Said:
        try:
            return check()
        except PancakeError as error:
            return refused(error)

    # The calls.

    def _ask(self, endpoint: Endpoint, params: dict[str, str | int], **ids: str) -> Batch:
        batch = self._client.get(endpoint, params, **ids)
        received, sent = self._client.clock.time(), batch.sent_at.timestamp()
        self._took_s.append(received - sent)
        if batch.server_time is not None:
            server = batch.server_time.timestamp()
            self._skews.append((server - received, server + 1 - sent))
        return batch

    def _list(self, **params: str | int) -> Batch:
        return self._ask(CONVERSATIONS, {"order_by": UPDATED_AT, **params})

    def _around(self, moment: datetime, order_by: str) -> _Seconds:
        """Ask for the few seconds around a moment."""
        since, until = unix_floor(moment) - 1, unix_ceil(moment) + 1
        return _Seconds(since, until, _with_id(self._list(since=since, until=until, order_by=order_by)))

    # What they tell.

    def _api(self) -> Said:
        now = datetime.fromtimestamp(self._client.clock.time(), timezone.utc)
        self._params = {"since": unix_floor(now - SPAN), "until": unix_ceil(now + AHEAD)}
        self._rows = self._list(**self._params).rows
        found = f"the token opens the page; {len(self._rows)} conversations in the first batch"
        if not self._rows:
            self._params = {}
            self._rows = self._list().rows
            found = "the token opens the page; no conversation has changed in the last 30 days"
        return _ok(found)

    def _row_shape(self) -> Said:
        if not self._rows:
            return _undecided("the page has no conversations")
        useless = [row for row in self._rows if not _is_usable(row)]
        if useless:
            return _error(
                f"{len(useless)} of {len(self._rows)} conversations have no `id` or no readable `updated_at`",
                "The API has changed, or a proxy answers: check `sources.pancake.base_url`.",
            )
        names = {name for row in self._rows for name in row}
        if names & _WIDE:
            return _ok("wide rows, as live accounts send them")
        if names & _SIMPLE:
            return _ok("simple rows, as the article shows them")
        return _warning(
            "neither the wide rows of live accounts nor the simple ones of the article",
            "They can be loaded; fields without a column are in `extra`.",
        )

    def _stamps(self) -> Said:
        values = [row[name] for row in self._rows for name in (UPDATED_AT, INSERTED_AT) if row.get(name)]
        if not values:
            return _undecided("the page has no conversations")
        unreadable = sum(parse_stamp(value) is None for value in values)
        if unreadable:
            return _warning(
                f"{unreadable} of {len(values)} stamps cannot be read",
                "They are kept in `extra`, and the column stays empty.",
            )
        kinds = sorted({_kind(value) for value in values})
        return _ok(" and ".join(kinds))

    def _future(self) -> Said:
        stamps = _stamps_of(self._rows, UPDATED_AT)
        if not stamps:
            return _undecided("the page has no conversations")
        ahead_s = max(stamps).timestamp() - self._client.clock.time()
        if ahead_s <= FUTURE_S:
            return _ok("the newest change does not lie in the future")
        return _warning(
            f"the newest change lies {_duration(ahead_s)} in the future",
            "Set this machine's clock. If it is right, this account's stamps are not UTC, and all times in"
            " the warehouse are off by hours.",
        )

    def _order(self) -> Said:
        stamps = _stamps_of(self._rows, UPDATED_AT)
        if len(set(stamps)) < 2:  # noqa: PLR2004
            return _undecided("the page has fewer than two conversations that differ in `updated_at`")
        if stamps == sorted(stamps, reverse=True):
            return _ok("conversations come newest change first")
        return _error(
            "conversations do not come newest change first",
            "Do not rely on a sync of this page: it reads windows by that order. Report it.",
        )

    def _window(self) -> Said:
        filtered = self._filtered_field(UPDATED_AT)
        if isinstance(filtered, tuple):
            return filtered
        if filtered == UPDATED_AT:
            return _ok("`since` and `until` filter `updated_at`")
        if filtered == INSERTED_AT:
            return _error(
                "`since` and `until` filter `inserted_at`, although `order_by` is `updated_at`",
                "A sync would miss what changes in conversations that began earlier. Report it.",
            )
        return _error(
            "`since` and `until` are not heeded",
            "A sync would read the whole page each time, or fail. Check `sources.pancake.base_url`.",
        )

    def _range_window(self) -> Said:
        filtered = self._filtered_field(INSERTED_AT)
        if isinstance(filtered, tuple):
            return filtered
        if filtered == INSERTED_AT:
            return _ok("with `order_by=inserted_at` they filter `inserted_at`")
        return _warning(
            f"with `order_by=inserted_at` they filter {f'`{filtered}`' if filtered else 'nothing'}",
            "A sync is not concerned. Do not load a range with `order_by=inserted_at`.",
        )

    def _filtered_field(self, order_by: str) -> str | Said:
        """Return the field that `since` and `until` filter, empty if none, or why that cannot be told."""
        for row in reversed(self._rows):  # the oldest is the least likely to change now
            changed, began = parse_stamp(row.get(UPDATED_AT)), parse_stamp(row.get(INSERTED_AT))
            if changed and began and changed - began > APART:
                break
        else:
            return _undecided("no conversation began some time before it last changed")
        at_change, at_begin = self._around(changed, order_by), self._around(began, order_by)
        in_change, in_begin = row["id"] in at_change.ids, row["id"] in at_begin.ids
        if in_change and at_change.holds_all(UPDATED_AT) and at_begin.holds_all(UPDATED_AT):
            return UPDATED_AT
        if in_begin and at_change.holds_all(INSERTED_AT) and at_begin.holds_all(INSERTED_AT):
            return INSERTED_AT
        if in_change or in_begin:
            return ""
        return _undecided(
            "a conversation was found under neither of its stamps; it changed meanwhile, or stamps without a"
            " zone are not UTC here",
            _AGAIN,
        )

    def _since_alone(self) -> Said:
        stamps = _stamps_of(self._rows, UPDATED_AT)
        if not stamps:
            return _undecided("the page has no conversations")
        since = unix_floor(max(stamps))  # so that older rows show when it is not heeded
        try:
            rows = self._list(since=since).rows
        except PancakeRequestError:
            return _ok("`since` without `until` is refused; a sync always sends both")
        except PancakeTransientError as error:
            return _undecided(refused(error)[1], _AGAIN)
        if any(stamp.timestamp() < since - 1 for stamp in _stamps_of(rows, UPDATED_AT)):
            return _ok("`since` without `until` is not heeded; a sync always sends both")
        return _ok("`since` without `until` is allowed; a sync always sends both")

    def _list_batches(self) -> Said:
        if not self._rows:
            return _undecided("the page has no conversations")
        first = len(self._rows)
        oldest = min(_stamps_of(self._rows, UPDATED_AT))
        rows = _with_id(self._list(**self._params, last_conversation_id=str(self._rows[-1]["id"])))
        fresh = [row for row in rows if row["id"] not in _ids(self._rows)]
        if any(stamp <= oldest for stamp in _stamps_of(fresh, UPDATED_AT)):
            if first >= settings.CONVERSATIONS_PER_BATCH:
                return _ok(f"{first} conversations in a batch")
            return _warning(
                f"a batch of {first} conversations was followed by {len(rows)} more: batches vary in size",
                "Nothing is lost. Each window costs a call more.",
            )
        if rows:
            return _warning(
                "`last_conversation_id` brought nothing older: it is not heeded, or the list just changed",
                "Nothing is lost: a sync goes on by `until`. If it stays so, each batch costs a call more.",
            )
        if first >= settings.CONVERSATIONS_PER_BATCH:
            return _ok(f"{first} conversations in a batch")
        return _undecided(f"there are only {first} conversations")

    def _thread(self) -> Iterator[tuple[str, Said]]:
        """Read the first two batches of the thread that is likely to be the longest."""
        names = ("message_order", "message_batches")
        candidates = sorted(self._rows, key=_likely_length, reverse=True)[:2]
        if not candidates:
            yield from ((name, _undecided("the page has no conversations")) for name in names)
            return
        failed: PancakeError | None = None
        for row in candidates:
            try:
                batches = self._two_batches(str(row["id"]))
            except PancakeError as error:  # it may have been deleted meanwhile, but hardly both
                failed = error
                continue
            yield "message_order", _message_order(batches)
            yield "message_batches", self._said_by(lambda: self._message_batches(str(row["id"]), *batches))  # noqa: B023
            return
        assert failed is not None  # noqa: S101
        yield from ((name, refused(failed)) for name in names)

    def _two_batches(self, conversation_id: str) -> tuple[list[Row], list[Row]]:
        first = self._messages(conversation_id, 0)
        return first, self._messages(conversation_id, len(first)) if first else []

    def _messages(self, conversation_id: str, count: int) -> list[Row]:
        return _with_id(self._ask(MESSAGES, {"current_count": count}, conversation_id=conversation_id))

    def _message_batches(self, conversation_id: str, first: list[Row], second: list[Row]) -> Said:
        if not first:
            return _undecided("the thread that was read holds no messages")
        if second and _ids(second) <= _ids(first):
            if _ids(self._messages(conversation_id, 0)) == _ids(second):
                return _error(
                    "`current_count` is not heeded: the newest messages come again and again",
                    "Threads longer than one batch cannot be read to their end. Report it.",
                )
            return _undecided("messages came meanwhile", _AGAIN)
        if not second:
            return _undecided(f"a thread of {len(first)} messages came in one batch")
        if len(first) >= settings.MESSAGES_PER_FIRST_BATCH:
            return _ok(f"{len(first)} messages in the first batch of a thread, {len(second)} in the second")
        return _warning(
            f"a batch of {len(first)} messages was followed by {len(second)} more: batches vary in size",
            "Nothing is lost. Each thread costs a call more.",
        )

    # What all calls together tell.

    def _clock(self) -> Said:
        if not self._skews:
            return _undecided("no reply carried the server's time")
        least, most = max(low for low, _ in self._skews), min(high for _, high in self._skews)
        skew_s = 0.0 if least <= 0 <= most else min(least, most, key=abs)
        if abs(skew_s) <= SKEW_WARNING_S:
            return _ok(f"this machine's clock and the server's agree within {SKEW_WARNING_S:g} s")
        where = "behind" if skew_s > 0 else "ahead of"
        said = _error if abs(skew_s) > self._lag_s else _warning
        return said(
            f"this machine's clock is {_duration(abs(skew_s))} {where} the server's",
            f"Set it by NTP. Beyond `lag_s` ({self._lag_s:g} s) a second change within the same second can be"
            " missed.",
        )

    def _latency(self) -> Said:
        if not self._took_s:
            return _undecided("no call was answered")
        usual, worst = median(self._took_s), max(self._took_s)
        found = f"{1000 * usual:.0f} ms at the median, {1000 * worst:.0f} ms at worst"
        rate = self._client.throttle.requests_per_second
        needed = rate * usual
        if needed <= self._workers:
            return _ok(found)
        return _warning(
            f"{found}: {self._workers} workers reach {self._workers / usual:.1f} calls/s of {rate:g}",
            f"Set `sources.pancake.workers` to {int(needed) + 1}.",
        )

    def _rate(self) -> Said:
        tally = self._client.tally
        calls = sum(tally.calls.values())
        found = f"{calls} calls, {tally.retries} of them repeated, {tally.rate_limited} × 429"
        if tally.rate_limited:
            return _warning(
                found,
                "Other tools read this page, or its limit is lower than documented: lower"
                " `sources.pancake.requests_per_second`.",
            )
        if tally.retries:
            return Level.WARNING, found, "Network or server are unsteady. A sync repeats such calls."
        return _ok(found)


@dataclass(frozen=True)
class _Seconds:
    """What was listed between two unix seconds."""

    since: int
    until: int
    rows: list[Row]

    @property
    def ids(self) -> set[Any]:
        return _ids(self.rows)

    def holds_all(self, name: str) -> bool:
        return all(self.since <= stamp.timestamp() < self.until + 1 for stamp in _stamps_of(self.rows, name))


def _is_usable(row: Any) -> bool:
    if not isinstance(row, dict) or parse_stamp(row.get(UPDATED_AT)) is None:
        return False
    return isinstance(row.get("id"), str | int) and row["id"] != ""


def _with_id(batch: Batch) -> list[Row]:
    return [row for row in batch.rows if isinstance(row, dict) and row.get("id")]


def _ids(rows: Sequence[Row]) -> set[Any]:
    return {row["id"] for row in rows}


def _stamps_of(rows: Sequence[Row], name: str) -> list[datetime]:
    return [stamp for row in rows if (stamp := parse_stamp(row.get(name)))]


def _kind(value: str) -> str:
    if value.endswith("Z"):
        return "stamps with `Z`"
    return "stamps with an offset" if _OFFSET.search(value) else "stamps without a zone, which mean UTC"


def _likely_length(row: Row) -> tuple[int, timedelta]:
    count, began = row.get("message_count"), parse_stamp(row.get(INSERTED_AT))
    changed = parse_stamp(row.get(UPDATED_AT))
    lasted = changed - began if changed and began else timedelta()
    return count if isinstance(count, int) else 0, lasted


def _message_order(batches: tuple[list[Row], list[Row]]) -> Said:
    stamps = _stamps_of(max(batches, key=len), INSERTED_AT)
    if len(set(stamps)) < 2:  # noqa: PLR2004
        return _undecided("the thread that was read has fewer than two messages that differ in time")
    if stamps == sorted(stamps):
        return _ok("messages come oldest first inside a batch")
    if stamps == sorted(stamps, reverse=True):
        return _ok("messages come newest first inside a batch")
    return _ok("messages come in no order inside a batch, which a sync does not need")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 2 * 60 * 60 else f"{seconds / 3600:.1f} h"
