"""One whole run, as every door starts it: lease, load, record."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timezone

import dlt
from structlog.typing import FilteringBoundLogger

from pipelines import destinations, run_record, runs
from pipelines.leases import Lease, held
from pipelines.run_record import Record
from pipelines.runs import ExitCode, MakeSource, Outcome
from sources.pancake import Page

_LEASE_MARGIN_S = 20 * 60.0  # a piece ends later than asked: at a safe point, and with its load
_WINDOW_S = 60 * 60.0  # a piece of a backfill is a window, however long that takes


def execute(
    command: str,
    pipeline: dlt.Pipeline,
    pages: Sequence[Page],
    make_source: MakeSource,
    log: FilteringBoundLogger,
    *,
    load_every_s: float = math.inf,
    max_s: float | None = None,
    interrupted: Callable[[], bool] = lambda: False,
    after_piece: Callable[[Outcome], None] = lambda _: None,
    holder: str | None = None,
) -> tuple[Outcome, Record]:
    """Run a command and return what it did; an error ends it and is found in the record.

    Args:
        command: `sync` or `backfill`.
        pipeline: Into the warehouse.
        pages: What to read.
        make_source: Makes the source of one piece.
        log: Told of what happens.
        load_every_s: Seconds of reading after which what was read is loaded.
        max_s: Seconds after which the run ends at the next safe point.
        interrupted: Whether somebody asked the run to end.
        after_piece: Told of the run so far after each piece that is not the last.
        holder: See `Lease`.
    """
    began = datetime.now(timezone.utc)
    outcome = Outcome.of(pages)
    duration_s = (load_every_s if math.isfinite(load_every_s) else _WINDOW_S) + _LEASE_MARGIN_S
    lease = Lease(pipeline, command, [page.page_id for page in pages], duration_s, holder=holder)
    log = log.bind(command=command, pipeline=pipeline.pipeline_name)

    def between_pieces(so_far: Outcome) -> None:
        lease.renew()
        log.info("piece_loaded", piece=so_far.loads, **_counts(so_far))
        after_piece(so_far)

    error = ""
    try:
        make_source(pages=pages[:1], stop=interrupted, first=True)  # wrong settings end here, before all else
        log.info("run_started", pages=len(pages))
        with held(lease):
            runs.run(
                pipeline,
                pages,
                make_source,
                outcome,
                load_every_s=load_every_s,
                max_s=max_s,
                interrupted=interrupted,
                after_piece=between_pieces,
            )
        code = outcome.exit_code
    except Exception as exc:  # noqa: BLE001  # the door: every error becomes a message and an exit code
        code, error = runs.explain(exc)
    record = run_record.record(
        outcome,
        command=command,
        pipeline=pipeline.pipeline_name,
        started_at=began,
        ended_at=datetime.now(timezone.utc),
        exit_code=code,
        error=error,
    )
    _tell(log, record, outcome)
    if outcome.loads:
        _keep(pipeline, record, log)
    return outcome, record


def _counts(outcome: Outcome) -> dict[str, int]:
    counts = outcome.counts
    return {
        "conversations": counts["conversations_listed"],
        "messages": counts["messages_read"],
        "calls": outcome.calls.total(),
    }


def _tell(log: FilteringBoundLogger, record: Record, outcome: Outcome) -> None:
    for page in record["pages"]:
        if page["error"]:
            log.warning("page_given_up", page=page["page_id"], error=page["error"]["class"])
        for table, error in page["failed_tables"].items():
            log.warning("table_not_loaded", page=page["page_id"], table=table, error=error)
    level = log.error if record["exit_code"] in (ExitCode.FAILED, ExitCode.WRONG_SETTINGS) else log.info
    level("run_ended", exit_code=record["exit_code"], seconds=round(outcome.seconds, 1), **_counts(outcome))


def _keep(pipeline: dlt.Pipeline, record: Record, log: FilteringBoundLogger) -> None:
    """Load the record into the warehouse; without it the run is as good as with it."""
    try:
        destinations.load(pipeline, run_record.rows(record))
    except Exception as exc:  # noqa: BLE001
        log.warning("record_not_loaded", error=runs.explain(exc)[1])
