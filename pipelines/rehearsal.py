"""A load in thought: the code that reads a page runs against one that a survey made up, and is counted."""

from __future__ import annotations

import copy
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from math import log1p
from random import Random
from typing import Any

from pipelines.reading import Reading
from pipelines.seen import BatchSizes, Listing, Measured, Seen, Threads, size_of
from sources.pancake import PancakeClient, settings
from sources.pancake.client import Params
from sources.pancake.endpoints import CONVERSATIONS, Endpoint
from sources.pancake.errors import PancakeRequestError
from sources.pancake.page_run import PageRun
from sources.pancake.records import Batch, Row
from sources.pancake.resources.conversations import windows_of_rows
from sources.pancake.resources.coverage import Coverage, Ledger
from sources.pancake.resources.messages import Reader
from sources.pancake.windows import Window

THREADS_AT_MOST = 3_000  # ours: of more threads only every second, third … is rehearsed

_LIKE = 3  # ours: measured threads, nearest in size, of which an unmeasured one takes after one
_LIKE_SIZE = 0.25  # ours: how much further, as a logarithm, the others may be than the nearest


@dataclass(frozen=True)
class Load:
    """What is to be rehearsed.

    Args:
        span: What would be listed.
        reading: How.
        with_messages: Whether threads would be read.
        whole: Whether each thread would be read to its end, whatever is known of it.
        state: What earlier runs learned: under `conversations` and `messages`, as in the pipeline's state.
    """

    span: Window
    reading: Reading
    with_messages: bool
    whole: bool
    state: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Counts:
    """What a rehearsed load came to."""

    windows: int
    conversations: int
    list_calls: int
    threads: int
    thread_calls: int
    messages: int


class ImaginedPage(PancakeClient):
    """Answers as the page would, from what a survey saw; makes no call.

    Args:
        client: Of the real page, for its id and its clock.
        listing: The conversations.
        others: Conversations outside of the listing whose threads may be asked for.
    """

    def __init__(self, client: PancakeClient, listing: Listing, others: Iterable[Seen] = ()) -> None:
        super().__init__(client.page_id, "imagined", clock=client.clock)
        self._list_sizes = listing.sizes
        self._ascending = sorted(listing.conversations, key=lambda seen: (seen.changed, seen.id))
        self._stamps = [seen.changed.timestamp() for seen in self._ascending]
        self._places = {seen.id: place for place, seen in enumerate(self._ascending)}
        self._by_id = {seen.id: seen for seen in (*others, *self._ascending)}
        self._measured: dict[str, Measured] = {}
        self._threads = Threads()
        self._oldest: dict[str, datetime | None] = {}
        self._chance = Random(0)  # noqa: S311
        self.read: dict[str, Seen] = {}

    @property
    def conversations(self) -> int:
        """How many it lists."""
        return len(self._ascending)

    def take_up(self, threads: Threads, marks: Mapping[str, Coverage]) -> None:
        """Give the threads the lengths that were measured, and the others lengths of threads like them.

        Args:
            threads: What was measured.
            marks: What is known of threads that were read before: how far they go back.
        """
        self._threads = threads
        self._oldest = {key: known.oldest_message_at for key, known in marks.items()}
        for counted in (True, False):
            group = [seen for seen in self.read.values() if (seen.message_count > 0) is counted]
            self._measured.update(_lengths(group, threads, believed=counted and threads.counts_hold))
        self.read = {}

    def get(self, endpoint: Endpoint, params: Params, **ids: str) -> Batch:
        """Return what the page would answer."""
        self.tally.calls[endpoint.name or endpoint.rows_key] += 1
        if endpoint is CONVERSATIONS:
            rows = self._listed(params)
        else:
            rows = self._messages(self._by_id[ids["conversation_id"]], int(params["current_count"]))
        return Batch(rows, datetime.fromtimestamp(self.clock.time(), timezone.utc))

    def _listed(self, params: Params) -> list[Row]:
        begin = bisect_left(self._stamps, int(params["since"]))
        end = bisect_right(self._stamps, int(params["until"]))
        if "last_conversation_id" in params:
            end = min(end, self._places[str(params["last_conversation_id"])])
        size = self._size(self._list_sizes, 0, settings.CONVERSATIONS_PER_BATCH)
        return [seen.row for seen in reversed(self._ascending[max(begin, end - size) : end])]

    def _messages(self, seen: Seen, count: int) -> list[Row]:
        self.read[seen.id] = seen
        if seen.id in self._threads.gone:
            raise PancakeRequestError("gone")
        measured = self._measured.get(seen.id, Measured(seen.message_count or 1))
        size = self._size(self._threads.sizes, count, settings.MESSAGES_PER_BATCH)
        places = range(count, min(count + size, measured.messages))
        return [
            {
                "id": f"{seen.id} {measured.messages - place}",
                "inserted_at": self._stamp(seen, measured, place).isoformat(),
            }
            for place in places
        ]

    def _stamp(self, seen: Seen, measured: Measured, place: int) -> datetime:
        if place == measured.messages - 1 and (oldest := self._oldest.get(seen.id)):
            return oldest
        return seen.changed - timedelta(seconds=_age_s(seen, measured, place))

    def _size(self, sizes: BatchSizes, count: int, usual: int) -> int:
        if sizes.uneven:
            return self._chance.choice([*sizes.first, *sizes.later] or [usual])
        known = sizes.later if count or not sizes.first else sizes.first
        return (
            max(known, default=usual) if max(known, default=0) >= settings.MESSAGES_PER_FIRST_BATCH else usual
        )


