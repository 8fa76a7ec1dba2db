"""Windows that hold more than fits: cut where their newest rows were read, none lost, little read twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from math import ceil
from random import Random
from typing import Any

import pytest

from sources.pancake import PancakeClient, settings
from sources.pancake.filters import Filters
from sources.pancake.page_run import PageRun
from sources.pancake.resources.conversations import _WindowReader, windows_of_rows
from sources.pancake.windows import Window
from tests.conftest import MakeClient
from tests.fake_pancake import FakePage, FakePancake, FakeTime

MAX_ROWS = 100


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "WINDOW_MAX_ROWS", MAX_ROWS)


def bulk(page: FakePage, time: FakeTime, rows: int, span_s: float) -> None:
    """Fill the page with conversations, most of them close together."""
    draw = Random(rows)
    for _ in range(rows):
        page.add_conversation(at=time.now() - timedelta(days=10, seconds=draw.random() * span_s))
    page.add_conversation(at=time.now() - timedelta(days=25))
    page.add_conversation()


def whole(time: FakeTime) -> Window:
    return Window(time.now() - timedelta(days=30), time.now() + timedelta(seconds=1))


def oldest_first(client: PancakeClient, window: Window) -> list[list[dict[str, Any]]]:
    return list(windows_of_rows(PageRun(client), window, Filters(), {}, {}))


def newest_first(client: PancakeClient, window: Window) -> list[list[dict[str, Any]]]:
    reader = _WindowReader(client, Filters(), {}, {})
    found = []
    while window.since < window.until:
        done, rows = reader.read(window, newest_first=True)
        found.append(rows)
        window = Window(window.since, done.since)
    return found


Read = Callable[[PancakeClient, Window], list[list[dict[str, Any]]]]


@pytest.mark.parametrize("read", [oldest_first, newest_first])
@pytest.mark.parametrize(("rows", "span_s"), [(101, 3_600), (1_000, 3_600), (1_000, 5), (300, 0.5)], ids=str)
def test_every_row_of_a_full_window_is_read_and_at_most_twice(
    read: Read,
    rows: int,
    span_s: float,
    page: FakePage,
    pancake: FakePancake,
    time: FakeTime,
    make_client: MakeClient,
) -> None:
    bulk(page, time, rows, span_s)
    windows = read(make_client(), whole(time))
    assert {row["id"] for window in windows for row in window} == page.conversations.keys()
    empty_and_ends = 2 * 30 + 4 * len(windows)
    assert pancake.count() <= 2 * ceil(rows / 60) + 2 * ceil(rows / MAX_ROWS) + empty_and_ends


def test_rows_leave_in_ascending_order_over_all_windows(
    page: FakePage, time: FakeTime, make_client: MakeClient
) -> None:
    bulk(page, time, 1_000, 3_600)
    second = timedelta(seconds=1)  # windows are cut at whole seconds and overlap there
    newest = datetime(2026, 1, 1, tzinfo=timezone.utc)
    for window in oldest_first(make_client(), whole(time)):
        stamps = [row["updated_at"] for row in window]
        assert stamps == sorted(stamps)
        assert stamps[0] >= newest - 2 * second
        newest = max(newest, stamps[-1])
