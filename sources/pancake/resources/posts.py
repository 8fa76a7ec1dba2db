"""The table `posts`: what the page published, with counters."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import dlt
from dlt.extract import DltResource

from .. import endpoints, settings
from ..guard import guarded, merged
from ..page_run import PageRun
from ..paginators import walk_numbered
from ..records import Batch, shape
from ..schema import POSTS
from ..windows import unix_ceil, unix_floor
from .lookups import fails_alone


def posts(
    run: PageRun,
    *,
    start: datetime,
    until: datetime,
    ranged: bool,
    tail_days: float,
    name: str = POSTS.name,
) -> DltResource:
    """One row per post; the young ones are read again each time, since their counters change.

    Args:
        run: The page.
        start: Where a first load begins, or the begin of the range; aware UTC.
        until: End of what is listed, frozen for the run; aware UTC.
        ranged: Whether to read from `start` to `until`, whatever was read before.
        tail_days: How young a post is read again, in days.
        name: Name of the resource; the table is always `posts`.
    """
    resource = merged(_posts, POSTS, name)
    return resource(run, start, until, ranged, timedelta(days=tail_days))


def _posts(run: PageRun, start: datetime, until: datetime, ranged: bool, tail: timedelta) -> Iterator[Any]:
    state = {} if ranged else dlt.current.resource_state()
    yield guarded(POSTS)
    since = start
    if "read_until" in state:
        since = min(datetime.fromisoformat(state["read_until"]), until - tail)

    def fetch(params: dict[str, str | int]) -> Batch:
        span = {"since": unix_floor(since), "until": unix_ceil(until)}
        return run.client.get(endpoints.POSTS, {**span, "page_size": settings.POSTS_PER_BATCH, **params})

    with fails_alone(run, POSTS):
        walk = walk_numbered(fetch, order_by="inserted_at", endpoint=str(endpoints.POSTS))
        yield [shape(listed.row, POSTS, run.client.page_id, listed.sent_at) for listed in walk.ascending()]
        state["read_until"] = until.isoformat()
