"""Reads conversations and messages of Pancake (pages.fm) pages, completely and incrementally."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import dlt
from dlt.extract import DltResource

from . import settings
from .assembly import (
    BackfillSettings,
    SyncSettings,
    backfill_of,
    span_to_read,
    sync_of,
    tables_to_load,
    unreadable,
)
from .client import PancakeClient
from .errors import PancakeSettingsError
from .filters import Filters, make_filters
from .page_run import PageRun, never
from .page_settings import Page, chosen, read_pages, refuse_tokens
from .windows import Moment

__all__ = [
    "Page",
    "PancakeClient",
    "client_of",
    "configured_pages",
    "configured_secret",
    "pancake_backfill",
    "pancake_pages_backfill",
    "pancake_pages_source",
    "pancake_source",
]

MakeClient = Callable[[Page], PancakeClient]


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
    stop: Callable[[], bool] = never,
) -> Sequence[DltResource]:
    """One page: its conversations and messages, and the tables beside them.

    With a user token as the secret `sources.pancake.user_access_token`, `pages` describes the page. With a
    `sources.pancake.rate_limit_store` several processes share the rate of a page.

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
        client: A client to use instead of one made from the first arguments.
        stop: Asked between windows and between threads; True ends the run at that safe point.

    Raises:
        PancakeSettingsError: An argument is missing or makes no sense; before any call.
    """
    client = client or client_of(Page(page_id, page_access_token), base_url, requests_per_second, workers)
    ranged = since is not None or until is not None
    filters = make_filters(types, tags, post_ids, unread_first=unread_first, order_by=order_by, ranged=ranged)
    how = SyncSettings(
        ranged=ranged,
        filters=filters,
        lag_s=lag_s,
        messages_tail_s=messages_tail_s,
        workers=workers,
        tables=tables_to_load(tables),
        posts_tail_days=posts_tail_days,
        page_utc_offset_hours=page_utc_offset_hours,
        user_access_token=configured_secret("user_access_token"),
    )
    return sync_of(PageRun(client, stop), span_to_read(client.clock, since, until, start_date), how)


@dlt.source(name="pancake", max_table_nesting=0)
def pancake_pages_source(
    pages: Iterable[Page] | None = None,
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
    make_client: MakeClient | None = None,
    stop: Callable[[], bool] = never,
) -> Sequence[DltResource]:
    """Many pages in one load: each with its own cursor and its own rate, all into the same tables.

    The resources of a page are named `<table>_<page_id>`. A page that cannot be read stops no other: the
    metrics of its resources hold `page_error`, what was read of it is loaded, and the next run goes on there.

    Args:
        pages: The pages. Default: `configured_pages()`.
        base_url: See `pancake_source`.
        requests_per_second: Most calls of one page that start in any second.
        start_date: See `pancake_source`; a page may have its own.
        since: See `pancake_source`.
        until: See `pancake_source`.
        types: See `pancake_source`.
        tags: See `pancake_source`.
        post_ids: See `pancake_source`.
        unread_first: See `pancake_source`.
        order_by: See `pancake_source`.
        lag_s: See `pancake_source`.
        messages_tail_s: See `pancake_source`.
        workers: Threads of one page that are read side by side.
        tables: See `pancake_source`.
        posts_tail_days: See `pancake_source`.
        page_utc_offset_hours: See `pancake_source`.
        make_client: Makes the client of a page instead of one with the arguments above.
        stop: See `pancake_source`.

    Raises:
        PancakeSettingsError: An argument is missing or makes no sense, or no page can be read with its
            settings; before any call.
    """
    ranged = since is not None or until is not None
    filters = make_filters(types, tags, post_ids, unread_first=unread_first, order_by=order_by, ranged=ranged)
    how = SyncSettings(
        ranged=ranged,
        filters=filters,
        lag_s=lag_s,
        messages_tail_s=messages_tail_s,
        workers=workers,
        tables=tables_to_load(tables),
        posts_tail_days=posts_tail_days,
        page_utc_offset_hours=page_utc_offset_hours,
        user_access_token=configured_secret("user_access_token"),
    )

    def resources_of(page: Page, run: PageRun) -> list[DltResource]:
        whole = span_to_read(run.client.clock, since, until, page.start_date or start_date)
        return sync_of(run, whole, how, f"_{page.page_id}")

    make_client = make_client or partial(
        client_of, base_url=base_url, requests_per_second=requests_per_second, workers=workers
    )
    return _of_all(configured_pages() if pages is None else list(pages), make_client, stop, resources_of)


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
    stop: Callable[[], bool] = never,
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
    client = client or client_of(Page(page_id, page_access_token), base_url, requests_per_second, workers)
    filters = make_filters(types, tags, post_ids, unread_first=False, order_by="updated_at", ranged=True)
    how = BackfillSettings(
        filters=filters,
        entry=_entry(since, until, filters),
        page_ids=[client.page_id],
        with_messages=with_messages,
        newest_first=newest_first,
        workers=workers,
        repair=repair,
    )
    return backfill_of(PageRun(client, stop), span_to_read(client.clock, since, until), how)


@dlt.source(name="pancake", max_table_nesting=0)
def pancake_pages_backfill(
    pages: Iterable[Page] | None = None,
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
    only: Sequence[str] = (),
    make_client: MakeClient | None = None,
    repair: bool = True,
    stop: Callable[[], bool] = never,
) -> Sequence[DltResource]:
    """The next window of a span of each page that is not done: as `pancake_backfill`, in one load.

    A page that is done waits for the others: while one is not, the same call skips it.

    Args:
        pages: The pages of the backfill. Default: `configured_pages()`.
        base_url: See `pancake_source`.
        requests_per_second: See `pancake_pages_source`.
        since: See `pancake_backfill`.
        until: See `pancake_backfill`.
        types: See `pancake_source`.
        tags: See `pancake_source`.
        post_ids: See `pancake_source`.
        with_messages: See `pancake_backfill`.
        newest_first: See `pancake_backfill`.
        workers: See `pancake_pages_source`.
        only: Ids of the pages to read in this run; default: all.
        make_client: See `pancake_pages_source`.
        repair: See `pancake_backfill`.
        stop: See `pancake_backfill`.

    Raises:
        PancakeSettingsError: See `pancake_pages_source`.
    """
    pages = configured_pages() if pages is None else list(pages)
    filters = make_filters(types, tags, post_ids, unread_first=False, order_by="updated_at", ranged=True)
    how = BackfillSettings(
        filters=filters,
        entry=_entry(since, until, filters),
        page_ids=[page.page_id for page in pages],
        with_messages=with_messages,
        newest_first=newest_first,
        workers=workers,
        repair=repair,
    )

    def resources_of(page: Page, run: PageRun) -> list[DltResource]:
        return backfill_of(run, span_to_read(run.client.clock, since, until), how, f"_{page.page_id}")

    make_client = make_client or partial(
        client_of, base_url=base_url, requests_per_second=requests_per_second, workers=workers
    )
    return _of_all(chosen(pages, only), make_client, stop, resources_of)


def configured_pages(only: Sequence[str] = ()) -> list[Page]:
    """Return the pages of `sources.pancake.pages`, or the one of `sources.pancake.page_id`.

    A page that is listed without a token has it as the secret `sources.pancake.page_access_tokens.<page_id>`,
    in the environment SOURCES__PANCAKE__PAGE_ACCESS_TOKENS__<PAGE_ID>.

    Args:
        only: Ids of the pages that are wanted; default: all.

    Raises:
        PancakeSettingsError: No page is configured, their list cannot be read, or `only` names another.
    """
    listed: Any = configured_secret("pages")
    if listed is None:
        listed = dlt.config.get("sources.pancake.pages") or None
        refuse_tokens(listed)
    page_id: Any = dlt.config.get("sources.pancake.page_id")
    if listed is None:
        if page_id in (None, ""):
            raise PancakeSettingsError(_NO_PAGE)
        listed = [{"page_id": page_id, "page_access_token": configured_secret("page_access_token")}]
    elif page_id not in (None, ""):
        raise PancakeSettingsError(
            "`sources.pancake.pages` and `sources.pancake.page_id` are both set. Keep one of them."
        )
    return chosen(
        read_pages(listed, lambda page_id: configured_secret(f"page_access_tokens.{page_id}")), only
    )


_NO_PAGE = (
    "No page is named. Its id is the number in its address in Pancake. Set it as SOURCES__PANCAKE__PAGE_ID in"
    " the environment or as `page_id` under [sources.pancake] in .dlt/config.toml; several as"
    " SOURCES__PANCAKE__PAGES or `pages`."
)


def _of_all(
    pages: Sequence[Page],
    make_client: MakeClient,
    stop: Callable[[], bool],
    resources_of: Callable[[Page, PageRun], list[DltResource]],
) -> list[DltResource]:
    """Return the resources of all pages; one whose settings are wrong gets one that only says so."""
    resources: list[DltResource] = []
    refused: list[tuple[Page, PancakeSettingsError]] = []
    for page in pages:
        try:
            resources += resources_of(page, PageRun(make_client(page), stop, isolated=True))
        except PancakeSettingsError as error:
            refused.append((page, error))
    if refused and not resources:
        raise refused[0][1]
    return resources + [unreadable(page.page_id, error, f"_{page.page_id}") for page, error in refused]


def client_of(page: Page, base_url: str, requests_per_second: float, workers: int) -> PancakeClient:
    """Return the client of a page.

    Args:
        page: The page.
        base_url: Address of Pancake.
        requests_per_second: Most calls that start in any second.
        workers: How many calls are under way at once.

    Raises:
        PancakeSettingsError: A setting makes no sense.
    """
    return PancakeClient(
        page.page_id,
        page.page_access_token,
        base_url=base_url,
        requests_per_second=requests_per_second,
        rate_limit_store=configured_secret("rate_limit_store"),
        connections=workers,
    )


def _entry(since: Moment, until: Moment | None, filters: Filters) -> str:
    return f"{since}..{'' if until is None else until} {filters.fingerprint()}"


def configured_secret(name: str) -> Any:
    """Return a secret that is no argument of a source, since `dlt init` would ask everybody for it, or None.

    The traces of dlt keep no value that is asked for in this way.
    """
    found: Any = dlt.secrets.get(f"sources.pancake.{name}")
    return None if found == "" else found
