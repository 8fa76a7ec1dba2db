"""Running several iterators side by side in threads."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import Full, Queue
from typing import Generic, TypeVar

T = TypeVar("T")

_POLL_S = 0.1


def side_by_side(jobs: Iterable[Iterator[T]], workers: int) -> Iterator[T]:
    """Yield what the jobs yield, as it comes, with up to `workers` of them under way.

    A job is taken from `jobs` when a worker is free for it. What a job raises ends them all. With one worker
    nothing runs in a thread and the order is that of `jobs`.
    """
    if workers == 1:
        for job in jobs:
            yield from job
        return
    crew = _Crew(jobs, workers)
    with ThreadPoolExecutor(workers, thread_name_prefix="pancake") as pool:
        for _ in range(workers):
            pool.submit(crew.work)
        try:
            yield from crew.results(workers)
        finally:
            crew.dismiss()


class _Crew(Generic[T]):
    def __init__(self, jobs: Iterable[Iterator[T]], workers: int) -> None:
        self._jobs = iter(jobs)
        self._taking = threading.Lock()
        self._dismissed = threading.Event()
        self._done: Queue[T | _Ended] = Queue(maxsize=2 * workers)

    def work(self) -> None:
        error: BaseException | None = None
        try:
            while (job := self._take()) is not None:
                for item in job:
                    self._put(item)
                    if self._dismissed.is_set():
                        break
        except BaseException as exc:  # noqa: BLE001  # raised again where the results are read
            error = exc
        self._put(_Ended(error))

    def results(self, running: int) -> Iterator[T]:
        while running:
            item = self._done.get()
            if not isinstance(item, _Ended):
                yield item
                continue
            running -= 1
            if item.error is not None:
                raise item.error

    def dismiss(self) -> None:
        self._dismissed.set()

    def _take(self) -> Iterator[T] | None:
        with self._taking:
            return None if self._dismissed.is_set() else next(self._jobs, None)

    def _put(self, item: T | _Ended) -> None:
        while not self._dismissed.is_set():
            try:
                self._done.put(item, timeout=_POLL_S)
            except Full:
                continue
            return


class _Ended:
    def __init__(self, error: BaseException | None) -> None:
        self.error = error
