"""How long threads are, by looks into some of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from pipelines.seen import BatchSizes, Measured, Seen, Threads, size_of
from sources.pancake import settings
from sources.pancake.records import Row, parse_stamp

_GOLDEN = (math.sqrt(5) - 1) / 2
_ENDS_CHECKED = 5  # ours: short batches after which one more call is made
_EXACT_ENOUGH = 0.1  # ours: how exactly the length of a thread is to be known
_DEEPEST_GUESS = 100  # ours: times the first batch
_COUNTS_OFF = 0.1  # ours: how far `message_count` may be off, over all threads that were measured


class Look:
    """What was seen of one thread.

    Args:
        seen: Its conversation.
        fetch: Returns the messages after so many of the newest.
    """

    def __init__(self, seen: Seen, fetch: Callable[[int], list[Row]]) -> None:
        self.lasted_s = seen.lasted_s
        self.batches: dict[int, int] = {}  # rows by place of the first
        self._changed = seen.changed
        self._message_count = seen.message_count
        self._fetch = fetch
        self._ages: dict[int, float] = {}

    def at(self, count: int) -> int:
        """Look below so many messages; return how many come."""
        rows = self._fetch(count)
        stamps = [stamp for row in rows if (stamp := parse_stamp(row.get("inserted_at")))]
        for place, stamp in enumerate(sorted(stamps, reverse=True), count):
            self._ages[place] = max(0.0, (self._changed - stamp).total_seconds())
        self.batches[count] = len(rows)
        return len(rows)

    def reached(self, floor: datetime | None) -> bool:
        """Tell whether messages at or before a moment were seen."""
        oldest_s = max(self._ages.values(), default=0.0)
        return floor is not None and oldest_s >= (self._changed - floor).total_seconds()

    def last(self) -> int:
        """Return the likely place of the last message: as counted, else as if they went on as they are."""
        if self._message_count > len(self._ages):
            return self._message_count - 1
        place, age_s = max(self._ages.items(), default=(0, 0.0))
        return int((place + 1) * self.lasted_s / age_s) if age_s else place + 1

    def measured(self, messages: int) -> Measured:
        """Return what was seen of a thread of so many messages."""
        return Measured(messages, tuple(sorted(self._ages.items())))


def length_of(look: Look, first: int, sizes: BatchSizes) -> int:
    """Return about how many messages a thread holds, by looking into it at ever better guesses."""
    known, beyond = first, math.inf
    if first < settings.MESSAGES_PER_FIRST_BATCH and not sizes.uneven:
        below = 0 if len(sizes.first) >= _ENDS_CHECKED else look.at(first)
        if below == 0:
            return first
        sizes.uneven, known = True, first + below
    at = known if sizes.uneven else max(known, min(look.last(), _DEEPEST_GUESS * known))
    while beyond - known > _EXACT_ENOUGH * known:
        rows = look.at(at)
        if rows == 0:
            beyond = at
        elif rows < max([settings.MESSAGES_PER_FIRST_BATCH, *sizes.later]) and not sizes.uneven:
            return at + rows
        else:
            known = at + rows
        at = 2 * known if beyond == math.inf else (known + int(beyond)) // 2
    return (known + int(beyond)) // 2


def spread(group: Sequence[Seen]) -> Iterator[Seen]:
    """Yield conversations so that any number of the first are spread over short and long threads.

    Long ones come more often than they are: they weigh more.
    """
    ordered = sorted(group, key=size_of)
    whole = sum(map(size_of, ordered)) / max(1, len(ordered)) or 1.0
    reached: list[float] = []
    for seen in ordered:
        reached.append((reached[-1] if reached else 0.0) + 1 + size_of(seen) / whole)
    left = dict(enumerate(ordered))
    place = 0.0
    while left:
        place = (place + _GOLDEN) % 1
        goal = place * reached[-1]
        index = next((i for i, edge in enumerate(reached) if edge >= goal), len(ordered) - 1)
        index = index if index in left else min(left, key=lambda other: abs(other - index))
        yield left.pop(index)


def counts_hold(counted: Sequence[Seen], found: Threads) -> bool:
    """Tell whether `message_count` is right, over all threads that were measured."""
    pairs = [
        (seen.message_count, found.measured[seen.id].messages)
        for seen in counted
        if seen.id in found.measured
    ]
    off = sum(abs(said - true) for said, true in pairs)
    return off <= _COUNTS_OFF * sum(true for _, true in pairs)
