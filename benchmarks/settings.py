"""What every contender is told, by the environment: the simulated page and the database to load into."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone

CONVERSATIONS_PER_BATCH = 60  # fixed by the server
MESSAGES_PER_BATCH = 30  # fixed by the simulator: a shorter batch is the last one


def url() -> str:
    """Return the address of the simulator."""
    return os.environ["SOURCES__PANCAKE__BASE_URL"]


def page_id() -> str:
    """Return the page."""
    return os.environ["SOURCES__PANCAKE__PAGE_ID"]


def token() -> str:
    """Return its token."""
    return os.environ["SOURCES__PANCAKE__PAGE_ACCESS_TOKEN"]


def database() -> str:
    """Return the DuckDB file."""
    return os.environ["DESTINATION__WAREHOUSE__CREDENTIALS"]


def span() -> tuple[int, int]:
    """Return the last 30 days in unix seconds, as a first sync reads them."""
    now = datetime.now(timezone.utc)
    return int((now - timedelta(days=30)).timestamp()), int(now.timestamp()) + 1
