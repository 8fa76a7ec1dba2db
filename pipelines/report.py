"""What a person sees of a run."""

from __future__ import annotations

from datetime import datetime, timezone

from humanize import naturaldelta
from rich.console import Console
from rich.table import Table

from pipelines.runs import ExitCode, Outcome

_ENDINGS = {
    ExitCode.DONE: "everything is read",
    ExitCode.PARTIAL: "something failed; the next run reads it again",
    ExitCode.STOPPED: "stopped with work left; the next run goes on from here",
}


def show(outcome: Outcome, console: Console) -> None:
    """Print a run as a short table.

    Args:
        outcome: The run.
        console: Where to print.
    """
    counts = outcome.counts
    lists, threads = outcome.calls["conversations"], outcome.calls["messages"]
    lookups = outcome.calls.total() - lists - threads
    minimum = counts["list_calls_minimum"] + counts["thread_calls_minimum"] + lookups
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    table.add_row(
        "conversations",
        f"{counts['conversations_new']:,} new, {counts['conversations_changed']:,} changed",
    )
    table.add_row(
        "messages",
        f"{counts['messages_new']:,} new, {counts['messages_read'] - counts['messages_new']:,} read again",
    )
    table.add_row(
        "threads",
        f"{counts['threads_complete']:,} complete, {counts['threads_partial']:,} left,"
        f" {counts['threads_failed']:,} failed",
    )
    table.add_row(
        "calls",
        f"{outcome.calls.total():,} ({lists:,} lists, {threads:,} threads, {lookups:,} lookups); at least"
        f" {minimum:,} were needed",
    )
    table.add_row(
        "waits",
        f"{outcome.waited_s:.1f} s for the rate limit, {counts['retries']:,} retries,"
        f" {counts['rate_limited']:,} × 429",
    )
    if outcome.failed_lookups:
        failed = (f"{name} ({error})" for name, error in sorted(outcome.failed_lookups.items()))
        table.add_row("failed tables", ", ".join(failed))
    table.add_row("newest", _age(outcome.newest_updated_at))
    table.add_row("time", f"{outcome.seconds:.1f} s in {outcome.loads} load(s)")
    console.print(table)
    console.print(_ENDINGS[outcome.exit_code])


def show_progress(outcome: Outcome, console: Console) -> None:
    """Print how far a backfill is, and what is left of it at the present rate.

    Args:
        outcome: The run so far.
        console: Where to print.
    """
    share = outcome.left_s / outcome.read_s
    console.print(
        f"{outcome.counts['windows']:,} windows, {outcome.counts['conversations_listed']:,} conversations;"
        f" {1 / (1 + share):.0%} done, about {outcome.calls.total() * share:,.0f} calls and"
        f" {naturaldelta(outcome.seconds * share)} left"
    )


def _age(stamp: datetime | None) -> str:
    if stamp is None:
        return "no conversation yet"
    age = datetime.now(timezone.utc) - stamp.astimezone(timezone.utc)
    return f"{stamp.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC, {naturaldelta(age)} ago"
