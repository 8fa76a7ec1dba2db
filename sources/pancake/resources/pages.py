"""The table `pages`: the page itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dlt.extract import DltResource

from .. import endpoints
from ..client import PancakeClient
from ..errors import PancakeAccessError, PancakeAuthError, PancakeShapeError
from ..guard import guarded, merged
from ..page_run import PageRun
from ..records import Batch, Row, shape
from ..schema import PAGES
from .conversations import now
from .lookups import fails_alone


def pages(run: PageRun, *, user_access_token: str | None = None, name: str = PAGES.name) -> DltResource:
    """One row: the page, described as far as a user token allows.

    Args:
        run: The page.
        user_access_token: Token of a user of the page; without one only the page's id is known.
        name: Name of the resource; the table is always `pages`.
    """
    user = run.client.as_user(user_access_token) if user_access_token else None
    return merged(_pages, PAGES, name)(run, user)


def _pages(run: PageRun, user: PancakeClient | None) -> Iterator[Any]:
    yield guarded(PAGES)
    if user is None:
        page_id = run.client.page_id
        yield [shape({"id": page_id}, PAGES, page_id, now(run.client))]
        return
    with fails_alone(run, PAGES):
        yield [_page(user)]


def _page(user: PancakeClient) -> Row:
    batch = _listed(user)
    for row in batch.rows:
        if isinstance(row, dict) and str(row.get("id")) == user.page_id:
            hours = row.get("timezone")
            minutes = round(hours * 60) if isinstance(hours, int | float) else None
            return {
                **shape(row, PAGES, user.page_id, batch.sent_at),
                "utc_offset_minutes": minutes,
            }
    raise PancakeAccessError(
        "The user of `sources.pancake.user_access_token` has no access to the page. Use the token of one who"
        " has, or none.",
        str(endpoints.PAGES),
    )


def _listed(user: PancakeClient) -> Batch:
    refused = False
    try:
        batch = _every_page(user)
    except PancakeAuthError:
        refused = True
    if refused:  # the run goes on with the page token, which is another one
        raise PancakeAccessError(
            "Pancake refused `sources.pancake.user_access_token`; user tokens expire. Copy a new one, or take"
            " it out: only the names of pages need it.",
            str(endpoints.PAGES),
        )
    return batch


def _every_page(user: PancakeClient) -> Batch:
    """Return the pages of a user, which come by category, or in one list as the reference has it."""
    try:
        batch = user.get(endpoints.PAGES, {})
    except PancakeShapeError:
        return user.get(endpoints.PAGES_AS_DOCUMENTED, {})
    (categories,) = batch.rows
    rows = [row for rows in categories.values() if isinstance(rows, list) for row in rows]
    return Batch(rows, batch.sent_at)
