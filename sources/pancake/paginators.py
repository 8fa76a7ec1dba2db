"""Reading a list to its end, although it changes meanwhile. Knows a `fetch` callable, never a client."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from itertools import count

from . import endpoints, settings
from .errors import PancakeRequestError, PancakeShapeError, PancakeTransientError, PancakeWalkError
from .records import Batch, Row, parse_stamp, row_id
from .windows import Window, unix_ceil, unix_floor

FetchList = Callable[[dict[str, str | int]], Batch]
FetchThread = Callable[[int], Batch]

_MESSAGES = str(endpoints.MESSAGES)
_CONVERSATIONS = str(endpoints.CONVERSATIONS)
_BEFORE_ALL = datetime.min.replace(tzinfo=timezone.utc)


@dataclass
class EndOfList:
    """What was learned of an account: may a short batch be taken for the last one?

    A short batch is checked by one more call until enough of them were truly last; then it is trusted, except
    every 50th. One that was not last ends the trust for good.

    Args:
        checks: Checked batches that were truly last.
        checked_rows: Rows that they held together; each was a chance to be cut off.
        trusted: Batches taken for the last one since the last check.
        uneven: Whether a short batch was once followed by more.
        full_first: Largest first batch of a list so far.
        full_later: Largest later batch so far.
    """

    checks: int = 0
    checked_rows: int = 0
    trusted: int = 0
    uneven: bool = False
    full_first: int = 0
    full_later: int = 0

    @property
    def even(self) -> bool:
        """Whether this account's batches are known to be full unless they are the last."""
        proven = self.checks >= settings.END_CHECKS and self.checked_rows >= settings.END_CHECK_MESSAGES
        return proven and not self.uneven

    def note_size(self, rows: int, *, first: bool) -> None:
        """Remember the size of a batch."""
        if first:
            self.full_first = max(self.full_first, rows)
        else:
            self.full_later = max(self.full_later, rows)

    def is_short(self, rows: int, *, first: bool, at_least: int) -> bool:
        """Tell whether a batch is smaller than batches of its place in a list can be."""
        return rows < max(at_least, self.full_first if first else self.full_later)

    @property
    def trusts(self) -> bool:
        """Whether the next short batch is taken for the last one."""
        return self.even and self.trusted < settings.END_CHECK_EVERY

    def trust(self) -> bool:
        """Decide on a short batch: True takes it for the last one, False asks for one more."""
        if not self.trusts:
            return False
        self.trusted += 1
        return True

    def was_last(self, rows: int) -> None:
        """Record that a checked short batch was truly the last."""
        self.checks += 1
        self.checked_rows += rows
        self.trusted = 0

    def was_not_last(self) -> None:
        """Record that more came after a short batch."""
        self.uneven = True


@dataclass(frozen=True)
class Listed:
    """One row of a list, in the newest version seen.

    Args:
        row: As sent.
        stamp: Value of the field by which the list is ordered, aware UTC.
        sent_at: When the call that gave it was sent.
    """

    row: Row
    stamp: datetime | None
    sent_at: datetime


@dataclass
class Walk:
    """What walking a window gave.

    Args:
        rows: By id.
        complete: Whether the end was reached; otherwise the window held too much.
    """

    rows: dict[str, Listed] = field(default_factory=dict)
    complete: bool = False

    @property
    def oldest(self) -> datetime | None:
        """Oldest stamp of the rows; the walk has read all that is newer."""
        return min((listed.stamp for listed in self.rows.values() if listed.stamp), default=None)

    def ascending(self) -> list[Listed]:
        """Return the rows, oldest stamp first, those without a stamp before all others."""
        return sorted(self.rows.values(), key=lambda listed: listed.stamp or _BEFORE_ALL)


