"""Running a load: source into warehouse, in pieces that are loaded every few minutes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, IntEnum
from functools import partial
from typing import Any, Protocol

import dlt
from dlt.common.configuration.exceptions import (
    ConfigFieldMissingException,
    ConfigurationException,
)
from dlt.common.destination.exceptions import UnknownDestinationModule
from dlt.common.exceptions import MissingDependencyException
from dlt.extract import DltSource
from dlt.pipeline.exceptions import PipelineStepFailed

from pipelines import destinations
from pipelines.leases import LeaseTakenError
from sources.pancake import Page
from sources.pancake.errors import PancakeError, PancakeSettingsError

_OF_THE_CLIENT = ("retries", "rate_limited")
_WORKERS_PER_PAGE = 3  # one lists, one reads threads, one reads lookups
_WORKERS_AT_LEAST = 8  # a page alone reads its lookups side by side
_WORKERS_AT_MOST = 240
_POLL_S = 0.05  # dlt looks at all waiting resources so often


class MakeSource(Protocol):
    """Makes the source of one piece of a run."""

    def __call__(self, *, pages: Sequence[Page], stop: Callable[[], bool], first: bool) -> DltSource:
        """Return the source.

        Args:
            pages: What is left to read.
            stop: Ends the piece at its next safe point.
            first: Whether it is the first piece of the run.
        """


class ExitCode(IntEnum):
    """How a command ended."""

    DONE = 0
    FAILED = 1
    WRONG_SETTINGS = 2
    PARTIAL = 3
    STOPPED = 4
    OVERLAP = 5


class Status(str, Enum):
    """How the reading of a page ended."""

    COMPLETE = "complete"
    STOPPED = "stopped"
    PARTIAL = "partial"
    FAILED = "failed"


@dataclass
class PageOutcome:
    """What a run did on one page, added over its loads.

    Args:
        counts: Counts of its resources, as their metrics name them.
        calls: Calls by endpoint.
        waited_s: Seconds waited for the rate limit, over all threads.
        slowest_rate: Lowest rate to which 429s brought the page, in calls per second; None without calls.
        finished: Whether everything that was asked for has been read or tried.
        error: Class and message of the error that ended the reading of the page, if one did.
        failed_lookups: Lookup tables that could not be read, and the class of the error.
        newest_updated_at: Newest `updated_at` in the warehouse, aware UTC.
        read_s: Length of the span that a backfill has read, in seconds.
        left_s: Length of the span that it has not read yet.
    """

    counts: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    waited_s: float = 0.0
    slowest_rate: float | None = None
    finished: bool = False
    error: dict[str, str] | None = None
    failed_lookups: dict[str, str] = field(default_factory=dict)
    newest_updated_at: datetime | None = None
    read_s: float = 0.0
    left_s: float = 0.0

    @property
    def calls_minimum(self) -> int:
        """Calls that were needed for what was read."""
        of_threads = self.calls["conversations"] + self.calls["messages"]
        lookups = self.calls.total() - of_threads
        return self.counts["list_calls_minimum"] + self.counts["thread_calls_minimum"] + lookups

    @property
    def status(self) -> Status:
        """How the reading of the page ended."""
        if self.error and not self.counts["conversations_listed"]:
            return Status.FAILED
        if self.error or self.failed_lookups or self.counts["threads_failed"]:
            return Status.PARTIAL
        return Status.COMPLETE if self.finished else Status.STOPPED


@dataclass
class Outcome:
    """What a run did.

    Args:
        pages: By page id.
        loads: Packages loaded.
        seconds: Duration.
        seconds_by_step: Seconds that dlt spent to extract, normalize and load.
        rows: Rows loaded by table.
    """

    pages: dict[str, PageOutcome]
    loads: int = 0
    seconds: float = 0.0
    seconds_by_step: dict[str, float] = field(default_factory=dict)
    rows: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, pages: Sequence[Page]) -> Outcome:
        """Return that of a run that has done nothing yet."""
        return cls({page.page_id: PageOutcome() for page in pages})

    @property
    def counts(self) -> Counter[str]:
        """Counts of all pages."""
        return sum((page.counts for page in self.pages.values()), Counter())

    @property
    def calls(self) -> Counter[str]:
        """Calls of all pages by endpoint."""
        return sum((page.calls for page in self.pages.values()), Counter())

    @property
    def left(self) -> list[str]:
        """Ids of the pages that are neither finished nor given up."""
        return [page_id for page_id, page in self.pages.items() if not page.finished and not page.error]

    @property
    def exit_code(self) -> ExitCode:
        """How the command should end."""
        statuses = {page.status for page in self.pages.values()}
        if statuses == {Status.FAILED}:
            return ExitCode.FAILED
        if statuses & {Status.FAILED, Status.PARTIAL}:
            return ExitCode.PARTIAL
        return ExitCode.STOPPED if Status.STOPPED in statuses else ExitCode.DONE


def run(
    pipeline: dlt.Pipeline,
    pages: Sequence[Page],
    make_source: MakeSource,
    outcome: Outcome,
    *,
    load_every_s: float,
    max_s: float | None,
    interrupted: Callable[[], bool],
    after_piece: Callable[[Outcome], None] = lambda _: None,
) -> None:
    """Load what the source gives, piece by piece, until all is read or time is up.

    Args:
        pipeline: Where to.
        pages: What to read.
        make_source: Makes the source of one piece.
        outcome: Receives what was done.
        load_every_s: Seconds of reading after which what was read is loaded.
        max_s: Seconds after which the run ends at the next safe point.
        interrupted: Whether somebody asked the run to end.
        after_piece: Told of the run so far after each piece that is not the last.
    """
    began = time.monotonic()

    def is_over() -> bool:
        return interrupted() or (max_s is not None and time.monotonic() - began >= max_s)

    while True:
        piece = _Piece(load_every_s)
        stop = partial(_either, is_over, piece.is_over)
        left = [page for page in pages if page.page_id in outcome.left]
        with _side_by_side(len(left)):
            destinations.load(pipeline, make_source(pages=left, stop=stop, first=outcome.loads == 0))
        outcome.loads += 1
        _add_metrics(outcome, pipeline)
        outcome.seconds = time.monotonic() - began
        if not outcome.left or is_over():
            break
        after_piece(outcome)
    _add_newest(outcome, pipeline)


def _side_by_side(pages: int) -> AbstractContextManager[None]:
    """Let dlt run the resources of so many pages at once, unless the configuration says otherwise."""
    workers = min(max(_WORKERS_AT_LEAST, _WORKERS_PER_PAGE * pages), _WORKERS_AT_MOST)
    wanted = {
        "extract.workers": workers,
        "extract.max_parallel_items": 2 * workers,
        "extract.futures_poll_interval": _POLL_S,
    }
    return dlt.config.values({name: value for name, value in wanted.items() if dlt.config.get(name) is None})


class _Piece:
    """The time of one piece; it begins when the source first asks, so that every piece gets somewhere."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ends: float | None = None

    def is_over(self) -> bool:
        now = time.monotonic()
        self._ends = self._ends or now + self._seconds
        return now >= self._ends


