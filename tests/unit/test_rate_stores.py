"""Starts are given out one interval apart, in memory and from a file, whoever asks."""

from __future__ import annotations

import gc
import sqlite3
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sources.pancake import PancakeClient, endpoints, rate_stores, settings
from sources.pancake.errors import PancakeSettingsError, PancakeTransientError
from sources.pancake.rate_stores import StartLine
from tests.fake_pancake import FakeAdapter, FakePage, FakePancake, FakeTime

MakeLine = Callable[[], StartLine]


@pytest.fixture(params=["memory", "sqlite"])
def make_line(request: pytest.FixtureRequest, time: FakeTime, tmp_path: Path) -> MakeLine:
    """Make lines of one page: each time the same one in memory, another one of the same file."""
    if request.param == "memory":
        line = rate_stores.in_memory(time.monotonic)
        return lambda: line
    return lambda: rate_stores.shared(f"sqlite:///{tmp_path}/rate.db", "page", time.time)


def test_each_start_is_an_interval_after_the_last_whoever_takes_it(make_line: MakeLine) -> None:
    lines = [make_line(), make_line()]
    assert [lines[turn % 2].take(0.25, 1, 60) for turn in range(5)] == [0, 0.25, 0.5, 0.75, 1.0]


def test_a_start_that_was_given_out_is_not_given_out_again(make_line: MakeLine, time: FakeTime) -> None:
    line = make_line()
    starts = [time.monotonic() + line.take(0.25, 1, 60) for _ in range(3)]
    time.advance(0.3)
    starts += [time.monotonic() + line.take(0.25, 1, 60) for _ in range(3)]
    assert min(later - earlier for earlier, later in pairwise(starts)) == pytest.approx(0.25)


def test_a_slower_caller_gets_its_turn_among_faster_ones(make_line: MakeLine) -> None:
    fast, slow = make_line(), make_line()
    waits = [line.take(interval, 1, 60) for line, interval in [(fast, 0.2), (slow, 4.0), (fast, 0.2)]]
    assert waits == [0, 0.2, 4.2]


def test_a_start_too_far_away_is_left_to_others(make_line: MakeLine) -> None:
    line = make_line()
    line.take(5, 1, 60)
    assert line.take(5, 1, 4.9) == 5.0
    assert line.take(5, 1, 5.0) == 5.0
    assert line.take(5, 1, 60) == 10.0


def test_nobody_starts_in_a_pause(make_line: MakeLine) -> None:
    mine, other = make_line(), make_line()
    mine.take(0.2, 1, 60)
    mine.close(7)
    assert other.take(0.2, 1, 60) == 7.0
    assert mine.take(0.2, 1, 60) == 7.2


def test_the_longest_pause_counts_and_pauses_do_not_add_up(make_line: MakeLine, time: FakeTime) -> None:
    line = make_line()
    for seconds in (2, 9, 1, 9):
        line.close(seconds)
    time.advance(4)
    line.close(1)
    assert line.take(0.2, 1, 60) == 5.0


def test_a_pause_of_nothing_is_none(make_line: MakeLine) -> None:
    line = make_line()
    line.close(0)
    assert line.take(0.2, 1, 60) == 0


def test_time_without_starts_is_not_saved_up(make_line: MakeLine, time: FakeTime) -> None:
    line = make_line()
    line.take(0.2, 1, 60)
    time.advance(3600)
    assert [line.take(0.2, 1, 60) for _ in range(3)] == [0, 0.2, 0.4]


def test_a_burst_may_start_at_once(make_line: MakeLine) -> None:
    line = make_line()
    assert [line.take(0.01, 3, 60) for _ in range(5)] == [0, 0, 0, 0.01, 0.02]


@given(
    intervals_ms=st.lists(st.integers(1, 3000), min_size=2, max_size=30),
    pauses=st.lists(st.floats(0, 2), max_size=30),
)
def test_two_starts_are_never_closer_than_the_interval_of_the_first(
    intervals_ms: list[int], pauses: list[float]
) -> None:
    time = FakeTime()
    line = rate_stores.in_memory(time.monotonic)
    starts = []
    for index, interval_ms in enumerate(intervals_ms):
        time.advance(pauses[index] if index < len(pauses) else 0)
        starts.append(int(time.monotonic() * 1000) + round(line.take(interval_ms / 1000, 1, 1e6) * 1000))
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert all(gap >= interval_ms for gap, interval_ms in zip(gaps, intervals_ms, strict=False))


def test_pages_in_one_file_do_not_wait_for_one_another(time: FakeTime, tmp_path: Path) -> None:
    lines = [rate_stores.shared(f"sqlite:///{tmp_path}/rate.db", page, time.time) for page in ("1", "2")]
    assert [line.take(5, 1, 60) for line in lines] == [0, 0]


