"""The command line `pancake`: arguments to a run, a run to a report and an exit code."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from pipelines import jobs, report, runs
from pipelines.runs import Outcome
from sources.pancake import Page, configured_pages

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
MaxMinutes = Annotated[
    float | None, typer.Option(min=0.01, help="End at the next safe point after so many minutes.")
]


@app.command()
def sync(
    pipeline: PipelineName = "pancake",
    dataset: Dataset = "pancake",
    load_every: LoadEvery = 5.0,
    max_minutes: MaxMinutes = None,
    tables: Tables = None,
    page: OnlyPages = None,
) -> None:
    """Load what is new since the last sync, of all pages.

    Exit codes: 0 all done, 1 failed, 2 wrong usage or settings, 3 some pages, threads or lookup tables
    failed, 4 stopped with work left.
    """
    wanted = None if tables is None else [name.strip() for name in tables.split(",")]
    make_source = jobs.sync(wanted)
    _run(pipeline, dataset, page, lambda _: make_source, load_every=load_every, max_minutes=max_minutes)


@app.command()
def backfill(
    since: Annotated[
        str | None, typer.Option(help="Begin: a date (midnight UTC) or a time with a zone.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="End, excluded. Default: now.")] = None,
    last_days: Annotated[
        int | None, typer.Option(min=1, help="Instead of --since: so many days before now.")
    ] = None,
    messages: Annotated[bool, typer.Option(help="Read every thread whole.")] = True,
    newest_first: Annotated[
        bool, typer.Option("--newest-first/--oldest-first", help="Which window is loaded first.")
    ] = True,
    pipeline: PipelineName = "pancake_backfill",
    dataset: Dataset = "pancake",
    max_minutes: MaxMinutes = None,
    page: OnlyPages = None,
) -> None:
    """Load a span of time again, window by window, beside the schedule of syncs.

    A backfill that was cut goes on where it stood when it is called again with the same span. With
    --no-messages it is the cheap refresh of what does not move `updated_at`: tags, assignees, read marks.

    Exit codes: as for sync.
    """
    if (since is None) == (last_days is None):
        raise typer.BadParameter("give either --since or --last-days")
    begin = since or f"{datetime.now(timezone.utc) - timedelta(days=last_days or 0):%Y-%m-%d}"

    def of_pages(every: Sequence[Page]) -> runs.MakeSource:
        return jobs.backfill(
            every, since=begin, until=until, with_messages=messages, newest_first=newest_first
        )

    def after_piece(outcome: Outcome) -> None:
        report.show_progress(outcome, Console(stderr=True))

    _run(pipeline, dataset, page, of_pages, max_minutes=max_minutes, after_piece=after_piece)


def _run(
    pipeline: str,
    dataset: str,
    only: list[str] | None,
    of_pages: Callable[[Sequence[Page]], runs.MakeSource],
    *,
    load_every: float | None = None,
    max_minutes: float | None,
    after_piece: Callable[[Outcome], None] = lambda _: None,
) -> None:
    with _errors_explained(), _interrupts() as interrupted:
        pages = configured_pages(only or ())
        outcome = runs.run(
            runs.make_pipeline(pipeline, dataset, show_progress=sys.stderr.isatty()),
            pages,
            of_pages(pages),
            load_every_s=math.inf if load_every is None else load_every * 60,
            max_s=None if max_minutes is None else max_minutes * 60,
            interrupted=interrupted.is_set,
            after_piece=after_piece,
        )
        report.show(outcome, Console())
        report.show_errors(outcome, Console(stderr=True))
    raise typer.Exit(outcome.exit_code)


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


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
