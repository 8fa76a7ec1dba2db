"""The command `pancake plan`: what it says beside what the load then costs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from pipelines import loading, runs
from pipelines.plan import BOUNDS, Asked, Plan, known_of, plan_page
from pipelines.reading import Reading
from pipelines.runs import Outcome, PageOutcome
from pipelines.survey import Bounds, Survey
from sources.pancake import Page, PancakeClient, pancake_pages_backfill, pancake_pages_source
from sources.pancake.filters import Filters
from sources.pancake.windows import Window
from tests.fake_pancake import (
    ARTICLE,
    LIVE,
    Dialect,
    FakeAdapter,
    FakePage,
    FakePancake,
    FakeTime,
    Fault,
)

DAY = timedelta(days=1)


class Shop:
    """A page, the loads of it, and the plans of these loads."""

    def __init__(self, page: FakePage, pancake: FakePancake) -> None:
        self.page = page
        self.pancake = pancake
        self.listed = Page(page.page_id, page.token)

    def client(self, _: Page | None = None) -> PancakeClient:
        return PancakeClient(
            self.page.page_id,
            self.page.token,
            requests_per_second=1000,
            clock=self.pancake.clock,
            transport=FakeAdapter(self.pancake),
        )

    def plan(self, asked: Asked | None = None, bounds: Bounds = BOUNDS) -> Plan:
        name = "pancake_backfill" if asked and asked.span else "pancake"
        with known_of(name, "pancake") as known:
            return plan_page(self.client(), self.listed, Reading(), asked or Asked(), known, bounds)

    def sync(self) -> Outcome:
        return self._run(
            "pancake",
            lambda pages, stop, first: pancake_pages_source(pages, make_client=self.client, stop=stop),
        )

    def backfill(self, span: Window, *, messages: bool = True) -> Outcome:
        return self._run(
            "pancake_backfill",
            lambda pages, stop, first: pancake_pages_backfill(
                pages,
                since=span.since,
                until=span.until,
                with_messages=messages,
                repair=first,
                make_client=self.client,
                stop=stop,
            ),
        )

    def _run(self, name: str, make_source: runs.MakeSource) -> Outcome:
        pipeline = loading.make_pipeline(name, "pancake")
        outcome = Outcome({self.listed.page_id: PageOutcome()})
        try:
            runs.run(
                pipeline,
                [self.listed],
                make_source,
                outcome,
                load_every_s=math.inf,
                max_s=None,
                interrupted=lambda: False,
            )
        finally:
            pipeline.deactivate()
        return outcome


@pytest.fixture
def shop(page: FakePage, pancake: FakePancake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop that loads into DuckDB."""
    monkeypatch.setenv("DESTINATION__WAREHOUSE__CREDENTIALS", str(tmp_path / "warehouse.duckdb"))
    return Shop(page, pancake)


def assert_close(plan: Plan, outcome: Outcome, within: float = 0.2) -> None:
    """Check that rows and calls are what was planned."""
    lists, threads = outcome.calls["conversations"], outcome.calls["messages"]
    true = {
        "conversations": outcome.counts["conversations_listed"],
        "messages": outcome.counts["messages_read"],
        "lists": lists,
        "threads": threads,
        "calls": outcome.calls.total(),
    }
    said = {
        "conversations": plan.counts.conversations,
        "messages": plan.counts.messages,
        "lists": plan.counts.list_calls,
        "threads": plan.counts.thread_calls,
        "calls": plan.calls,
    }
    off = {
        name: (said[name], true[name]) for name in true if said[name] != pytest.approx(true[name], rel=within)
    }
    assert off == {}
    assert plan.lookups == outcome.calls.total() - lists - threads
    assert plan.asked <= BOUNDS.total


def believable(page: FakePage) -> None:
    page.populate(days=14, conversations=150)


def many_short(page: FakePage) -> None:
    page.grow(500, 4)


def few_long(page: FakePage) -> None:
    page.grow(15, 300)


def a_few_long_among_short(page: FakePage) -> None:
    draw = Random(1)
    for number in range(300):
        at = page.now() - timedelta(minutes=7 * number)
        page.add_conversation(at=at, messages=200 if number % 20 == 0 else draw.randint(1, 12))


