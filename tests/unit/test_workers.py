"""Iterators side by side: nothing is lost, errors surface, and threads end."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator

import pytest

from sources.pancake.workers import side_by_side

WAIT_S = 10.0


def job(name: str, items: int) -> Iterator[str]:
    for number in range(items):
        yield f"{name}{number}"


def jobs(count: int, items: int) -> Iterator[Iterator[str]]:
    return (job(f"job{number}.", items) for number in range(count))


def pancake_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("pancake")]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert pancake_threads() == []


def test_one_worker_keeps_the_order_and_starts_no_thread() -> None:
    seen = []
    for item in side_by_side(jobs(3, 2), 1):
        seen.append(item)
        assert pancake_threads() == []
    assert seen == ["job0.0", "job0.1", "job1.0", "job1.1", "job2.0", "job2.1"]


@pytest.mark.parametrize("workers", [1, 2, 4, 50])
@pytest.mark.parametrize(("count", "items"), [(0, 0), (1, 100), (20, 0), (20, 30), (100, 1)])
def test_every_item_comes_once(workers: int, count: int, items: int) -> None:
    expected = Counter(item for one in jobs(count, items) for item in one)
    assert Counter(side_by_side(jobs(count, items), workers)) == expected


def test_the_items_of_one_job_keep_their_order() -> None:
    seen = [item for item in side_by_side(jobs(5, 50), 4) if item.startswith("job3.")]
    assert seen == [f"job3.{number}" for number in range(50)]


def test_jobs_run_at_the_same_time() -> None:
    meeting = threading.Barrier(3)

    def meets() -> Iterator[int]:
        yield meeting.wait(WAIT_S)

    assert sorted(side_by_side((meets() for _ in range(3)), 3)) == [0, 1, 2]


def test_a_job_is_taken_only_when_a_worker_is_free() -> None:
    taken = []

    def counted() -> Iterator[Iterator[str]]:
        for number in range(1000):
            taken.append(number)
            yield job("x", 10)

    items = side_by_side(counted(), 2)
    next(items)
    items.close()  # type: ignore[attr-defined]
    assert len(taken) < 10


class BrokenError(Exception):
    pass


def breaks(after: int) -> Iterator[str]:
    yield from job("broken", after)
    raise BrokenError("in the middle")


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("after", [0, 3])
def test_what_a_job_raises_surfaces(workers: int, after: int) -> None:
    with pytest.raises(BrokenError, match="in the middle"):
        list(side_by_side(iter([job("a", 2), breaks(after), job("b", 2)]), workers))


@pytest.mark.parametrize("workers", [1, 4])
def test_what_the_supply_of_jobs_raises_surfaces(workers: int) -> None:
    def supply() -> Iterator[Iterator[str]]:
        yield job("a", 2)
        raise BrokenError("no more jobs")

    with pytest.raises(BrokenError, match="no more jobs"):
        list(side_by_side(supply(), workers))


def test_what_a_job_raises_ends_the_others() -> None:
    started = threading.Event()
    items = []

    def endless() -> Iterator[str]:
        number = 0
        while True:
            started.set()
            items.append(number)
            yield f"endless{number}"
            number += 1

    def waits_then_breaks() -> Iterator[str]:
        started.wait(WAIT_S)
        yield from breaks(0)

    with pytest.raises(BrokenError):
        list(side_by_side(iter([endless(), waits_then_breaks()]), 2))


def test_no_job_is_taken_after_an_error() -> None:
    taken = []

    def supply() -> Iterable[Iterator[str]]:
        for number in range(1000):
            taken.append(number)
            yield breaks(0) if number == 0 else job("x", 1)

    with pytest.raises(BrokenError):
        list(side_by_side(supply(), 2))
    assert len(taken) < 1000


def test_closing_ends_the_threads_although_jobs_have_more_to_give() -> None:
    def endless() -> Iterator[int]:
        while True:
            yield 1

    items = side_by_side((endless() for _ in range(9)), 4)
    assert [next(items) for _ in range(20)] == [1] * 20
    assert pancake_threads()
    items.close()  # type: ignore[attr-defined]
    assert pancake_threads() == []
