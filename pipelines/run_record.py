"""The record of a run: what it did, as plain values, as Markdown, and as rows of the warehouse."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

import dlt
from dlt.common.utils import uniq_id
from dlt.extract import DltResource, DltSource

from pipelines.runs import ExitCode, Outcome, PageOutcome, Status
from sources.pancake.schema import Column, Table

Record = dict[str, Any]

_RUN_ID = Column("run_id", "text", "The run.")
_CALLS = Column("calls", "bigint", "Calls to Pancake.")
_CALLS_LEAST = Column("calls_minimum", "bigint", "Calls that were needed for what was read.")
_WAITED = Column("waited_s", "double", "Seconds waited for the rate limit, over all threads.")
_RATE_LIMITED = Column("rate_limited", "bigint", "Answers that said 429.")
_RETRIES = Column("retries", "bigint", "Calls that were repeated.")
_CONVERSATIONS = (
    Column("conversations_new", "bigint", "Conversations that were not known."),
    Column("conversations_changed", "bigint", "Known ones with a newer message."),
    Column("conversations_unchanged", "bigint", "Known ones that were listed again."),
)
_MESSAGES = (
    Column("messages_new", "bigint", "Messages newer than what was known of their thread."),
    Column("messages_read_again", "bigint", "Messages that were read again, edited or not."),
)
_THREADS = (
    Column("threads_complete", "bigint", "Threads that were read as far as needed."),
    Column("threads_partial", "bigint", "Threads left for the next run."),
    Column("threads_failed", "bigint", "Threads that could not be read; the next run tries again."),
)

SYNC_RUNS = Table(
    "sync_runs",
    "One row per run of `pancake sync` or `pancake backfill`.",
    ("run_id",),
    (),
    (
        _RUN_ID,
        Column("command", "text", "`sync` or `backfill`."),
        Column("pipeline", "text", "Name of the pipeline."),
        Column("version", "text", "Version of this project."),
        Column("started_at", "timestamp", "When it began."),
        Column("ended_at", "timestamp", "When it ended."),
        Column("exit_code", "bigint", "Its exit code."),
        Column("pages", "bigint", "Pages that it was to read."),
        Column("pages_failed", "bigint", "Pages of which nothing could be read."),
        Column("loads", "bigint", "Packages loaded."),
        _CALLS,
        _CALLS_LEAST,
        _WAITED,
        _RATE_LIMITED,
        _RETRIES,
        *_CONVERSATIONS,
        *_MESSAGES,
        *_THREADS,
        Column("calls_by_endpoint", "json", "Calls by endpoint."),
        Column("rows_by_table", "json", "Rows loaded by table."),
        Column("seconds_by_step", "json", "Seconds of reading, normalizing and loading."),
    ),
    merged="Rows are only added.",
)

SYNC_PAGES = Table(
    "sync_pages",
    "One row per page of a run.",
    ("run_id", "page_id"),
    (),
    (
        _RUN_ID,
        Column("page_id", "text", "Page."),
        Column("ended_at", "timestamp", "When the run ended."),
        Column(
            "status",
            "text",
            "`complete`, `stopped` (work is left), `partial` (something failed) or `failed`.",
        ),
        Column("newest_updated_at", "timestamp", "Newest `updated_at` of the page in the warehouse."),
        Column("windows", "bigint", "Windows that were listed."),
        _CALLS,
        _CALLS_LEAST,
        _WAITED,
        _RATE_LIMITED,
        _RETRIES,
        Column("slowest_rate", "double", "Lowest rate to which 429s brought the page, in calls per second."),
        *_CONVERSATIONS,
        *_MESSAGES,
        *_THREADS,
        Column("error_class", "text", "Class of the error that ended the page, if one did."),
        Column("error", "text", "What it said, and what to do."),
        Column("failed_tables", "json", "Lookup tables that could not be read, and the class of the error."),
    ),
    merged="Rows are only added.",
)

_FAILED_THREADS = (
    "The next run reads them again. If it persists, `last_error` in `conversation_coverage` says why."
)


def record(
    outcome: Outcome,
    *,
    command: str,
    pipeline: str,
    started_at: datetime,
    ended_at: datetime,
    exit_code: ExitCode,
    error: str = "",
) -> Record:
    """Return a run as plain values: no ids of people, no texts of theirs, no token.

    Args:
        outcome: What the run did.
        command: `sync` or `backfill`.
        pipeline: Name of the pipeline.
        started_at: Aware UTC.
        ended_at: Aware UTC.
        exit_code: How it ended.
        error: What ended the run as a whole, if anything did.
    """
    pages = [_page(page_id, page, ended_at) for page_id, page in outcome.pages.items()]
    return {
        "run_id": uniq_id(),
        "command": command,
        "pipeline": pipeline,
        "version": version("dlt-pancake"),
        "started_at": started_at.isoformat(),
        "ended_at": ended_at.isoformat(),
        "exit_code": int(exit_code),
        "ending": exit_code.name.lower(),
        "error": error or None,
        "loads": outcome.loads,
        "seconds_by_step": {name: round(seconds, 3) for name, seconds in outcome.seconds_by_step.items()},
        "calls_by_endpoint": dict(outcome.calls),
        "rows_by_table": dict(outcome.rows),
        **_totals(pages),
        "pages": pages,
    }


def _page(page_id: str, page: PageOutcome, ended_at: datetime) -> Record:
    counts = page.counts
    listed = counts["conversations_listed"]
    new, changed = counts["conversations_new"], counts["conversations_changed"]
    newest = page.newest_updated_at
    return {
        "page_id": page_id,
        "status": page.status.value,
        "newest_updated_at": newest and newest.astimezone(timezone.utc).isoformat(),
        "age_s": newest and round((ended_at - newest).total_seconds()),
        "windows": counts["windows"],
        "calls": page.calls.total(),
        "calls_minimum": page.calls_minimum,
        "waited_s": round(page.waited_s, 3),
        "rate_limited": counts["rate_limited"],
        "retries": counts["retries"],
        "slowest_rate": page.slowest_rate,
        "conversations_new": new,
        "conversations_changed": changed,
        "conversations_unchanged": max(0, listed - new - changed),
        "messages_new": counts["messages_new"],
        "messages_read_again": counts["messages_read"] - counts["messages_new"],
        "threads_complete": counts["threads_complete"],
        "threads_partial": counts["threads_partial"],
        "threads_failed": counts["threads_failed"],
        "error": page.error,
        "failed_tables": page.failed_lookups,
        "advice": _FAILED_THREADS if counts["threads_failed"] else None,
    }


def _totals(pages: list[Record]) -> Record:
    summed = [
        column.name
        for column in SYNC_PAGES.columns
        if column.data_type == "bigint" or column.name == "waited_s"
    ]
    return {name: sum(page[name] for page in pages) for name in summed}


def rows(run: Record) -> DltSource:
    """Return a record as rows of `sync_runs` and `sync_pages`.

    Args:
        run: From `record`.
    """
    failed = sum(page["status"] == Status.FAILED.value for page in run["pages"])
    whole = {**run, "pages": len(run["pages"]), "pages_failed": failed}
    each = [
        {
            **page,
            "run_id": run["run_id"],
            "ended_at": run["ended_at"],
            "error_class": (page["error"] or {}).get("class"),
            "error": (page["error"] or {}).get("message"),
        }
        for page in run["pages"]
    ]

    @dlt.source(name="pancake_runs", max_table_nesting=0)
    def pancake_runs() -> Iterator[DltResource]:
        for table, found in ((SYNC_RUNS, [whole]), (SYNC_PAGES, each)):
            names = [column.name for column in table.columns]
            yield dlt.resource(
                [{name: row[name] for name in names} for row in found],
                name=table.name,
                write_disposition="append",
                columns=table.hints(),
            )

    return pancake_runs()


def markdown(run: Record) -> str:
    """Return a record as Markdown, for people.

    Args:
        run: From `record`.
    """
    lines = [
        f"### pancake {run['command']}: {run['ending']} (exit code {run['exit_code']})",
        "",
        f"- conversations: {run['conversations_new']:,} new, {run['conversations_changed']:,} changed",
        f"- messages: {run['messages_new']:,} new, {run['messages_read_again']:,} read again",
        f"- calls: {run['calls']:,}; at least {run['calls_minimum']:,} were needed",
        f"- rate: {run['rate_limited']:,} × 429, {run['retries']:,} retries, {run['waited_s']:.0f} s waited",
        "",
        "| Page | Status | Newest | Conversations | Messages | Threads left | Calls |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {page['page_id']} | {page['status']} | {page['newest_updated_at'] or ''}"
        f" | {page['conversations_new']:,} new, {page['conversations_changed']:,} changed"
        f" | {page['messages_new']:,} new | {page['threads_partial'] + page['threads_failed']:,}"
        f" | {page['calls']:,} |"
        for page in run["pages"]
    ]
    problems = [
        f"page {page['page_id']}: {page['error']['message']}" for page in run["pages"] if page["error"]
    ]
    problems += [
        f"page {page['page_id']}: `{name}` was not loaded ({error})"
        for page in run["pages"]
        for name, error in page["failed_tables"].items()
    ]
    problems += [f"page {page['page_id']}: {page['advice']}" for page in run["pages"] if page["advice"]]
    if run["error"]:
        problems.insert(0, run["error"])
    lines += ["", *(f"- {problem}" for problem in problems)] if problems else []
    return "\n".join(lines) + "\n"