def uneven_over_time(page: FakePage) -> None:
    draw = Random(5)
    for number in range(300):
        back = 20 * DAY * draw.random() if number % 3 == 0 else 11 * DAY + DAY / 4 * draw.random()
        page.add_conversation(at=page.now() - back, messages=draw.randint(1, 50))


DIALECTS = {
    "counts_off": replace(LIVE, message_count="off"),
    "newest_first": replace(LIVE, message_order="newest_first", message_batches=(25,), stamps="offset"),
}


@pytest.mark.parametrize(
    ("shape", "dialect"),
    [
        (believable, LIVE),
        (few_long, LIVE),
        (uneven_over_time, LIVE),
        (believable, ARTICLE),
        (many_short, ARTICLE),
        (few_long, ARTICLE),
        (a_few_long_among_short, ARTICLE),
    ],
)
def test_a_first_sync_costs_what_was_planned(
    shop: Shop, page: FakePage, dialect: Dialect, shape: Callable[[FakePage], None]
) -> None:
    page.dialect = dialect
    shape(page)
    plan = shop.plan()
    assert (plan.kind, plan.complete) == ("first sync", True)
    assert_close(plan, shop.sync())


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS.keys())
def test_other_dialects_are_planned_too(shop: Shop, page: FakePage, dialect: Dialect) -> None:
    page.dialect = dialect
    believable(page)
    assert_close(shop.plan(), shop.sync())


def test_a_load_in_batches_that_vary_is_planned_within_a_factor_of_two(shop: Shop, page: FakePage) -> None:
    page.dialect = replace(LIVE, message_batch_jitter=True, conversation_batch_jitter=True)
    believable(page)
    assert_close(shop.plan(), shop.sync(), within=1.0)


def churned(page: FakePage, time: FakeTime) -> None:
    time.advance(3600)
    page.churn(100)


def busy(page: FakePage, time: FakeTime) -> None:
    time.advance(3600)
    for key in list(page.conversations)[::3]:
        for _ in range(50):
            time.advance(1)
            page.add_message(key)


def new(page: FakePage, time: FakeTime) -> None:
    time.advance(2 * DAY.total_seconds())
    draw = Random(2)
    for _ in range(80):
        page.add_conversation(at=time.now() - DAY * draw.random(), messages=draw.randint(1, 60))


@pytest.mark.parametrize(("change", "dialect"), [(churned, LIVE), (busy, ARTICLE), (new, ARTICLE)])
def test_a_delta_costs_what_was_planned(
    shop: Shop,
    page: FakePage,
    time: FakeTime,
    dialect: Dialect,
    change: Callable[[FakePage, FakeTime], None],
) -> None:
    page.dialect = dialect
    believable(page)
    shop.sync()
    change(page, time)
    plan = shop.plan()
    assert plan.kind == "sync"
    assert_close(plan, shop.sync())


def test_old_messages_of_a_changed_thread_are_not_in_the_plan(
    shop: Shop, page: FakePage, time: FakeTime
) -> None:
    for number in range(30):
        conversation = page.open_conversation(time.now() - 9 * DAY - timedelta(minutes=number))
        for hour in range(200):
            page.add_message(conversation.id, at=conversation.inserted_at + timedelta(hours=hour))
    shop.sync()
    time.advance(3600)
    for key in page.conversations:
        page.add_message(key)
    plan = shop.plan()
    assert plan.counts.messages < 30 * 100
    assert_close(plan, shop.sync())


def test_the_cursor_is_found_in_the_warehouse_when_the_working_folder_is_gone(
    shop: Shop, page: FakePage, time: FakeTime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    believable(page)
    shop.sync()
    churned(page, time)
    here = shop.plan()
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "another"))
    elsewhere = shop.plan()
    assert elsewhere.kind == "sync"
    assert elsewhere.span.since == here.span.since
    assert elsewhere.counts == here.counts


def test_threads_that_were_left_are_in_the_plan(shop: Shop, page: FakePage, pancake: FakePancake) -> None:
    believable(page)
    broken = list(page.conversations)[:15]
    for key in broken:
        pancake.fail(Fault("status", endpoint="messages", conversation_id=key, status=404, times=None))
    shop.sync()
    pancake.faults.clear()
    plan = shop.plan()
    assert plan.counts.threads >= len(broken)
    assert_close(plan, shop.sync())


