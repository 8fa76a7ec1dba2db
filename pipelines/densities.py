"""How many conversations lie between those that were listed. Pure: values in, values out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import cycle

from pipelines.seen import Seen
from sources.pancake.records import parse_stamp
from sources.pancake.windows import Window


@dataclass(frozen=True)
class Unknown:
    """A span between two looks.

    Args:
        span: It.
        below: Conversations a second at its begin.
        above: The same at its end; both as time went by around the nearest look.
        densest: The most of that anywhere near.
        like: Conversations from nearby.
    """

    span: Window
    below: float
    above: float
    densest: float
    like: Sequence[Seen]

    @property
    def expected(self) -> float:
        """Conversations that it is believed to hold.

        Time per conversation is averaged, rather than conversations per time: a look at night must weigh as
        much as one in opening hours.
        """
        if not self.below or not self.above:
            return self.span.length_s * (self.below + self.above) / 2
        return self.span.length_s * 2 / (1 / self.below + 1 / self.above)

    @property
    def at_most(self) -> float:
        """Conversations that it may hold, for the choice of the next look."""
        return self.span.length_s * max(self.densest, self.below, self.above)

    def parted(self, at: datetime, rows: Sequence[Seen], *, to_the_end: bool) -> Iterator[Unknown]:
        """Yield what is still unknown after rows before `at` were listed.

        Args:
            at: Moment before which was looked.
            rows: What was listed, newest first.
            to_the_end: Whether nothing lies before them.
        """
        begin, end = self.span.since, self.span.until
        if not rows:
            yield Unknown(Window(at, end), 0.0, self.above, self.densest, self.like)
            return
        oldest = min(max(begin, rows[-1].changed), at)
        gap_s = max(1.0, (at - oldest).total_seconds())
        around, densest = len(rows) / gap_s, density(rows)
        yield Unknown(Window(at, end), around, self.above, max(around, self.above), rows)
        if not to_the_end:
            below = self.below or around
            yield Unknown(Window(begin, oldest), below, around, max(below, densest), rows)

    def imagined(self) -> Iterator[Seen]:
        """Yield as many conversations as expected, evenly spread, in the likeness of those nearby."""
        count = round(self.expected)
        for number, like in zip(range(count), cycle(self.like)):  # one of them never ends
            changed = self.span.until - (self.span.until - self.span.since) * ((number + 0.5) / count)
            moved = changed - like.changed
            made_up = f"imagined {self.span.since.timestamp()} {number}"
            stamps = {
                name: (stamp + moved).isoformat()
                for name in ("inserted_at", "updated_at")
                if (stamp := parse_stamp(like.row.get(name)))
            }
            yield replace(
                like,
                row={**like.row, "id": made_up, **stamps},
                began=like.began + moved,
                changed=changed,
                listed=False,
            )


def density(rows: Sequence[Seen]) -> float:
    """Return conversations a second among rows that come newest first."""
    span_s = (rows[0].changed - rows[-1].changed).total_seconds() if rows else 0.0
    return (len(rows) - 1) / span_s if span_s > 0 else 0.0
