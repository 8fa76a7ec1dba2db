"""Running a load: source into warehouse, in pieces that are loaded every few minutes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
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
from sources.pancake.errors import PancakeError, PancakeSettingsError

_MISSING = {
    "page_id": "The page is not named. It is the number in the page's address in Pancake. Set it as"
    " SOURCES__PANCAKE__PAGE_ID in the environment, or as `page_id` under [sources.pancake] in"
    " .dlt/config.toml.",
    "page_access_token": "The page's token is missing. Copy it from the page's Settings > Tools. Set it as"
    " SOURCES__PANCAKE__PAGE_ACCESS_TOKEN in the environment, or as `page_access_token` under"
    " [sources.pancake] in .dlt/secrets.toml.",
}
_OF_THE_CLIENT = ("retries", "rate_limited")


class MakeSource(Protocol):
    """Makes the source of one piece of a run."""

    def __call__(self, *, stop: Callable[[], bool], first: bool) -> DltSource:
        """Return the source.

        Args:
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


@dataclass
class Outcome:
    """What a run did, added over its loads.

    Args:
        loads: Packages loaded.
        counts: Counts of the resources, as their metrics name them.
        calls: Calls by endpoint.
        finished: Whether everything that was asked for has been read or tried.
        waited_s: Seconds waited for the rate limit, over all threads.
        newest_updated_at: Newest `updated_at` in the warehouse, aware UTC.
        read_s: Length of the span that a backfill has read, in seconds.
        left_s: Length of the span that it has not read yet.
        seconds: Duration.
        failed_lookups: Lookup tables that could not be read, and the class of the error.
    """

    loads: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    waited_s: float = 0.0
    finished: bool = False
    newest_updated_at: datetime | None = None
    read_s: float = 0.0
    left_s: float = 0.0
    seconds: float = 0.0
    failed_lookups: dict[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> ExitCode:
        """How the command should end."""
        if not self.finished:
            return ExitCode.STOPPED
        failed = self.counts["threads_failed"] or self.failed_lookups
        return ExitCode.PARTIAL if failed else ExitCode.DONE


def make_pipeline(name: str, dataset: str, *, show_progress: bool = False) -> dlt.Pipeline:
    """Return the pipeline into the configured warehouse, with progress bars or without."""
    options: dict[str, Any] = {"progress": "tqdm"} if show_progress else {}
    pipeline: dlt.Pipeline = dlt.pipeline(
        pipeline_name=name,
        destination=destinations.warehouse(name, dataset),
        dataset_name=dataset,
        **options,
    )
    return pipeline


def run(
    pipeline: dlt.Pipeline,
    make_source: MakeSource,
    *,
    load_every_s: float,
    max_s: float | None,
    interrupted: Callable[[], bool],
    after_piece: Callable[[Outcome], None] = lambda _: None,
) -> Outcome:
    """Load what the source gives, piece by piece, until all is read or time is up.

    Args:
        pipeline: Where to.
        make_source: Makes the source of one piece.
        load_every_s: Seconds of reading after which what was read is loaded.
        max_s: Seconds after which the run ends at the next safe point.
        interrupted: Whether somebody asked the run to end.
        after_piece: Told of the run so far after each piece that is not the last.
    """
    began = time.monotonic()
    outcome = Outcome()

    def is_over() -> bool:
        return interrupted() or (max_s is not None and time.monotonic() - began >= max_s)

    while True:
        piece = _Piece(load_every_s)
        stop = partial(_either, is_over, piece.is_over)
        destinations.load(pipeline, make_source(stop=stop, first=outcome.loads == 0))
        outcome.loads += 1
        outcome.finished = _add_metrics(outcome, pipeline)
        outcome.seconds = time.monotonic() - began
        if outcome.finished or is_over():
            break
        after_piece(outcome)
    outcome.newest_updated_at = _newest_updated_at(pipeline)
    return outcome


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


def _add_metrics(outcome: Outcome, pipeline: dlt.Pipeline) -> bool:
    """Add what the resources counted in the last load; return whether all of them finished."""
    trace = pipeline.last_trace
    info = trace and trace.last_extract_info
    if not info:
        return False
    by_resource = [
        (name, metrics.custom_metrics)
        for package in info.metrics.values()
        for step in package
        for name, metrics in step["resource_metrics"].items()
    ]
    found = [custom for _, custom in by_resource]
    outcome.failed_lookups.update(
        (name, custom["lookup_error"]) for name, custom in by_resource if "lookup_error" in custom
    )
    finished = any("finished" in custom for custom in found)
    for custom in found:
        for name, value in custom.items():
            if name not in _OF_THE_CLIENT and isinstance(value, int) and not isinstance(value, bool):
                outcome.counts[name] += value
        if "threads_partial" in custom:  # what one piece leaves the next one reads
            outcome.counts["threads_partial"] = custom["threads_partial"]
        finished = finished and custom.get("finished", True) and not custom.get("threads_partial")
        outcome.read_s += custom.get("read_s", 0.0)
        outcome.left_s = custom.get("left_s", outcome.left_s)
    # All resources report the calls of one client; the later report holds the earlier.
    clients = [custom for custom in found if "calls" in custom]
    client = max(clients, key=lambda custom: sum(custom["calls"].values()), default=None)
    if client is not None:
        outcome.calls.update(client["calls"])
        outcome.waited_s += client["waited_s"]
        for name in _OF_THE_CLIENT:
            outcome.counts[name] += client[name]
    return finished


def _newest_updated_at(pipeline: dlt.Pipeline) -> datetime | None:
    found = pipeline.dataset()("SELECT MAX(updated_at) FROM conversations").fetchone()
    return found[0] if found else None


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
    if isinstance(error, PipelineStepFailed) and error.step in ("sync", "load"):
        return ExitCode.FAILED, f"The warehouse: {chain[-1]}\n{destinations.WHAT_TO_CHECK}"
    return ExitCode.FAILED, str(error)


def _what_to_set(error: BaseException) -> str:
    """Return what to tell the user when the error is one of settings, or nothing."""
    if isinstance(error, PancakeSettingsError):
        return str(error)
    if isinstance(error, ConfigFieldMissingException):
        return _what_is_missing(error)
    if isinstance(error, MissingDependencyException):
        return f"{error} {destinations.WHAT_TO_INSTALL}"
    if isinstance(error, UnknownDestinationModule):
        return f"dlt knows no type of destination named {error.ref!r}.\n{destinations.WHERE_TO_SET}"
    if isinstance(error, ConfigurationException):
        return f"{error}\n{destinations.WHERE_TO_SET}"
    return ""


def _what_is_missing(error: ConfigFieldMissingException) -> str:
    advice = [text for name, text in _MISSING.items() if name in error.traces]
    if not advice:
        advice = [f"{error.spec_name} lacks {', '.join(error.traces)}. {destinations.WHERE_TO_SET}"]
    return "\n".join(advice)