def _either(*conditions: Callable[[], bool]) -> bool:
    return any(condition() for condition in conditions)


def _add_metrics(outcome: Outcome, pipeline: dlt.Pipeline) -> None:
    """Add what the resources counted in the last load."""
    trace = pipeline.last_trace
    info = trace and trace.last_extract_info
    if not trace or not info:
        return
    for step in trace.steps:
        if step.finished_at and step.step in ("extract", "normalize", "load"):
            seconds = (step.finished_at - step.started_at).total_seconds()
            outcome.seconds_by_step[step.step] = outcome.seconds_by_step.get(step.step, 0.0) + seconds
    if trace.last_normalize_info:
        loaded = trace.last_normalize_info.row_counts
        outcome.rows.update({name: count for name, count in loaded.items() if not name.startswith("_dlt")})
    by_page: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for package in info.metrics.values():
        for part in package:
            for name, metrics in part["resource_metrics"].items():
                custom = metrics.custom_metrics
                if "page_id" in custom:
                    by_page.setdefault(custom["page_id"], []).append((name, custom))
    for page_id, found in by_page.items():
        _add_metrics_of_page(outcome.pages[page_id], page_id, found)


def _add_metrics_of_page(page: PageOutcome, page_id: str, found: list[tuple[str, dict[str, Any]]]) -> None:
    page.finished = True
    for name, custom in found:
        for count, value in custom.items():
            if count not in _OF_THE_CLIENT and isinstance(value, int) and not isinstance(value, bool):
                page.counts[count] += value
        if "threads_partial" in custom:  # what one piece leaves the next one reads
            page.counts["threads_partial"] = custom["threads_partial"]
        page.finished = page.finished and custom.get("finished", True) and not custom.get("threads_partial")
        page.error = custom.get("page_error", page.error)
        if "lookup_error" in custom:
            page.failed_lookups[name.removesuffix(f"_{page_id}")] = custom["lookup_error"]
        page.read_s += custom.get("read_s", 0.0)
        page.left_s = custom.get("left_s", page.left_s)
    # All resources of a page report the calls of one client; the later report holds the earlier.
    clients = [custom for _, custom in found if "calls" in custom]
    client = max(clients, key=lambda custom: sum(custom["calls"].values()), default=None)
    if client is not None:
        page.calls.update(client["calls"])
        page.waited_s += client["waited_s"]
        rates = [rate for rate in (page.slowest_rate, client.get("slowest_rate")) if rate is not None]
        page.slowest_rate = min(rates, default=None)
        for name in _OF_THE_CLIENT:
            page.counts[name] += client[name]


