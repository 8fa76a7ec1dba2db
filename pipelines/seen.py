"""What a survey saw of a page: conversations, threads, and the sizes of batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sources.pancake import settings
from sources.pancake.endpoints import CONVERSATIONS
from sources.pancake.records import Row, parse_stamp, row_id

_KEPT = ("type", "message_count", "updated_at", "inserted_at")


@dataclass(frozen=True)
class Seen:
    """One conversation, listed or estimated.

    Args:
        row: What the reading of a list looks at, as sent.
        began: `inserted_at`, or when it last changed if that is missing; aware UTC.
        changed: `updated_at`, aware UTC.
        listed: Whether it was listed, rather than made up in the likeness of one that was.
    """

    row: Row
    began: datetime
    changed: datetime
    listed: bool = True

    @property
    def id(self) -> str:
        """Its id; unique also when it was made up."""
        return str(self.row["id"])

    @property
    def message_count(self) -> int:
        """Messages as the conversation counts them; 0 when it does not."""
        count = self.row.get("message_count")
        return count if isinstance(count, int) else 0

    @property
    def lasted_s(self) -> float:
        """Seconds from its begin to its last change."""
        return max(0.0, (self.changed - self.began).total_seconds())


@dataclass
class BatchSizes:
    """Sizes of batches as they came.

    Args:
        first: Of the first batches.
        later: Of all others.
        uneven: Whether a short batch was followed by more.
    """

    first: list[int] = field(default_factory=list)
    later: list[int] = field(default_factory=list)
    uneven: bool = False

    def note(self, batches: Mapping[int, int], length: int) -> None:
        """Remember the batches of a thread; where they vary, not its last ones, which could not be larger.

        Args:
            batches: Rows by place of the first.
            length: Rows that the list holds.
        """
        for place, rows in batches.items():
            may_be_full = length - place >= settings.MESSAGES_PER_BATCH
            if may_be_full or (rows and not self.uneven):
                (self.later if place else self.first).append(rows)


@dataclass
class Listing:
    """The conversations of a span.

    Args:
        conversations: In no order that means anything.
        sizes: Sizes of the batches.
        complete: Whether all of them were listed, rather than the rest estimated.
    """

    conversations: list[Seen]
    sizes: BatchSizes
    complete: bool


@dataclass(frozen=True)
class Measured:
    """A thread that was looked at.

    Args:
        messages: How many it holds.
        ages_s: Places of messages, 0 for the newest, and seconds from the newest back to each.
    """

    messages: int
    ages_s: tuple[tuple[int, float], ...] = ()


@dataclass
class Threads:
    """The threads that were looked at.

    Args:
        measured: By conversation.
        gone: Conversations that are not there any more.
        sizes: Sizes of the batches.
        counts_hold: Whether `message_count` was found right.
    """

    measured: dict[str, Measured] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    sizes: BatchSizes = field(default_factory=BatchSizes)
    counts_hold: bool = False


def seen_in(rows: Sequence[Row]) -> Iterator[Seen]:
    """Yield the conversations of a batch that can be placed in time."""
    for row in rows:
        changed = parse_stamp(row.get("updated_at"))
        if changed is not None:
            kept: Row = {key: row[key] for key in _KEPT if key in row}
            began = parse_stamp(row.get("inserted_at")) or changed
            yield Seen({**kept, "id": row_id(row, str(CONVERSATIONS))}, began, changed)


def size_of(seen: Seen) -> float:
    """Return what tells best how long a thread is: its count of messages, else how long it lasted."""
    return float(seen.message_count or seen.lasted_s)
