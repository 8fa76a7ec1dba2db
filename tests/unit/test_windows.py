"""Which span is asked for: what people write becomes UTC, and slices leave no gap."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.pancake import settings
from sources.pancake.errors import PancakeSettingsError
from sources.pancake.windows import (
    Moment,
    Window,
    as_utc,
    first_window,
    next_length,
    shorter,
    span,
    unix_ceil,
    unix_floor,
)

MIDNIGHT = datetime(2026, 1, 31, tzinfo=timezone.utc)
VIETNAM = timezone(timedelta(hours=7))


@pytest.mark.parametrize(
    "value",
    [
        date(2026, 1, 31),
        "2026-01-31",
        " 2026-01-31 ",
        MIDNIGHT,
        datetime(2026, 1, 31, 7, tzinfo=VIETNAM),
        "2026-01-31T00:00:00Z",
        "2026-01-31T00:00:00+00:00",
        "2026-01-31T07:00:00+07:00",
        "2026-01-31 07:00:00+07:00",
        1769817600,
        1769817600.0,
        "1769817600",
        "1769817600.0",
    ],
)
def test_one_moment_may_be_written_in_many_ways(value: Moment) -> None:
    read = as_utc(value, "since")
    assert read == MIDNIGHT
    assert read.utcoffset() == timedelta(0)
    assert type(read) is datetime


def test_microseconds_are_kept() -> None:
    moment = datetime(2026, 1, 31, 7, 0, 0, 123457, tzinfo=VIETNAM)
    assert as_utc(moment, "since") == moment
    assert as_utc(moment.isoformat(), "since") == moment


@pytest.mark.parametrize(
    "value",
    [datetime(2026, 1, 31, 8), "2026-01-31T08:00:00", "2026-01-31 08:00:00.000"],  # noqa: DTZ001
)
def test_a_time_without_a_zone_is_refused_with_a_way_out(value: Moment) -> None:
    with pytest.raises(PancakeSettingsError, match=r"`since`.*without a time zone.*\+07:00"):
        as_utc(value, "since")


@pytest.mark.parametrize("value", [1769817600000, 1769817600000.0, "1769817600000"])
def test_milliseconds_are_refused_with_the_right_seconds(value: Moment) -> None:
    with pytest.raises(PancakeSettingsError, match=r"`until`.*milliseconds.*Give 1769817600\."):
        as_utc(value, "until")


@pytest.mark.parametrize(
    "value", [0, -1, 946_684_799, 4_102_444_801, 10**12 * 5, "20260131", "nan", "inf", float("nan"), "-inf"]
)
def test_seconds_of_no_year_in_question_are_refused(value: Moment) -> None:
    with pytest.raises(PancakeSettingsError, match="expected unix seconds"):
        as_utc(value, "since")


@pytest.mark.parametrize("value", [None, True, False, [], {}, b"2026-01-31"])
def test_what_is_no_moment_is_refused_by_its_type(value: Any) -> None:
    with pytest.raises(PancakeSettingsError, match=f"`since` is a {type(value).__name__}; expected a date"):
        as_utc(value, "since")


@pytest.mark.parametrize("value", ["", "yesterday", "31/01/2026", "2026-02-30", "2026-01-31T25:00:00Z"])
def test_a_text_that_is_no_moment_is_quoted_with_an_example(value: str) -> None:
    with pytest.raises(
        PancakeSettingsError, match=f"`since` is {value!r}; expected a date such as"
    ) as raised:
        as_utc(value, "since")
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


@pytest.mark.parametrize(
    "value",
    ["0001-01-01T00:00:00+07:00", datetime(1, 1, 1, tzinfo=VIETNAM), "9999-12-31T23:59:59-07:00"],
)
def test_a_time_outside_the_calendar_is_refused(value: Moment) -> None:
    with pytest.raises(PancakeSettingsError, match="does not exist in UTC"):
        as_utc(value, "since")


@given(st.text())
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    try:
        read = as_utc(text, "since")
    except PancakeSettingsError:
        return
    assert read.utcoffset() == timedelta(0)


def test_a_span_lies_between_its_moments() -> None:
    whole = span("2026-01-31", 1769817600 + 60)
    assert whole == Window(MIDNIGHT, MIDNIGHT + timedelta(minutes=1))
    assert whole.length_s == 60


@pytest.mark.parametrize("until", ["2026-01-31", "2026-01-30", "2026-01-31T07:00:00+07:00"])
def test_an_empty_or_backward_span_is_refused(until: str) -> None:
    with pytest.raises(PancakeSettingsError, match="must lie before"):
        span("2026-01-31", until)


def test_a_faulty_end_is_named() -> None:
    with pytest.raises(PancakeSettingsError, match="`until`"):
        span("2026-01-31", "soon")


MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(  # noqa: DTZ001
    lambda moment: moment.replace(tzinfo=timezone.utc)
)


@given(MOMENTS)
def test_unix_seconds_are_rounded_away_from_the_moment(moment: datetime) -> None:
    below, above = unix_floor(moment), unix_ceil(moment)
    assert above - below == (0 if moment.microsecond == 0 else 1)
    assert (
        datetime.fromtimestamp(below, timezone.utc) <= moment <= datetime.fromtimestamp(above, timezone.utc)
    )


@given(
    since=MOMENTS,
    length_s=st.floats(1, 400 * 86_400),
    first_s=st.floats(settings.WINDOW_MIN_S, settings.WINDOW_MAX_S),
    rows=st.lists(st.integers(0, 10_000), min_size=1, max_size=8),
    newest_first=st.booleans(),
)
def test_slices_cover_a_span_without_gap_or_overlap(
    since: datetime, length_s: float, first_s: float, rows: list[int], newest_first: bool
) -> None:
    whole = Window(since, since + timedelta(seconds=length_s))
    rest, slice_s, windows = whole, first_s, list[Window]()
    while rest.since < rest.until and len(windows) < 50:
        window = first_window(rest, slice_s, newest_first=newest_first)
        held = rows[len(windows) % len(rows)]
        windows.append(window)
        slice_s = next_length(window.length_s, held)
        rest = Window(rest.since, window.since) if newest_first else Window(window.until, rest.until)
    if newest_first:
        windows.reverse()
        whole = Window(rest.until, whole.until)
    else:
        whole = Window(whole.since, rest.since)
    assert (windows[0].since, windows[-1].until) == (whole.since, whole.until)
    assert all(before.until == after.since for before, after in pairwise(windows))
    assert all(window.since < window.until <= whole.until for window in windows)
    assert all(window.length_s <= settings.WINDOW_MAX_S for window in windows)


def test_a_window_longer_than_the_rest_is_the_rest() -> None:
    whole = Window(MIDNIGHT, MIDNIGHT + timedelta(hours=1))
    assert first_window(whole, 3600) == whole
    assert first_window(whole, 86_400) == whole


def test_the_oldest_window_comes_first() -> None:
    whole = Window(MIDNIGHT, MIDNIGHT + timedelta(days=9))
    assert first_window(whole, 86_400) == Window(MIDNIGHT, MIDNIGHT + timedelta(days=1))


def test_the_newest_window_comes_first_when_asked_for() -> None:
    whole = Window(MIDNIGHT, MIDNIGHT + timedelta(days=9))
    newest = Window(MIDNIGHT + timedelta(days=8), MIDNIGHT + timedelta(days=9))
    assert first_window(whole, 86_400, newest_first=True) == newest


@pytest.mark.parametrize(
    ("length_s", "rows", "next_s"),
    [
        (86_400, 1_000, 86_400),
        (86_400, 2_000, 43_200),
        (86_400, 500, 172_800),
        (86_400, 0, 8 * 86_400),
        (86_400, 1, 8 * 86_400),
        (20 * 86_400, 0, settings.WINDOW_MAX_S),
        (100, 100_000, settings.WINDOW_MIN_S),
        (1, 0, settings.WINDOW_MIN_S),
    ],
)
def test_the_next_window_aims_at_a_thousand_rows(length_s: float, rows: int, next_s: float) -> None:
    assert next_length(length_s, rows) == next_s


@given(length_s=st.floats(0.000001, settings.WINDOW_MAX_S), rows=st.integers(0, 10**7))
def test_the_next_window_keeps_its_bounds(length_s: float, rows: int) -> None:
    assert settings.WINDOW_MIN_S <= next_length(length_s, rows) <= settings.WINDOW_MAX_S


@given(since=MOMENTS, length_s=st.floats(settings.WINDOW_MIN_S + 0.001, settings.WINDOW_MAX_S))
def test_a_full_window_is_cut_to_its_first_quarter(since: datetime, length_s: float) -> None:
    window = Window(since, since + timedelta(seconds=length_s))
    cut = shorter(window)
    assert cut.since == window.since
    assert cut.until < window.until
    assert cut.length_s == pytest.approx(max(settings.WINDOW_MIN_S, window.length_s / 4), abs=1e-6)
