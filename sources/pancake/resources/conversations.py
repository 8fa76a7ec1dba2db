"""The table `conversations`: the incremental spine, oldest change first."""

# No postponed annotations here: dlt looks at the one of `updated_at` to find the cursor.
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta, timezone
from math import ceil
from typing import Any

import dlt
from dlt.extract import DltResource

from .. import endpoints, settings
from ..client import PancakeClient
from ..errors import PancakeSettingsError
from ..filters import Filters
from ..guard import beside_others, guarded, merged
from ..page_run import PageRun
from ..paginators import EndOfList, Walk, walk_window
from ..records import Batch, Row, shape
from ..schema import CONVERSATIONS
from ..windows import Window, first_window, next_length, unix_floor

Cursor = dlt.sources.incremental[datetime]


def conversations(
    run: PageRun,
    *,
    start: datetime,
    until: datetime,
    filters: Filters,
    ranged: bool,
    lag_s: float,
    name: str = CONVERSATIONS.name,
) -> DltResource:
    """One row per conversation, oldest change first, window by window.

    Args:
        run: The page.
        start: Where a first sync begins, or the begin of the range; aware UTC.
        until: End of what is listed, frozen for the run; aware UTC.
        filters: Which conversations to list.
        ranged: Whether to read from `start` to `until` without a cursor.
        lag_s: How far before the cursor a sync starts, in seconds.
        name: Name of the resource; the table is always `conversations`.
    """
    cursor = (
        None
        if ranged
        else Cursor(
            "updated_at", lag=lag_s, on_cursor_value_missing="include", allow_external_schedulers=False
        )
    )
    return merged(_conversations, CONVERSATIONS, name)(run, start, until, filters, updated_at=cursor)


def backfill(
    run: PageRun,
    *,
    whole: Window,
    filters: Filters,
    newest_first: bool,
    entry: str,
    page_ids: Sequence[str],
    name: str = CONVERSATIONS.name,
) -> DltResource:
    """One row per conversation of the next window of a span; which one that is, is kept in the state.

    Args:
        run: The page.
        whole: The span.
        filters: Which conversations to list.
        newest_first: Whether the newest window is read first.
        entry: Name of the span in the state.
        page_ids: The pages of the backfill; the span is forgotten when it is done for all of them.
        name: Name of the resource; the table is always `conversations`.
    """
    return merged(_backfill, CONVERSATIONS, name)(run, whole, filters, entry, page_ids, newest_first)


def _conversations(
    run: PageRun,
    start: datetime,
    until: datetime,
    filters: Filters,
    updated_at: Cursor | None = None,
) -> Iterator[Any]:
    state: dict[str, Any] = {} if updated_at is None else dlt.current.resource_state()
    since = start
    if updated_at is not None and updated_at.start_value is not None:
        since = updated_at.start_value
        until = max(until, since + timedelta(seconds=updated_at.lag or 0))
    _check_resumed(run.client.page_id, filters, state, resumes=since is not start)
    yield guarded(CONVERSATIONS)
    yield from beside_others(_read(run, Window(since, until), filters, state))


def _read(run: PageRun, whole: Window, filters: Filters, state: dict[str, Any]) -> Iterator[Any]:
    metrics = dlt.current.resource_metrics()
    with run.errors_kept(metrics):
        for rows in windows_of_rows(run, whole, filters, state, metrics):
            yield rows
            yield from run.lists_turn()


def windows_of_rows(
    run: PageRun,
    whole: Window,
    filters: Filters,
    state: dict[str, Any],
    metrics: dict[str, Any],
) -> Iterator[list[Row]]:
    """Yield the conversations of a span, one list per window, in ascending order throughout.

    Args:
        run: The page.
        whole: The span.
        filters: Which conversations to list.
        state: Keeps what was learned: the length of a window, and the end of the list.
        metrics: Receives counts: `windows`, `conversations_listed`, `list_calls`, `list_calls_minimum`, and
            `finished`, whether the end of the span was reached.
    """
    reader = _WindowReader(run.client, filters, state, metrics)
    rest = whole
    while rest.since < rest.until:
        if run.is_over():
            return
        window, rows = reader.read(rest)
        if rows:
            yield rows
        rest = Window(window.until, rest.until)
    metrics["finished"] = True


def _backfill(
    run: PageRun, whole: Window, filters: Filters, entry: str, page_ids: Sequence[str], newest_first: bool
) -> Iterator[Any]:
    """Yield one window of a span, the next one that is left, and record it in the source's state."""
    yield guarded(CONVERSATIONS)
    spans: dict[str, dict[str, Any]] = dlt.current.source_state().setdefault("backfills", {})
    span = spans.setdefault(entry, {})
    span.update({page_id: span.get(page_id, {}) for page_id in page_ids})
    for other in span.keys() - set(page_ids):
        span.pop(other, None)
    for oldest in list(spans)[: -settings.BACKFILLS_KEPT]:
        spans.pop(oldest, None)
    state = span[run.client.page_id]
    left = {name: datetime.fromisoformat(state[name]) for name in ("since", "until") if name in state}
    rest = replace(whole, **left)
    metrics = dlt.current.resource_metrics()
    with run.errors_kept(metrics):
        reader = _WindowReader(run.client, filters, state, metrics)
        if state.get("done"):
            metrics.update(finished=True)
        else:
            window, rows = reader.read(rest, newest_first=newest_first)
            if rows:
                yield rows
            rest = replace(rest, until=window.since) if newest_first else replace(rest, since=window.until)
            state.update(since=rest.since.isoformat(), until=rest.until.isoformat())
            metrics.update(finished=rest.since >= rest.until, read_s=window.length_s, left_s=rest.length_s)
    if metrics["finished"]:
        span[run.client.page_id] = {"done": True}
    if all(span[page_id].get("done") for page_id in page_ids):
        spans.pop(entry, None)


