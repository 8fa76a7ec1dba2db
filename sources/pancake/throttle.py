"""When the next call may start: never more than N calls of a page in any second."""

from __future__ import annotations

import threading
from math import ceil, inf
from typing import Protocol

from . import rate_stores, settings
from .errors import PancakeRateLimitError


class Clock(Protocol):
    """The three functions of the `time` module that this package uses; tests hand in their own."""

    def time(self) -> float:
        """Return unix seconds."""

    def monotonic(self) -> float:
        """Return seconds that only grow."""

    def sleep(self, seconds: float, /) -> None:
        """Wait."""


class Throttle:
    """Paces the calls of one page, over all threads, and with a shared store over all processes.

    Calls start evenly, one in every 1/N seconds and a little more, so that no second holds more than N even
    when calls take unequal time to arrive. A 429 doubles the interval; every quiet spell takes a step back.
    After a 429 no call starts for as long as the server asks; if it does not say, for as long as it has been
    answering 429 alone, so the pauses double. When that has lasted for RATE_LIMIT_BUDGET_S, or the server
    asks for more than is left of it, the page is given up: until that pause is over, and for at least as long
    as the budget, no call starts. After that everything begins anew. The call that uses up the budget is one
    interval late at most.

    A shared store carries starts and pauses to the other processes; they still use starts that they have
    already taken, at most one each. The slower rate and the budget are of this process.

    Args:
        requests_per_second: N.
        clock: Where time comes from.
        line: Gives out the starts; a line of this process alone when not given.
    """

    def __init__(
        self, requests_per_second: float, clock: Clock, line: rate_stores.StartLine | None = None
    ) -> None:
        self._clock = clock
        self._line = line or rate_stores.in_memory(clock.monotonic)
        self._burst = ceil(requests_per_second * settings.BURST_SHARE)
        self._fastest_s = settings.PACING_MARGIN / requests_per_second
        self._slowest_s = max(self._fastest_s, 1 / settings.SLOWEST_REQUESTS_PER_SECOND)
        self._interval_s = self._fastest_s
        self._longest_interval_s = self._fastest_s
        self._paused_s = 0.0
        self._limited_since: float | None = None
        self._closed_until = -inf
        self._given_up_until = -inf
        self._next_step_up = 0.0
        self._missed = 0
        self._lock = threading.Lock()
        self._turn = threading.Lock()

    @property
    def requests_per_second(self) -> float:
        """Present rate."""
        return settings.PACING_MARGIN / self._interval_s

    @property
    def slowest_rate(self) -> float:
        """Lowest rate so far, in calls per second."""
        return settings.PACING_MARGIN / self._longest_interval_s

    @property
    def paused_s(self) -> float:
        """Seconds so far in which no call was to start, because of 429s."""
        return self._paused_s

    def wait(self, endpoint: str = "") -> float:
        """Wait until a call may start and return the seconds waited.

        Args:
            endpoint: What will be called, for the message of the error.

        Raises:
            PancakeRateLimitError: The page is given up for now.
            PancakeTransientError: The shared store cannot be used.
        """
        began = self._clock.monotonic()
        with self._turn:
            self._missed = 0
            while not self._start(endpoint):
                pass
            return self._clock.monotonic() - began

    def slow_down(self, retry_after_s: float | None = None) -> None:
        """Make every thread wait, then go on at half the rate: the server said 429.

        No call starts during a pause, so another 429 in it answers a call from before: it may lengthen the
        pause, but does not halve the rate again.

        Args:
            retry_after_s: The pause that the server asks for, in seconds.

        Raises:
            PancakeTransientError: The shared store cannot be used.
        """
        with self._lock:
            now = self._clock.monotonic()
            if now < self._given_up_until:
                return
            if self._limited_since is None:
                self._limited_since = now
            lasted = now - self._limited_since
            left = settings.RATE_LIMIT_BUDGET_S - lasted
            pause = retry_after_s or min(max(lasted, settings.RETRY_WAITS_S[0]), left)
            if now >= self._closed_until:
                self._interval_s = min(self._interval_s * settings.SLOWDOWN_FACTOR, self._slowest_s)
                self._longest_interval_s = max(self._longest_interval_s, self._interval_s)
            if left <= 0 or pause > left:
                self._given_up_until = now + max(pause, settings.RATE_LIMIT_BUDGET_S)
                self._limited_since = None
            else:
                self._paused_s += max(0.0, now + pause - max(now, self._closed_until))
            self._closed_until = max(self._closed_until, now + pause)
            self._next_step_up = self._closed_until + settings.QUIET_SPELL_S
        self._line.close(pause)

    def let_in(self) -> None:
        """Note that the server gave another answer than 429."""
        self._limited_since = None

    def _start(self, endpoint: str) -> bool:
        """Wait for a start, or for the end of a pause; return whether a call may start now."""
        now = self._clock.monotonic()
        if now < self._given_up_until:
            raise _given_up(endpoint, self._given_up_until - now)
        if now < self._closed_until:
            self._clock.sleep(self._closed_until - now)
            return False
        asked_at, interval_s = now, self._next_interval_s(now)
        delay = self._line.take(interval_s, self._burst, settings.RATE_LIMIT_BUDGET_S)
        if delay > settings.RATE_LIMIT_BUDGET_S:  # others were asked to wait so long
            raise _given_up(endpoint, delay)
        if delay > 0:
            self._clock.sleep(delay)
        now = self._clock.monotonic()
        if now < self._closed_until:
            return False
        late_s = now - asked_at - delay  # the time that the store took is part of it
        if late_s <= settings.LATE_START_S:
            return True
        # The next start must keep its distance; when somebody has it already, this one may come too close.
        if self._line.close(interval_s) or late_s <= settings.LATEST_START_S:
            return True
        self._missed += 1
        return self._missed > settings.MISSED_STARTS

    def _next_interval_s(self, now: float) -> float:
        with self._lock:
            if self._interval_s > self._fastest_s and now >= self._next_step_up:
                self._next_step_up = now + settings.QUIET_SPELL_S
                self._interval_s = max(self._interval_s * settings.SPEEDUP_FACTOR, self._fastest_s)
            return self._interval_s


def _given_up(endpoint: str, for_s: float) -> PancakeRateLimitError:
    return PancakeRateLimitError(
        f"`GET {endpoint}` was not called: Pancake answers all calls for this page with 429, too many"
        f" requests. Leave the page alone for {for_s:.0f} s and run again. If that does not help, other tools"
        " may be reading the page: lower `sources.pancake.requests_per_second`.",
        endpoint,
        429,
    )
