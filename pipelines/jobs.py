"""What the doors can run: a sync and a backfill, as makers of the source of one piece."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dlt.extract import DltSource

from pipelines.runs import MakeSource
from sources.pancake import Page, pancake_pages_backfill, pancake_pages_source
from sources.pancake.assembly import DEFAULT_TABLES, LISTED_WHOLE


def sync(tables: Sequence[str] | None = None) -> MakeSource:
    """Return the maker of a sync; what is listed whole is read in its first piece alone.

    Args:
        tables: Tables to load beside `conversations`. Default: the cheap ones.
    """
    wanted = DEFAULT_TABLES if tables is None else tables
    later = [name for name in wanted if name not in LISTED_WHOLE]

    def make_source(*, pages: Sequence[Page], stop: Callable[[], bool], first: bool) -> DltSource:
        return pancake_pages_source(pages, tables=wanted if first else later, stop=stop)

    return make_source


def backfill(
    every: Sequence[Page],
    *,
    since: str,
    until: str | None,
    with_messages: bool = True,
    newest_first: bool = True,
) -> MakeSource:
    """Return the maker of a backfill; each piece is the next window of every page that has one left.

    Args:
        every: All pages of the backfill.
        since: Begin of the span, included: a date (midnight UTC) or a time with a zone.
        until: End of the span, excluded. Default: now.
        with_messages: Read every thread whole.
        newest_first: Whether the newest window is loaded first.
    """

    def make_source(*, pages: Sequence[Page], stop: Callable[[], bool], first: bool) -> DltSource:
        return pancake_pages_backfill(
            every,
            since=since,
            until=until,
            with_messages=with_messages,
            newest_first=newest_first,
            only=[page.page_id for page in pages],
            repair=first,
            stop=stop,
        )

    return make_source