@pytest.mark.parametrize("messages", [True, False], ids=["messages", "no_messages"])
def test_a_backfill_costs_what_was_planned(
    shop: Shop, page: FakePage, time: FakeTime, messages: bool
) -> None:
    uneven_over_time(page)
    shop.sync()
    span = Window(time.now() - 15 * DAY, time.now() - DAY)
    plan = shop.plan(Asked(span, with_messages=messages))
    assert (plan.kind, plan.span) == ("backfill", span)
    assert_close(plan, shop.backfill(span, messages=messages))


def in_a_burst(draw: Random) -> timedelta:
    return 40 * DAY + DAY * draw.random() if draw.random() < 0.6 else 60 * DAY * draw.random()


def in_opening_hours(draw: Random) -> timedelta:
    while True:
        back = 60 * DAY * draw.random()
        if back % DAY < timedelta(hours=13):
            return back


SPREADS: dict[str, Callable[[Random], timedelta]] = {
    "even": lambda draw: 60 * DAY * draw.random(),
    "opening hours": in_opening_hours,
    "growing": lambda draw: 60 * DAY * draw.random() ** 2,
    "a burst": lambda draw: (
        40 * DAY + DAY * draw.random() if draw.random() < 0.6 else 60 * DAY * draw.random()
    ),
    "a begin in the middle": lambda draw: 25 * DAY * draw.random(),
}


@pytest.mark.parametrize("spread", SPREADS.values(), ids=SPREADS.keys())
def test_conversations_beyond_the_bound_are_estimated(
    page: FakePage, shop: Shop, pancake: FakePancake, time: FakeTime, spread: Callable[[Random], timedelta]
) -> None:
    draw = Random(3)
    for _ in range(3000):
        page.open_conversation(time.now() - spread(draw))
    bounds = Bounds(lists=8, probes=30, threads=0)
    listing = Survey(shop.client(), Filters(), bounds).conversations(
        Window(time.now() - 60 * DAY, time.now())
    )
    assert not listing.complete
    assert pancake.count() <= bounds.total
    assert len(listing.conversations) == pytest.approx(3000, rel=0.2)


def test_a_load_beyond_the_bound_costs_about_what_was_planned(shop: Shop, page: FakePage) -> None:
    draw = Random(4)
    for _ in range(600):
        page.add_conversation(at=page.now() - 20 * DAY * draw.random(), messages=draw.randint(1, 50))
    plan = shop.plan(bounds=Bounds(lists=4, probes=12, threads=30))
    assert not plan.complete
    assert plan.asked <= 46
    assert_close(plan, shop.sync())


def test_no_page_is_asked_more_than_the_bound(shop: Shop, page: FakePage) -> None:
    page.dialect = ARTICLE
    draw = Random(6)
    for _ in range(200):
        page.add_conversation(at=page.now() - 20 * DAY * draw.random(), messages=draw.choice((1, 500)))
    bounds = Bounds(lists=2, probes=3, threads=10)
    assert shop.plan(bounds=bounds).asked <= bounds.total


def test_an_empty_page_is_planned_as_empty(shop: Shop) -> None:
    plan = shop.plan()
    assert (plan.counts.conversations, plan.counts.messages, plan.counts.thread_calls) == (0, 0, 0)
    assert_close(plan, shop.sync())


def test_slow_answers_set_the_pace_when_workers_cannot_make_up_for_them(
    shop: Shop, page: FakePage, pancake: FakePancake, time: FakeTime
) -> None:
    page.grow(60, 4)
    fast = shop.plan()
    assert fast.limited_by == "rate"
    assert fast.seconds == pytest.approx(1.04 / 1000 * fast.calls)
    pancake.latency_s = 0.4
    slow = shop.plan()
    assert slow.limited_by == "latency"
    alone = slow.counts.list_calls + slow.lookups
    assert slow.seconds == pytest.approx(0.4 * alone + 0.1 * slow.counts.thread_calls)
