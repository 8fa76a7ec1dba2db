"""A look at a page in a bounded number of calls: how many conversations it has, and how long threads are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from statistics import median

from pipelines.densities import Unknown, density
from pipelines.lengths import Look, counts_hold, length_of, spread
from pipelines.seen import BatchSizes, Listing, Seen, Threads, seen_in
from sources.pancake import PancakeClient
from sources.pancake.endpoints import CONVERSATIONS, MESSAGES
from sources.pancake.errors import PancakeRequestError
from sources.pancake.filters import Filters
from sources.pancake.paginators import EndOfList, walk_window
from sources.pancake.records import Batch, Row
from sources.pancake.windows import Window, unix_ceil, unix_floor

_COUNTS_COMPARED = 12  # ours: threads after which `message_count` is believed, or is not


@dataclass(frozen=True)
class Bounds:
    """Most calls of a survey of one page, repeated ones not counted; all numbers are ours.

    Args:
        lists: To list conversations; 60 each, so up to so many times 60 are listed and the rest is estimated.
        probes: To estimate that rest.
        threads: To measure threads.
    """

    lists: int = 100
    probes: int = 60
    threads: int = 80

    @property
    def total(self) -> int:
        """All together."""
        return self.lists + self.probes + self.threads


class _SpentError(Exception):
    """No call is left."""


class Survey:
    """Looks at one page.

    Args:
        client: Reads the page.
        filters: Which conversations a load would list.
        bounds: Most calls.
    """

    def __init__(self, client: PancakeClient, filters: Filters, bounds: Bounds) -> None:
        self._client = client
        self._filters = filters
        self._bounds = bounds
        self._took_s: list[float] = []
        self._thread_calls_left = bounds.threads

    @property
    def latency_s(self) -> float:
        """Median duration of a call, in seconds."""
        return median(self._took_s) if self._took_s else 0.0

    # Conversations.

    def conversations(self, span: Window) -> Listing:
        """List the conversations of a span, and estimate those for which no call is left.

        Raises:
            PancakeError: As `PancakeClient.get`.
        """
        found: dict[str, Seen] = {}
        sizes = BatchSizes()
        end = EndOfList()

        def fetch(params: dict[str, str | int]) -> Batch:
            if len(sizes.later) >= self._bounds.lists:
                raise _SpentError
            batch = self._list(params)
            sizes.later.append(len(batch.rows))
            found.update((seen.id, seen) for seen in seen_in(batch.rows))
            return batch

        complete = True
        try:
            walk_window(fetch, span, order_by=self._filters.order_by, end=end)
        except _SpentError:
            complete = False
        sizes.uneven = end.uneven
        listed = sorted(found.values(), key=lambda seen: seen.changed, reverse=True)
        if complete or not listed:
            return Listing(listed, sizes, complete)
        rest = Window(span.since, max(span.since, listed[-1].changed))
        full = 1 if sizes.uneven else max(sizes.later)
        found.update((seen.id, seen) for seen in self._estimated(rest, listed, full))
        return Listing(list(found.values()), sizes, complete=False)

    def _list(self, params: dict[str, str | int]) -> Batch:
        return self._get(lambda: self._client.get(CONVERSATIONS, {**self._filters.params(), **params}))

    def _get(self, call: Callable[[], Batch]) -> Batch:
        batch = call()
        self._took_s.append(self._client.clock.time() - batch.sent_at.timestamp())
        return batch

    def _estimated(self, rest: Window, above: Sequence[Seen], full: int) -> list[Seen]:
        """Return conversations like those of `rest`, made up between looks at it.

        Each look lists the newest conversations before a moment. The next look is where most conversations
        may still be.

        Args:
            rest: A span.
            above: Those that were listed after it, newest first.
            full: Rows of a batch that need not be the last.
        """
        edge = density(above)
        spans = [Unknown(rest, edge, edge, edge, above)]
        found: list[Seen] = []
        for number in range(self._bounds.probes):
            widest = max(spans, key=lambda unknown: unknown.at_most, default=None)
            if widest is None or widest.at_most < 1:
                break
            spans.remove(widest)
            # First close to the begin, of which nothing is known.
            at = widest.span.since + (widest.span.until - widest.span.since) * (0.5 if number else 0.05)
            asked = {"since": unix_floor(widest.span.since), "until": unix_ceil(at)}
            batch = self._list({**asked, "order_by": self._filters.order_by})
            rows = sorted(seen_in(batch.rows), key=lambda seen: seen.changed, reverse=True)
            found += rows
            spans += widest.parted(at, rows, to_the_end=len(batch.rows) < full)
        return [*found, *(seen for unknown in spans for seen in unknown.imagined())]

    # Threads.

    def threads(self, wanted: Sequence[Seen], floors: Callable[[Seen], datetime | None]) -> Threads:
        """Measure as many of these threads as calls allow, spread over short and long ones.

        Args:
            wanted: Conversations whose threads a load would read.
            floors: Returns down to when a thread would be read, None for its end.
        """
        found = Threads()
        listed = [seen for seen in wanted if seen.listed]
        counted = [seen for seen in listed if seen.message_count > 0]
        uncounted = [seen for seen in listed if seen.message_count <= 0]
        keep = self._bounds.threads // 2 if uncounted else 0
        try:
            for number, seen in enumerate(spread(counted)):
                found.counts_hold = number >= _COUNTS_COMPARED and counts_hold(counted, found)
                enough = found.counts_hold and floors(seen) is None and not found.sizes.uneven
                if enough or self._thread_calls_left <= keep:
                    break
                self._measure(seen, floors(seen), found)
            for seen in spread(uncounted):
                self._measure(seen, floors(seen), found)
        except _SpentError:
            pass
        return found

    def _measure(self, seen: Seen, floor: datetime | None, found: Threads) -> None:
        look = Look(seen, partial(self._messages, seen))
        try:
            first = look.at(0)
        except PancakeRequestError:  # deleted meanwhile
            found.gone.add(seen.id)
            return
        found.measured[seen.id] = look.measured(max(first, seen.message_count))  # if calls run out
        rows, count = first, 0
        while floor is not None and rows and not look.reached(floor):
            count += rows
            rows = look.at(count)
        if first == 0 or floor is not None:
            found.sizes.note(look.batches, count + rows)
            found.measured[seen.id] = look.measured(max(count + rows, seen.message_count))
            return
        length = length_of(look, first, found.sizes)
        found.sizes.note(look.batches, length)
        found.measured[seen.id] = look.measured(length)

    def _messages(self, seen: Seen, count: int) -> list[Row]:
        if self._thread_calls_left == 0:
            raise _SpentError
        self._thread_calls_left -= 1
        asked = {"current_count": count}
        return self._get(lambda: self._client.get(MESSAGES, asked, conversation_id=seen.id)).rows
