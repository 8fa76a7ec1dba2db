"""When the next call may start: never more than N calls of a page in any second."""

from __future__ import annotations

import threading
from math import ceil
from typing import Protocol, cast

from pyrate_limiter import InMemoryBucket, Rate, RateItem

from . import settings
from .errors import PancakeTransientError


class Clock(Protocol):
    """The three functions of the `time` module that this package uses; tests hand in their own."""

    def time(self) -> float:
        """Return unix seconds."""

    def monotonic(self) -> float:
        """Return seconds that only grow."""

    def sleep(self, seconds: float, /) -> None:
        """Wait."""


class Throttle:
    """Paces the calls of one page, over all threads.

    Calls start evenly, one in every 1/N seconds and a little more, so that no second holds more than N even
    when calls take unequal time to arrive. A 429 doubles the interval; every quiet spell takes a step back.

    Args:
        requests_per_second: N.
        clock: Where time comes from.
    """

    def __init__(self, requests_per_second: float, clock: Clock) -> None:
        self._clock = clock
        self._fastest_ms = 1000 * settings.PACING_MARGIN / requests_per_second
        self._slowest_ms = max(self._fastest_ms, 1000 / settings.SLOWEST_REQUESTS_PER_SECOND)
        self._interval_ms = self._fastest_ms
        self._bucket = InMemoryBucket([self._rate()])
        self._closed_until = 0.0
        self._next_step_up = 0.0
        self._lock = threading.Lock()

    @property
    def requests_per_second(self) -> float:
        """Present rate."""
        return 1000 * settings.PACING_MARGIN / self._interval_ms

    def wait(self, endpoint: str = "") -> float:
        """Wait until a call may start and return the seconds waited.

        Args:
            endpoint: What will be called, for the message of the error.

        Raises:
            PancakeTransientError: The server asked for a longer pause than a run should last.
        """
        waited = 0.0
        while (delay := self._claim()) > 0:
            if self._closed_until - self._clock.monotonic() > settings.RETRY_AFTER_CAP_S:
                raise PancakeTransientError(
                    f"`GET {endpoint}` was not called: Pancake asked for a pause of {delay:.0f} s."
                    " Run again after that.",
                    endpoint,
                    retry_after_s=delay,
                    rate_limited=True,
                )
            self._clock.sleep(delay)
            waited += delay
        return waited

    def slow_down(self, pause_s: float) -> None:
        """Make every thread wait `pause_s` seconds, then go on at half the rate: the server said 429.

        No call starts during a pause, so another 429 in it answers a call from before: it may lengthen the
        pause, but does not halve the rate again.
        """
        with self._lock:
            now = self._clock.monotonic()
            if now >= self._closed_until:
                self._set_interval(min(self._interval_ms * settings.SLOWDOWN_FACTOR, self._slowest_ms))
            self._closed_until = max(self._closed_until, now + pause_s)
            self._next_step_up = self._closed_until + settings.QUIET_SPELL_S

    def _claim(self) -> float:
        """Take the next start and return 0, or return the seconds after which to try again."""
        with self._lock:
            now = self._clock.monotonic()
            if now < self._closed_until:
                return self._closed_until - now
            if self._interval_ms > self._fastest_ms and now >= self._next_step_up:
                self._next_step_up = now + settings.QUIET_SPELL_S
                self._set_interval(max(self._interval_ms * settings.SPEEDUP_FACTOR, self._fastest_ms))
            item = RateItem("call", int(now * 1000))
            self._bucket.leak(item.timestamp)
            if self._bucket.put(item):
                return 0.0
            return max(1, cast("int", self._bucket.waiting(item))) / 1000

    def _set_interval(self, interval_ms: float) -> None:
        self._interval_ms = interval_ms
        self._bucket.rates = [self._rate()]

    def _rate(self) -> Rate:
        return Rate(1, ceil(self._interval_ms))
