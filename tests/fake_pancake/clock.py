"""Time that a test moves by hand."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone
from typing import Protocol

START = datetime(2026, 3, 20, tzinfo=timezone.utc)
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Clock(Protocol):
    """What is used of a clock. The `time` module fits, and so does FakeTime."""

    def time(self) -> float: ...

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float, /) -> None: ...


class FakeTime:
    """A clock that stands still until it is told to move. Safe to share between threads.

    Attributes:
        slept: every duration asked of `sleep`, in seconds, in order.
    """

    def __init__(self, start: datetime = START) -> None:
        if start.tzinfo is None:
            raise ValueError("FakeTime wants an aware datetime")
        self.slept: list[float] = []
        self._start = start.astimezone(timezone.utc)
        self._passed = 0.0
        self._lock = threading.Lock()

    def time(self) -> float:
        """Seconds since 1970, UTC."""
        return (self._start - EPOCH).total_seconds() + self._passed

    def monotonic(self) -> float:
        """Seconds since this clock was made."""
        return self._passed

    def sleep(self, seconds: float) -> None:
        """Move forward and remember it."""
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        with self._lock:
            self.slept.append(seconds)
            self._passed += seconds

    def advance(self, seconds: float) -> None:
        """Move forward without a trace in `slept`."""
        with self._lock:
            self._passed += seconds

    def now(self) -> datetime:
        """The present, aware, in UTC."""
        return self._start + timedelta(seconds=self._passed)
