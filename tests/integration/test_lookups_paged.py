"""Posts, customers and statistics, from the simulated page to real warehouses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dlt
import pytest
from dlt.extract import DltResource
from dlt.pipeline.exceptions import PipelineStepFailed

from pipelines import destinations
from sources.pancake import PancakeClient, pancake_source, schema, settings
from sources.pancake.page_run import PageRun, never
from sources.pancake.resources.page_customers import page_customers
from sources.pancake.resources.posts import posts
from sources.pancake.resources.statistics import page_statistics, user_statistics
from tests.conftest import MakeClient
from tests.fake_pancake import ARTICLE, LIVE, Call, Dialect, FakePage, FakePancake, FakeTime, Fault
from tests.fake_pancake.lookups import customer_row, customer_updated_at
from tests.support import as_expected, as_sent, assert_complete, custom_metrics, table
from tests.warehouses import Warehouse

Load = Callable[..., None]
Row = dict[str, Any]

DAY = timedelta(days=1)
TABLES = ("posts", "page_customers", "page_statistics", "user_statistics")


def lookups(client: PancakeClient, until: datetime, days: int, **options: Any) -> dict[str, DltResource]:
    """The four resources, as the source makes them."""
    ranged = options.pop("ranged", False)
    span: dict[str, Any] = {"start": until - DAY * days, "until": until, "ranged": ranged}
    run = PageRun(client, options.pop("stop", never))
    hours = options.pop("utc_offset_hours", 7)
    return {
        "posts": posts(run, **span, tail_days=options.pop("tail_days", 7)),
        "page_customers": page_customers(run, **span, lag_s=120),
        "page_statistics": page_statistics(run, **span, utc_offset_hours=hours),
        "user_statistics": user_statistics(run, **span, utc_offset_hours=hours),
    }


@dlt.source(name="pancake", max_table_nesting=0)
def source(resources: list[DltResource]) -> Any:
    return resources


@pytest.fixture
def load(make_client: MakeClient, pipeline: dlt.Pipeline, page: FakePage) -> Load:
    """Load some of the tables, all four when none is named."""

    def run(*names: str, days: int = 30, **options: Any) -> None:
        resources = lookups(make_client(), page.now(), days, **options)
        pipeline.run(source([resources[name] for name in names or TABLES]))

    return run


def rows_of(pipeline: dlt.Pipeline, name: str) -> dict[Any, Row]:
    keys = {"page_statistics": ("hour_utc",), "user_statistics": ("user_id", "hour_utc")}
    return table(pipeline, name, *keys.get(name, ("id",)))


def state_of(pipeline: dlt.Pipeline, name: str) -> Any:
    return pipeline.state["sources"]["pancake"]["resources"].get(name, {})


def assert_customers(pipeline: dlt.Pipeline, page: FakePage) -> None:
    """Check that the warehouse holds the page's customers, field by field."""
    expected = [as_expected(customer_row(page, customer)) for customer in page.customers.values()]
    loaded = rows_of(pipeline, "page_customers")
    assert {key: {**as_sent(row), "page_id": None} for key, row in loaded.items()} == {
        row["id"]: {**row, "page_id": None} for row in expected
    }


