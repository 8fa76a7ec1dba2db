"""The table `users`: the page's staff, disabled and former ones too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dlt.extract import DltResource

from .. import endpoints
from ..guard import guarded, merged
from ..page_run import PageRun
from ..records import Batch, Row, row_id, shape
from ..schema import USERS
from .lookups import fails_alone, with_history


def users(run: PageRun, *, name: str = USERS.name) -> DltResource:
    """One row per member of staff that the page has or had.

    Args:
        run: The page.
        name: Name of the resource; the table is always `users`.
    """
    return merged(_users, USERS, name)(run)


def _users(run: PageRun) -> Iterator[Any]:
    yield guarded(USERS)
    with fails_alone(run, USERS):
        batch = run.client.get(endpoints.USERS, {})
        yield with_history(_listed(batch, run.client.page_id), batch, USERS, run.client.page_id)


def _listed(batch: Batch, page_id: str) -> list[Row]:
    """Return the disabled and the active; who is listed as both is active."""
    dealt_out = batch.body.get("round_robin_users")
    lists = dealt_out if isinstance(dealt_out, dict) else {}
    found: dict[str, Row] = {}
    for is_disabled, rows in ((True, batch.body.get("disabled_users") or []), (False, batch.rows)):
        for row in rows:
            user_id = row_id(row, str(endpoints.USERS))
            found[user_id] = {
                **shape({**row, "id": user_id}, USERS, page_id, batch.sent_at),
                "permissions": _permissions(row),
                "is_disabled": is_disabled,
                "in_inbox_round_robin": user_id in (lists.get("inbox") or ()),
                "in_comment_round_robin": user_id in (lists.get("comment") or ()),
            }
    return list(found.values())


def _permissions(row: Row) -> list[int] | None:
    on_page = row.get("page_permissions")
    found = on_page.get("permissions") if isinstance(on_page, dict) else None
    return [number for number in found if type(number) is int] if isinstance(found, list) else None