def _add_newest(outcome: Outcome, pipeline: dlt.Pipeline) -> None:
    query = "SELECT page_id, MAX(updated_at) FROM conversations GROUP BY page_id"
    for page_id, newest in pipeline.dataset()(query).fetchall():
        if page_id in outcome.pages:
            outcome.pages[page_id].newest_updated_at = newest


def explain(error: BaseException) -> tuple[ExitCode, str]:
    """Return how a command should end on an error, and what to tell the user."""
    chain = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    for cause in chain:
        if isinstance(cause, PancakeError) and not isinstance(cause, PancakeSettingsError):
            return ExitCode.FAILED, str(cause)
        if advice := _what_to_set(cause):
            return ExitCode.WRONG_SETTINGS, advice
    if isinstance(error, LeaseTakenError):
        return ExitCode.OVERLAP, str(error)
    failed_step = error.step if isinstance(error, PipelineStepFailed) else None
    if isinstance(error, destinations.WarehouseError) or failed_step in ("sync", "load"):
        return ExitCode.FAILED, f"The warehouse: {chain[-1]}\n{destinations.WHAT_TO_CHECK}"
    return ExitCode.FAILED, str(error)


def _what_to_set(error: BaseException) -> str:
    """Return what to tell the user when the error is one of settings, or nothing."""
    if isinstance(error, PancakeSettingsError):
        return str(error)
    if isinstance(error, ConfigFieldMissingException):
        return f"{error.spec_name} lacks {', '.join(error.traces)}. {destinations.WHERE_TO_SET}"
    if isinstance(error, MissingDependencyException):
        return f"{error} {destinations.WHAT_TO_INSTALL}"
    if isinstance(error, UnknownDestinationModule):
        return f"dlt knows no type of destination named {error.ref!r}.\n{destinations.WHERE_TO_SET}"
    if isinstance(error, ConfigurationException):
        return f"{error}\n{destinations.WHERE_TO_SET}"
    return ""