def walk_window(
    fetch: FetchList,
    window: Window,
    *,
    order_by: str,
    end: EndOfList,
    max_rows: int | None = None,
    ordered: bool = True,
) -> Walk:
    """Read one window of the conversations list to its end.

    The list comes newest first and is continued by the id of its last row. That row may move or vanish
    meanwhile, so nothing that the server answers to it is the end: the walk ends when a call without it, with
    `until` at the oldest stamp seen, brings nothing new. It must still show the row after which there was
    nothing, unless it is short itself and short batches of this account are known to be the last.

    Args:
        fetch: Asks for one batch; takes query parameters.
        window: What to read.
        order_by: Field by which the server orders and filters.
        end: What is known of this account's batches; learns.
        max_rows: Stop, incomplete, when the window holds more.
        ordered: Whether the list is in the order of its stamps. If not, the walk cannot go on from a stamp:
            it ends at an empty batch and fails on a repeated one.

    Raises:
        PancakeWalkError: The walk made no progress over several calls.
        PancakeError: What `fetch` raises, except on a call that continues from a row.
    """
    return _WindowWalk(fetch, window, order_by, end, max_rows, ordered).run()


def walk_numbered(fetch: FetchList, *, order_by: str, endpoint: str, max_rows: int | None = None) -> Walk:
    """Read a list by page number, from the first page to an empty one.

    A row that leaves the list meanwhile moves the rest up, over the edge between two pages, where it is not
    seen. The list's `total` tells, and the list is read again.

    Args:
        fetch: Asks for one page; takes query parameters.
        order_by: Field whose stamp the rows are given.
        endpoint: For messages.
        max_rows: Stop, incomplete, when the list holds more.

    Raises:
        PancakeShapeError: A page came twice in a row, so the number is not heeded.
        PancakeWalkError: The list shrank during each of several walks.
        PancakeError: What `fetch` raises.
    """
    walk = Walk()
    for _ in range(settings.MAX_STALLED_STEPS):
        totals: list[int] = []
        before: set[str] = set()
        for number in count(1):
            batch = fetch({"page_number": number})
            totals += [found for found in [batch.body.get("total")] if isinstance(found, int)]
            if not batch.rows:
                break
            rows = {row_id(row, endpoint): row for row in batch.rows}
            if rows.keys() == before:
                raise PancakeShapeError(
                    f"`GET {endpoint}` gave page {number - 1} again as page {number}, so its end cannot be"
                    " found. This is not the end of the data, so nothing is taken for read.",
                    endpoint,
                )
            before = set(rows)
            for key, row in rows.items():
                walk.rows[key] = Listed(row, parse_stamp(row.get(order_by)), batch.sent_at)
            if max_rows is not None and len(walk.rows) > max_rows:
                return walk
        if totals == sorted(totals):
            walk.complete = True
            return walk
    raise PancakeWalkError(
        f"The list of `GET {endpoint}` shrank during each of {settings.MAX_STALLED_STEPS} walks, so rows may"
        " be missing. Run again later, at a quieter time.",
        endpoint,
    )


class _ChainEnd(Enum):
    """How a chain of calls, each continuing from the last row of the one before, came to its end."""

    END = "nothing new, and no more"
    CUT = "to be continued from the oldest stamp"
    FULL = "more rows than wanted"


