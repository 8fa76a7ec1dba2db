"""The command line `pancake`: arguments to a run, a run to a report and an exit code."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated

import typer
from dlt.extract import DltSource
from rich.console import Console

from pipelines import report, runs
from sources.pancake import pancake_source

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
MaxMinutes = Annotated[
    float | None, typer.Option(min=0.01, help="End at the next safe point after so many minutes.")
]


@app.callback()
def _commands() -> None:
    """Keep `sync` a command of its own although it is alone."""


@app.command()
def sync(
    pipeline: PipelineName = "pancake",
    dataset: Dataset = "pancake",
    load_every: LoadEvery = 5.0,
    max_minutes: MaxMinutes = None,
) -> None:
    """Load what is new since the last sync.

    Exit codes: 0 all done, 1 failed, 2 wrong usage or settings, 3 some threads failed, 4 stopped with work
    left.
    """

    def make_source(stop: Callable[[], bool]) -> DltSource:
        return pancake_source(stop=stop)

    with _errors_explained(), _interrupts() as interrupted:
        outcome = runs.run(
            runs.make_pipeline(pipeline, dataset, show_progress=sys.stderr.isatty()),
            make_source,
            load_every_s=load_every * 60,
            max_s=None if max_minutes is None else max_minutes * 60,
            interrupted=interrupted.is_set,
        )
        report.show(outcome, Console())
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
