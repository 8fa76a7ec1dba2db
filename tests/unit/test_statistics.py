"""Counts by hour become rows, whatever the form of their stamps."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from sources.pancake.errors import PancakeShapeError
from sources.pancake.records import Batch
from sources.pancake.resources.statistics import page_hour, user_hours
from sources.pancake.schema import PAGE_STATISTICS, USER_STATISTICS

NOW = datetime(2026, 3, 20, tzinfo=timezone.utc)
THREE = datetime(2026, 3, 18, 20, tzinfo=timezone.utc)
HOUR = {"hour": "2026-03-19T03:00:00", "hour_in_integer": "20260318200000"}


def page_row(**fields: Any) -> dict[str, Any]:
    return page_hour(fields, NOW, "p", timedelta(hours=7))


def user_row(**fields: Any) -> dict[str, Any]:
    data = {"statistics": {"u": [{**HOUR, **fields}]}, "users": {"u": {"user_name": "Mai", "inbox_count": 5}}}
    (row,) = user_hours(Batch([data], NOW), "p")
    return row


@pytest.mark.parametrize(
    "hour",
    ["2026-03-19T03:00:00", "2026-03-19 03:00:00", "2026-03-18T20:00:00Z", "2026-03-19T03:00:00+07:00"],
)
def test_an_hour_of_the_page_is_local_unless_it_names_its_zone(hour: str) -> None:
    row = page_row(hour=hour, page_inbox_count=3)
    assert (row["hour"], row["hour_utc"], row["page_inbox_count"]) == (hour, THREE, 3)
    assert (row["page_id"], row["synced_at"]) == ("p", NOW)
    assert row.keys() == {column.name for column in PAGE_STATISTICS.columns}


@pytest.mark.parametrize("hour", [None, "", "soon", 3])
def test_counts_without_an_hour_are_an_error(hour: Any) -> None:
    with pytest.raises(PancakeShapeError):
        page_row(hour=hour)


def test_an_hour_of_staff_is_taken_from_the_stamp_in_utc() -> None:
    row = user_row(inbox_count=2)
    assert (row["user_id"], row["user_name"], row["hour_utc"], row["inbox_count"]) == ("u", "Mai", THREE, 2)
    assert (row["hour"], row["hour_in_integer"]) == ("2026-03-19T03:00:00", "20260318200000")
    assert row.keys() == {column.name for column in USER_STATISTICS.columns}


@pytest.mark.parametrize("stamp", [20260318200000, "20260318200000"])
def test_the_stamp_may_be_a_number(stamp: Any) -> None:
    row = user_row(hour_in_integer=stamp)
    assert (row["hour_utc"], row["hour_in_integer"]) == (THREE, "20260318200000")


@pytest.mark.parametrize(
    ("sent", "kept"), [(0, None), (0.0, None), (None, None), (437, 437), (437.6, 438), ("437", 437)]
)
def test_a_wait_of_zero_is_no_wait(sent: Any, kept: int | None) -> None:
    assert user_row(average_response_time=sent)["average_response_time_s"] == kept


def test_a_wait_that_is_no_number_is_kept_aside() -> None:
    row = user_row(average_response_time=float("nan"))
    assert row["average_response_time_s"] is None
    assert row["extra"] == {"average_response_time": "nan"}


def test_what_has_no_column_is_kept_aside() -> None:
    assert user_row(mood=1)["extra"] == {"mood": 1}
    assert page_row(hour=HOUR["hour"], mood=1)["extra"] == {"mood": 1}


@pytest.mark.parametrize("people", [None, [], {"u": None}, {}])
def test_staff_without_a_name_keep_their_hours(people: Any) -> None:
    batch = Batch([{"statistics": {"u": [HOUR]}, "users": people}], NOW)
    assert [row["user_name"] for row in user_hours(batch, "p")] == [None]