def hour_of(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def messages_by_hour(page: FakePage, *, staff: bool) -> dict[Any, int]:
    """Inbox messages by hour: of customers, or by member of staff."""
    counted: dict[Any, int] = {}
    for conversation in page.conversations.values():
        for message in conversation.messages:
            if conversation.type != "INBOX" or (message.from_id == page.page_id) is not staff:
                continue
            hour = hour_of(message.inserted_at)
            if staff and message.admin_name is None:
                continue
            key = (page.staff[message.admin_name or ""], hour) if staff else hour
            counted[key] = counted.get(key, 0) + 1
    return counted


def assert_statistics(pipeline: dlt.Pipeline, page: FakePage) -> None:
    """Check that the hours in the warehouse count what the page holds."""
    for name, column, staff in (
        ("page_statistics", "customer_inbox_count", False),
        ("user_statistics", "inbox_count", True),
    ):
        loaded = rows_of(pipeline, name).values()
        counted = {
            (row["user_id"], _utc(row)) if staff else _utc(row): row[column] for row in loaded if row[column]
        }
        assert counted == messages_by_hour(page, staff=staff)


def _utc(row: Row) -> datetime:
    hour: datetime = row["hour_utc"]
    return hour.astimezone(timezone.utc)


@pytest.mark.parametrize("dialect", [LIVE, ARTICLE], ids=["live", "article"])
def test_a_first_load_and_a_delta_hold_what_the_page_holds(
    load: Load, pipeline: dlt.Pipeline, page: FakePage, time: FakeTime, dialect: Dialect
) -> None:
    page.dialect = dialect
    page.populate(days=10, conversations=80)
    load()
    assert_customers(pipeline, page)
    assert_statistics(pipeline, page)
    assert rows_of(pipeline, "posts").keys() == page.posts.keys()
    time.advance(3 * 3600)
    page.churn(60)
    page.rename_customer(next(iter(page.conversations)), "Tên Mới")
    load()
    assert_customers(pipeline, page)
    assert rows_of(pipeline, "posts").keys() == page.posts.keys()


def test_three_kinds_of_warehouse_hold_every_table_alike(
    warehouse: Warehouse,
    page: FakePage,
    pancake: FakePancake,
    time: FakeTime,
    make_client: MakeClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOURCES__PANCAKE__USER_ACCESS_TOKEN", pancake.user_token)
    pipeline = warehouse.pipeline(tmp_path)
    page.populate(days=5, conversations=40)
    for _ in range(2):
        everything = pancake_source(
            "any",
            "any",
            client=make_client(),
            start_date="2026-03-10",
            tables=[table.name for table in schema.TABLES if table is not schema.COVERAGE],
        )
        destinations.load(pipeline, everything)
        assert_complete(pipeline, page)
        assert_customers(pipeline, page)
        assert_statistics(pipeline, page)
        assert rows_of(pipeline, "posts").keys() == page.posts.keys()
        assert rows_of(pipeline, "tags").keys() == {str(tag_id) for tag_id in page.tag_texts}
        assert rows_of(pipeline, "users").keys() == set(page.staff.values())
        assert table(pipeline, "pages", "page_id")[page.page_id]["name"] == page.name
        time.advance(7200)
        for conversation in list(page.conversations.values())[:5]:
            page.add_message(conversation.id, from_customer=False)
            page.add_note(conversation.id, "Khách quen 🌸")
        page.add_post()


@pytest.mark.parametrize("warehouse", ["postgres"], indirect=True)
def test_large_tables_are_indexed_by_their_key(
    warehouse: Warehouse, page: FakePage, make_client: MakeClient, tmp_path: Path
) -> None:
    pipeline = warehouse.pipeline(tmp_path)
    destinations.load(pipeline, source(list(lookups(make_client(), page.now(), 1).values())))
    with pipeline.sql_client() as client:
        rows = client.execute_sql(
            "SELECT indexname FROM pg_indexes WHERE schemaname = %s", client.dataset_name
        )
    found = {row[0] for row in rows or ()}
    assert {"page_customers_page_id_id_idx", "user_statistics_page_id_user_id_hour_utc_idx"} <= found


def test_an_empty_page_still_makes_every_table_with_every_column(load: Load, pipeline: dlt.Pipeline) -> None:
    load()
    for name in TABLES:
        assert rows_of(pipeline, name) == {}


# Posts.


def test_counters_of_young_posts_are_read_again_and_those_of_old_ones_are_not(
    load: Load, pipeline: dlt.Pipeline, page: FakePage, time: FakeTime
) -> None:
    old, young = page.add_post(at=page.now() - 20 * DAY), page.add_post(at=page.now() - 2 * DAY)
    load("posts")
    before = {key: row["reactions"]["like_count"] for key, row in rows_of(pipeline, "posts").items()}
    time.advance(3600)
    old.likes, young.likes = 5, 5
    load("posts")
    after = {key: row["reactions"]["like_count"] for key, row in rows_of(pipeline, "posts").items()}
    assert after == {old.id: before[old.id], young.id: before[young.id] + 5}


def test_posts_of_a_long_pause_are_all_read(
    load: Load, pipeline: dlt.Pipeline, page: FakePage, time: FakeTime
) -> None:
    load("posts")
    made = set()
    for _ in range(20):
        time.advance(86_400)
        made.add(page.add_post().id)
    load("posts", days=1)
    assert rows_of(pipeline, "posts").keys() == made


def test_posts_are_read_to_an_empty_page(
    load: Load, pipeline: dlt.Pipeline, page: FakePage, pancake: FakePancake
) -> None:
    for hours in range(60):
        page.add_post(at=page.now() - timedelta(hours=hours))
    load("posts")
    assert [call.rows for call in pancake.calls] == [30, 30, 0]
    assert {call.params["page_size"] for call in pancake.calls} == {"30"}
    assert len(rows_of(pipeline, "posts")) == 60


def test_a_post_that_vanishes_during_the_walk_hides_no_other(
    load: Load, pipeline: dlt.Pipeline, page: FakePage, pancake: FakePancake
) -> None:
    for hours in range(45):
        page.add_post(at=page.now() - timedelta(hours=hours))
    newest = max(page.posts.values(), key=lambda post: post.inserted_at)

    def vanish(call: Call) -> None:
        page.posts.pop(newest.id, None)

    pancake.after_call = vanish
    load("posts")
    assert rows_of(pipeline, "posts").keys() >= page.posts.keys()


def test_a_page_number_that_is_not_heeded_is_an_error_and_not_an_endless_walk(
    load: Load, pipeline: dlt.Pipeline, page: FakePage, pancake: FakePancake
) -> None:
    page.add_post()
    page.dialect = replace(LIVE, ignores_page_number=True)
    load("posts")
    assert pancake.count() == 2
    assert custom_metrics(pipeline, "posts")["lookup_error"] == "PancakeShapeError"
    assert "read_until" not in state_of(pipeline, "posts")


def test_a_list_that_shrinks_during_every_walk_is_given_up(
    load: Load, pipeline: dlt.Pipeline, page: FakePage, pancake: FakePancake
) -> None:
    for hours in range(90):
        page.add_post(at=page.now() - timedelta(hours=hours))

    def vanish(call: Call) -> None:
        page.posts.popitem()

    pancake.after_call = vanish
    load("posts")
    assert custom_metrics(pipeline, "posts")["lookup_error"] == "PancakeWalkError"


# Customers.


def test_a_delta_of_customers_reads_those_that_changed(
    load: Load, pipeline: dlt.Pipeline, page: FakePage, pancake: FakePancake, time: FakeTime
) -> None:
    page.populate(days=20, conversations=150)
    load("page_customers")
    time.advance(3600)
    for conversation in list(page.conversations.values())[:7]:
        page.add_note(conversation.id, "Gọi lại")
    load("page_customers")
    pancake.clear_calls()
    load("page_customers")
    assert_customers(pipeline, page)
    assert state_of(pipeline, "page_customers")["span_is_of_begin"] is False
    assert sum(call.rows for call in pancake.calls) < 15
    assert pancake.count() == 2


def test_customers_are_read_in_batches_to_an_empty_page(
    load: Load, pipeline: dlt.Pipeline, page: FakePage, pancake: FakePancake
) -> None:
    for _ in range(250):
        page.add_conversation(at=page.now() - timedelta(minutes=5))
    load("page_customers", days=1)
    assert [call.rows for call in pancake.calls] == [100, 100, 50, 0]
    assert {call.params["order_by"] for call in pancake.calls} == {"updated_at"}
    assert len({call.params["until"] for call in pancake.calls}) == 1
    assert_customers(pipeline, page)


def test_a_customer_who_changes_during_the_walk_hides_no_other(
    load: Load, pipeline: dlt.Pipeline, page: FakePage, pancake: FakePancake, time: FakeTime
) -> None:
    for minutes in range(250):
        page.add_conversation(at=page.now() - timedelta(minutes=5 + minutes))
    moved = list(page.conversations)[:5]

    def change(call: Call) -> None:
        time.advance(10)
        if moved:
            page.rename_customer(moved.pop(), "Tên Mới")

    pancake.after_call = change
    load("page_customers", days=1)
    assert rows_of(pipeline, "page_customers").keys() == page.customers.keys()
    pancake.after_call = None
    load("page_customers")
    assert_customers(pipeline, page)


def test_a_window_that_holds_too_many_is_read_in_parts(
    load: Load,
    pipeline: dlt.Pipeline,
    page: FakePage,
    pancake: FakePancake,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settings, "WINDOW_MAX_ROWS", 150)
    for minutes in range(600):
        page.add_conversation(at=page.now() - timedelta(minutes=minutes))
    load("page_customers", days=1)
    assert_customers(pipeline, page)
    assert len({call.params["until"] for call in pancake.calls}) > 3


def test_a_cut_between_windows_loses_nothing(load: Load, pipeline: dlt.Pipeline, page: FakePage) -> None:
    page.populate(days=20, conversations=60)
    asked = iter([False, False, True])
    load("page_customers", stop=lambda: next(asked))
    first = len(rows_of(pipeline, "page_customers"))
    assert first < len(page.customers)
    load("page_customers")
    assert_customers(pipeline, page)


def test_a_failure_between_windows_keeps_what_was_read_and_loses_nothing(
    load: Load, pipeline: dlt.Pipeline, page: FakePage, pancake: FakePancake
) -> None:
    page.populate(days=29, conversations=60)
    pancake.fail(Fault("status", endpoint="page_customers", status=404, skip=4))
    load("page_customers")
    assert custom_metrics(pipeline, "page_customers")["lookups_failed"] == 1
    assert len(rows_of(pipeline, "page_customers")) < len(page.customers)
    load("page_customers")
    assert_customers(pipeline, page)


def test_changes_within_the_second_of_the_cursor_are_kept(
    load: Load, pipeline: dlt.Pipeline, page: FakePage, time: FakeTime
) -> None:
    key = page.add_conversation().id
    load("page_customers")
    page.add_conversation()
    page.rename_customer(key, "Tên Mới")
    time.advance(600)
    load("page_customers")
    assert_customers(pipeline, page)
    assert len({customer_updated_at(customer) for customer in page.customers.values()}) == 1


def test_a_span_that_filters_by_begin_is_noticed_and_every_change_is_read(
    load: Load, pipeline: dlt.Pipeline, page: FakePage, time: FakeTime
) -> None:
    page.dialect = replace(LIVE, customers_window_field="inserted_at")
    page.populate(days=20, conversations=30)
    for conversation in list(page.conversations.values())[::3]:
        page.add_note(conversation.id, "Gọi lại")
    load("page_customers")
    assert_customers(pipeline, page)
    assert state_of(pipeline, "page_customers")["span_is_of_begin"] is True
    time.advance(3600)
    page.rename_customer(min(page.conversations.values(), key=lambda row: row.inserted_at).id, "Tên Mới")
    load("page_customers")
    assert_customers(pipeline, page)


def test_a_birthday_with_unknown_parts_is_text_and_credentials_in_notes_are_gone(
    load: Load, pipeline: dlt.Pipeline, page: FakePage
) -> None:
    page.populate(days=5, conversations=40)
    load("page_customers")
    loaded = rows_of(pipeline, "page_customers").values()
    assert any(str(row["birthday"]).endswith("-00-00") for row in loaded)
    noted = [note for row in loaded for note in row["notes"] or []]
    assert noted
    assert all("session_id" not in note["created_by"] for note in noted)


# Statistics.


def test_the_last_days_are_read_again_and_the_others_are_not(
    load: Load, page: FakePage, pancake: FakePancake, time: FakeTime
) -> None:
    load("page_statistics", "user_statistics", days=10)
    assert (pancake.count("page_statistics"), pancake.count("user_statistics")) == (11, 11)
    pancake.clear_calls()
    time.advance(60)
    load("page_statistics", "user_statistics", days=10)
    assert (pancake.count("page_statistics"), pancake.count("user_statistics")) == (3, 3)
    time.advance(6 * 86_400)
    pancake.clear_calls()
    load("page_statistics", "user_statistics", days=10)
    assert (pancake.count("page_statistics"), pancake.count("user_statistics")) == (6, 6)


def test_counts_of_today_are_those_of_the_last_load(
    load: Load, pipeline: dlt.Pipeline, page: FakePage, time: FakeTime
) -> None:
    page.populate(days=3, conversations=30)
    load("page_statistics", "user_statistics")
    for _ in range(3):
        time.advance(5 * 3600)
        page.add_conversation(messages=4)
        load("page_statistics", "user_statistics")
    assert_statistics(pipeline, page)


def test_hours_are_kept_as_sent_and_in_utc(load: Load, pipeline: dlt.Pipeline, page: FakePage) -> None:
    at = datetime(2026, 3, 18, 20, 30, tzinfo=timezone.utc)
    page.add_conversation(at=at, messages=2)
    load("page_statistics", "user_statistics")
    for name in ("page_statistics", "user_statistics"):
        (row,) = rows_of(pipeline, name).values()
        assert row["hour"] == "2026-03-19T03:00:00"
        assert _utc(row) == hour_of(at)
    assert row["hour_in_integer"] == "20260318200000"


@pytest.mark.parametrize("hours", [7, -5, 0, 5.5])
def test_days_are_those_of_the_page(
    load: Load, pipeline: dlt.Pipeline, page: FakePage, pancake: FakePancake, hours: float
) -> None:
    page.utc_offset_hours = hours  # type: ignore[assignment]
    page.populate(days=4, conversations=40)
    today = (page.now() + timedelta(hours=hours, seconds=-1)).strftime("%d/%m/%Y")
    load("page_statistics", "user_statistics", days=6, utc_offset_hours=hours)
    assert_statistics(pipeline, page)
    last = [call for call in pancake.calls if call.endpoint == "user_statistics"][-1]
    assert last.params["date_range"] == f"{today} 00:00:00 - {today} 23:59:59"
    begins = {int(call.params["since"]) for call in pancake.calls if call.endpoint == "page_statistics"}
    assert {begin % 86_400 for begin in begins} == {-hours * 3600 % 86_400}


def test_a_wait_that_was_not_measured_is_null_and_others_are_seconds(
    load: Load, pipeline: dlt.Pipeline, page: FakePage
) -> None:
    answered = page.now() - DAY
    page.add_conversation(at=answered, messages=2)
    alone = page.open_conversation(answered - 5 * timedelta(hours=1))
    page.add_message(alone.id, at=alone.inserted_at, from_customer=False)
    load("user_statistics")
    waits = {
        _utc(row): row["average_response_time_s"] for row in rows_of(pipeline, "user_statistics").values()
    }
    assert waits == {hour_of(answered): 60, hour_of(alone.inserted_at): None}


def test_a_stop_between_days_leaves_the_others_for_the_next_run(
    load: Load, pipeline: dlt.Pipeline, page: FakePage, pancake: FakePancake
) -> None:
    page.populate(days=8, conversations=40)
    for name in ("page_statistics", "user_statistics"):
        pancake.clear_calls()
        asked = iter([False, False, True])
        load(name, days=10, stop=asked.__next__)
        assert pancake.count() == 2
        load(name, days=10)
    assert_statistics(pipeline, page)


def test_staff_are_named_beside_their_hours(load: Load, pipeline: dlt.Pipeline, page: FakePage) -> None:
    page.populate(days=3, conversations=20)
    load("user_statistics")
    names = {row["user_id"]: row["user_name"] for row in rows_of(pipeline, "user_statistics").values()}
    assert names
    assert names.items() <= {(uid, name) for name, uid in page.staff.items()}


def test_a_day_that_fails_is_read_by_the_next_run(
    load: Load, pipeline: dlt.Pipeline, page: FakePage, pancake: FakePancake
) -> None:
    page.populate(days=8, conversations=40)
    pancake.fail(Fault("html", endpoint="user_statistics", skip=4))
    load("user_statistics", days=10)
    assert custom_metrics(pipeline, "user_statistics")["lookup_error"] == "PancakeShapeError"
    pancake.clear_calls()
    load("user_statistics", days=10)
    assert pancake.count() == 11 - 4
    load("page_statistics", days=10)
    assert_statistics(pipeline, page)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"statistics": []},
        {"statistics": {"u": {}}},
        {"statistics": {"u": ["x"]}},
        {"statistics": {"u": [{"inbox_count": 1}]}},
        {"statistics": {"u": [{"hour_in_integer": "yesterday"}]}},
    ],
)
def test_statistics_of_another_shape_are_an_error_and_not_an_empty_day(
    load: Load, pipeline: dlt.Pipeline, pancake: FakePancake, data: Row
) -> None:
    pancake.fail(Fault("not_a_list", endpoint="user_statistics", value=data))
    load("user_statistics")
    assert custom_metrics(pipeline, "user_statistics")["lookup_error"] == "PancakeShapeError"
    assert "read_until" not in state_of(pipeline, "user_statistics")


