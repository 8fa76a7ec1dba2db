"""One life of a page and of the warehouse that follows it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import get_args

from sources.pancake import PancakeClient
from sources.pancake.errors import PancakeError
from sources.pancake.filters import Filters
from sources.pancake.page_run import PageRun
from sources.pancake.resources.conversations import now, windows_of_rows
from sources.pancake.resources.coverage import COMPLETE
from sources.pancake.resources.messages import Reader
from sources.pancake.settings import LAG_S
from sources.pancake.windows import Window
from tests.fake_pancake import (
    ARTICLE,
    LIVE,
    Call,
    Dialect,
    FakeAdapter,
    FakePage,
    FakePancake,
    FakeTime,
    Fault,
)
from tests.fake_pancake.dialect import LostCursor, MessageCount, MessageOrder, Stamps, Ties
from tests.fake_pancake.faults import FaultKind

from .changes import Changes
from .warehouse import Load, Warehouse

Trace = Callable[[str], None]
Stop = Callable[[], bool]
MakeLoad = Callable[[Stop], Load]

PASTS = (timedelta(days=4), timedelta(days=4), timedelta(hours=1))
SINCE = timedelta(days=10)  # how far back a first sync looks
SURELY_S = 0.001  # stamps are rounded to microseconds
LATE = 0.7  # chance that a backfill is committed later, and that it stays so for one more step
LOST_CURSOR = 0.1  # chance that the row to go on from moves or goes, before a call and after it
BROKEN_FOR = 0.5  # chance that a broken thread stays broken for one more step


def _never() -> bool:
    return False


class KilledError(Exception):
    """The process ends here."""


class World:
    """Everything that a seed decides.

    Args:
        seed: gives the same life again.
        trace: told of every call and change.

    Attributes:
        tally: what happened how often.
    """

    def __init__(self, seed: int, trace: Trace | None = None) -> None:
        self.tally: Counter[str] = Counter()
        self._trace = trace
        self._random = Random(seed)
        self._time = FakeTime()
        self._page = FakePage(dialect=_dialect(self._random), seed=seed, clock=self._time)
        self._changes = Changes(self._page, self._random)
        self._pancake = FakePancake([self._page], clock=self._time)
        self._warehouse = Warehouse()
        self._synced = 0.0  # when the last sync that was committed began
        self._late: list[Load] = []
        self._broken: list[Fault] = []
        self._start = self._time.now() - SINCE
        self._tail_s = self._random.choice((0.0, 0.0, 60.0, 3_600.0, 86_400.0))
        self._churn = self._random.choice((0.0, 0.1, 0.4, 0.9))  # changes per call
        self._faults = self._random.choice((0.0, 0.0, 0.02, 0.1))  # per call
        self._kill_in: int | None = None
        self._quiet = True
        self._pancake.before_call = self._before_call
        self._pancake.after_call = self._after_call

    def live(self) -> None:
        """Live from the first message to the last comparison.

        Raises:
            AssertionError: something was lost, or stands there twice or wrong.
        """
        with _random_seconds(self._random.random()):
            self._say(f"{self._page.dialect}")
            size = self._random.choice((5, 15, 15, 30, 80))
            longest = self._random.choice((3, 35, 70)) if size < 80 else 2
            self._changes.past(size, longest, self._random.choice(PASTS))
            self._quiet = False
            for _ in range(self._random.randint(3, 8)):
                self._random.choices((self._sync, self._backfill, self._pass_time), (6, 4, 1))[0]()
                self._change_much()
                self._mend()
            self._end()

    def _end(self) -> None:
        self._quiet = True
        self._pancake.faults.clear()
        while self._late:
            self._commit_late()
        self._time.advance(2 * LAG_S)
        learned = dict(self._warehouse.state["messages"].get("end_of_thread", {}))
        self._run(self._sync_load)
        if self._warehouse.state["messages"]["end_of_thread"]["uneven"] != learned.get("uneven", False):
            self._run(self._sync_load)  # reads again what was taken on trust until now
        self._compare()

    # Runs.

    def _sync(self) -> None:
        self._run_badly(self._sync_load)

    def _backfill(self) -> None:
        self._run_badly(self._backfill_load)

    def _run_badly(self, make: MakeLoad) -> None:
        """Make a run that may be stopped, killed or fail."""
        fate = self._random.choices(("ends", "stopped", "killed"), (6, 2, 2))[0]
        stop_in = self._random.randint(0, 40) if fate == "stopped" else None
        self._kill_in = self._random.randint(0, 60) if fate == "killed" else None

        def stop() -> bool:
            nonlocal stop_in
            if stop_in is not None:
                stop_in -= 1
            return stop_in is not None and stop_in < 0

        try:
            self._run(make, stop)
        except KilledError:
            self._count("killed")
        except PancakeError as error:
            self._count("failed loudly")
            self._say(f"failed loudly: {error}")
        else:
            self._count("stopped" if stop_in is not None and stop_in < 0 else "ended")
        self._kill_in = None

    def _run(self, make: Callable[[Callable[[], bool]], Load], stop: Stop = lambda: False) -> None:
        self._say(f"{make.__name__.strip('_')} from {self._time.now()}")
        load = make(stop)
        self._count("loads")
        if load.state is None and self._random.random() < LATE:
            self._late.append(load)
        else:
            self._commit(load)

    def _sync_load(self, stop: Stop) -> Load:
        client = self._client()
        load = Load(self._time.time(), state=deepcopy(self._warehouse.state))
        since, until = self._start, now(client)
        if self._warehouse.cursor is not None:
            load.cursor = self._warehouse.cursor
            since = load.cursor - timedelta(seconds=LAG_S)
            until = max(until, load.cursor)
        self._read(client, load, Window(since, until), stop)
        return load

    def _backfill_load(self, stop: Stop) -> Load:
        client = self._client()
        begin, end = sorted(self._random.random() for _ in range(2))
        span = now(client) - self._start
        load = Load(self._time.time())
        self._read(client, load, Window(self._start + begin * span, self._start + end * span), stop)
        return load

    def _read(self, client: PancakeClient, load: Load, window: Window, stop: Stop) -> None:
        """Do what the two resources do, one after the other."""
        ranged = load.state is None
        state = load.state or {"conversations": {}, "messages": {}}
        run = PageRun(client, stop)
        reader = Reader(run, self._tail_s, LAG_S, 1, ranged)
        for table, rows in reader.open(self._warehouse, state["messages"]):
            load.rows[table.name] += rows
        for listed in windows_of_rows(run, window, Filters(), state["conversations"], {}):
            batch = [row for row in listed if ranged or row["updated_at"] >= window.since]
            load.rows["conversations"] += batch
            if not ranged:
                load.cursor = max(
                    [row["updated_at"] for row in batch] + ([load.cursor] if load.cursor else [])
                )
            for table, rows in reader.read(batch, self._warehouse, state["messages"]):
                load.rows[table.name] += rows

    def _client(self) -> PancakeClient:
        transport = FakeAdapter(self._pancake)
        return PancakeClient(
            self._page.page_id,
            self._page.token,
            requests_per_second=5,
            clock=self._time,
            transport=transport,
        )

    def _commit(self, load: Load) -> None:
        self._warehouse.commit(load)
        if load.state is not None:
            self._synced = load.started
        self._check_cursor()
        self._check_threads()

    def _commit_late(self) -> None:
        self._count("late")
        self._commit(self._late.pop(self._random.randrange(len(self._late))))

    # What happens between and during calls.

    def _pass_time(self) -> None:
        self._time.advance(self._random.choice((0.4, 5, 100, 300, 4_000)))

    def _change_much(self) -> None:
        for _ in range(self._random.choice((0, 1, 5, 15))):
            self._change()
            if self._random.random() < 0.3:
                self._time.advance(self._random.choice((0.001, 0.3, 2, 40)))

    def _mend(self) -> None:
        for fault in list(self._broken):
            if self._random.random() > BROKEN_FOR:
                self._broken.remove(fault)
                self._pancake.faults.remove(fault)
        if self._faults and self._random.random() < 0.5:
            self._break_a_thread()
        if self._late and self._random.random() > LATE:
            self._commit_late()
        self._time.advance(self._random.choice((0.001, 2, 100, 500)))

    def _break_a_thread(self) -> None:
        broken = self._random.choice(list(self._page.conversations))
        self._say(f"{broken} fails from now on")
        self._pancake.fail(
            Fault(
                self._random.choice(("status", "html", "missing_key")),
                conversation_id=broken,
                times=None,
                status=self._random.choice((400, 404, 500)),
            )
        )
        self._broken.append(self._pancake.faults[-1])

    def _change(self, near: str | None = None) -> None:
        name = self._changes.make(near)
        self._count("changes")
        self._say(f"  {name}")

    def _before_call(self, call: Call) -> None:
        if self._kill_in is not None:
            self._kill_in -= 1
            if self._kill_in < 0:
                raise KilledError
        self._disturb(call)

    def _after_call(self, call: Call) -> None:
        what = call.conversation_id or call.endpoint
        self._say(f"    {self._time.now().time()} {what} {call.params} -> {call.status}, {call.rows}")
        self._disturb(call)

    def _disturb(self, call: Call) -> None:
        if self._quiet:
            return
        cursor = call.params.get("last_conversation_id")
        if cursor is not None and self._churn and self._random.random() < LOST_CURSOR:
            self._changes.lose(cursor)
            self._say(f"  lose {cursor}")
        if self._random.random() < self._churn / 2:
            self._change(call.conversation_id)
        if self._random.random() < self._faults / 2:
            self._count("faults")
            self._pancake.fail(_fault(self._random))

    # What must hold.

    def _check_cursor(self) -> None:
        """P1, P3: what had its present `updated_at` when the sync began, at or below the cursor, is there."""
        cursor = self._warehouse.cursor
        if cursor is None:
            return
        conversations = self._warehouse.tables["conversations"]
        for key, conversation in self._page.conversations.items():
            if conversation.updated_at <= cursor and self._changes.moved[key] < self._synced - SURELY_S:
                assert key in conversations, f"the cursor passed the conversation {key}"
                loaded = conversations[key]["updated_at"]
                assert loaded == conversation.updated_at, f"the cursor passed a change of {key}"

    def _check_threads(self) -> None:
        """P2: a thread that is complete holds all that was there when its last read began."""
        messages = self._warehouse.tables["messages"]
        coverage = self._warehouse.tables["conversation_coverage"]
        assert coverage.keys() >= self._warehouse.tables["conversations"].keys()
        even = not self._page.dialect.message_batch_jitter
        for key, conversation in self._page.conversations.items():
            known = coverage.get(key)
            if known is None or known["status"] != COMPLETE or not (even or known["end_verified"]):
                continue
            for message in conversation.messages:
                if self._changes.made[message.id] < known["checked_at"].timestamp() - SURELY_S:
                    assert message.id in messages, f"{key} is complete without {message.id}"

    def _compare(self) -> None:
        """At the end the warehouse holds the page."""
        tables, page, changes = self._warehouse.tables, self._page, self._changes
        listed = {row["id"]: row for row in page.rows()}
        conversations = tables["conversations"]
        assert conversations.keys() >= listed.keys()
        assert conversations.keys() - listed.keys() <= changes.gone
        sent = {
            row["id"]: {**row, "conversation_id": key}
            for key in page.conversations
            for row in page.message_rows(key)
        }
        assert tables["messages"].keys() >= sent.keys(), sorted(sent.keys() - tables["messages"].keys())
        assert tables["messages"].keys() - sent.keys() <= changes.gone
        for key, conversation in page.conversations.items():
            loaded = conversations[key]
            assert loaded["updated_at"] == conversation.updated_at
            assert tables["conversation_coverage"][key]["status"] == COMPLETE
            if changes.tagged.get(key, 0) < loaded["synced_at"].timestamp() - SURELY_S:
                assert loaded["tags"] == listed[key]["tags"]
        for key, row in sent.items():
            loaded = tables["messages"][key]
            assert loaded["conversation_id"] == row["conversation_id"]
            read_at = loaded["synced_at"].timestamp() - SURELY_S
            if changes.edited.get(key, 0) < read_at or self._was_read_again(key, loaded):
                for column in ("message", "is_hidden", "is_removed"):
                    assert loaded[column] == row[column], f"{key} is older than it must be"

    def _was_read_again(self, key: str, loaded: dict[str, object]) -> bool:
        """Whether a message changed before the last message of its thread came, and lies within its tail."""
        conversation_id = str(loaded["conversation_id"])
        stamps = self._changes.stamps[conversation_id]
        newest = max(stamps)
        before = max((stamp for stamp in stamps if stamp < newest), default=None)
        stamp = loaded["inserted_at"]
        assert isinstance(stamp, datetime)
        tail = timedelta(seconds=self._tail_s)
        changed_before = self._changes.edited.get(key, 0) < self._changes.moved[conversation_id]
        # Where a thread is shorter than its tail, one of the oldest messages is enough to stop at.
        return before is not None and changed_before and stamp > max(before - tail, min(stamps))

    def _count(self, what: str) -> None:
        self.tally[what] += 1

    def _say(self, text: str) -> None:
        if self._trace is not None:
            self._trace(text)


def _dialect(draw: Random) -> Dialect:
    return replace(
        draw.choice((LIVE, ARTICLE)),
        stamps=draw.choice(get_args(Stamps)),
        message_order=draw.choice(get_args(MessageOrder)),
        message_batches=draw.choice(((30,), (30,), (20, 25), (25,), (30, 45))),
        message_batch_jitter=draw.random() < 0.25,
        conversation_batch=draw.choice((60, 60, 7)),
        conversation_batch_jitter=draw.random() < 0.25,
        lost_cursor=draw.choice(get_args(LostCursor)),
        since_inclusive=draw.random() < 0.5,
        until_inclusive=draw.random() < 0.5,
        ties=draw.choice(get_args(Ties)),
        message_count=draw.choice(get_args(MessageCount)),
    )


def _fault(draw: Random) -> Fault:
    return Fault(
        draw.choice(get_args(FaultKind)),
        endpoint=draw.choice((None, "conversations", "messages", "messages")),
        times=draw.choice((1, 1, 1, 4, 6)),
        status=draw.choice((400, 404, 408, 429, 500, 502)),
        code=draw.choice((None, None, None, 102)),
        retry_after_s=draw.choice((None, 3.0)),
        seconds=draw.choice((1.0, 70.0)),
    )


@contextmanager
def _random_seconds(seed: float) -> Iterator[None]:
    """Draw the client's waits from a seed too."""
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)
