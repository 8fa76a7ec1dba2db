"""When a call may start: never more than N in a second, slower after a 429, faster again after quiet."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from math import ceil
from threading import local

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.pancake import rate_stores, settings
from sources.pancake.errors import PancakeRateLimitError
from sources.pancake.throttle import Throttle
from tests.fake_pancake import FakeTime

SECOND = 1.0 - 1e-9
SLOWEST_INTERVAL_S = settings.PACING_MARGIN / settings.SLOWEST_REQUESTS_PER_SECOND


def busiest_second(starts: list[float]) -> int:
    starts = sorted(starts)
    return max(sum(1 for at in starts if begin <= at < begin + SECOND) for begin in starts)


def started(throttle: Throttle, time: FakeTime, calls: int) -> list[float]:
    starts = []
    for _ in range(calls):
        throttle.wait()
        starts.append(time.monotonic())
    return starts


def rate(throttle: Throttle, time: FakeTime, calls: int = 50) -> float:
    starts = started(throttle, time, calls + 1)
    return calls / (starts[-1] - starts[0])


RATES = st.one_of(st.sampled_from([0.2, 0.5, 1, 2, 3, 4, 5]), st.floats(0.1, 20))
PAUSES = st.lists(st.one_of(st.just(0.0), st.floats(0, 0.3), st.floats(0, 3)), min_size=1, max_size=60)


@given(requests_per_second=RATES, pauses=PAUSES, begin=st.floats(0, 1e6))
def test_no_second_holds_more_than_n_starts(
    requests_per_second: float, pauses: list[float], begin: float
) -> None:
    time = FakeTime()
    time.advance(begin)
    throttle = Throttle(requests_per_second, time)
    starts = []
    for pause in pauses:
        time.advance(pause)
        throttle.wait()
        starts.append(time.monotonic())
    assert busiest_second(starts) <= ceil(requests_per_second)


@given(
    requests_per_second=st.integers(1, 5),
    events=st.lists(st.one_of(st.none(), st.floats(0, 40), st.floats(0, 0.5)), min_size=1, max_size=80),
)
def test_no_second_holds_more_than_n_starts_although_the_rate_changes(
    requests_per_second: int, events: list[float | None]
) -> None:
    time = FakeTime()
    throttle = Throttle(requests_per_second, time)
    starts = []
    for event in events:
        if event is None:
            throttle.slow_down(1.0)
        else:
            time.advance(event)
        throttle.wait()
        throttle.let_in()
        starts.append(time.monotonic())
    assert busiest_second(starts) <= requests_per_second
    assert throttle.requests_per_second <= requests_per_second * (1 + 1e-9)


class Watch(FakeTime):
    """A clock that remembers what each thread read last: for a thread that starts a call, when it started."""

    def __init__(self) -> None:
        super().__init__()
        self.read = local()

    def monotonic(self) -> float:
        self.read.last = super().monotonic()
        return float(self.read.last)


@pytest.mark.parametrize("requests_per_second", [1, 4, 5])
def test_several_threads_share_the_seconds(requests_per_second: int) -> None:
    time = Watch()
    throttle = Throttle(requests_per_second, time)

    def work(_: int) -> list[float]:
        starts = []
        for _ in range(10):
            throttle.wait()
            starts.append(time.read.last)
        return starts

    with ThreadPoolExecutor(8) as pool:
        starts = [start for part in pool.map(work, range(8)) for start in part]
    assert len(starts) == 80
    assert busiest_second(starts) <= requests_per_second


@pytest.mark.parametrize("requests_per_second", [0.2, 1, 4, 5])
def test_a_steady_caller_gets_nearly_the_whole_rate(requests_per_second: float) -> None:
    time = FakeTime()
    reached = rate(Throttle(requests_per_second, time), time)
    assert 0.95 * requests_per_second <= reached <= requests_per_second


def test_the_first_call_starts_at_once() -> None:
    time = FakeTime()
    assert Throttle(4, time).wait() == 0.0
    assert time.slept == []


def test_the_wait_is_told() -> None:
    time = FakeTime()
    throttle = Throttle(4, time)
    waits = [throttle.wait() for _ in range(5)]
    assert sum(waits) == pytest.approx(sum(time.slept))
    assert sum(waits) == pytest.approx(time.monotonic())


def test_time_without_calls_builds_up_no_burst() -> None:
    time = FakeTime()
    throttle = Throttle(5, time)
    throttle.wait()
    time.advance(3600)
    starts = started(throttle, time, 20)
    assert min(later - earlier for earlier, later in pairwise(starts)) >= 0.2


def test_after_a_429_everybody_waits() -> None:
    time = FakeTime()
    throttle = Throttle(5, time)
    throttle.wait()
    throttle.slow_down(7.0)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: throttle.wait(), range(4)))
    assert time.monotonic() >= 7.0
    assert min(time.slept) > 0


def test_no_call_starts_in_the_pause() -> None:
    time = FakeTime()
    throttle = Throttle(5, time)
    throttle.slow_down(7.0)
    assert throttle.wait() == 7.0


def test_a_429_halves_the_rate() -> None:
    time = FakeTime()
    throttle = Throttle(4, time)
    throttle.slow_down(1.0)
    assert throttle.requests_per_second == pytest.approx(2.0)
    assert rate(throttle, time, 10) == pytest.approx(2.0, rel=0.05)


def test_calls_that_were_under_way_count_as_one_429() -> None:
    time = FakeTime()
    throttle = Throttle(4, time)
    for _ in range(4):
        throttle.slow_down(1.0)
        time.advance(0.1)
    assert throttle.requests_per_second == pytest.approx(2.0)


def test_a_longer_pause_wins_and_a_shorter_one_changes_nothing() -> None:
    time = FakeTime()
    throttle = Throttle(4, time)
    throttle.slow_down(1.0)
    throttle.slow_down(9.0)
    throttle.slow_down(2.0)
    assert throttle.wait() == 9.0


def test_a_429_after_the_pause_halves_the_rate_again() -> None:
    time = FakeTime()
    throttle = Throttle(4, time)
    throttle.slow_down(1.0)
    throttle.wait()
    throttle.slow_down(1.0)
    assert throttle.requests_per_second == pytest.approx(1.0)


def test_the_rate_never_falls_below_the_slowest() -> None:
    time = FakeTime()
    throttle = Throttle(5, time)
    for _ in range(20):
        throttle.slow_down(1.0)
        throttle.wait()
    assert throttle.requests_per_second == pytest.approx(settings.SLOWEST_REQUESTS_PER_SECOND, rel=0.05)
    assert rate(throttle, time, 4) >= 0.95 * settings.SLOWEST_REQUESTS_PER_SECOND


def test_a_rate_set_below_the_slowest_is_kept() -> None:
    time = FakeTime()
    throttle = Throttle(0.1, time)
    throttle.slow_down(1.0)
    assert throttle.requests_per_second == pytest.approx(0.1)


def test_nothing_speeds_up_before_a_quiet_spell_has_passed() -> None:
    time = FakeTime()
    throttle = Throttle(4, time)
    throttle.slow_down(1.0)
    time.advance(1.0 + settings.QUIET_SPELL_S - 0.1)
    throttle.wait()
    assert throttle.requests_per_second == pytest.approx(2.0)
    time.advance(0.2)
    throttle.wait()
    assert throttle.requests_per_second == pytest.approx(2.5)


@given(slow_downs=st.integers(1, 6), requests_per_second=st.integers(1, 5))
def test_quiet_spells_lead_step_by_step_to_exactly_the_first_rate(
    slow_downs: int, requests_per_second: int
) -> None:
    time = FakeTime()
    throttle = Throttle(requests_per_second, time)
    first = throttle.requests_per_second
    for _ in range(slow_downs):
        throttle.slow_down(1.0)
        throttle.wait()
    rates = [throttle.requests_per_second]
    for _ in range(30):
        time.advance(settings.QUIET_SPELL_S)
        throttle.wait()
        rates.append(throttle.requests_per_second)
    steps = [later / earlier for earlier, later in pairwise(rates)]
    assert all(1.0 <= step <= 1.25 + 1e-9 for step in steps)
    assert rates[-1] == first


def test_a_429_puts_off_the_next_step_up() -> None:
    time = FakeTime()
    throttle = Throttle(4, time)
    throttle.slow_down(1.0)
    time.advance(settings.QUIET_SPELL_S)
    throttle.slow_down(1.0)
    time.advance(settings.QUIET_SPELL_S)
    throttle.wait()
    assert throttle.requests_per_second == pytest.approx(1.0)


def test_the_report_knows_the_slowest_rate_and_the_seconds_paused() -> None:
    time = FakeTime()
    throttle = Throttle(4, time)
    assert (throttle.slowest_rate, throttle.paused_s) == (4.0, 0.0)
    throttle.slow_down(2.0)
    time.advance(1.5)
    throttle.slow_down(1.0)
    time.advance(1.0)
    throttle.slow_down(5.0)
    for _ in range(30):
        time.advance(settings.QUIET_SPELL_S)
        throttle.wait()
    assert throttle.slowest_rate == pytest.approx(1.0)
    assert throttle.requests_per_second == 4.0
    assert throttle.paused_s == pytest.approx(7.5)


class Late(FakeTime):
    """A clock on which a sleep may take longer than asked for."""

    def __init__(self, *late: float) -> None:
        super().__init__()
        self.late = iter(late)
        self.before_sleep: Callable[[], object] = lambda: None

    def sleep(self, seconds: float) -> None:
        self.before_sleep()
        super().sleep(seconds)
        self.advance(next(self.late, 0.0))


@given(late=st.lists(st.floats(0, 0.5), min_size=1, max_size=60), requests_per_second=st.integers(1, 20))
def test_a_thread_that_wakes_late_delays_the_starts_after_its_own(
    late: list[float], requests_per_second: int
) -> None:
    time = Late(*late)
    starts = started(Throttle(requests_per_second, time), time, len(late) + 1)
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert min(gaps) >= 1 / requests_per_second - settings.LATE_START_S
    assert busiest_second(starts) <= requests_per_second


def test_no_start_is_lost_by_waking_late() -> None:
    time = Late(*[0.1, 0.0] * 30)
    starts = started(Throttle(5, time), time, 61)
    assert starts[-1] == pytest.approx(60 * 0.208 + 30 * 0.1, abs=0.1)


@pytest.mark.parametrize(("late", "used"), [(0.029, True), (0.031, False)])
def test_a_start_missed_by_much_is_not_used_when_others_have_the_next(late: float, used: bool) -> None:
    time = Late(late)
    line = rate_stores.in_memory(time.monotonic)
    throttle = Throttle(5, time, line)
    throttle.wait()
    taken = []
    time.before_sleep = lambda: taken.append(line.take(0.208, 1, 60))  # somebody takes the start after ours
    throttle.wait()
    assert (len(taken) == 1) == used
    assert (time.monotonic() == pytest.approx(0.208 + late)) == used


def test_a_call_that_always_misses_its_start_goes_out_in_the_end() -> None:
    time = Late(*[0.1] * 100)
    line = rate_stores.in_memory(time.monotonic)
    throttle = Throttle(5, time, line)
    throttle.wait()
    time.before_sleep = lambda: line.take(0.208, 1, 60)
    throttle.wait()
    assert len(time.slept) == settings.MISSED_STARTS + 1


@pytest.mark.parametrize("requests_per_second", [150, 990, 1e6])
def test_high_rates_come_in_small_bursts(requests_per_second: float) -> None:
    time = FakeTime()
    throttle = Throttle(requests_per_second, time)
    starts = started(throttle, time, 5000)
    assert busiest_second(starts) <= requests_per_second
    assert 5000 / max(1.0, starts[-1]) >= 0.9 * min(requests_per_second, 5000)


# Giving up.


def limited(throttle: Throttle, time: FakeTime, retry_after_s: float | None = None) -> list[float]:
    """Answer every call with 429 until the page is given up; return the moments of the calls."""
    calls: list[float] = []
    while True:
        try:
            throttle.wait("/tags")
        except PancakeRateLimitError:
            return calls
        calls.append(time.monotonic())
        throttle.slow_down(retry_after_s)


def test_pauses_double_as_long_as_nothing_but_429_comes() -> None:
    time = FakeTime()
    calls = limited(Throttle(5, time), time)
    pauses = [later - earlier for earlier, later in pairwise(calls)]
    assert pauses[:7] == pytest.approx([1, 1, 2, 4, 8, 16, 32], rel=0.05)
    assert len(calls) == 11


@pytest.mark.parametrize("retry_after_s", [None, 1.0, 7.0, 100.0, 299.0])
def test_a_page_that_only_says_429_is_given_up_within_the_budget(retry_after_s: float | None) -> None:
    time = FakeTime()
    time.advance(1000)
    calls = limited(Throttle(5, time), time, retry_after_s)
    lasted = time.monotonic() - calls[0]
    assert lasted <= settings.RATE_LIMIT_BUDGET_S + SLOWEST_INTERVAL_S
    assert lasted + (retry_after_s or 0) >= settings.RATE_LIMIT_BUDGET_S


def test_the_budget_begins_anew_with_every_other_answer() -> None:
    time = FakeTime()
    throttle = Throttle(5, time)
    for _ in range(10):
        throttle.wait()
        throttle.slow_down(200)
        throttle.wait()
        throttle.let_in()
    assert time.monotonic() >= 2000


def test_a_pause_longer_than_the_budget_gives_the_page_up_at_once() -> None:
    time = FakeTime()
    throttle = Throttle(4, time)
    throttle.slow_down(settings.RATE_LIMIT_BUDGET_S + 3300)
    with pytest.raises(
        PancakeRateLimitError, match=r"`GET /tags` was not called.*429.*3600 s.*requests_per_second"
    ):
        throttle.wait("/tags")
    assert time.slept == []
    time.advance(3599)
    with pytest.raises(PancakeRateLimitError, match="for 1 s"):
        throttle.wait("/tags")
    time.advance(1)
    throttle.wait("/tags")


def test_a_page_that_was_given_up_is_left_alone_for_the_budget_and_then_tried_anew() -> None:
    time = FakeTime()
    throttle = Throttle(5, time)
    limited(throttle, time)
    given_up_at = time.monotonic()
    throttle.slow_down(1.0)  # an answer to a call from before
    time.advance(settings.RATE_LIMIT_BUDGET_S - 1)
    assert limited(throttle, time) == []
    time.advance(1)
    assert limited(throttle, time)[0] == pytest.approx(given_up_at + settings.RATE_LIMIT_BUDGET_S)
    assert time.monotonic() == pytest.approx(given_up_at + 2 * settings.RATE_LIMIT_BUDGET_S)


def test_every_thread_of_a_page_that_is_given_up_ends() -> None:
    time = FakeTime()
    throttle = Throttle(5, time)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: limited(throttle, time), range(8)))
    calls = sorted(call for part in found for call in part)
    assert 8 <= len(calls) <= 100
    assert calls[-1] - calls[0] <= settings.RATE_LIMIT_BUDGET_S + SLOWEST_INTERVAL_S


def test_a_page_that_others_were_told_to_leave_alone_is_given_up_too() -> None:
    time = FakeTime()
    line = rate_stores.in_memory(time.monotonic)
    told, other = Throttle(5, time, line), Throttle(5, time, line)
    told.slow_down(3600)
    for _ in range(2):
        with pytest.raises(PancakeRateLimitError, match="3600 s"):
            other.wait("/tags")
    assert time.slept == []
