"""The command `pancake plan`: what a load would cost, before it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import dlt
from humanize import naturaldelta
from rich.console import Console
from rich.table import Table

from pipelines import destinations
from pipelines.copies import copy_of_pipeline
from pipelines.reading import MakeClient, Reading
from pipelines.rehearsal import Counts, ImaginedPage, Load, rehearse
from pipelines.runs import ExitCode
from pipelines.seen import Seen
from pipelines.survey import Bounds, Survey
from sources.pancake import Page, PancakeClient, settings
from sources.pancake.assembly import span_to_read
from sources.pancake.errors import PancakeError
from sources.pancake.resources.coverage import Coverage, WarehouseLedger
from sources.pancake.schema import CONVERSATIONS, MESSAGES, TAGS, USERS
from sources.pancake.windows import Window

BOUNDS = Bounds()
PAGES_AT_ONCE = 16  # ours


@dataclass(frozen=True)
class Asked:
    """The load that is planned.

    Args:
        span: Of a backfill; None for a sync.
        with_messages: Whether threads are read.
    """

    span: Window | None = None
    with_messages: bool = True


@dataclass(frozen=True)
class Plan:
    """What a load of one page would cost.

    Args:
        page: The page.
        kind: `first sync`, `sync` or `backfill`.
        span: What would be listed.
        counts: What would be read.
        lookups: Calls of the tables beside conversations and messages.
        rate: Calls a second that the limit allows now.
        latency_s: Median duration of a call.
        workers: Threads of messages that are read side by side.
        asked: Calls that the plan itself made.
        complete: Whether every conversation was listed for it, rather than some estimated.
    """

    page: str
    kind: str
    span: Window
    counts: Counts
    lookups: int
    rate: float
    latency_s: float
    workers: int
    asked: int
    complete: bool

    @property
    def calls(self) -> int:
        """All calls."""
        return self.counts.list_calls + self.counts.thread_calls + self.lookups

    @property
    def seconds(self) -> float:
        """Duration: each call starts when the rate and a free worker allow."""
        alone = self.counts.list_calls + self.lookups
        interval_s = settings.PACING_MARGIN / self.rate
        side_by_side_s = max(interval_s, self.latency_s / self.workers)
        return alone * max(interval_s, self.latency_s) + self.counts.thread_calls * side_by_side_s

    @property
    def limited_by(self) -> str:
        """What sets the pace: `rate` or `latency`."""
        waits_longer = self.latency_s / self.workers > settings.PACING_MARGIN / self.rate
        return "latency" if waits_longer else "rate"

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values; minutes and rates are rounded."""
        return {
            "page": self.page,
            "kind": self.kind,
            "since": self.span.since.isoformat(),
            "until": self.span.until.isoformat(),
            **_rows_and_calls(self),
            "minutes": round(self.seconds / 60, 2),
            "calls_per_second": round(self.rate, 2),
            "latency_ms": round(1000 * self.latency_s, 1),
            "limited_by": self.limited_by,
            "listed_completely": self.complete,
            "calls_for_the_plan": self.asked,
        }


@dataclass(frozen=True)
class Unplanned:
    """A page that could not be looked at, and why."""

    page: str
    error: str


def _rows_and_calls(plan: Plan) -> dict[str, Any]:
    counts = plan.counts
    return {
        "windows": counts.windows,
        "conversations": counts.conversations,
        "threads": counts.threads,
        "messages": counts.messages,
        "calls": {
            "lists": counts.list_calls,
            "threads": counts.thread_calls,
            "lookups": plan.lookups,
            "total": plan.calls,
        },
    }


def plan_page(
    client: PancakeClient,
    page: Page,
    reading: Reading,
    asked: Asked,
    pipeline: dlt.Pipeline | None,
    bounds: Bounds = BOUNDS,
) -> Plan:
    """Return what a load of one page would cost.

    It takes `bounds.total` calls at most, not counting repeated ones.

    Args:
        client: Reads the page, and has read nothing yet.
        page: The page.
        reading: How it would be read.
        asked: What would be loaded.
        pipeline: A copy of the pipeline, active and with its state; None when there is no warehouse yet.
        bounds: Most calls.

    Raises:
        PancakeError: As `PancakeClient.get`.
    """
    state = _state(pipeline, page.page_id)
    cursor = state["conversations"].get("incremental", {}).get("updated_at", {}).get("last_value")
    ledger = WarehouseLedger(page.page_id)
    span = asked.span or _span_of_sync(client, page, reading, cursor)
    load = Load(span, reading, asked.with_messages, asked.span is not None, state)
    survey = Survey(client, reading.filters, bounds)
    listing = survey.conversations(span)
    imagined = ImaginedPage(client, listing, map(_left_over, ledger.due(unverified=False)))
    counts = rehearse(imagined, load, ledger)
    if asked.with_messages:
        wanted = list(imagined.read.values())
        marks = {} if load.whole else ledger.marks([seen.id for seen in wanted if seen.listed])

        def floor(seen: Seen) -> datetime | None:
            known = marks.get(seen.id)
            if known is None or known.newest_message_at is None or known.oldest_message_at is None:
                return None
            tail = timedelta(seconds=reading.messages_tail_s)
            return max(known.newest_message_at - tail, known.oldest_message_at)

        imagined.take_up(survey.threads(wanted, floor), marks)
        counts = rehearse(imagined, load, ledger)
    return Plan(
        page=page.page_id,
        kind="backfill" if asked.span else "first sync" if cursor is None else "sync",
        span=span,
        counts=counts,
        lookups=0 if asked.span else len((TAGS, USERS)) + reading.with_user_token,
        rate=client.throttle.requests_per_second,
        latency_s=survey.latency_s,
        workers=reading.workers,
        asked=sum(client.tally.calls.values()),
        complete=listing.complete,
    )


