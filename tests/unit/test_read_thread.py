"""A thread is read to its end or to its mark, each message once, whatever comes and goes meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from sources.pancake import PancakeClient, endpoints
from sources.pancake.errors import PancakeError, PancakeShapeError, PancakeWalkError
from sources.pancake.paginators import EndOfList, ThreadEnd, read_thread
from sources.pancake.records import Batch
from sources.pancake.settings import END_CHECK_EVERY, END_CHECK_MESSAGES, END_CHECKS
from tests.fake_pancake import LIVE, Dialect, FakeAdapter, FakePage, FakePancake, FakeTime, Fault
from tests.fake_pancake.clock import START
from tests.fake_pancake.dialect import MessageOrder
from tests.fake_pancake.faults import FaultKind

PROVEN = EndOfList(checks=END_CHECKS, checked_rows=END_CHECK_MESSAGES)
ENDED = ThreadEnd(reached_end=True, verified=True)
TRUSTED = ThreadEnd(reached_end=True, verified=False)
AT_MARK = ThreadEnd(reached_end=False, verified=False)
MINUTE = timedelta(minutes=1)

BATCHES = {
    "30": LIVE,
    "20 then 25": replace(LIVE, message_batches=(20, 25)),
    "25": replace(LIVE, message_batches=(25,)),
    "1": replace(LIVE, message_batches=(1,)),
    "1 to 30": replace(LIVE, message_batch_jitter=True),
}
LENGTHS = (0, 1, 2, 19, 20, 21, 29, 30, 31, 45, 59, 60, 61, 95, 150)


class Thread:
    """One thread of a page, and a client of it."""

    def __init__(
        self, length: int, dialect: Dialect = LIVE, *, gap: timedelta = MINUTE, seed: int = 0
    ) -> None:
        self.time = FakeTime()
        self.page = FakePage(dialect=dialect, seed=seed, clock=self.time)
        self.pancake = FakePancake([self.page], clock=self.time)
        self.conversation = self.page.open_conversation(START - MINUTE)
        for back in range(length, 0, -1):
            self.page.add_message(self.conversation.id, at=START - gap * back)
        self.yielded: list[str] = []
        self._client = PancakeClient(
            self.page.page_id,
            self.page.token,
            requests_per_second=5,
            clock=self.time,
            transport=FakeAdapter(self.pancake),
        )

    @property
    def ids(self) -> list[str]:
        """Ids of the messages, oldest first."""
        return [message.id for message in self.conversation.messages]

    def add(self, count: int) -> None:
        for _ in range(count):
            self.page.add_message(self.conversation.id)

    def vanish(self, count: int, *, newest: bool = True) -> None:
        for key in self.ids[-count:] if newest else self.ids[:count]:
            self.page.vanish_message(self.conversation.id, key)

    def before_call(self, change: Callable[[int], None]) -> None:
        """Call `change` with the number of each call, the first is 1, before its answer is made."""
        self.pancake.before_call = lambda _: change(len(self.pancake.calls))

    def fetch(self, count: int) -> Batch:
        return self._client.get(
            endpoints.MESSAGES, {"current_count": count}, conversation_id=self.conversation.id
        )

    def read(
        self,
        end: EndOfList | None = None,
        *,
        floor: datetime | None = None,
        message_count: int | None = None,
    ) -> ThreadEnd:
        """Read the thread, note the ids in `yielded`, and return how it ended."""
        batches = read_thread(
            self.fetch,
            floor=floor,
            end=EndOfList() if end is None else end,
            message_count=message_count,
        )
        self.yielded = []
        while True:
            try:
                batch = next(batches)
            except StopIteration as stopped:
                assert len(self.yielded) == len(set(self.yielded))
                outcome: ThreadEnd = stopped.value
                return outcome
            self.yielded += [row["id"] for row in batch.rows]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("order", get_args(MessageOrder))
@pytest.mark.parametrize("batches", BATCHES)
def test_every_message_is_read_once(batches: str, order: MessageOrder, length: int) -> None:
    thread = Thread(length, replace(BATCHES[batches], message_order=order))
    assert thread.read() == ENDED
    assert sorted(thread.yielded) == thread.ids


@pytest.mark.parametrize("length", [1, 2, 30, 31, 95])
@pytest.mark.parametrize("batches", BATCHES)
def test_messages_with_one_stamp_are_all_read(batches: str, length: int) -> None:
    thread = Thread(length, BATCHES[batches], gap=timedelta())
    assert thread.read() == ENDED
    assert sorted(thread.yielded) == thread.ids


@pytest.mark.parametrize("end", [None, PROVEN], ids=["unproven", "proven"])
@pytest.mark.parametrize("call", [2, 3, 4])
@pytest.mark.parametrize("count", [1, 28, 29, 30, 31, 200])
def test_messages_that_come_between_calls_hide_none(count: int, call: int, end: EndOfList | None) -> None:
    thread = Thread(95)
    before = thread.ids
    thread.before_call(lambda number: thread.add(count) if number == call else None)
    thread.read(end and replace(end))
    assert set(before) <= set(thread.yielded)


def test_messages_that_come_before_every_call_hide_none() -> None:
    thread = Thread(150)
    before = thread.ids
    thread.before_call(lambda number: thread.add(3) if number < 30 else None)
    thread.read()
    assert set(before) <= set(thread.yielded)


@pytest.mark.parametrize("end", [None, PROVEN], ids=["unproven", "proven"])
@pytest.mark.parametrize("batches", ["30", "20 then 25", "1 to 30"])
@pytest.mark.parametrize("call", [2, 3, 4])
@pytest.mark.parametrize("count", [1, 5, 40])
def test_messages_that_vanish_between_calls_hide_none(
    count: int, call: int, batches: str, end: EndOfList | None
) -> None:
    thread = Thread(95, BATCHES[batches])
    thread.before_call(lambda number: thread.vanish(count) if number == call else None)
    thread.read(replace(end) if end and batches == "30" else None)
    assert set(thread.ids) <= set(thread.yielded)


@pytest.mark.parametrize("call", [1, 2, 3, 4])
def test_a_thread_may_vanish_whole(call: int) -> None:
    thread = Thread(95)
    thread.before_call(lambda number: thread.vanish(95) if number == call else None)
    assert thread.read() == ENDED


def test_the_last_message_is_not_hidden_by_one_that_vanishes_above_it() -> None:
    thread = Thread(31, replace(LIVE, message_batches=(30, 1)))
    thread.before_call(lambda number: thread.vanish(1) if number == 3 else None)
    thread.read()
    assert set(thread.ids) <= set(thread.yielded)


def test_a_full_batch_of_known_messages_is_not_the_end() -> None:
    thread = Thread(120)
    thread.before_call(lambda number: thread.add(29) if number == 3 else None)
    before = thread.ids
    thread.read(replace(PROVEN, full_first=30, full_later=30))
    assert set(before) <= set(thread.yielded)


def test_a_thread_that_changes_under_every_attempt_fails_loudly() -> None:
    thread = Thread(40)

    def replace_all(_: int) -> None:
        thread.vanish(len(thread.ids))
        thread.add(40)

    thread.before_call(replace_all)
    with pytest.raises(PancakeWalkError, match="read again"):
        thread.read()


@pytest.mark.parametrize("length", [31, 95])
@pytest.mark.parametrize("batches", ["30", "20 then 25", "1"])
def test_a_server_that_ignores_the_count_fails_loudly(batches: str, length: int) -> None:
    thread = Thread(length, replace(BATCHES[batches], ignores_current_count=True))
    with pytest.raises(PancakeShapeError, match="current_count"):
        thread.read()
    assert thread.pancake.count() < 5


@pytest.mark.parametrize("order", get_args(MessageOrder))
@pytest.mark.parametrize("back", [0, 5, 30, 44])
def test_reading_stops_after_the_batch_that_reaches_the_floor(back: int, order: MessageOrder) -> None:
    thread = Thread(95, replace(LIVE, message_order=order))
    floor = thread.conversation.messages[-1 - back].inserted_at
    assert thread.read(floor=floor) == AT_MARK
    assert set(thread.ids[-1 - back :]) <= set(thread.yielded)
    assert thread.pancake.count() == (1 if back < 30 else 2)


def test_a_floor_before_the_first_message_reads_to_the_end() -> None:
    thread = Thread(45)
    assert thread.read(floor=START - timedelta(days=1)) == ENDED
    assert sorted(thread.yielded) == thread.ids


def test_a_proven_account_pays_one_call_for_a_short_thread() -> None:
    thread = Thread(12)
    assert thread.read(replace(PROVEN)) == TRUSTED
    assert thread.pancake.count() == 1
    assert sorted(thread.yielded) == thread.ids


def test_a_proven_account_pays_one_more_call_when_more_messages_were_counted() -> None:
    thread = Thread(12)
    assert thread.read(replace(PROVEN), message_count=13) == ENDED
    assert thread.pancake.count() == 2
    assert thread.read(replace(PROVEN), message_count=12) == TRUSTED


@pytest.mark.parametrize(("length", "calls"), [(0, 1), (1, 3), (12, 3), (30, 4)])
def test_an_unproven_account_pays_for_certainty(length: int, calls: int) -> None:
    thread = Thread(length)
    assert thread.read() == ENDED
    assert thread.pancake.count() == calls


def test_short_batches_are_checked_at_first_then_trusted_and_every_fiftieth_checked_again() -> None:
    thread = Thread(END_CHECK_MESSAGES // END_CHECKS)
    end = EndOfList()
    outcomes = [thread.read(end) for _ in range(END_CHECKS + END_CHECK_EVERY + 2)]
    assert outcomes == [ENDED] * END_CHECKS + [TRUSTED] * END_CHECK_EVERY + [ENDED, TRUSTED]


def test_a_short_batch_that_was_not_the_last_ends_the_trust() -> None:
    end = replace(PROVEN, trusted=END_CHECK_EVERY)
    thread = Thread(40, replace(LIVE, message_batches=(30, 7)))
    thread.read(end)
    assert end.uneven
    assert sorted(thread.yielded) == thread.ids
    assert Thread(5).read(end) == ENDED


def test_a_message_that_comes_at_the_top_is_no_contradiction() -> None:
    thread = Thread(12)
    thread.before_call(lambda number: thread.add(2) if number == 2 else None)
    end = EndOfList()
    thread.read(end)
    assert not end.uneven


def test_a_second_message_of_the_same_instant_is_no_contradiction() -> None:
    thread = Thread(1)
    at = thread.conversation.messages[0].inserted_at

    def tie(number: int) -> None:
        if number == 2:
            thread.page.add_message(thread.conversation.id, at=at)

    thread.before_call(tie)
    end = EndOfList()
    thread.read(end)
    assert not end.uneven


@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize("kind", [kind for kind in get_args(FaultKind) if kind != "slow"])
def test_a_call_that_fails_raises(kind: FaultKind, call: int) -> None:
    thread = Thread(60)
    thread.pancake.fail(Fault(kind, skip=call - 1, times=None))
    with pytest.raises(PancakeError):
        thread.read()


CHANGE = st.one_of(
    st.tuples(st.just("add"), st.sampled_from([1, 2, 5, 19, 29, 30, 60])),
    st.tuples(st.just("vanish"), st.tuples(st.integers(0, 200), st.sampled_from([1, 1, 2, 5, 40]))),
)


@settings(max_examples=200, deadline=None)
@given(
    length=st.integers(0, 200),
    gap_s=st.sampled_from([0, 1, 60]),
    batches=st.one_of(
        st.sampled_from([(30,), (20, 25), (25,)]), st.lists(st.integers(1, 40), min_size=1).map(tuple)
    ),
    order=st.sampled_from(get_args(MessageOrder)),
    proven=st.booleans(),
    floor_back=st.one_of(st.none(), st.integers(0, 200)),
    changes=st.dictionaries(st.integers(2, 25), CHANGE, max_size=5),
)
def test_what_stays_is_read_once_or_the_thread_fails_loudly(
    length: int,
    gap_s: int,
    batches: tuple[int, ...],
    order: MessageOrder,
    proven: bool,
    floor_back: int | None,
    changes: dict[int, tuple[str, Any]],
) -> None:
    if min(batches) == 1:
        # Batches of one message never show two neighbours, so only one kind of change can be seen through.
        kinds = {kind for kind, _ in changes.values()}
        changes = {call: change for call, change in changes.items() if change[0] == min(kinds)}
    thread = Thread(
        length, replace(LIVE, message_batches=batches, message_order=order), gap=timedelta(seconds=gap_s)
    )
    before = set(thread.ids)
    floor = None
    if floor_back is not None and length:
        floor = thread.conversation.messages[max(0, length - 1 - floor_back)].inserted_at

    def change(call: int) -> None:
        kind, what = changes.get(call, ("", None))
        if kind == "add":
            thread.add(what)
        elif kind == "vanish":
            first, count = what
            for key in thread.ids[::-1][first : first + count]:
                thread.page.vanish_message(thread.conversation.id, key)

    thread.before_call(change)
    try:
        thread.read(replace(PROVEN) if proven and batches == (30,) else None, floor=floor)
    except (PancakeWalkError, PancakeShapeError) as error:
        event(f"failed loudly: {type(error).__name__}")
        assert changes
        return
    event("read")
    stay = {
        message.id
        for message in thread.conversation.messages
        if message.id in before and (floor is None or message.inserted_at > floor)
    }
    assert stay <= set(thread.yielded)
