"""The command line `pancake`: arguments to a run, a run to a report and an exit code."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from pipelines import check as checks
from pipelines import jobs, loading, logs, report, runs
from pipelines import plan as plans
from pipelines.execution import execute
from pipelines.reading import how_to_read, make_client
from pipelines.runs import MakeSource, Outcome
from sources.pancake import Page, configured_pages
from sources.pancake.assembly import span_to_read

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its tracebacks show local values
    help="Pancake (pages.fm) conversations and messages into a warehouse.",
)

PipelineName = Annotated[
    str, typer.Option("--pipeline", help="Name under which dlt keeps the cursor of this load.")
]
Dataset = Annotated[str, typer.Option(help="Dataset (schema) of the warehouse.")]
LoadEvery = Annotated[
    float, typer.Option(min=0.01, help="Minutes of reading after which what was read is loaded.")
]
Tables = Annotated[
    str | None,
    typer.Option(help="Tables to load beside `conversations`, with commas. Default: the cheap ones."),
]
OnlyPages = Annotated[
    list[str] | None, typer.Option("--page", help="Only this page of the configuration; may be repeated.")
]
Since = Annotated[
    str | None, typer.Option(help="Begin of a backfill: a date (midnight UTC) or a time with a zone.")
]
Until = Annotated[str | None, typer.Option(help="Its end, excluded. Default: now.")]
LastDays = Annotated[int | None, typer.Option(min=1, help="Instead of --since: so many days before now.")]
MaxMinutes = Annotated[
    float | None, typer.Option(min=0.01, help="End at the next safe point after so many minutes.")
]
ReportFile = Annotated[
    Path | None,
    typer.Option("--report", help="Write the record of the run here, as JSON. Default: beside dlt's state."),
]
ReportMarkdown = Annotated[
    Path | None,
    typer.Option("--report-md", help="Append the record as Markdown here. Default: $GITHUB_STEP_SUMMARY."),
]
LogJson = Annotated[bool, typer.Option("--log-json", help="Write events to standard error as lines of JSON.")]


@app.command()
def sync(
    pipeline: PipelineName = "pancake",
    dataset: Dataset = "pancake",
    load_every: LoadEvery = 5.0,
    max_minutes: MaxMinutes = None,
    tables: Tables = None,
    page: OnlyPages = None,
    report_file: ReportFile = None,
    report_md: ReportMarkdown = None,
    log_json: LogJson = False,
) -> None:
    """Load what is new since the last sync, of all pages.

    Exit codes: 0 all done, 1 failed, 2 wrong usage or settings, 3 some pages, threads or lookup tables
    failed, 4 stopped with work left, 5 another run reads a page.
    """
    chosen = None if tables is None else [name.strip() for name in tables.split(",")]
    _run(
        "sync",
        _Options(pipeline, dataset, page, max_minutes, load_every, report_file, report_md, log_json),
        lambda _: jobs.sync(chosen),
    )


@app.command()
def backfill(
    since: Since = None,
    until: Until = None,
    last_days: LastDays = None,
    messages: Annotated[bool, typer.Option(help="Read every thread whole.")] = True,
    newest_first: Annotated[
        bool, typer.Option("--newest-first/--oldest-first", help="Which window is loaded first.")
    ] = True,
    pipeline: PipelineName = "pancake_backfill",
    dataset: Dataset = "pancake",
    max_minutes: MaxMinutes = None,
    page: OnlyPages = None,
    report_file: ReportFile = None,
    report_md: ReportMarkdown = None,
    log_json: LogJson = False,
) -> None:
    """Load a span of time again, window by window, beside the schedule of syncs.

    A backfill that was cut goes on where it stood when it is called again with the same span. With
    --no-messages it is the cheap refresh of what does not move `updated_at`: tags, assignees, read marks.

    Exit codes: as for sync.
    """
    if (since is None) == (last_days is None):
        raise typer.BadParameter("give either --since or --last-days")
    begin = since or _days_ago(last_days or 0)
    _run(
        "backfill",
        _Options(pipeline, dataset, page, max_minutes, math.inf, report_file, report_md, log_json),
        lambda pages: jobs.backfill(
            pages, since=begin, until=until, with_messages=messages, newest_first=newest_first
        ),
    )


def _days_ago(days: int) -> str:
    return f"{datetime.now(timezone.utc) - timedelta(days=days):%Y-%m-%d}"


@dataclass(frozen=True)
class _Options:
    pipeline: str
    dataset: str
    only: list[str] | None
    max_minutes: float | None
    load_every: float
    report: Path | None
    report_md: Path | None
    log_json: bool


def _run(command: str, options: _Options, job_of: Callable[[Sequence[Page]], MakeSource]) -> None:
    """Run a command, show what it did and exit with its code."""
    watched = sys.stderr.isatty() and not options.log_json
    with _errors_explained(), _interrupts() as interrupted:
        pages = configured_pages(options.only or ())
        pipeline = loading.make_pipeline(options.pipeline, options.dataset, show_progress=watched)
        outcome, record = execute(
            command,
            pipeline,
            pages,
            job_of(pages),
            logs.set_up(as_json=options.log_json, quiet=watched),
            load_every_s=options.load_every * 60,
            max_s=None if options.max_minutes is None else options.max_minutes * 60,
            interrupted=interrupted.is_set,
            after_piece=_progress(command, shown=not options.log_json),
        )
    report.write(record, options.report or Path(pipeline.working_dir) / "last_run.json", options.report_md)
    if outcome.loads:
        report.show(outcome, Console())
    report.show_errors(record, Console(stderr=True))
    raise typer.Exit(record["exit_code"])


def _progress(command: str, *, shown: bool) -> Callable[[Outcome], None]:
    def show(outcome: Outcome) -> None:
        if command == "backfill" and shown:
            report.show_progress(outcome, Console(stderr=True))

    return show


@contextmanager
def _errors_explained() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001  # the door: every error becomes a message and an exit code
        code, message = runs.explain(error)
    else:
        return
    Console(stderr=True).print(f"error: {message}", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """End at a safe point on the first Ctrl-C or SIGTERM, and at once on the second."""
    asked = threading.Event()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        asked.set()
        os.write(sys.stderr.fileno(), b"ending at the next safe point; once more ends at once\n")

    os.environ["RUNTIME__INTERCEPT_SIGNALS"] = "false"
    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document for machines.")]


@app.command()
def check(
    page: OnlyPages = None,
    as_json: AsJson = False,
    pipeline: PipelineName = "pancake",
    dataset: Dataset = "pancake",
) -> None:
    """Look at settings, pages and warehouse with a few calls for each page, and say what to do.

    Nothing is written: neither to a page nor to data in the warehouse.

    Exit codes: 0 all fine, 1 something failed, 2 wrong usage or settings.
    """
    with _errors_explained():
        found = checks.check(
            lambda: configured_pages(page or ()), make_client, how_to_read(), pipeline, dataset
        )
        checks.show(found, Console(), as_json=as_json)
    raise typer.Exit(checks.exit_code(found))


@app.command()
def plan(
    since: Since = None,
    until: Until = None,
    last_days: LastDays = None,
    messages: Annotated[bool, typer.Option(help="Count threads too.")] = True,
    page: OnlyPages = None,
    as_json: AsJson = False,
    pipeline: Annotated[
        str | None, typer.Option(help="Name of the load. Default: that of a sync, or of a backfill.")
    ] = None,
    dataset: Dataset = "pancake",
) -> None:
    """Say what a sync, or with --since or --last-days a backfill, would cost now, before it runs.

    It makes a bounded number of calls to each page, and writes nothing.

    Exit codes: 0 all planned, 1 some page could not be looked at, 2 wrong usage or settings.
    """
    if since is not None and last_days is not None:
        raise typer.BadParameter("give --since or --last-days, not both")
    of_backfill = since or until or last_days
    name = pipeline or ("pancake_backfill" if of_backfill else "pancake")
    begin = _days_ago(last_days) if last_days else since
    with _errors_explained(), plans.known_of(name, dataset) as known:
        span = span_to_read(time, begin, until) if of_backfill else None
        asked = plans.Asked(span, with_messages=messages)
        found = plans.plan(configured_pages(page or ()), make_client, how_to_read(), asked, known)
        plans.show(found, Console(), as_json=as_json)
    raise typer.Exit(plans.exit_code(found))


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