# All of them.


def test_a_range_is_read_whole_again_and_leaves_the_state_alone(
    load: Load, pipeline: dlt.Pipeline, page: FakePage, pancake: FakePancake, time: FakeTime
) -> None:
    page.populate(days=20, conversations=60)
    load()
    kept = [state_of(pipeline, name) for name in TABLES]
    with pipeline.sql_client() as client:
        for name in TABLES:
            client.execute_sql(f"DELETE FROM {name}")
    time.advance(60)
    load(ranged=True)
    assert_customers(pipeline, page)
    assert_statistics(pipeline, page)
    assert rows_of(pipeline, "posts").keys() == page.posts.keys()
    assert [state_of(pipeline, name) for name in TABLES] == kept


def test_customers_leave_oldest_change_first(make_client: MakeClient, page: FakePage) -> None:
    page.populate(days=20, conversations=60)
    rows = [row["updated_at"] for row in lookups(make_client(), page.now(), 30)["page_customers"]]
    assert len(rows) == 60
    assert rows == sorted(rows)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize(
    "fault",
    [Fault("status", status=403), Fault("html"), Fault("missing_key"), Fault("status", status=404)],
    ids=["403", "html", "missing key", "404"],
)
def test_a_list_that_fails_stops_no_other_and_leaves_its_state(
    load: Load, pipeline: dlt.Pipeline, page: FakePage, pancake: FakePancake, name: str, fault: Fault
) -> None:
    page.populate(days=2, conversations=5)
    pancake.fail(replace(fault, endpoint=name, times=None))
    load(days=3)
    assert custom_metrics(pipeline, name)["lookups_failed"] == 1
    assert rows_of(pipeline, name) == {}
    assert "read_until" not in state_of(pipeline, name)
    for other in set(TABLES) - {name}:
        assert "lookups_failed" not in custom_metrics(pipeline, other)
    pancake.faults.clear()
    load(days=3)
    assert_customers(pipeline, page)
    assert_statistics(pipeline, page)


@pytest.mark.parametrize("name", TABLES)
def test_a_refused_token_ends_the_run(load: Load, pancake: FakePancake, name: str) -> None:
    pancake.fail(Fault("body_error", endpoint=name, code=105, times=None))
    with pytest.raises(PipelineStepFailed, match="105"):
        load(name)


def test_calls_are_counted_by_table(load: Load, pipeline: dlt.Pipeline) -> None:
    load("posts", "page_customers", "page_statistics", "user_statistics", days=3)
    of_the_run = max(
        (custom_metrics(pipeline, name)["calls"] for name in TABLES), key=lambda calls: sum(calls.values())
    )
    assert of_the_run.keys() == set(TABLES)
    assert of_the_run["user_statistics"] == 4