def _state(pipeline: dlt.Pipeline | None, page_id: str) -> dict[str, dict[str, Any]]:
    """Return what the resources of conversations and messages keep of a page."""
    sources = pipeline.state.get("sources", {}) if pipeline else {}
    resources: dict[str, dict[str, Any]] = sources.get("pancake", {}).get("resources", {})
    names = (CONVERSATIONS.name, MESSAGES.name)
    return {name: dict(resources.get(f"{name}_{page_id}", {})) for name in names}


def _span_of_sync(client: PancakeClient, page: Page, reading: Reading, cursor: datetime | None) -> Window:
    whole = span_to_read(client.clock, None, None, page.start_date or reading.start_date)
    if cursor is None:
        return whole
    return Window(cursor - timedelta(seconds=reading.lag_s), max(whole.until, cursor))


def _left_over(known: Coverage) -> Seen:
    changed = known.newest_message_at or datetime.now(timezone.utc)
    count = known.message_count or known.messages_read
    row = {"id": known.conversation_id, "message_count": count}
    return Seen(row, known.oldest_message_at or changed, changed)


def plan(
    pages: Sequence[Page],
    make_client: MakeClient,
    reading: Reading,
    asked: Asked,
    known: dlt.Pipeline | None,
) -> list[Plan | Unplanned]:
    """Return the plans of pages, of each one whatever becomes of the others.

    Args:
        pages: The pages.
        make_client: Makes the client of a page.
        reading: How they would be read.
        asked: What would be loaded.
        known: See `plan_page`.
    """

    def one(page: Page) -> Plan | Unplanned:
        try:
            return plan_page(make_client(page), page, reading, asked, known)
        except PancakeError as error:
            return Unplanned(page.page_id, str(error))

    with ThreadPoolExecutor(PAGES_AT_ONCE) as pool:
        return list(pool.map(one, pages))


@contextmanager
def known_of(pipeline: str, dataset: str) -> Iterator[dlt.Pipeline | None]:
    """Give a copy of a pipeline with the state that its next run would begin with.

    Args:
        pipeline: Its name.
        dataset: Dataset of the warehouse.

    Yields:
        None when the warehouse is a file that does not exist: looking into it would create it.
    """
    with copy_of_pipeline(pipeline, dataset) as copy:
        if not destinations.is_there(copy):
            copy.deactivate()
            yield None
            return
        copy.sync_destination()
        yield copy


def show(found: Sequence[Plan | Unplanned], console: Console, *, as_json: bool) -> None:
    """Print plans and their total.

    Args:
        found: One for each page.
        console: Where to print.
        as_json: Print one JSON document for machines instead of a table for people.
    """
    plans = [plan for plan in found if isinstance(plan, Plan)]
    unplanned = [page for page in found if isinstance(page, Unplanned)]
    if as_json:
        document = {
            "pages": [plan.as_json() for plan in plans],
            "total": {
                "calls": sum(plan.calls for plan in plans),
                "minutes": round(_longest_s(plans) / 60, 2),
            },
            "failed": [{"page": page.page, "error": page.error} for page in unplanned],
            "calls_at_most": BOUNDS.total,
        }
        console.print_json(data=document, ensure_ascii=True)
        return
    if plans:
        console.print(_table(plans))
    for plan in plans:
        console.print(_pace(plan), markup=False, highlight=False)
    for page in unplanned:
        console.print(f"{page.page}: {page.error}", markup=False, highlight=False)


def _longest_s(plans: Sequence[Plan]) -> float:
    """Return the duration of all: pages are read side by side."""
    return max((plan.seconds for plan in plans), default=0.0)


def _table(plans: Sequence[Plan]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("page", "load", "since"):
        table.add_column(name)
    for name in ("conversations", "messages", "lists", "threads", "lookups", "calls", "time"):
        table.add_column(name, justify="right")
    for plan in plans:
        counts = plan.counts
        rows = (counts.conversations, counts.messages)
        calls = (counts.list_calls, counts.thread_calls, plan.lookups, plan.calls)
        table.add_row(
            plan.page,
            plan.kind,
            f"{plan.span.since:%Y-%m-%d %H:%M}",
            *(f"{number:,}" for number in (*rows, *calls)),
            naturaldelta(plan.seconds),
        )
    if len(plans) > 1:
        total = sum(plan.calls for plan in plans)
        table.add_row("total", *[""] * 7, f"{total:,}", naturaldelta(_longest_s(plans)), style="bold")
    return table


def _pace(plan: Plan) -> str:
    """Return what the time was worked out from."""
    estimated = (
        "" if plan.complete else " Not all conversations could be listed: the older ones are estimated."
    )
    return (
        f"{plan.page}: {plan.rate:.1f} calls/s allowed, {1000 * plan.latency_s:.0f} ms a call,"
        f" {plan.workers} workers: the {plan.limited_by} sets the pace."
        f" {plan.asked} of at most {BOUNDS.total} calls made for this plan.{estimated}"
    )


def exit_code(found: Sequence[Plan | Unplanned]) -> ExitCode:
    """Return how the command ends."""
    return ExitCode.FAILED if any(isinstance(page, Unplanned) for page in found) else ExitCode.DONE
