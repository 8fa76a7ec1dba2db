"""What a person sees of a run."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timezone

from humanize import naturaldelta
from rich.console import Console
from rich.table import Table

from pipelines.runs import ExitCode, Outcome

_ENDINGS = {
    ExitCode.FAILED: "no page could be read",
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
    waited_s = sum(page.waited_s for page in outcome.pages.values())
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
        f"{waited_s:.1f} s for the rate limit, {counts['retries']:,} retries,"
        f" {counts['rate_limited']:,} × 429",
    )
    failed = [
        f"{name} of page {page_id} ({error})"
        for page_id, page in outcome.pages.items()
        for name, error in sorted(page.failed_lookups.items())
    ]
    if failed:
        table.add_row("failed tables", ", ".join(failed))
    if len(outcome.pages) > 1:
        statuses = Counter(page.status.value for page in outcome.pages.values())
        table.add_row("pages", ", ".join(f"{count} {status}" for status, count in statuses.items()))
    newest = (page.newest_updated_at for page in outcome.pages.values())
    table.add_row("newest", _age(max(filter(None, newest), default=None)))
    table.add_row("time", f"{outcome.seconds:.1f} s in {outcome.loads} load(s)")
    console.print(table)
    console.print(_ENDINGS[outcome.exit_code])


def show_errors(outcome: Outcome, console: Console) -> None:
    """Print what ended the reading of pages, one line each.

    Args:
        outcome: The run.
        console: Where to print.
    """
    for page_id, page in outcome.pages.items():
        if page.error:
            text = f"error: page {page_id}: {page.error['message']}"
            console.print(text, markup=False, highlight=False, soft_wrap=True)


def show_progress(outcome: Outcome, console: Console) -> None:
    """Print how far a backfill is, and what is left of it at the present rate.

    Args:
        outcome: The run so far.
        console: Where to print.
    """
    read_s = sum(page.read_s for page in outcome.pages.values())
    share = sum(page.left_s for page in outcome.pages.values()) / read_s if read_s else 0.0
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
