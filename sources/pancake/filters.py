"""Which conversations to list. Pure: arguments in, query parameters and a test for rows out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .errors import PancakeSettingsError

UPDATED_AT = "updated_at"
INSERTED_AT = "inserted_at"


@dataclass(frozen=True)
class Filters:
    """Filters of the conversations list.

    Args:
        types: Conversation types, for example INBOX. One is left to the server; several are filtered here,
            since the server answers two with an empty list.
        tags: Tag ids; a conversation must carry all of them.
        post_ids: Posts whose comments are wanted.
        unread_first: List unread conversations first.
        order_by: `updated_at` or `inserted_at`: the field that orders the list and that a span is of.
    """

    types: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    post_ids: tuple[str, ...] = ()
    unread_first: bool = False
    order_by: str = UPDATED_AT

    def params(self) -> dict[str, str]:
        """Return the query parameters, without those of time and place in the list."""
        params: dict[str, str] = {}
        if len(self.types) == 1:
            params["type"] = self.types[0]
        if self.tags:
            params["tags"] = ",".join(self.tags)
        if self.post_ids:
            params["post_ids"] = ",".join(self.post_ids)
        if self.unread_first:
            params["unread_first"] = "true"
        return params

    def keeps(self, row: dict[str, Any]) -> bool:
        """Tell whether a row is wanted, as far as the server does not decide it."""
        return len(self.types) < 2 or row.get("type") in self.types  # noqa: PLR2004

    def fingerprint(self) -> str:
        """Return a text that is equal for equal filters."""
        return repr((sorted(self.types), sorted(self.tags), sorted(self.post_ids)))


def make_filters(
    types: Sequence[str] | str | None,
    tags: Sequence[str | int] | str | int | None,
    post_ids: Sequence[str | int] | str | int | None,
    *,
    unread_first: bool,
    order_by: str,
    ranged: bool,
) -> Filters:
    """Return checked filters.

    Args:
        types: See `Filters`; a single value or comma-separated text is accepted for each of the three.
        tags: See `Filters`.
        post_ids: See `Filters`.
        unread_first: See `Filters`; only for a range load.
        order_by: See `Filters`; `inserted_at` only for a range load.
        ranged: Whether the load is of a given span, without a cursor.

    Raises:
        PancakeSettingsError: An unknown order, or one that a cursor cannot stand on.
    """
    if order_by not in (UPDATED_AT, INSERTED_AT):
        raise PancakeSettingsError(f"`order_by` is {order_by!r}; expected {UPDATED_AT} or {INSERTED_AT}.")
    if not ranged and (unread_first or order_by != UPDATED_AT):
        name = "unread_first" if unread_first else f"order_by={order_by}"
        raise PancakeSettingsError(
            f"`{name}` breaks the order by `{UPDATED_AT}` on which the cursor of a sync stands."
            " Use it for a range load: give `since` and `until`."
        )
    return Filters(_texts(types), _texts(tags), _texts(post_ids), unread_first, order_by)


def _texts(values: Sequence[str | int] | str | int | None) -> tuple[str, ...]:
    if values is None:
        return ()
    if isinstance(values, str):
        values = values.split(",")
    elif isinstance(values, int):
        values = [values]
    return tuple(text for value in values if (text := str(value).strip()))
