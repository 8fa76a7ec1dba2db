"""The tables `page_statistics` and `user_statistics`: hourly counts, read day by day."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from math import isfinite
from typing import Any

import dlt
from dlt.extract import DltResource

from .. import endpoints, settings
from ..endpoints import Endpoint
from ..errors import PancakeShapeError
from ..guard import guarded, merged
from ..page_run import PageRun
from ..records import Batch, Row, parse_stamp, shape
from ..schema import PAGE_STATISTICS, USER_STATISTICS
from ..windows import unix_ceil, unix_floor
from .lookups import fails_alone

_DATE = "%d/%m/%Y"
_HOUR_IN_INTEGER = "%Y%m%d%H%M%S"
_ZONED = re.compile(r":\d\d.*(Z|[+-]\d\d:?\d\d)$")
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Span:
    """What statistics are read of.

    Args:
        start: Where a first load begins, or the begin of the range; aware UTC.
        until: End of what is read, frozen for the run; aware UTC.
        ranged: Whether to read from `start` to `until`, whatever was read before.
        utc_offset: The page's time zone: days begin at its midnight.
    """

    start: datetime
    until: datetime
    ranged: bool
    utc_offset: timedelta

    def days(self, run: PageRun) -> Iterator[date]:
        """Yield the days to read, oldest first, and keep in the state up to where they were read."""
        state = {} if self.ranged else dlt.current.resource_state()
        metrics = dlt.current.resource_metrics()
        today = self._day_of(self.until - timedelta.resolution)
        day = self._day_of(self.start)
        if "read_until" in state:
            after = date.fromisoformat(state["read_until"]) + _DAY
            day = min(after, today - _DAY * (settings.STATISTICS_TAIL_DAYS - 1))
        while day <= today:
            if run.is_over():
                metrics["finished"] = False
                return
            yield day
            state["read_until"] = day.isoformat()
            day += _DAY

    def _day_of(self, moment: datetime) -> date:
        return (moment + self.utc_offset).date()

    def begin_of(self, day: date) -> datetime:
        """Return midnight of a day in the page's time zone, aware UTC."""
        return datetime.combine(day, time(), timezone.utc) - self.utc_offset


def page_statistics(
    run: PageRun,
    *,
    start: datetime,
    until: datetime,
    ranged: bool,
    utc_offset_hours: float,
    name: str = PAGE_STATISTICS.name,
) -> DltResource:
    """One row per hour of the page; the last days are read again until their counts are final.

    Args:
        run: The page.
        start: Where a first load begins, or the begin of the range; aware UTC.
        until: End of what is read, frozen for the run; aware UTC.
        ranged: Whether to read from `start` to `until`, whatever was read before.
        utc_offset_hours: The page's time zone.
        name: Name of the resource; the table is always `page_statistics`.
    """
    span = Span(start, until, ranged, timedelta(hours=utc_offset_hours))
    return merged(_page_statistics, PAGE_STATISTICS, name)(run, span)


def user_statistics(
    run: PageRun,
    *,
    start: datetime,
    until: datetime,
    ranged: bool,
    utc_offset_hours: float,
    name: str = USER_STATISTICS.name,
) -> DltResource:
    """One row per member of staff and hour; the last days are read again until their counts are final.

    Args:
        run: The page.
        start: See `page_statistics`.
        until: See `page_statistics`.
        ranged: See `page_statistics`.
        utc_offset_hours: See `page_statistics`.
        name: Name of the resource; the table is always `user_statistics`.
    """
    span = Span(start, until, ranged, timedelta(hours=utc_offset_hours))
    return merged(_user_statistics, USER_STATISTICS, name)(run, span)


def _page_statistics(run: PageRun, span: Span) -> Iterator[Any]:
    yield guarded(PAGE_STATISTICS)
    with fails_alone(run, PAGE_STATISTICS):
        for day in span.days(run):
            begin = span.begin_of(day)
            asked = {"since": unix_floor(begin), "until": unix_ceil(min(begin + _DAY, span.until))}
            batch = run.client.get(endpoints.PAGE_STATISTICS, asked)
            yield [page_hour(row, batch.sent_at, run.client.page_id, span.utc_offset) for row in batch.rows]


def _user_statistics(run: PageRun, span: Span) -> Iterator[Any]:
    yield guarded(USER_STATISTICS)
    with fails_alone(run, USER_STATISTICS):
        for day in span.days(run):
            asked = {"date_range": f"{day:{_DATE}} 00:00:00 - {day:{_DATE}} 23:59:59"}
            yield user_hours(run.client.get(endpoints.USER_STATISTICS, asked), run.client.page_id)


def page_hour(row: Row, sent_at: datetime, page_id: str, utc_offset: timedelta) -> Row:
    """Return one hour of the page as a row of its table.

    Raises:
        PancakeShapeError: It does not say which hour it is.
    """
    hour = parse_stamp(row.get("hour")) if isinstance(row, dict) else None
    if hour is None:
        raise _no_hour(endpoints.PAGE_STATISTICS)
    shaped = shape(row, PAGE_STATISTICS, page_id, sent_at)
    shaped["hour_utc"] = hour if _ZONED.search(row["hour"]) else hour - utc_offset
    return shaped


def user_hours(batch: Batch, page_id: str) -> list[Row]:
    """Return the hours of all staff as rows of their table: the reply is keyed by member of staff.

    Raises:
        PancakeShapeError: The reply is not keyed so, or an hour does not say which it is.
    """
    (data,) = batch.rows
    statistics, people = data.get("statistics"), data.get("users")
    if not isinstance(statistics, dict) or not all(isinstance(rows, list) for rows in statistics.values()):
        raise PancakeShapeError(
            f"`GET {endpoints.USER_STATISTICS}` should hold lists by member of staff under"
            f" `data.statistics`; found {type(statistics).__name__}.",
            str(endpoints.USER_STATISTICS),
        )
    return [
        _user_hour(row, user_id, _person(people, user_id), batch.sent_at, page_id)
        for user_id, rows in statistics.items()
        for row in rows
    ]


def _person(people: Any, user_id: str) -> Row:
    found = people.get(user_id) if isinstance(people, dict) else None
    return {key: found.get(key) for key in ("user_name", "user_fb_id")} if isinstance(found, dict) else {}


def _user_hour(row: Row, user_id: str, person: Row, sent_at: datetime, page_id: str) -> Row:
    try:
        hour = datetime.strptime(str(row["hour_in_integer"]), _HOUR_IN_INTEGER).replace(tzinfo=timezone.utc)
    except (KeyError, TypeError, ValueError):
        hour = None
    if hour is None:
        raise _no_hour(endpoints.USER_STATISTICS)
    measured = row.get("average_response_time")
    if isinstance(measured, float) and isfinite(measured):
        measured = round(measured)
    asked = {**person, **row, "user_id": user_id, "average_response_time": measured or None}
    shaped = shape(asked, USER_STATISTICS, page_id, sent_at)
    shaped["hour_utc"] = hour
    return shaped


def _no_hour(endpoint: Endpoint) -> PancakeShapeError:
    return PancakeShapeError(
        f"`GET {endpoint}` gave counts without the hour that they are of, so they cannot be merged.",
        str(endpoint),
    )