class _WindowWalk:
    def __init__(
        self,
        fetch: FetchList,
        window: Window,
        order_by: str,
        end: EndOfList,
        max_rows: int | None,
        ordered: bool,
    ) -> None:
        self._fetch = fetch
        self._order_by = order_by
        self._end = end
        self._max_rows = max_rows
        self._ordered = ordered
        # One second earlier, since whether the bound is included is not documented.
        self._since = unix_floor(window.since) - 1
        self._anchor = unix_ceil(window.until)
        self._walk = Walk()
        self._oldest: datetime | None = None
        self._newest: datetime | None = None
        self._found_new = False  # in the present chain
        self._nothing_after: str | None = None  # the row to which the last empty batch was the answer
        self._checking: int | None = None  # size of a short batch that may have been the last
        self._stalled = 0

    def run(self) -> Walk:
        while (outcome := self._chain()) is _ChainEnd.CUT:
            self._anchor_anew()
        self._walk.complete = outcome is _ChainEnd.END
        return self._walk

    def _chain(self) -> _ChainEnd:
        """Make one call without a cursor, and follow it as far as cursors lead."""
        cursor: str | None = None
        used: set[str] = set()
        self._found_new = False
        while True:
            batch = self._ask(cursor)
            if batch is None:
                return _ChainEnd.CUT
            fresh = self._take(batch)
            if self._max_rows is not None and len(self._walk.rows) > self._max_rows:
                return _ChainEnd.FULL
            if self._is_before_window(batch) or self._shows_end(batch):
                return self._at_end()
            if not batch.rows:
                return self._at_empty_batch(cursor)
            if len(batch.rows) < settings.CONVERSATIONS_PER_BATCH and self._ordered:
                end = self._at_short_batch(len(batch.rows), fresh > 0, cursor)
                if end is not None:
                    return end
            cursor = row_id(batch.rows[-1], _CONVERSATIONS)
            if cursor in used:
                return _ChainEnd.CUT
            used.add(cursor)

    def _ask(self, cursor: str | None) -> Batch | None:
        """Return a batch, or None when the server failed on the row to continue from."""
        params: dict[str, str | int] = {
            "since": self._since,
            "until": self._anchor,
            "order_by": self._order_by,
        }
        if cursor is None:
            return self._fetch(params)
        try:
            return self._fetch({**params, "last_conversation_id": cursor})
        except (PancakeTransientError, PancakeRequestError):
            return None

    def _take(self, batch: Batch) -> int:
        """Keep the newest version of each row and return how many ids are new."""
        fresh = 0
        goes_on = False
        reached = self._oldest
        for row in batch.rows:
            key = row_id(row, _CONVERSATIONS)
            stamp = parse_stamp(row.get(self._order_by))
            known = self._walk.rows.get(key)
            fresh += known is None
            goes_on = goes_on or (known is None and self._is_older(stamp, reached))
            if known is None or (stamp or _BEFORE_ALL) >= (known.stamp or _BEFORE_ALL):
                self._walk.rows[key] = Listed(row, stamp, batch.sent_at)
            if stamp is not None:
                self._oldest = stamp if self._oldest is None else min(self._oldest, stamp)
                self._newest = stamp if self._newest is None else max(self._newest, stamp)
        self._found_new = self._found_new or fresh > 0
        if self._checking is not None and goes_on:
            self._end.was_not_last()
            self._checking = None
        return fresh

    def _is_older(self, stamp: datetime | None, reached: datetime | None) -> bool:
        """Tell whether a new row lies at or below what was reached, and did not just come at the top."""
        return bool(stamp and reached and self._newest and stamp <= reached and stamp < self._newest)

    def _is_before_window(self, batch: Batch) -> bool:
        """Tell whether the server has gone on below `since`, which it should not."""
        stamps = [parse_stamp(row.get(self._order_by)) for row in batch.rows]
        return bool(stamps) and all(stamp and stamp.timestamp() < self._since for stamp in stamps)

    def _shows_end(self, batch: Batch) -> bool:
        """Tell whether the row after which nothing came is still there, and nothing new before it."""
        ids = (row_id(row, _CONVERSATIONS) for row in batch.rows)
        return not self._found_new and self._nothing_after is not None and self._nothing_after in ids

    def _at_short_batch(self, rows: int, fresh: bool, cursor: str | None) -> _ChainEnd | None:
        if fresh:
            self._checking = rows
            return _ChainEnd.CUT if self._end.trusts else None
        return _ChainEnd.END if cursor is None and self._end.trust() else None

    def _at_empty_batch(self, cursor: str | None) -> _ChainEnd:
        if cursor is None or not self._ordered:
            return self._at_end()
        self._nothing_after = cursor
        return _ChainEnd.CUT

    def _at_end(self) -> _ChainEnd:
        if self._checking is not None:
            self._end.was_last(self._checking)
        return _ChainEnd.END

    def _anchor_anew(self) -> None:
        anchor = self._anchor if self._oldest is None else min(self._anchor, unix_floor(self._oldest) + 1)
        self._stalled = 0 if self._found_new or anchor < self._anchor else self._stalled + 1
        self._anchor = anchor
        if self._stalled > settings.MAX_STALLED_STEPS or not self._ordered:
            raise PancakeWalkError(
                "The list of conversations repeats itself: no call brings anything new, and none says that"
                " this is the end. It is not taken for read. Run again; if it persists, the server ignores"
                " `until` or `last_conversation_id`.",
                _CONVERSATIONS,
            )


