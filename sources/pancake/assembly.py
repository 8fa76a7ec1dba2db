"""Puts the resources of one page together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

import dlt
from dlt.extract import DltResource

from . import settings
from .errors import PancakeSettingsError
from .filters import Filters
from .guard import guarded, merged
from .page_run import PageRun, as_metric
from .resources.conversations import backfill, conversations
from .resources.links import LINKS, links
from .resources.messages import messages
from .resources.page_customers import page_customers
from .resources.pages import pages
from .resources.posts import posts
from .resources.statistics import page_statistics, user_statistics
from .resources.tags import tags
from .resources.users import users
from .schema import (
    CONVERSATIONS,
    MESSAGES,
    PAGE_CUSTOMERS,
    PAGE_STATISTICS,
    PAGES,
    POSTS,
    TAGS,
    USER_STATISTICS,
    USERS,
)
from .throttle import Clock
from .windows import Moment, Window, as_utc, span

DEFAULT_TABLES = (MESSAGES.name, *(table.name for table in LINKS), TAGS.name, USERS.name, PAGES.name)
"""What a sync loads beside `conversations` unless it is told."""

LISTED_WHOLE = (TAGS.name, USERS.name, PAGES.name)
"""Tables that each run reads from begin to end, so that once in a run is enough."""

KNOWN_TABLES = (*DEFAULT_TABLES, POSTS.name, PAGE_CUSTOMERS.name, PAGE_STATISTICS.name, USER_STATISTICS.name)


@dataclass(frozen=True)
class SyncSettings:
    """How a page is synced; each field as the argument of `pancake_source` of its name.

    Args:
        ranged: Whether to read a given span without a cursor.
        filters: Which conversations to list.
    """

    ranged: bool
    filters: Filters
    lag_s: float
    messages_tail_s: float
    workers: int
    tables: frozenset[str]
    posts_tail_days: float
    page_utc_offset_hours: float
    user_access_token: str | None


def sync_of(run: PageRun, whole: Window, how: SyncSettings, suffix: str = "") -> list[DltResource]:
    """Return the resources that sync one page.

    Args:
        run: The page.
        whole: The span, or where a first sync begins and what it ends with.
        how: How to sync.
        suffix: Ends the names of the resources; the tables are always the same.
    """
    listing = conversations(
        run,
        start=whole.since,
        until=whole.until,
        filters=how.filters,
        ranged=how.ranged,
        lag_s=how.lag_s,
        name=CONVERSATIONS.name + suffix,
    )
    bounds: dict[str, Any] = {"start": whole.since, "until": whole.until, "ranged": how.ranged}
    by_day: dict[str, Any] = {**bounds, "utc_offset_hours": how.page_utc_offset_hours}
    makers: dict[str, Callable[..., DltResource]] = {
        MESSAGES.name: partial(
            messages,
            listing,
            run,
            tail_s=how.messages_tail_s,
            lag_s=how.lag_s,
            workers=how.workers,
            whole=how.ranged,
            repair=True,
        ),
        **{table.name: partial(links, listing, table) for table in LINKS},
        TAGS.name: partial(tags, run),
        USERS.name: partial(users, run),
        PAGES.name: partial(pages, run, user_access_token=how.user_access_token),
        POSTS.name: partial(posts, run, **bounds, tail_days=how.posts_tail_days),
        PAGE_CUSTOMERS.name: partial(page_customers, run, **bounds, lag_s=how.lag_s),
        PAGE_STATISTICS.name: partial(page_statistics, run, **by_day),
        USER_STATISTICS.name: partial(user_statistics, run, **by_day),
    }
    return [listing, *(make(name=name + suffix) for name, make in makers.items() if name in how.tables)]


@dataclass(frozen=True)
class BackfillSettings:
    """How a span is loaded again; each field as the argument of `pancake_backfill` of its name.

    Args:
        filters: Which conversations to list.
        entry: Name of the span in the state.
        page_ids: All pages of the backfill.
    """

    filters: Filters
    entry: str
    page_ids: Sequence[str]
    with_messages: bool
    newest_first: bool
    workers: int
    repair: bool


def backfill_of(run: PageRun, whole: Window, how: BackfillSettings, suffix: str = "") -> list[DltResource]:
    """Return the resources that load the next window of a span of one page.

    Args:
        run: The page.
        whole: The span.
        how: How to load it.
        suffix: Ends the names of the resources; the tables are always the same.
    """
    listing = backfill(
        run,
        whole=whole,
        filters=how.filters,
        newest_first=how.newest_first,
        entry=how.entry,
        page_ids=how.page_ids,
        name=CONVERSATIONS.name + suffix,
    )
    linked = [links(listing, table, name=table.name + suffix) for table in LINKS]
    if not how.with_messages:
        return [listing, *linked]
    threads = messages(
        listing,
        run,
        tail_s=0,
        lag_s=0,
        workers=how.workers,
        whole=True,
        repair=how.repair,
        name=MESSAGES.name + suffix,
    )
    return [listing, threads, *linked]


def unreadable(page_id: str, error: PancakeSettingsError, suffix: str) -> DltResource:
    """Return a resource that stands for a page whose settings are wrong: it reports the error and no rows.

    Args:
        page_id: The page.
        error: What is wrong.
        suffix: Ends the name of the resource.
    """

    def report() -> Iterator[Any]:
        dlt.current.resource_metrics().update(page_id=page_id, page_error=as_metric(error))
        yield guarded(CONVERSATIONS)

    return merged(report, CONVERSATIONS, CONVERSATIONS.name + suffix)()


def tables_to_load(wanted: Sequence[str] | None) -> frozenset[str]:
    """Return the tables to load beside `conversations`.

    Raises:
        PancakeSettingsError: A table is named that does not exist.
    """
    chosen = frozenset(DEFAULT_TABLES if wanted is None else wanted)
    known = {CONVERSATIONS.name, *KNOWN_TABLES}
    if unknown := chosen - known:
        raise PancakeSettingsError(
            f"`sources.pancake.tables` names {', '.join(sorted(unknown))}; known"
            f" are {', '.join(sorted(known))}."
        )
    return chosen


def span_to_read(
    clock: Clock, since: Moment | None, until: Moment | None, start_date: Moment | None = None
) -> Window:
    """Return the span between `since` and `until`, or from `start_date` to now.

    Args:
        clock: Says what is now.
        since: Begin of a range.
        until: End of a range; default: now.
        start_date: Where a first sync begins; default: 30 days back.

    Raises:
        PancakeSettingsError: `until` without `since`, an empty span, or no moment at all.
    """
    present = datetime.fromtimestamp(clock.time(), timezone.utc)
    if until is not None and since is None:
        raise PancakeSettingsError("`until` is given without `since`. Give both for a range load.")
    if since is not None:
        return span(since, present if until is None else until)
    if start_date is None:
        return Window(present - timedelta(days=settings.START_DAYS_BACK), present)
    start = as_utc(start_date, "start_date")
    if start >= present:
        raise PancakeSettingsError(
            f"`sources.pancake.start_date` is {start.isoformat()}, which has not come yet."
        )
    return Window(start, present)
