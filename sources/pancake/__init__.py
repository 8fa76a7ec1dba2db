"""Reads conversations and messages of a Pancake (pages.fm) page, completely and incrementally."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import dlt
from dlt.extract import DltResource

from . import settings
from .client import PancakeClient
from .errors import PancakeSettingsError
from .filters import make_filters
from .resources.conversations import backfill, conversations, now
from .resources.links import LINKS, links
from .resources.messages import messages
from .resources.page_customers import page_customers
from .resources.pages import pages
from .resources.posts import posts
from .resources.statistics import page_statistics, user_statistics
from .resources.tags import tags as tags_of_page
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
from .windows import Moment, Window, as_utc, span

__all__ = ["PancakeClient", "pancake_backfill", "pancake_source"]


DEFAULT_TABLES = (MESSAGES.name, *(table.name for table in LINKS), TAGS.name, USERS.name, PAGES.name)
"""What a sync loads beside `conversations` unless it is told."""


def _never() -> bool:
    return False


@dlt.source(name="pancake", max_table_nesting=0)
def pancake_source(
    page_id: str = dlt.config.value,
    page_access_token: str = dlt.secrets.value,
    base_url: str = settings.BASE_URL,
    requests_per_second: float = settings.REQUESTS_PER_SECOND,
    start_date: str | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
    types: Sequence[str] | None = None,
    tags: Sequence[str] | None = None,
    post_ids: Sequence[str] | None = None,
    unread_first: bool = False,
    order_by: str = "updated_at",
    lag_s: float = settings.LAG_S,
    messages_tail_s: float = settings.MESSAGES_TAIL_S,
    workers: int = settings.WORKERS,
    tables: Sequence[str] | None = None,
    posts_tail_days: float = settings.POSTS_TAIL_DAYS,
    page_utc_offset_hours: float = settings.PAGE_UTC_OFFSET_HOURS,
    *,
    client: PancakeClient | None = None,
    stop: Callable[[], bool] = _never,
) -> Sequence[DltResource]:
    """One page: its conversations and messages, and the tables beside them.

    With a user token as the secret `sources.pancake.user_access_token`, `pages` describes the page.

    Without `since` and `until` it is a sync: it goes on from the cursor on `updated_at`. With `since` it is a
    range load: it reads that span, every thread in it whole, and leaves the cursor alone.

    Args:
        page_id: The page.
        page_access_token: Its page token, from the page's Settings > Tools.
        base_url: Address of Pancake, or of a simulator.
        requests_per_second: Most calls that start in any second; Pancake documents 5 for each page.
        start_date: Where a first sync begins: a date, or a time with a zone. Default: 30 days back.
        since: Begin of a range, included: a date (midnight UTC), an aware datetime or unix seconds.
        until: End of a range, excluded. Default: now.
        types: Only conversations of these types, for example INBOX.
        tags: Only conversations that carry all of these tag ids.
        post_ids: Only comments on these posts.
        unread_first: List unread conversations first; for a range load.
        order_by: `updated_at`, or `inserted_at` for a range load by begin of the conversation.
        lag_s: How far before the cursor a sync starts, in seconds.
        messages_tail_s: How far before its newest known message a changed thread is read again, in seconds.
        workers: Threads that are read side by side.
        tables: Which tables to load beside `conversations`. Default: those that cost one call at most, and
            `messages`.
        posts_tail_days: How young a post is read again, in days: its counters change.
        page_utc_offset_hours: The page's time zone, in which Pancake cuts statistics into days.
        client: A client to use instead of one made from the first four arguments.
        stop: Asked between windows and between threads; True ends the run at that safe point.

    Raises:
        PancakeSettingsError: An argument is missing or makes no sense; before any call.
    """
    client = client or PancakeClient(
        page_id,
        page_access_token,
        base_url=base_url,
        requests_per_second=requests_per_second,
        connections=workers,
    )
    ranged = since is not None or until is not None
    whole = _span(client, since, until, start_date)
    listing = conversations(
        client,
        start=whole.since,
        until=whole.until,
        filters=make_filters(
            types, tags, post_ids, unread_first=unread_first, order_by=order_by, ranged=ranged
        ),
        ranged=ranged,
        lag_s=lag_s,
        stop=stop,
    )
    bounds: dict[str, Any] = {"start": whole.since, "until": whole.until, "ranged": ranged}
    by_day: dict[str, Any] = {**bounds, "utc_offset_hours": page_utc_offset_hours, "stop": stop}
    known: dict[str, Callable[[], DltResource]] = {
        MESSAGES.name: lambda: messages(
            listing,
            client,
            tail_s=messages_tail_s,
            lag_s=lag_s,
            workers=workers,
            whole=ranged,
            repair=True,
            stop=stop,
        ),
        **{table.name: partial(links, listing, table) for table in LINKS},
        TAGS.name: partial(tags_of_page, client),
        USERS.name: partial(users, client),
        PAGES.name: partial(pages, client, user_access_token=_user_access_token()),
        POSTS.name: partial(posts, client, **bounds, tail_days=posts_tail_days),
        PAGE_CUSTOMERS.name: partial(page_customers, client, **bounds, lag_s=lag_s, stop=stop),
        PAGE_STATISTICS.name: partial(page_statistics, client, **by_day),
        USER_STATISTICS.name: partial(user_statistics, client, **by_day),
    }
    wanted = set(DEFAULT_TABLES if tables is None else tables)
    _check_tables(wanted, {CONVERSATIONS.name, *known})
    return listing, *(make() for name, make in known.items() if name in wanted)


def _user_access_token() -> str | None:
    # No argument of the source: `dlt init` would ask everybody for it.
    token: Any = dlt.secrets.get("sources.pancake.user_access_token")
    return None if token is None else str(token)


def _check_tables(wanted: set[str], known: set[str]) -> None:
    if unknown := wanted - known:
        raise PancakeSettingsError(
            f"`sources.pancake.tables` names {', '.join(sorted(unknown))}; known"
            f" are {', '.join(sorted(known))}."
        )


@dlt.source(name="pancake", max_table_nesting=0)
def pancake_backfill(
    page_id: str = dlt.config.value,
    page_access_token: str = dlt.secrets.value,
    base_url: str = settings.BASE_URL,
    requests_per_second: float = settings.REQUESTS_PER_SECOND,
    since: Moment = dlt.config.value,
    until: Moment | None = None,
    types: Sequence[str] | None = None,
    tags: Sequence[str] | None = None,
    post_ids: Sequence[str] | None = None,
    with_messages: bool = True,
    newest_first: bool = True,
    workers: int = settings.WORKERS,
    *,
    client: PancakeClient | None = None,
    repair: bool = True,
    stop: Callable[[], bool] = _never,
) -> Sequence[DltResource]:
    """The next window of a span: each run loads one and records it, until the span is done.

    Which windows are done is kept in the state of the pipeline under `since` and `until` as they are given,
    so that the same call goes on where it stood. The cursor of a sync is left alone. Whether the span is
    done, the metrics of `conversations` say under `finished`.

    Args:
        page_id: See `pancake_source`.
        page_access_token: See `pancake_source`.
        base_url: See `pancake_source`.
        requests_per_second: See `pancake_source`.
        since: Begin of the span, included: a date (midnight UTC), an aware datetime or unix seconds.
        until: End of the span, excluded. Default: now.
        types: See `pancake_source`.
        tags: See `pancake_source`.
        post_ids: See `pancake_source`.
        with_messages: Read every thread whole. Without, only the conversations are read again: the cheap way
            to see what does not move `updated_at`, such as tags, assignees and read marks.
        newest_first: Whether the newest window is loaded first.
        workers: See `pancake_source`.
        client: See `pancake_source`.
        repair: Read also the threads that earlier runs left over.
        stop: Asked between threads; True leaves the others for the next run.

    Raises:
        PancakeSettingsError: An argument is missing or makes no sense; before any call.
    """
    client = client or PancakeClient(
        page_id,
        page_access_token,
        base_url=base_url,
        requests_per_second=requests_per_second,
        connections=workers,
    )
    filters = make_filters(types, tags, post_ids, unread_first=False, order_by="updated_at", ranged=True)
    listing = backfill(
        client,
        whole=_span(client, since, until, None),
        filters=filters,
        newest_first=newest_first,
        entry=f"{client.page_id} {since}..{'' if until is None else until} {filters.fingerprint()}",
    )
    linked = [links(listing, table) for table in LINKS]
    if not with_messages:
        return listing, *linked
    threads = messages(
        listing,
        client,
        tail_s=0,
        lag_s=0,
        workers=workers,
        whole=True,
        repair=repair,
        stop=stop,
    )
    return listing, threads, *linked


def _span(
    client: PancakeClient, since: Moment | None, until: Moment | None, start_date: Moment | None
) -> Window:
    present = now(client)
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