@dataclass(frozen=True)
class ThreadEnd:
    """How reading a thread ended.

    Args:
        reached_end: Whether it was read to its oldest message, rather than to its mark.
        verified: Whether a further call proved that end.
    """

    reached_end: bool
    verified: bool


def read_thread(
    fetch: FetchThread,
    *,
    floor: datetime | None,
    end: EndOfList,
    message_count: int | None,
) -> Generator[Batch, None, ThreadEnd]:
    """Yield the messages of one thread, newest batch first, each message once.

    The API skips as many of the newest messages as `current_count` says. Each call asks once more for one
    known message: if it is not there, messages above it were removed meanwhile, and the walk steps back. What
    is asked for without a known message, as the empty batch after the last one, counts only when a further
    call shows that known message still in its place.

    Args:
        fetch: Asks for one batch; takes `current_count`.
        floor: Stop at a batch that holds a message at or before this; None reads to the end.
        end: What is known of this account's batches; learns.
        message_count: Messages as the conversation counts them, if it does.

    Returns:
        How the reading ended.

    Raises:
        PancakeWalkError: The thread made no progress over several calls.
        PancakeShapeError: The server ignores `current_count`.
        PancakeError: What `fetch` raises.
    """
    walk = _ThreadWalk(end, message_count)
    while walk.outcome is None:
        fresh = walk.take(fetch(walk.count))
        if fresh.rows:
            yield fresh
            if floor is not None and _reached(floor, fresh):
                return ThreadEnd(reached_end=False, verified=False)
    return walk.outcome


