"""The table `messages`: the threads of the conversations that were listed."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta, timezone
from math import ceil
from typing import Any

import dlt
from dlt.extract import DltResource

from .. import endpoints, settings
from ..arrow import in_arrow
from ..errors import (
    PancakeAccessError,
    PancakeRequestError,
    PancakeShapeError,
    PancakeTransientError,
    PancakeWalkError,
)
from ..guard import guarded, guarded_beside
from ..page_run import PageRun
from ..paginators import EndOfList, ThreadEnd, read_thread
from ..records import Batch, Row, parse_stamp, shape
from ..schema import COVERAGE, MESSAGES, Table
from ..workers import side_by_side
from .coverage import COMPLETE, FAILED, PARTIAL, Coverage, Ledger, WarehouseLedger

Part = tuple[Table, list[Row]]

_ONE_THREAD_FAILED = (
    PancakeAccessError,
    PancakeRequestError,
    PancakeShapeError,
    PancakeTransientError,
    PancakeWalkError,
)
_ROWS_PER_YIELD = 1_000
_JUST_BEFORE = timedelta(microseconds=1)


def messages(
    parent: DltResource,
    run: PageRun,
    *,
    tail_s: float,
    lag_s: float,
    workers: int,
    whole: bool,
    repair: bool,
    name: str = MESSAGES.name,
) -> DltResource:
    """One row per message of every conversation that `parent` lists, and of threads left over from before.

    Beside them it writes the ledger `conversation_coverage`, in the same load.

    Args:
        parent: The conversations.
        run: The page.
        tail_s: How far before its mark a changed thread is read again, in seconds.
        lag_s: Span before the newest mark of the page, and before the last read of a thread, in which an
            unchanged thread is read again, in seconds: another message with the stamp of its mark may hide.
        workers: Threads read side by side.
        whole: Read every thread to its end, whatever is known of it.
        repair: Read also the threads that earlier runs left over.
        name: Name of the resource; the tables are always `messages` and `conversation_coverage`.
    """
    resource = dlt.transformer(
        _messages,
        data_from=parent,
        name=name,
        table_name=MESSAGES.name,
        primary_key=list(MESSAGES.key),
        write_disposition="merge",
        columns=MESSAGES.hints(),
        parallelized=True,
    )
    reader = Reader(run, tail_s, lag_s, workers, whole, repair=repair)
    return in_arrow(resource(run, reader), MESSAGES, COVERAGE)


def _messages(batch: list[Row], run: PageRun, reader: Reader) -> Iterator[Any]:
    state = dlt.current.resource_state()
    reader.metrics = dlt.current.resource_metrics()
    yield from run.threads_turn()
    try:
        if not reader.opened:
            parts = reader.open(reader.ledger, state)
            yield guarded(MESSAGES)
            yield from guarded_beside(COVERAGE)
            yield from (dlt.mark.with_table_name(rows, table.name) for table, rows in parts)
        parts = reader.read(batch, reader.ledger, state)
        yield from (dlt.mark.with_table_name(rows, table.name) for table, rows in parts)
    finally:
        run.end_turn()


@dataclass
class Visit:
    """One thread to be read.

    Args:
        known: What the ledger holds of it.
        floor: Read back to here; None reads to the end.
    """

    known: Coverage
    floor: datetime | None


class Reader:
    """Reads the threads of one page during one run.

    Args:
        run: The page.
        tail_s: See `messages`.
        lag_s: See `messages`.
        workers: See `messages`.
        whole: See `messages`.
        repair: See `messages`.
    """

    def __init__(
        self,
        run: PageRun,
        tail_s: float,
        lag_s: float,
        workers: int,
        whole: bool,
        *,
        repair: bool = True,
    ) -> None:
        self.metrics: dict[str, Any] = {}
        self.opened = False
        self.ledger: Ledger = WarehouseLedger(run.client.page_id)
        self._run = run
        self._client = run.client
        self._tail = timedelta(seconds=tail_s)
        self._lag = timedelta(seconds=lag_s)
        self._workers = workers
        self._whole = whole
        self._repairs = repair
        self._end = EndOfList()
        self._newest_mark: datetime | None = None
        self._repaired: dict[str, Coverage] = {}
        self._failed_in_a_row = 0
        self._lock = threading.Lock()

    def open(self, ledger: Ledger, state: dict[str, Any]) -> Iterator[Part]:
        """Begin a run, and return what yields the rows, by table, of the threads that the last ones left."""
        self.opened = True
        self._end = EndOfList(**state.get("end_of_thread", {}))
        self.metrics.update(
            dict.fromkeys(
                (
                    "conversations_new",
                    "conversations_changed",
                    "messages_new",
                    "messages_read",
                    "threads_complete",
                    "threads_partial",
                    "threads_failed",
                    "thread_calls",
                    "thread_calls_minimum",
                ),
                0,
            )
        )
        self._newest_mark = ledger.newest_message_at()
        due = ledger.due(unverified=self._end.uneven) if self._repairs else []
        return self._repair(due, state)

    def _repair(self, due: Sequence[Coverage], state: dict[str, Any]) -> Iterator[Part]:
        for table, rows in self._visit_all([self._again(known) for known in due]):
            if table is COVERAGE:
                self._repaired.update((row["conversation_id"], Coverage(**row)) for row in rows)
            yield table, rows
        state["end_of_thread"] = asdict(self._end)

    def read(self, batch: Sequence[Row], ledger: Ledger, state: dict[str, Any]) -> Iterator[Part]:
        """Read the threads of a batch of conversations as far as needed, and yield rows by table."""
        marks = {**ledger.marks([row["id"] for row in batch]), **self._repaired}
        visits = [self._plan(row, marks.get(row["id"])) for row in batch]
        yield from self._visit_all([visit for visit in visits if visit is not None])
        state["end_of_thread"] = asdict(self._end)

    def _plan(self, row: Row, known: Coverage | None) -> Visit | None:
        """Return how far to read a thread, or None when nothing in it can be new."""
        if known is None:
            self._count("conversations_new")
            known = Coverage(row["id"], row["page_id"])
        elif known.newest_message_at and _is_later(row["updated_at"], known.newest_message_at):
            self._count("conversations_changed")
        known = replace(known, message_count=row["message_count"])
        mark, changed_at = known.newest_message_at, row["updated_at"]
        if known.status != COMPLETE or mark is None:
            return self._again(known)
        near_cursor = self._newest_mark is None or _is_later(changed_at, self._newest_mark - self._lag)
        just_read = known.checked_at is None or _is_later(changed_at, known.checked_at - self._lag)
        if self._whole or near_cursor or just_read or _is_later(changed_at, mark):
            return self._again(known)
        return None

    def _again(self, known: Coverage) -> Visit:
        """Return a visit back to the mark: up to there the thread was once read completely."""
        doubtful = self._end.uneven and not known.end_verified
        newest, oldest = known.newest_message_at, known.oldest_message_at
        if self._whole or doubtful or newest is None or oldest is None:
            return Visit(known, None)
        floor = max(newest - self._tail, oldest)
        # Messages with the stamp of the mark may follow one another over several batches.
        return Visit(known, floor if floor < newest else floor - _JUST_BEFORE)

    def _visit_all(self, visits: Sequence[Visit]) -> Iterator[Part]:
        left = {visit.known.conversation_id: visit for visit in visits}
        buffers: dict[str, tuple[Table, list[Row]]] = {}
        with self._run.errors_kept(self.metrics):
            for table, rows in side_by_side(self._jobs(visits), self._workers):
                if table is COVERAGE:
                    for row in rows:
                        left.pop(row["conversation_id"], None)
                _, buffer = buffers.setdefault(table.name, (table, []))
                buffer.extend(rows)
                if len(buffer) >= _ROWS_PER_YIELD:
                    yield buffers.pop(table.name)
        yield from buffers.values()
        if left:
            yield COVERAGE, [self._left(visit) for visit in left.values()]

    def _jobs(self, visits: Iterable[Visit]) -> Iterator[Iterator[Part]]:
        for visit in visits:
            yield iter([(COVERAGE, [self._left(visit)])]) if self._run.is_over() else self._visit(visit)

    def _left(self, visit: Visit) -> Row:
        self._count("threads_partial")
        return replace(visit.known, status=PARTIAL, checked_at=self._now()).row()

    def _visit(self, visit: Visit) -> Iterator[Part]:
        """Read one thread and yield its messages, then its row of the ledger."""
        known = visit.known
        began = self._now()
        read = _Read(known)
        calls = 0

        def fetch(count: int) -> Batch:
            nonlocal calls
            calls += 1
            return self._client.get(
                endpoints.MESSAGES, {"current_count": count}, conversation_id=known.conversation_id
            )

        error = ""
        batches = read_thread(fetch, floor=visit.floor, end=self._end, message_count=known.message_count)
        end: ThreadEnd | None = None
        try:
            while end is None:
                try:
                    batch = next(batches)
                except StopIteration as stopped:
                    end = stopped.value
                    break
                read.note(batch)
                yield MESSAGES, [self._shape(row, known, batch.sent_at) for row in batch.rows]
        except _ONE_THREAD_FAILED as exc:
            error = type(exc).__name__
        self._count("thread_calls", calls)
        self._count("messages_new", read.new)
        self._count("messages_read", read.messages)
        if end is None:
            self._failed(known, error)
            yield COVERAGE, [known.unread(FAILED, error, began).row()]
            return
        self._failed_in_a_row = 0
        self._count("threads_complete")
        least = ceil((read.messages - 1) / (settings.MESSAGES_PER_BATCH - 1))
        self._count("thread_calls_minimum", max(1, least))
        yield COVERAGE, [read.coverage(end, began).row()]

    def _shape(self, row: Row, known: Coverage, sent_at: datetime) -> Row:
        shaped = shape(row, MESSAGES, known.page_id, sent_at)
        shaped["conversation_id"] = shaped["conversation_id"] or known.conversation_id
        return shaped

    def _failed(self, known: Coverage, error: str) -> None:
        self._count("threads_failed")
        if known.status == FAILED:
            return
        with self._lock:
            self._failed_in_a_row += 1
            failed = self._failed_in_a_row
        if failed >= settings.FAILURES_IN_A_ROW:
            raise PancakeShapeError(
                f"{failed} threads failed one after the other, the last with {error}. This is no matter of"
                " single threads, so the page is given up for now and nothing of this run is marked.",
                str(endpoints.MESSAGES),
            )

    def _count(self, name: str, by: int = 1) -> None:
        with self._lock:
            self.metrics[name] += by

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._client.clock.time(), timezone.utc)


def _is_later(stamp: datetime | None, than: datetime | None) -> bool:
    return stamp is not None and (than is None or stamp > than)


class _Read:
    """What one visit read."""

    def __init__(self, known: Coverage) -> None:
        self._known = known
        self._newest = known.newest_message_at
        self._oldest = known.oldest_message_at
        self.messages = 0
        self.new = 0

    def note(self, batch: Batch) -> None:
        mark = self._known.newest_message_at
        self.messages += len(batch.rows)
        for row in batch.rows:
            stamp = parse_stamp(row.get("inserted_at"))
            if stamp is None:
                continue
            self._newest = stamp if self._newest is None else max(self._newest, stamp)
            self._oldest = stamp if self._oldest is None else min(self._oldest, stamp)
            self.new += mark is None or stamp > mark

    def coverage(self, end: ThreadEnd, checked_at: datetime) -> Coverage:
        known = self._known
        return replace(
            known,
            status=COMPLETE,
            end_verified=end.verified if end.reached_end else known.end_verified,
            newest_message_at=self._newest,
            oldest_message_at=self._oldest,
            messages_read=self.messages if end.reached_end else known.messages_read + self.new,
            attempts=0,
            last_error=None,
            checked_at=checked_at,
        )
