"""Many pages in one load: each with its own cursor and its own end."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import dlt
import pytest
from dlt.extract import DltSource

from pipelines import runs
from pipelines.runs import ExitCode, Outcome, Status
from sources.pancake import Page, PancakeClient, pancake_pages_backfill, pancake_pages_source
from sources.pancake.errors import PancakeSettingsError
from tests.fake_pancake import Call, FakeAdapter, FakePage, FakePancake, FakeTime, Fault
from tests.support import assert_complete, custom_metrics, table

IDS = ("100000000000001", "igo_2", "zl_3")

Sync = Callable[..., Outcome]


@pytest.fixture
def shops(time: FakeTime) -> dict[str, FakePage]:
    """Three pages with a past, by id."""
    found = {}
    for seed, page_id in enumerate(IDS):
        page = FakePage(page_id, f"token-of-{page_id}", seed=seed, clock=time)
        page.populate(days=5, conversations=15)
        found[page_id] = page
    return found


@pytest.fixture
def pancake(shops: dict[str, FakePage], time: FakeTime) -> FakePancake:
    """A Pancake that serves them."""
    return FakePancake(shops.values(), clock=time)


@pytest.fixture
def run(pancake: FakePancake, shops: dict[str, FakePage], time: FakeTime, pipeline: dlt.Pipeline) -> Sync:
    """Run a source of some pages, all when none is named; `tokens` replaces their own."""

    def client_of(page: Page) -> PancakeClient:
        transport = FakeAdapter(pancake)
        return PancakeClient(page.page_id, page.page_access_token, clock=time, transport=transport)

    def run(
        *page_ids: str,
        tokens: dict[str, str] | None = None,
        begins: dict[str, str] | None = None,
        interrupted: Callable[[], bool] = lambda: False,
        backfill: bool = False,
        **options: Any,
    ) -> Outcome:
        own = {page_id: shops[page_id].token for page_id in page_ids or IDS}
        every = [
            Page(page_id, token, (begins or {}).get(page_id))
            for page_id, token in {**own, **(tokens or {})}.items()
        ]

        def make_source(*, pages: Sequence[Page], stop: Callable[[], bool], first: bool) -> DltSource:
            if backfill:
                only = [page.page_id for page in pages]
                return pancake_pages_backfill(
                    every, only=only, make_client=client_of, stop=stop, repair=first, **options
                )
            return pancake_pages_source(pages, make_client=client_of, stop=stop, **options)

        return runs.run(
            pipeline, every, make_source, load_every_s=math.inf, max_s=None, interrupted=interrupted
        )

    return run


def rows_of(pipeline: dlt.Pipeline, page_id: str, name: str = "conversations") -> set[str]:
    return {key for key, row in table(pipeline, name).items() if row["page_id"] == page_id}


def assert_all_there(pipeline: dlt.Pipeline, page: FakePage) -> None:
    messages = {message.id for row in page.conversations.values() for message in row.messages}
    assert rows_of(pipeline, page.page_id) == page.conversations.keys()
    assert rows_of(pipeline, page.page_id, "messages") == messages


def test_all_pages_come_in_one_load_into_the_same_tables(
    run: Sync, pipeline: dlt.Pipeline, shops: dict[str, FakePage]
) -> None:
    outcome = run()
    assert outcome.exit_code == ExitCode.DONE
    assert outcome.loads == 1
    assert len(table(pipeline, "_dlt_loads", "load_id")) == 1
    for page in shops.values():
        assert_all_there(pipeline, page)
    assert table(pipeline, "pages", "page_id").keys() == set(IDS)
    assert outcome.counts["conversations_new"] == sum(len(page.conversations) for page in shops.values())


def test_each_page_has_its_own_cursor(
    run: Sync, pipeline: dlt.Pipeline, shops: dict[str, FakePage], pancake: FakePancake, time: FakeTime
) -> None:
    run()
    resources = pipeline.state["sources"]["pancake"]["resources"]
    for page_id, page in shops.items():
        cursor = resources[f"conversations_{page_id}"]["incremental"]["updated_at"]["last_value"]
        assert cursor == max(row.updated_at for row in page.conversations.values())
    time.advance(3600)
    shops["igo_2"].add_conversation(messages=2)
    pancake.clear_calls()
    assert run().counts["conversations_new"] == 1
    read = {call.conversation_id for call in pancake.calls if call.endpoint == "messages"}
    assert len(read) < 10
    assert_all_there(pipeline, shops["igo_2"])


@pytest.mark.parametrize(
    ("broken", "status"),
    [
        (Fault("status", status=403, times=None), Status.FAILED),
        (Fault("body_error", code=122, times=None), Status.FAILED),
        (Fault("body_error", code=105, times=None), Status.FAILED),
        (Fault("html", times=None), Status.FAILED),
        (Fault("status", status=503, times=None), Status.FAILED),
        (Fault("drop", times=None), Status.FAILED),
        (Fault("body_error", code=105, endpoint="messages", skip=2, times=None), Status.PARTIAL),
        (Fault("html", endpoint="messages", times=None), Status.PARTIAL),
    ],
    ids=["403", "122", "token", "html", "503", "dropped", "token replaced on the way", "all threads fail"],
)
def test_a_broken_page_stops_no_other_and_catches_up_when_healed(
    run: Sync,
    pipeline: dlt.Pipeline,
    shops: dict[str, FakePage],
    pancake: FakePancake,
    broken: Fault,
    status: Status,
) -> None:
    shops["igo_2"].populate(days=5, conversations=30)
    broken.page_id = "igo_2"
    pancake.fail(broken)
    outcome = run()
    assert outcome.exit_code == ExitCode.PARTIAL
    assert {page_id: page.status for page_id, page in outcome.pages.items()} == {
        "100000000000001": Status.COMPLETE,
        "igo_2": status,
        "zl_3": Status.COMPLETE,
    }
    assert outcome.pages["igo_2"].error
    for page_id in ("100000000000001", "zl_3"):
        assert_all_there(pipeline, shops[page_id])
    pancake.faults.clear()
    assert run().exit_code == ExitCode.DONE
    assert_all_there(pipeline, shops["igo_2"])


def test_a_page_that_hangs_delays_no_other(
    run: Sync, pipeline: dlt.Pipeline, shops: dict[str, FakePage], pancake: FakePancake
) -> None:
    left = {key for page_id in ("igo_2", "zl_3") for key in shops[page_id].conversations}
    others_read = threading.Event()
    in_time: list[bool] = []

    def hang(call: Call) -> None:
        if call.page_id == IDS[0]:
            in_time.append(others_read.wait(timeout=30))

    def tick_off(call: Call) -> None:
        left.discard(call.conversation_id or "")
        if not left:
            others_read.set()

    pancake.before_call, pancake.after_call = hang, tick_off
    assert run().exit_code == ExitCode.DONE
    assert in_time
    assert all(in_time)


def test_no_page_that_can_be_read_gives_code_1(run: Sync, pancake: FakePancake) -> None:
    pancake.fail(Fault("body_error", code=105, times=None))
    outcome = run()
    assert outcome.exit_code == ExitCode.FAILED
    assert all("Settings > Tools" in page.error["message"] for page in outcome.pages.values() if page.error)


def test_a_page_whose_settings_are_wrong_stops_no_other(
    run: Sync, pipeline: dlt.Pipeline, shops: dict[str, FakePage], pancake: FakePancake
) -> None:
    outcome = run(tokens={"igo_2": ""})
    assert outcome.exit_code == ExitCode.PARTIAL
    assert outcome.pages["igo_2"].error is not None
    assert "is empty" in outcome.pages["igo_2"].error["message"]
    assert {call.page_id for call in pancake.calls} == set(IDS) - {"igo_2"}
    assert_all_there(pipeline, shops["zl_3"])
    assert run().exit_code == ExitCode.DONE
    assert_all_there(pipeline, shops["igo_2"])


def test_pages_that_all_have_wrong_settings_are_refused_before_any_call(
    run: Sync, pancake: FakePancake
) -> None:
    with pytest.raises(PancakeSettingsError, match="is empty"):
        run(tokens=dict.fromkeys(IDS, ""))
    assert pancake.count() == 0


def test_a_page_added_later_starts_at_its_own_start(
    run: Sync, pipeline: dlt.Pipeline, shops: dict[str, FakePage], time: FakeTime
) -> None:
    run("100000000000001", "zl_3")
    time.advance(86_400)
    begin = time.now() - timedelta(days=3)
    run(begins={"igo_2": begin.isoformat()})
    late = {key for key, row in shops["igo_2"].conversations.items() if row.updated_at >= begin}
    assert 0 < len(late) < len(shops["igo_2"].conversations)
    assert rows_of(pipeline, "igo_2") == late


def test_a_page_taken_out_keeps_its_rows_and_its_cursor(
    run: Sync, pipeline: dlt.Pipeline, shops: dict[str, FakePage], pancake: FakePancake, time: FakeTime
) -> None:
    run()
    before = rows_of(pipeline, "igo_2", "messages")
    time.advance(3600)
    run("100000000000001", "zl_3")
    assert rows_of(pipeline, "igo_2", "messages") == before
    shops["igo_2"].add_conversation(messages=2)
    pancake.clear_calls()
    run()
    assert_all_there(pipeline, shops["igo_2"])
    assert len({call.conversation_id for call in pancake.calls}) < 10


def test_a_stop_in_the_middle_of_a_page_is_finished_by_the_next_run(
    run: Sync, pipeline: dlt.Pipeline, shops: dict[str, FakePage], pancake: FakePancake
) -> None:
    outcome = run(interrupted=lambda: pancake.count("messages") >= 8)
    assert outcome.exit_code == ExitCode.STOPPED
    assert run().exit_code == ExitCode.DONE
    for page in shops.values():
        assert_all_there(pipeline, page)


def test_a_backfill_goes_on_with_the_pages_that_are_not_done(
    run: Sync, pipeline: dlt.Pipeline, shops: dict[str, FakePage], pancake: FakePancake, time: FakeTime
) -> None:
    since = (time.now() - timedelta(days=6)).isoformat()
    pancake.fail(Fault("status", status=403, page_id="igo_2", times=None))
    assert run(backfill=True, since=since).exit_code == ExitCode.PARTIAL
    pancake.faults.clear()
    pancake.clear_calls()
    assert run(backfill=True, since=since).exit_code == ExitCode.DONE
    assert {call.page_id for call in pancake.calls} == {"igo_2"}
    for page in shops.values():
        assert_all_there(pipeline, page)
    assert pipeline.state["sources"]["pancake"]["backfills"] == {}
    pancake.clear_calls()
    assert run(backfill=True, since=since).exit_code == ExitCode.DONE
    assert {call.page_id for call in pancake.calls} == set(IDS)


def test_a_lookup_that_fails_on_one_page_is_named_with_it(run: Sync, pancake: FakePancake) -> None:
    pancake.fail(Fault("html", endpoint="tags", page_id="zl_3", times=None))
    outcome = run()
    assert outcome.exit_code == ExitCode.PARTIAL
    assert outcome.pages["zl_3"].failed_lookups == {"tags": "PancakeShapeError"}
    assert outcome.pages["igo_2"].status is Status.COMPLETE


def test_one_page_alone_is_read_by_the_same_rules(
    run: Sync, pipeline: dlt.Pipeline, shops: dict[str, FakePage]
) -> None:
    assert run("igo_2").exit_code == ExitCode.DONE
    assert_complete(pipeline, shops["igo_2"])
    assert custom_metrics(pipeline, "conversations_igo_2")["page_id"] == "igo_2"
