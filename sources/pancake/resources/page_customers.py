"""The table `page_customers`: everyone who ever wrote to the page, oldest change first."""

# No postponed annotations here: dlt looks at the one of `updated_at` to find the cursor.
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import dlt
from dlt.extract import DltResource

from .. import endpoints, settings
from ..arrow import in_arrow
from ..client import PancakeClient
from ..guard import beside_others, guarded, merged
from ..page_run import PageRun
from ..paginators import Walk, walk_numbered
from ..records import Batch, parse_stamp, shape
from ..schema import PAGE_CUSTOMERS
from ..windows import Window, first_window, next_length, shorter, unix_ceil, unix_floor
from .lookups import fails_alone

Cursor = dlt.sources.incremental[datetime]

_SECOND = timedelta(seconds=1)
_SINCE_EVER = datetime.fromtimestamp(0, timezone.utc)


def page_customers(
    run: PageRun,
    *,
    start: datetime,
    until: datetime,
    ranged: bool,
    lag_s: float,
    name: str = PAGE_CUSTOMERS.name,
) -> DltResource:
    """One row per customer, oldest change first, window by window.

    Args:
        run: The page.
        start: Where a first load begins, or the begin of the range; aware UTC.
        until: End of what is listed, frozen for the run; aware UTC.
        ranged: Whether to read from `start` to `until` without a cursor.
        lag_s: How far before the cursor a load starts, in seconds.
        name: Name of the resource; the table is always `page_customers`.
    """
    resource = merged(_page_customers, PAGE_CUSTOMERS, name)
    cursor = (
        None
        if ranged
        else Cursor(
            "updated_at", lag=lag_s, on_cursor_value_missing="include", allow_external_schedulers=False
        )
    )
    return in_arrow(resource(run, start, until, updated_at=cursor), PAGE_CUSTOMERS)


def _page_customers(
    run: PageRun, start: datetime, until: datetime, updated_at: Cursor | None = None
) -> Iterator[Any]:
    state: dict[str, Any] = {} if updated_at is None else dlt.current.resource_state()
    since = start
    if updated_at is not None and updated_at.start_value is not None:
        since = updated_at.start_value
        until = max(until, since + timedelta(seconds=updated_at.lag or 0))
    yield guarded(PAGE_CUSTOMERS)
    yield from beside_others(_read(run, since, until, state))


def _read(run: PageRun, since: datetime, until: datetime, state: dict[str, Any]) -> Iterator[Any]:
    client = run.client
    metrics = dlt.current.resource_metrics()
    with fails_alone(run, PAGE_CUSTOMERS):
        rest = Window(since, until)
        while rest.since < rest.until:
            if run.is_over():
                metrics["finished"] = False
                return
            if state.get("span_is_of_begin"):  # then only the whole list is sure to hold every change
                window = Window(_SINCE_EVER, until)
                walk = _walk(client, window)
            else:
                window, walk = _first_walk(client, rest, state.get("window_s", settings.WINDOW_FIRST_S))
            if state.get("span_is_of_begin") is None:
                state["span_is_of_begin"] = _span_is_of_begin(client, walk)
                if state["span_is_of_begin"]:
                    continue
            yield [
                shape(listed.row, PAGE_CUSTOMERS, client.page_id, listed.sent_at)
                for listed in walk.ascending()
            ]
            state["window_s"] = next_length(window.length_s, len(walk.rows))
            rest = Window(window.until, until)


def _first_walk(client: PancakeClient, rest: Window, length_s: float) -> tuple[Window, Walk]:
    """Read the first window of `rest`, shorter than `length_s` if that holds too much to hold still."""
    window = first_window(rest, length_s)
    while True:
        cut = window.length_s > settings.WINDOW_MIN_S
        walk = _walk(client, window, settings.WINDOW_MAX_ROWS if cut else None)
        if walk.complete:
            return window, walk
        window = shorter(window)


def _walk(client: PancakeClient, window: Window, max_rows: int | None = None) -> Walk:
    asked: dict[str, str | int] = {
        "since": unix_floor(window.since),
        "until": unix_ceil(window.until),
        "order_by": "updated_at",
        "page_size": settings.CUSTOMERS_PER_BATCH,
    }

    def fetch(params: dict[str, str | int]) -> Batch:
        return client.get(endpoints.PAGE_CUSTOMERS, {**asked, **params})

    return walk_numbered(
        fetch, order_by="updated_at", endpoint=str(endpoints.PAGE_CUSTOMERS), max_rows=max_rows
    )


def _span_is_of_begin(client: PancakeClient, walk: Walk) -> bool | None:
    """Tell whether `since` and `until` filter `inserted_at` whatever the order, which no reference says.

    The moment in which a customer began who changed later shows it; None while there is no such customer.
    """
    for listed in walk.rows.values():
        began = parse_stamp(listed.row.get("inserted_at"))
        if began is not None and listed.stamp is not None and listed.stamp - began > 3 * _SECOND:
            of_that_moment = _walk(client, Window(began, began + _SECOND)).rows.values()
            return any(other.stamp and other.stamp - began > 3 * _SECOND for other in of_that_moment)
    return None