def test_a_file_may_be_named_from_where_the_process_started(
    time: FakeTime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = rate_stores.shared("sqlite:///rate.db", "page", time.time)
    monkeypatch.chdir("/")
    line.take(1, 1, 60)
    assert (tmp_path / "rate.db").exists()


def test_the_time_spent_waiting_for_the_file_counts(time: FakeTime, tmp_path: Path) -> None:
    """Whoever held the file may have taken a start, so the clock is read when the file is ours."""
    reads = iter([1000.0, 1003.0])  # before the file is asked for, and when it is locked
    slow = rate_stores.shared(f"sqlite:///{tmp_path}/rate.db", "page", lambda: next(reads))
    assert slow.take(0.2, 1, 60) == 0
    other = rate_stores.shared(f"sqlite:///{tmp_path}/rate.db", "page", lambda: 1003.0)
    assert other.take(0.2, 1, 60) == pytest.approx(0.2)


def test_a_file_that_was_deleted_or_broken_is_told_and_used_again_when_repaired(
    time: FakeTime, tmp_path: Path
) -> None:
    file = tmp_path / "rate.db"
    file.write_bytes(b"no database" * 100)
    line = rate_stores.shared(f"sqlite:///{file}", "page", time.time)
    with pytest.raises(PancakeTransientError, match=r"rate\.db, cannot be used \(DatabaseError\).*deleted"):
        line.take(1, 1, 60)
    file.unlink()
    assert line.take(1, 1, 60) == 0


def test_the_file_is_closed_with_its_line(time: FakeTime, tmp_path: Path) -> None:
    line = rate_stores.shared(f"sqlite:///{tmp_path}/rate.db", "page", time.time)
    line.take(1, 1, 60)
    connection = line._store._connection  # type: ignore[attr-defined]
    del line
    gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


# Addresses.


@pytest.mark.parametrize(
    "url", ["memcached://host", "rate.db", "sqlite://", "sqlite:///", "sqlite://rate.db", "redis://", "://x"]
)
def test_an_address_that_is_none_is_refused_with_those_that_are_accepted(url: str) -> None:
    with pytest.raises(PancakeSettingsError, match=r"rate_limit_store.*sqlite:///.*redis://.*postgresql://"):
        rate_stores.shared(url, "page", lambda: 0.0)


@pytest.mark.parametrize(
    ("url", "package", "extra"),
    [("redis://localhost", "redis", "redis"), ("postgresql://localhost/db", "psycopg2", "postgres")],
)
def test_a_missing_package_is_named_with_how_to_install_it(
    url: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(PancakeSettingsError, match=rf"needs the package `{package}`.*\[{extra}\]"):
        rate_stores.shared(url, "page", lambda: 0.0)


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:hunter2@127.0.0.1:1/0",
        "postgresql://user:hunter2@127.0.0.1:1/db",
        "postgresql://user:hunter2@127.0.0.1:port/db",
        "sqlite:////no/such/folder/rate.db",
    ],
)
def test_a_store_that_cannot_be_reached_is_told_without_its_password(url: str) -> None:
    line = rate_stores.shared(url, "page", lambda: 0.0)
    with pytest.raises(
        PancakeTransientError, match=r"cannot be used \(\w+Error\).*rate_limit_store"
    ) as raised:
        line.take(1, 1, 60)
    assert "hunter2" not in str(raised.value)
    assert raised.value.__context__ is None


@pytest.mark.parametrize("url", ["redis://user:hunter2@host:port", "redis-hunter2://host", "hunter2"])
def test_a_wrong_address_is_not_quoted(url: str) -> None:
    with pytest.raises(PancakeSettingsError) as raised:
        rate_stores.shared(url, "page", lambda: 0.0)
    assert "hunter2" not in str(raised.value)
    assert raised.value.__context__ is None


# The client.


def clients(pancake: FakePancake, time: FakeTime, store: str, *base_urls: str) -> list[PancakeClient]:
    return [
        PancakeClient(
            pancake.page().page_id,
            pancake.page().token,
            base_url=base_url,
            requests_per_second=5,
            rate_limit_store=store,
            clock=time,
            transport=FakeAdapter(pancake),
        )
        for base_url in base_urls
    ]


def test_clients_of_a_page_share_its_rate(pancake: FakePancake, time: FakeTime, tmp_path: Path) -> None:
    pancake.strict_rate = 5
    pair = clients(pancake, time, f"sqlite:///{tmp_path}/rate.db", "https://pages.fm", "https://pages.fm/")
    for turn in range(20):
        pair[turn % 2].get(endpoints.TAGS, {})
    assert pancake.rate_limited == 0
    assert pancake.busiest_second() == 5


def test_another_address_is_another_page(pancake: FakePancake, time: FakeTime, tmp_path: Path) -> None:
    pair = clients(
        pancake, time, f"sqlite:///{tmp_path}/rate.db", "https://pages.fm", "https://other.example"
    )
    for client in pair:
        client.get(endpoints.TAGS, {})
    assert time.slept == []


def test_a_429_makes_the_other_client_wait_too(pancake: FakePancake, time: FakeTime, tmp_path: Path) -> None:
    url = "https://pages.fm"
    first, second = clients(pancake, time, f"sqlite:///{tmp_path}/rate.db", url, url)
    first.throttle.slow_down(30)
    second.get(endpoints.TAGS, {})
    assert time.monotonic() == 30
    assert second.throttle.requests_per_second == pytest.approx(5)


def test_nothing_is_opened_before_the_first_call(page: FakePage, tmp_path: Path) -> None:
    PancakeClient(page.page_id, page.token, rate_limit_store=f"sqlite:///{tmp_path}/rate.db")
    assert not (tmp_path / "rate.db").exists()


def test_a_store_that_fails_is_asked_again_as_a_call_would_be(
    pancake: FakePancake, time: FakeTime, tmp_path: Path
) -> None:
    (client,) = clients(pancake, time, f"sqlite:///{tmp_path}/no/rate.db", "https://pages.fm")
    with pytest.raises(PancakeTransientError, match="store of the rate limit"):
        client.get(endpoints.TAGS, {})
    assert len(time.slept) == len(settings.RETRY_WAITS_S)
    assert pancake.count() == 0