def _age_s(seen: Seen, measured: Measured, place: int) -> float:
    """Return the age of a message: as was seen, or evenly between what was seen and the begin."""
    seen_ages = measured.ages_s
    after = bisect_left(seen_ages, (place, 0.0))
    if after < len(seen_ages) and seen_ages[after][0] == place:
        return seen_ages[after][1]
    above = seen_ages[after - 1] if after else (-1, 0.0)
    left = max(measured.messages, place + 1) - above[0]
    last = (above[0] + left, max(seen.lasted_s, above[1] + left))
    below = seen_ages[after] if after < len(seen_ages) else last
    return above[1] + (below[1] - above[1]) * (place - above[0]) / (below[0] - above[0])


def _lengths(group: Sequence[Seen], threads: Threads, *, believed: bool) -> dict[str, Measured]:
    """Return the length of each thread: as measured, as counted if that is believed, or like its likes."""
    ordered = sorted(group, key=size_of)
    known = [seen for seen in ordered if seen.id in threads.measured]
    sizes = [size_of(seen) for seen in known]
    found: dict[str, Measured] = {}
    for place, seen in enumerate(ordered):
        found[seen.id] = threads.measured.get(seen.id) or Measured(seen.message_count or 1)
        if known and seen.id not in threads.measured:
            likes = _likes(known, bisect_left(sizes, size_of(seen)), seen)
            like = likes[place % len(likes)]
            measured = threads.measured[like.id]
            more = seen.message_count - like.message_count if believed else 0
            found[seen.id] = Measured(max(1, measured.messages + more), measured.ages_s)
    return found


def _likes(known: Sequence[Seen], place: int, seen: Seen) -> Sequence[Seen]:
    """Return the measured threads that are most like one in size."""
    begin = max(0, min(place - _LIKE // 2 - 1, len(known) - _LIKE - 1))
    near = [(abs(_scale(other) - _scale(seen)), other) for other in known[begin : begin + _LIKE + 1]]
    nearest = min(distance for distance, _ in near)
    return [other for distance, other in near if distance <= nearest + _LIKE_SIZE]


def _scale(seen: Seen) -> float:
    return log1p(size_of(seen))


def rehearse(page: ImaginedPage, load: Load, ledger: Ledger) -> Counts:
    """Run a load against an imagined page and return what it came to.

    Args:
        page: The page.
        load: What to load.
        ledger: What is known of its threads.
    """
    load_state = copy.deepcopy(load.state)
    listed: dict[str, Any] = {}
    run = PageRun(page)
    reader = Reader(
        run,
        0 if load.whole else load.reading.messages_tail_s,
        0 if load.whole else load.reading.lag_s,
        1,
        load.whole,
    )
    every = max(1, round(page.conversations / THREADS_AT_MOST))
    repaired: Counter[str] = Counter()
    if load.with_messages:
        _run_out(reader.open(ledger, load_state["messages"]))
        repaired = Counter(reader.metrics)
    for rows in windows_of_rows(run, load.span, load.reading.filters, load_state["conversations"], listed):
        if load.with_messages and rows:
            _run_out(reader.read(rows[::every], ledger, load_state["messages"]))
    read = {
        name: repaired[name] + every * (reader.metrics.get(name, 0) - repaired[name])
        for name in ("thread_calls", "messages_read", "threads_complete", "threads_failed")
    }
    return Counts(
        windows=listed["windows"],
        conversations=listed["conversations_listed"],
        list_calls=listed["list_calls"],
        threads=read["threads_complete"] + read["threads_failed"],
        thread_calls=read["thread_calls"],
        messages=read["messages_read"],
    )


def _run_out(parts: Iterator[Any]) -> None:
    for _ in parts:
        pass
