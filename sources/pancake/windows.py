"""Which span of time to ask for, and in which slices. Pure: values in, values out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from math import ceil

from . import settings
from .errors import PancakeSettingsError

Moment = date | datetime | int | float | str

_EARLIEST_S = 946_684_800  # 2000-01-01: no Pancake page is older
_LATEST_S = 4_102_444_800  # 2100-01-01
_GROWTH = 8.0


@dataclass(frozen=True)
class Window:
    """One slice of a span: from `since`, included, to `until`, excluded; both aware UTC."""

    since: datetime
    until: datetime

    @property
    def length_s(self) -> float:
        """Length in seconds."""
        return (self.until - self.since).total_seconds()


def as_utc(value: Moment, name: str) -> datetime:
    """Return a moment given by a person or a configuration as an aware UTC datetime.

    Args:
        value: A date (its midnight in UTC), an aware datetime, unix seconds, or any of these as text in
            ISO 8601.
        name: Name of the setting, for the message.

    Raises:
        PancakeSettingsError: A naive datetime, milliseconds, or no moment at all.
    """
    if isinstance(value, str):
        return as_utc(_parse(value.strip(), name), name)
    if isinstance(value, bool) or not isinstance(value, date | int | float):
        raise PancakeSettingsError(
            f"`{name}` is a {type(value).__name__}; expected a date, an aware datetime or unix seconds."
        )
    if isinstance(value, int | float):
        return _from_unix(value, name)
    if not isinstance(value, datetime):
        return datetime.combine(value, time(), timezone.utc)
    if value.tzinfo is None or value.utcoffset() is None:
        raise PancakeSettingsError(
            f"`{name}` is {value.isoformat()} without a time zone, which could mean any of 24 hours."
            f" Add one, for example {value.isoformat()}+07:00, or give a plain date for midnight UTC."
        )
    try:
        return datetime.fromtimestamp(value.timestamp(), timezone.utc)
    except (ValueError, OverflowError):
        raise PancakeSettingsError(
            f"`{name}` is {value.isoformat()}, which does not exist in UTC. Give a later time."
        ) from None


def _parse(text: str, name: str) -> Moment:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return date.fromisoformat(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise PancakeSettingsError(
            f"`{name}` is {text!r}; expected a date such as 2026-01-31, or a time with a zone such as"
            " 2026-01-31T08:00:00+07:00."
        ) from None


def _from_unix(value: float, name: str) -> datetime:
    if _EARLIEST_S * 1000 <= value <= _LATEST_S * 1000:
        raise PancakeSettingsError(
            f"`{name}` is {value:.0f}, which looks like milliseconds; Pancake counts in seconds."
            f" Give {value / 1000:.0f}."
        )
    if not _EARLIEST_S <= value <= _LATEST_S:
        raise PancakeSettingsError(
            f"`{name}` is {value}; expected unix seconds between {_EARLIEST_S} (the year 2000) and"
            f" {_LATEST_S} (the year 2100)."
        )
    return datetime.fromtimestamp(value, timezone.utc)


def span(since: Moment, until: Moment) -> Window:
    """Return the span between two moments.

    Raises:
        PancakeSettingsError: The span is empty or runs backwards.
    """
    begin, end = as_utc(since, "since"), as_utc(until, "until")
    if begin >= end:
        raise PancakeSettingsError(
            f"`since` ({begin.isoformat()}) must lie before `until` ({end.isoformat()}): the span is empty."
        )
    return Window(begin, end)


def unix_floor(moment: datetime) -> int:
    """Return unix seconds, rounded down."""
    return int(moment.timestamp() // 1)


def unix_ceil(moment: datetime) -> int:
    """Return unix seconds, rounded up."""
    return ceil(moment.timestamp())


def first_window(whole: Window, length_s: float, *, newest_first: bool = False) -> Window:
    """Return the slice of `whole` to read next, at most `length_s` seconds long."""
    if whole.length_s <= length_s:
        return whole
    if newest_first:
        return Window(whole.until - timedelta(seconds=length_s), whole.until)
    return Window(whole.since, whole.since + timedelta(seconds=length_s))


def next_length(length_s: float, rows: int) -> float:
    """Return how long the next window should be so that it holds about a thousand rows.

    Args:
        length_s: Length of the window just read, in seconds.
        rows: Conversations that it held.
    """
    wanted = settings.WINDOW_TARGET_ROWS / rows if rows else _GROWTH
    grown = length_s * min(wanted, _GROWTH)
    return max(settings.WINDOW_MIN_S, min(grown, settings.WINDOW_MAX_S))


def shorter(window: Window) -> Window:
    """Return the first quarter of a window that held too much."""
    return first_window(window, max(settings.WINDOW_MIN_S, window.length_s / 4))