class _WindowReader:
    """Reads window after window, as long as suits what they hold, and keeps what it learns in `state`."""

    def __init__(
        self, client: PancakeClient, filters: Filters, state: dict[str, Any], metrics: dict[str, Any]
    ) -> None:
        self._client = client
        self._filters = filters
        self._state = state
        self._metrics = metrics
        self._end = EndOfList(**state.get("end_of_list", {}))
        self._length_s = state.get("window_s", settings.WINDOW_FIRST_S)
        self._full: list[Window] = []  # what is known to hold as much as a window may, the next one last
        metrics.update(windows=0, conversations_listed=0, list_calls=0, list_calls_minimum=0, finished=False)

    def read(self, rest: Window, *, newest_first: bool = False) -> tuple[Window, list[Row]]:
        """Return the next window of `rest` and its rows, in ascending order."""
        window, walk = self._read_newest_first(rest) if newest_first else self._read_oldest_first(rest)
        if window.length_s >= self._length_s or len(walk.rows) > settings.WINDOW_TARGET_ROWS:
            self._length_s = next_length(window.length_s, len(walk.rows))
        self._metrics["windows"] += 1
        self._metrics["conversations_listed"] += len(walk.rows)
        self._metrics["list_calls_minimum"] += 1 + ceil(len(walk.rows) / settings.CONVERSATIONS_PER_BATCH)
        self._metrics.update(self._client.tally.as_metrics())
        self._state.update(end_of_list=asdict(self._end), window_s=self._length_s)
        rows = [
            shape(listed.row, CONVERSATIONS, self._client.page_id, listed.sent_at)
            for listed in walk.ascending()
            if self._filters.keeps(listed.row)
        ]
        return window, rows

    def _read_newest_first(self, rest: Window) -> tuple[Window, Walk]:
        window = first_window(rest, self._length_s, newest_first=True)
        walk = self._walk(window, settings.WINDOW_MAX_ROWS)
        if walk.complete:
            return window, walk
        cut = _second_after(walk.oldest)
        return (replace(window, since=cut), walk) if cut < window.until else (window, self._walk(window))

    def _read_oldest_first(self, rest: Window) -> tuple[Window, Walk]:
        """Read the oldest part that fits; what is found to be full on the way is read when its turn comes."""
        if self._full and self._full[-1].since <= rest.since:
            window = replace(self._full.pop(), since=rest.since)
            return window, self._walk(window)
        until = self._full[-1].since if self._full else rest.until
        window = first_window(replace(rest, until=until), self._length_s)
        while True:
            walk = self._walk(window, settings.WINDOW_MAX_ROWS)
            if walk.complete:
                return window, walk
            cut = _second_after(walk.oldest)
            if not window.since < cut < window.until:
                return window, self._walk(window)
            self._full.append(replace(window, since=cut))
            window = replace(window, until=cut)

    def _walk(self, window: Window, max_rows: int | None = None) -> Walk:
        def fetch(params: dict[str, str | int]) -> Batch:
            self._metrics["list_calls"] += 1
            return self._client.get(endpoints.CONVERSATIONS, {**self._filters.params(), **params})

        return walk_window(
            fetch,
            window,
            order_by=self._filters.order_by,
            end=self._end,
            max_rows=max_rows,
            ordered=not self._filters.unread_first,
        )


def _second_after(stamp: datetime | None) -> datetime:
    """Return the next whole second, where windows are cut: the API's bounds are seconds."""
    return datetime.fromtimestamp(unix_floor(stamp) + 1 if stamp else 0, timezone.utc)


def _check_resumed(page_id: str, filters: Filters, state: dict[str, Any], *, resumes: bool) -> None:
    """Refuse to go on from a cursor that was made for something else."""
    other = state.get("page_id", page_id)
    if resumes and other != page_id:
        raise PancakeSettingsError(
            f"The cursor of this pipeline was made with page {other}; this run asks for page {page_id}, whose"
            " conversations before the cursor would be missed. Use another pipeline name for it."
        )
    before = state.get("filters", filters.fingerprint())
    if resumes and before != filters.fingerprint():
        raise PancakeSettingsError(
            f"The cursor of this page was made with the filters {before}; this run asks for"
            f" {filters.fingerprint()}. Going on would leave holes. Keep the filters, load the other"
            " conversations as a range (`since` and `until`), or use another pipeline name."
        )
    state.update(page_id=page_id, filters=filters.fingerprint())


def now(client: PancakeClient) -> datetime:
    """Return the present moment of the client's clock, aware UTC."""
    return datetime.fromtimestamp(client.clock.time(), timezone.utc)
