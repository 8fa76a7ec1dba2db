"""How a sync would read, for commands that look without loading."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import dlt

from sources.pancake import Page, PancakeClient, client_of, configured_secret, settings
from sources.pancake.filters import UPDATED_AT, Filters, make_filters

MakeClient = Callable[[Page], PancakeClient]

T = TypeVar("T")


@dataclass(frozen=True)
class Reading:
    """What of the settings shapes the calls of a sync.

    Args:
        workers: Threads of messages that are read side by side.
        lag_s: How far before the cursor a sync starts, in seconds.
        messages_tail_s: How far before its mark a changed thread is read again, in seconds.
        start_date: Where a first sync begins.
        filters: Which conversations are listed.
        with_user_token: Whether a user token describes the page.
    """

    workers: int = settings.WORKERS
    lag_s: float = settings.LAG_S
    messages_tail_s: float = settings.MESSAGES_TAIL_S
    start_date: str | None = None
    filters: Filters = field(default_factory=Filters)
    with_user_token: bool = False


def how_to_read() -> Reading:
    """Return what the configuration says."""
    return Reading(
        workers=_setting("workers", settings.WORKERS),
        lag_s=_setting("lag_s", settings.LAG_S),
        messages_tail_s=_setting("messages_tail_s", settings.MESSAGES_TAIL_S),
        start_date=_setting("start_date", "") or None,
        filters=make_filters(
            *(dlt.config.get(f"sources.pancake.{name}", list) for name in ("types", "tags", "post_ids")),
            unread_first=False,
            order_by=UPDATED_AT,
            ranged=False,
        ),
        with_user_token=configured_secret("user_access_token") is not None,
    )


def make_client(page: Page) -> PancakeClient:
    """Return a client of a page that reads as a sync would.

    Raises:
        PancakeSettingsError: A setting is missing or makes no sense.
    """
    return client_of(
        page,
        _setting("base_url", settings.BASE_URL),
        _setting("requests_per_second", settings.REQUESTS_PER_SECOND),
        _setting("workers", settings.WORKERS),
    )


def _setting(name: str, default: T) -> T:
    found: T | None = dlt.config.get(f"sources.pancake.{name}", type(default))
    return default if found is None else found
