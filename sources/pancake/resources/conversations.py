"""The table `conversations`: the incremental spine, oldest change first."""

# No postponed annotations here: dlt looks at the one of `updated_at` to find the cursor.
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from math import ceil
from typing import Any

import dlt
from dlt.extract import DltResource

from .. import endpoints, settings
from ..client import PancakeClient
from ..errors import PancakeSettingsError
from ..filters import Filters
from ..guard import guarded
from ..paginators import EndOfList, Walk, walk_window
from ..records import Batch, Row, shape
from ..schema import CONVERSATIONS
from ..windows import Window, first_window, next_length, shorter

Cursor = dlt.sources.incremental[datetime]
Stop = Callable[[], bool]


def conversations(
    client: PancakeClient,
    *,
    start: datetime,
    until: datetime,
    filters: Filters,
    ranged: bool,
    lag_s: float,
    stop: Stop,
    name: str = CONVERSATIONS.name,
) -> DltResource:
    """One row per conversation, oldest change first, window by window.

    Args:
        client: Reads the page.
        start: Where a first sync begins, or the begin of the range; aware UTC.
        until: End of what is listed, frozen for the run; aware UTC.
        filters: Which conversations to list.
        ranged: Whether to read from `start` to `until` without a cursor.
        lag_s: How far before the cursor a sync starts, in seconds.
        stop: Asked between windows; True ends the run at this safe point.
        name: Name of the resource; the table is always `conversations`.
    """
    cursor = (
        None
        if ranged
        else Cursor(
            "updated_at", lag=lag_s, on_cursor_value_missing="include", allow_external_schedulers=False
        )
    )
    resource = dlt.resource(
        _conversations,
        name=name,
        table_name=CONVERSATIONS.name,
        primary_key=CONVERSATIONS.key,
        write_disposition="merge",
        columns=CONVERSATIONS.hints(),
    )
    return resource(client, start, until, filters, stop, updated_at=cursor)


def _conversations(
    client: PancakeClient,
    start: datetime,
    until: datetime,
    filters: Filters,
    stop: Stop,
    updated_at: Cursor | None = None,
) -> Iterator[Any]:
    state: dict[str, Any] = {} if updated_at is None else dlt.current.resource_state()
    since = start
    if updated_at is not None and updated_at.start_value is not None:
        since = updated_at.start_value
        until = max(until, since + timedelta(seconds=updated_at.lag or 0))
    _check_filters(filters, state, resumes=since is not start)
    yield guarded(CONVERSATIONS)
    metrics = dlt.current.resource_metrics()
    yield from windows_of_rows(client, Window(since, until), filters, stop, state, metrics)


def windows_of_rows(
    client: PancakeClient,
    whole: Window,
    filters: Filters,
    stop: Stop,
    state: dict[str, Any],
    metrics: dict[str, Any],
) -> Iterator[list[Row]]:
    """Yield the conversations of a span, one list per window, in ascending order throughout.

    Args:
        client: Reads the page.
        whole: The span.
        filters: Which conversations to list.
        stop: Asked between windows; True ends the reading.
        state: Keeps what was learned: the length of a window, and the end of the list.
        metrics: Receives counts: `windows`, `conversations_listed`, `list_calls`, `list_calls_minimum`, and
            `finished`, whether the end of the span was reached.
    """
    end = EndOfList(**state.get("end_of_list", {}))
    length_s = state.get("window_s", settings.WINDOW_FIRST_S)
    rest = whole
    metrics.update(windows=0, conversations_listed=0, list_calls=0, list_calls_minimum=0, finished=False)
    while rest.since < rest.until:
        if stop():
            return
        window = first_window(rest, length_s)
        walk = _walk(client, window, filters, end, metrics)
        while not walk.complete:
            window = shorter(window)
            walk = _walk(client, window, filters, end, metrics)
        if window.length_s >= length_s or len(walk.rows) > settings.WINDOW_TARGET_ROWS:
            length_s = next_length(window.length_s, len(walk.rows))
        metrics["windows"] += 1
        metrics["conversations_listed"] += len(walk.rows)
        metrics["list_calls_minimum"] += 1 + ceil(len(walk.rows) / settings.CONVERSATIONS_PER_BATCH)
        metrics.update(client.tally.as_metrics())
        state.update(end_of_list=asdict(end), window_s=length_s)
        rows = [
            shape(listed.row, CONVERSATIONS, client.page_id, listed.sent_at)
            for listed in walk.ascending()
            if filters.keeps(listed.row)
        ]
        if rows:
            yield rows
        rest = Window(window.until, rest.until)
    metrics["finished"] = True


def _walk(
    client: PancakeClient, window: Window, filters: Filters, end: EndOfList, metrics: dict[str, Any]
) -> Walk:
    def fetch(params: dict[str, str | int]) -> Batch:
        metrics["list_calls"] += 1
        return client.get(endpoints.CONVERSATIONS, {**filters.params(), **params})

    return walk_window(
        fetch,
        window,
        order_by=filters.order_by,
        end=end,
        max_rows=settings.WINDOW_MAX_ROWS if window.length_s > settings.WINDOW_MIN_S else None,
        ordered=not filters.unread_first,
    )


def _check_filters(filters: Filters, state: dict[str, Any], *, resumes: bool) -> None:
    before = state.get("filters", filters.fingerprint())
    if resumes and before != filters.fingerprint():
        raise PancakeSettingsError(
            f"The cursor of this page was made with the filters {before}; this run asks for"
            f" {filters.fingerprint()}. Going on would leave holes. Keep the filters, load the other"
            " conversations as a range (`since` and `until`), or use another pipeline name."
        )
    state["filters"] = filters.fingerprint()


def now(client: PancakeClient) -> datetime:
    """Return the present moment of the client's clock, aware UTC."""
    return datetime.fromtimestamp(client.clock.time(), timezone.utc)
