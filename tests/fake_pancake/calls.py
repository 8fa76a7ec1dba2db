"""What was asked, and how fast."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

SECOND = 1.0 - 1e-6
"""A second, less the microsecond that adding floats may cost."""


@dataclass
class Call:
    """One request as it arrived, and what became of it.

    Attributes:
        endpoint: name in the endpoint table, or "unknown".
        at: arrival on the monotonic clock, seconds.
        params: the query without tokens; repeated names are joined by commas.
        status: HTTP status; 0 before the answer is made, and when the connection was dropped.
        rows: rows in the answer.
        limited: refused by `strict_rate`.
    """

    page_id: str
    endpoint: str
    conversation_id: str | None
    at: float
    params: dict[str, str] = field(default_factory=dict)
    status: int = 0
    rows: int = 0
    limited: bool = False


class SlidingSecond:
    """Counts arrivals in the second that ends now."""

    def __init__(self) -> None:
        self._arrivals: deque[float] = deque()

    def arrive(self, at: float) -> int:
        """Count one arrival; returns how many this second holds, it included."""
        while self._arrivals and at - self._arrivals[0] >= SECOND:
            self._arrivals.popleft()
        self._arrivals.append(at)
        return len(self._arrivals)


def busiest_second(arrivals: Iterable[float]) -> int:
    """Most arrivals in any second, wherever it begins."""
    window = SlidingSecond()
    return max((window.arrive(at) for at in sorted(arrivals)), default=0)
