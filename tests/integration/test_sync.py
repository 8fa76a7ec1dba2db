"""From the simulated page to DuckDB through the real source and the real dlt."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import dlt
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from sources.pancake import PancakeClient, pancake_source
from sources.pancake.schema import CONVERSATIONS, COVERAGE, MESSAGES, TABLES
from tests.conftest import MakeClient, MakePipeline
from tests.fake_pancake import (
    ARTICLE,
    LIVE,
    Call,
    Dialect,
    FakeAdapter,
    FakePage,
    FakePancake,
    FakeTime,
    Fault,
)
from tests.support import assert_complete, assert_equal, custom_metrics, table

LAG_S = 120


@pytest.fixture
def sync(make_client: MakeClient, pipeline: dlt.Pipeline) -> Any:
    """Run one sync."""

    def run(**arguments: Any) -> None:
        pipeline.run(pancake_source("any", "any", client=make_client(), **arguments))

    return run


def cursor(pipeline: dlt.Pipeline) -> datetime | None:
    resources = pipeline.state["sources"]["pancake"]["resources"]
    found: datetime | None = resources["conversations"]["incremental"]["updated_at"]["last_value"]
    return found


@pytest.mark.parametrize("dialect", [LIVE, ARTICLE], ids=["live", "article"])
def test_a_full_load_holds_exactly_what_the_page_holds(
    sync: Any, pipeline: dlt.Pipeline, page: FakePage, dialect: Dialect
) -> None:
    page.dialect = dialect
    page.populate(days=14, conversations=80)
    sync()
    assert_equal(pipeline, page)
    coverage = table(pipeline, "conversation_coverage", "conversation_id")
    assert coverage.keys() == page.conversations.keys()
    assert {row["status"] for row in coverage.values()} == {"complete"}


def test_every_row_says_which_call_read_it(
    sync: Any, pipeline: dlt.Pipeline, page: FakePage, time: FakeTime
) -> None:
    page.add_conversation(messages=3)
    before = time.now()
    sync()
    for name in ("conversations", "messages"):
        for row in table(pipeline, name).values():
            assert row["page_id"] == page.page_id
            assert before <= row["synced_at"].astimezone(timezone.utc) <= time.now()


def test_nothing_is_read_twice_when_nothing_changed(
    sync: Any, pipeline: dlt.Pipeline, page: FakePage, pancake: FakePancake, time: FakeTime
) -> None:
    """With one worker: of several, the order decides which short batches are checked."""
    page.populate(days=14, conversations=80)
    page.add_conversation(messages=2)
    sync(workers=1)
    pancake.clear_calls()
    time.advance(LAG_S + 1)
    sync(workers=1)
    counted = custom_metrics(pipeline, "messages")
    assert (counted["conversations_new"], counted["conversations_changed"], counted["messages_new"]) == (
        0,
        0,
        0,
    )
    newest = max(row.updated_at for row in page.conversations.values())
    edge = [row for row in page.conversations.values() if row.updated_at > newest - timedelta(seconds=LAG_S)]
    assert pancake.count("conversations") == 3
    assert pancake.count("messages") == len(edge)


def test_a_delta_costs_one_walk_and_one_call_for_each_changed_thread(
    sync: Any, pipeline: dlt.Pipeline, page: FakePage, pancake: FakePancake, time: FakeTime
) -> None:
    page.populate(days=14, conversations=80)
    sync()
    time.advance(2 * LAG_S)
    changed = list(page.conversations)[:7]
    for key in changed:
        page.add_message(key)
    pancake.clear_calls()
    sync(messages_tail_s=0)
    assert_complete(pipeline, page)
    threads = [call.conversation_id for call in pancake.calls if call.endpoint == "messages"]
    assert set(changed) <= set(threads)
    assert len(threads) == len(set(threads))
    assert pancake.count("conversations") == 3


def test_an_empty_page_still_makes_every_table_with_every_column(sync: Any, pipeline: dlt.Pipeline) -> None:
    sync(tables=[expected.name for expected in TABLES if expected is not COVERAGE])
    for expected in TABLES:
        with pipeline.sql_client() as client, client.execute_query(f"SELECT * FROM {expected.name}") as found:
            names = {column[0] for column in found.description}
            assert expected not in (CONVERSATIONS, MESSAGES, COVERAGE) or found.fetchall() == []
        assert {column.name for column in expected.columns} <= names


def test_a_message_within_the_second_of_the_cursor_is_kept(
    sync: Any, pipeline: dlt.Pipeline, page: FakePage, time: FakeTime
) -> None:
    key = page.add_conversation(at=datetime(2026, 3, 19, 12, tzinfo=timezone.utc)).id
    sync()
    at = page.conversations[key].updated_at
    page.add_message(key, at=at, text="cùng một giây")
    time.advance(600)
    sync()
    assert page.conversations[key].updated_at == at
    assert_equal(pipeline, page)


@pytest.mark.parametrize("stamps", ["naive", "z", "offset", "mixed"])
def test_stamps_of_any_form_keep_all_rows_and_the_right_cursor(
    sync: Any, pipeline: dlt.Pipeline, page: FakePage, stamps: Any
) -> None:
    page.dialect = Dialect(stamps=stamps)
    page.populate(days=3, conversations=60)
    sync()
    assert_equal(pipeline, page)
    assert cursor(pipeline) == max(row.updated_at for row in page.conversations.values())


@pytest.mark.parametrize(
    "fault",
    [
        Fault("body_error", endpoint="conversations", code=1, message="no", skip=1, times=None),
        Fault("status", endpoint="conversations", status=500, skip=1, times=None),
        Fault("html", endpoint="conversations", skip=1, times=None),
        Fault("truncated", endpoint="conversations", skip=1, times=None),
        Fault("missing_key", endpoint="conversations", skip=1, times=None),
        Fault("not_a_list", endpoint="conversations", skip=1, times=None),
        Fault("empty_body", endpoint="conversations", skip=1, times=None),
        Fault("drop", endpoint="conversations", skip=1, times=None),
    ],
    ids=lambda fault: fault.kind,
)
def test_an_error_on_the_second_batch_fails_the_run_and_leaves_the_cursor(
    sync: Any, pipeline: dlt.Pipeline, page: FakePage, pancake: FakePancake, time: FakeTime, fault: Fault
) -> None:
    sync()
    before = pipeline.state["sources"]
    time.advance(600)
    for _ in range(130):
        page.add_conversation()
    pancake.fail(fault)
    with pytest.raises(PipelineStepFailed):
        sync()
    assert pipeline.state["sources"] == before
    pancake.faults.clear()
    sync()
    assert_equal(pipeline, page)


def test_a_run_that_stops_in_the_middle_loses_nothing(
    sync: Any, pipeline: dlt.Pipeline, page: FakePage, pancake: FakePancake
) -> None:
    page.populate(days=14, conversations=150)
    stops_at = 40
    while True:
        pancake.clear_calls()
        sync(stop=lambda: pancake.count() >= stops_at, workers=1)
        listed = custom_metrics(pipeline, "conversations")["finished"]
        if listed and not custom_metrics(pipeline, "messages")["threads_partial"]:
            break
    assert_equal(pipeline, page)


def test_a_run_that_breaks_in_the_middle_loses_nothing(
    sync: Any, pipeline: dlt.Pipeline, page: FakePage, pancake: FakePancake
) -> None:
    page.populate(days=14, conversations=80)

    def break_at(call: Call) -> None:
        if pancake.count() == 50:
            raise KeyboardInterrupt

    pancake.before_call = break_at
    with pytest.raises((PipelineStepFailed, KeyboardInterrupt)):
        sync(workers=1)
    pancake.before_call = None
    sync()
    assert_equal(pipeline, page)


def test_a_fresh_machine_goes_on_from_the_warehouse(
    make_client: MakeClient, make_pipeline: MakePipeline, page: FakePage, pancake: FakePancake, time: FakeTime
) -> None:
    page.populate(days=14, conversations=80)
    make_pipeline(folder="one machine").run(pancake_source("any", "any", client=make_client()))
    time.advance(600)
    page.add_conversation(messages=2)
    pancake.clear_calls()
    elsewhere = make_pipeline(folder="another machine")
    elsewhere.run(pancake_source("any", "any", client=make_client()))
    assert_equal(elsewhere, page)
    assert pancake.count("conversations") == 3


def test_both_dialects_load_into_one_table(
    sync: Any, pipeline: dlt.Pipeline, page: FakePage, time: FakeTime
) -> None:
    page.populate(days=3, conversations=20)
    sync()
    time.advance(600)
    page.dialect = ARTICLE
    added = page.add_conversation(messages=2, tags=[7])
    sync()
    row = table(pipeline, "conversations")[added.id]
    assert row["tags"] == ["7"]
    assert row["participants"]
    assert row["last_message"]["message"]
    assert len(table(pipeline, "conversations")) == 21


def test_a_sync_with_other_filters_than_its_cursor_is_refused_before_any_call(
    sync: Any, page: FakePage, pancake: FakePancake
) -> None:
    page.add_conversation()
    sync(types=["INBOX"])
    pancake.clear_calls()
    with pytest.raises(PipelineStepFailed, match="leave holes"):
        sync(types=["COMMENT"])
    assert pancake.count() == 0


def test_a_sync_of_another_page_than_its_cursor_is_refused_before_any_call(
    sync: Any, pipeline: dlt.Pipeline, page: FakePage, time: FakeTime
) -> None:
    page.add_conversation()
    sync()
    other = FakePage("200000000000002", clock=time)
    other.add_conversation(at=time.now() - timedelta(days=3))
    pancake = FakePancake([other], clock=time)
    client = PancakeClient(other.page_id, other.token, clock=time, transport=FakeAdapter(pancake))
    with pytest.raises(PipelineStepFailed, match="would be missed"):
        pipeline.run(pancake_source("any", "any", client=client))
    assert pancake.count() == 0


def test_a_thread_that_the_token_may_not_read_does_not_stop_the_others(
    sync: Any, pipeline: dlt.Pipeline, page: FakePage, pancake: FakePancake
) -> None:
    page.populate(days=3, conversations=10)
    closed = next(iter(page.conversations))
    pancake.fail(Fault("status", endpoint="messages", conversation_id=closed, status=403, times=None))
    sync()
    coverage = table(pipeline, "conversation_coverage", "conversation_id")
    assert {key for key, row in coverage.items() if row["status"] == "failed"} == {closed}


def test_types_are_filtered_here_when_there_are_several_and_there_when_there_is_one(
    sync: Any, pipeline: dlt.Pipeline, page: FakePage, pancake: FakePancake
) -> None:
    page.populate(days=5, conversations=80)
    types = {"INBOX", "COMMENT"}
    sync(types=sorted(types))
    assert {row["type"] for row in table(pipeline, "conversations").values()} == types
    assert all("type" not in call.params for call in pancake.calls)
    sync(types=["RATING"], since="2026-03-01", until="2026-03-20")
    assert {row["type"] for row in table(pipeline, "conversations").values()} == types | {"RATING"}
    assert pancake.calls[-1].params.get("type", "RATING") == "RATING"


def test_a_range_load_reads_its_span_and_leaves_the_cursor_alone(
    sync: Any, pipeline: dlt.Pipeline, page: FakePage, time: FakeTime
) -> None:
    page.populate(days=14, conversations=80)
    sync(start_date="2026-03-19")
    before = cursor(pipeline)
    loaded = table(pipeline, "conversations").keys()
    sync(since="2026-03-10", until="2026-03-12")
    assert cursor(pipeline) == before
    added = table(pipeline, "conversations").keys() - loaded
    assert added == {
        key
        for key, row in page.conversations.items()
        if datetime(2026, 3, 10, tzinfo=timezone.utc)
        <= row.updated_at
        < datetime(2026, 3, 12, tzinfo=timezone.utc)
    }


def test_a_range_by_inserted_at_holds_the_conversations_that_began_in_it(
    sync: Any, pipeline: dlt.Pipeline, page: FakePage
) -> None:
    page.populate(days=14, conversations=80)
    since, until = datetime(2026, 3, 10, tzinfo=timezone.utc), datetime(2026, 3, 12, tzinfo=timezone.utc)
    sync(since=since, until=until, order_by="inserted_at", unread_first=True)
    began = {key for key, row in page.conversations.items() if since <= row.inserted_at < until}
    assert began
    assert table(pipeline, "conversations").keys() >= began


def test_a_page_quiet_for_longer_than_the_first_start_keeps_its_place(
    sync: Any, pipeline: dlt.Pipeline, page: FakePage, time: FakeTime
) -> None:
    key = page.add_conversation().id
    sync()
    time.advance(timedelta(days=45).total_seconds())
    page.add_message(key, at=time.now() - timedelta(days=40))
    sync()
    assert_equal(pipeline, page)


@pytest.mark.parametrize("size", [20, 25, 30])
@pytest.mark.parametrize("order", ["oldest_first", "newest_first", "shuffled"])
def test_threads_of_any_batch_size_and_order_are_whole(
    sync: Any, pipeline: dlt.Pipeline, page: FakePage, size: int, order: Any
) -> None:
    page.dialect = Dialect(message_batches=(size,), message_order=order)
    for messages in (1, size - 1, size, size + 1, 3 * size):
        page.add_conversation(messages=messages)
    sync()
    assert_equal(pipeline, page)