class _ThreadWalk:
    """Decides, batch by batch, what is new and where to go on."""

    def __init__(self, end: EndOfList, message_count: int | None) -> None:
        self.count = 0
        self.outcome: ThreadEnd | None = None
        self._end = end
        self._message_count = message_count or 0
        self._known: set[str] = set()
        self._joined: set[str] = set()  # known, and read without a gap since the walk was last at the top
        self._deepest: set[str] = set()  # of the batch before, what may have been its last
        self._newest: tuple[datetime, set[str]] | None = None
        self._oldest: tuple[datetime, set[str]] | None = None
        self._overlaps = False  # the next batch must show a joined message
        self._held: Batch | None = None  # showed none and need not; counts if the last one is still in place
        self._restarted = False  # the newest messages are asked for again
        self._disturbed = False  # messages came or went meanwhile
        self._checking: int | None = None  # size of a short batch that may have been the last
        self._stalled = 0

    def take(self, batch: Batch) -> Batch:
        """Return the new rows of a batch, or of the one held before it, and set `count` or `outcome`."""
        nothing = Batch([], batch.sent_at)
        rows = _by_id(batch)
        if self.count == 0 and self._held is None:
            self._joined.clear()
        elif self._joined.isdisjoint(rows) and self.count + self._overlaps > 0:
            if self._overlaps:
                self._step_back(len(rows))
                return nothing
            if rows or not self._is_proven():
                self._held, self._overlaps = batch, True
                self.count -= 1
                return nothing
        elif self._held is not None:
            if rows.keys() <= self._known and not self._deepest.isdisjoint(rows):
                batch, rows = self._held, _by_id(self._held)
                self.count += 1
            self._held = None
        self._joined.update(rows)
        self._deepest = _oldest_of(rows) or self._deepest
        fresh = {key: row for key, row in rows.items() if key not in self._known}
        if fresh:
            self._consume(rows, fresh)
        else:
            self._at_nothing_new(rows)
        return Batch(list(fresh.values()), batch.sent_at)

    def _is_proven(self) -> bool:
        """Tell whether a batch that ends with the last known message can be taken for the end."""
        return self._end.even and not self._disturbed

    def _consume(self, rows: dict[str, Row], fresh: dict[str, Row]) -> None:
        if self._checking is not None and self._goes_on_below(fresh):
            self._end.was_not_last()
        self._checking = None
        self._restarted = False
        self._known.update(fresh)
        self._note_ends(fresh)
        first = self.count == 0
        self._stalled = self._stalled if first else 0
        self._end.note_size(len(rows), first=first)
        if self._is_short(rows, first=first):
            counted_more = self._message_count > len(self._known)
            if not counted_more and not self._disturbed and self._end.trust():
                self.outcome = ThreadEnd(reached_end=True, verified=False)
                return
            self._checking = len(rows)
            if not self._end.uneven:
                self.count += len(rows)
                self._overlaps = False
                return
        self._advance(len(rows))

    def _at_nothing_new(self, rows: dict[str, Row]) -> None:
        at_oldest = self._oldest is None or not self._oldest[1].isdisjoint(rows)
        at_newest = self._newest is None or self._newest[1] <= rows.keys()
        if self._restarted and rows:
            raise PancakeShapeError(
                f"`GET {_MESSAGES}` gives the newest messages whatever `current_count` says. The thread"
                " cannot be read to its end.",
                _MESSAGES,
            )
        if rows and self.count > 0 and at_newest:
            # As many messages came meanwhile as were counted, or the count is ignored: the top tells.
            self._stall()
            self.count, self._overlaps, self._restarted = 0, False, True
        elif not rows or (at_oldest and self._is_proven() and self._is_short(rows, first=False)):
            if self._checking is not None:
                self._end.was_last(self._checking)
            self.outcome = ThreadEnd(reached_end=True, verified=True)
        else:
            self._advance(len(rows))

    def _is_short(self, rows: dict[str, Row], *, first: bool) -> bool:
        return self._end.is_short(len(rows), first=first, at_least=settings.MESSAGES_PER_FIRST_BATCH)

    def _step_back(self, rows: int) -> None:
        self._stall()
        self._held = None
        self.count = max(0, self.count - max(1, rows) * 4 ** (self._stalled - 1))
        self._overlaps = self.count > 0

    def _advance(self, rows: int) -> None:
        self.count += max(1, rows - 1)
        self._overlaps = rows > 1

    def _stall(self) -> None:
        self._disturbed = True
        self._stalled += 1
        if self._stalled > settings.MAX_STALLED_STEPS:
            raise PancakeWalkError(
                f"A thread changed under every one of {self._stalled} attempts to read on. It is read again"
                " by the next run.",
                _MESSAGES,
            )

    def _note_ends(self, fresh: dict[str, Row]) -> None:
        for key, row in fresh.items():
            stamp = _message_stamp(row)
            if stamp is None:
                continue
            if self._newest is None or stamp > self._newest[0]:
                self._newest = (stamp, set())
            if self._oldest is None or stamp < self._oldest[0]:
                self._oldest = (stamp, set())
            for ends_at, keys in (self._newest, self._oldest):
                if stamp == ends_at:
                    keys.add(key)

    def _goes_on_below(self, fresh: dict[str, Row]) -> bool:
        """Tell whether new messages lie at or below the oldest, and did not just come at the top."""
        if self._oldest is None or self._newest is None:
            return True
        oldest, newest = self._oldest[0], self._newest[0]
        stamps = map(_message_stamp, fresh.values())
        return any(stamp <= oldest and stamp < newest for stamp in stamps if stamp)


def _by_id(batch: Batch) -> dict[str, Row]:
    return {row_id(row, _MESSAGES): row for row in batch.rows}


def _oldest_of(rows: dict[str, Row]) -> set[str]:
    """Return the ids of the oldest messages, and of those without a stamp."""
    stamps = {key: _message_stamp(row) for key, row in rows.items()}
    oldest = min((stamp for stamp in stamps.values() if stamp), default=None)
    return {key for key, stamp in stamps.items() if stamp is None or stamp == oldest}


def _reached(floor: datetime, batch: Batch) -> bool:
    """Tell whether a batch holds a message at or before `floor`."""
    stamps = map(_message_stamp, batch.rows)
    return any(stamp <= floor for stamp in stamps if stamp is not None)


def _message_stamp(row: Row) -> datetime | None:
    return parse_stamp(row.get("inserted_at"))
