"""The tables beside conversations and messages: tags, staff, the page, and what hangs on a conversation."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dlt
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from pipelines import destinations
from sources.pancake import pancake_backfill, pancake_source
from sources.pancake.errors import PancakeAuthError, PancakeSettingsError
from sources.pancake.guard import guarded
from sources.pancake.records import Row, shape
from sources.pancake.resources.links import links
from sources.pancake.schema import CONVERSATION_TAGS, CONVERSATIONS
from tests.conftest import MakeClient
from tests.fake_pancake import FakePage, FakePancake, FakeTime, Fault
from tests.support import assert_equal, custom_metrics, table
from tests.warehouses import Warehouse

Sync = Callable[..., dlt.Pipeline]


@pytest.fixture
def sync(
    make_client: MakeClient, warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Sync:
    """Run one sync as the command line does, and return its pipeline."""

    def run(name: str = "pancake", user_access_token: str | None = None, **arguments: Any) -> dlt.Pipeline:
        if user_access_token is not None:
            monkeypatch.setenv("SOURCES__PANCAKE__USER_ACCESS_TOKEN", user_access_token)
        pipeline = warehouse.pipeline(tmp_path / name, name)
        destinations.load(pipeline, pancake_source("any", "any", client=make_client(), **arguments))
        return pipeline

    return run


on_duckdb = pytest.mark.parametrize("warehouse", ["duckdb"], indirect=True)


def tags_of(pipeline: dlt.Pipeline, conversation_id: str) -> set[str]:
    rows = table(pipeline, "conversation_tags", "page_id", "conversation_id", "tag_id")
    return {tag for _, conversation, tag in rows if conversation == conversation_id}


def linked(pipeline: dlt.Pipeline, name: str, member: str) -> set[tuple[str, str]]:
    return {key[1:] for key in table(pipeline, name, "page_id", "conversation_id", member)}


def tag_events(page: FakePage) -> Counter[tuple[str, str, str | None]]:
    return Counter(
        (row.id, change.action, None if change.tag_id is None else str(change.tag_id))
        for row in page.conversations.values()
        for change in row.tag_changes
    )


def assert_linked(
    pipeline: dlt.Pipeline, page: FakePage, events: Counter[tuple[str, str, str | None]]
) -> None:
    """Check that the links are those of the page, and that its events are there once."""
    conversations = page.conversations.values()
    assert linked(pipeline, "conversation_tags", "tag_id") == {
        (row.id, str(tag)) for row in conversations for tag in row.tags if tag is not None
    }
    assert linked(pipeline, "conversation_assignees", "user_id") == {
        (row.id, page.staff[name]) for row in conversations for name in row.assignees
    }
    assert linked(pipeline, "conversation_ads", "ad_id") == {
        (row.id, row.ad_id) for row in conversations if row.ad_id
    }
    loaded = table(pipeline, "tag_events").values()
    assert Counter((row["conversation_id"], row["action"], row["tag_id"]) for row in loaded) == events
    assert Counter(
        (row["conversation_id"], row["action"], row["user_id"])
        for row in table(pipeline, "assignee_events").values()
    ) == Counter(
        (row.id, action, page.staff[name])
        for row in conversations
        for change in row.assignee_changes
        for action, names in (("add", change.added), ("remove", change.removed))
        for name in names
    )


def test_a_load_and_a_delta_hold_what_the_page_holds(
    sync: Sync, page: FakePage, pancake: FakePancake, time: FakeTime
) -> None:
    page.populate(days=5, conversations=30)
    first, second, *_ = page.conversations
    page.assign(first, *list(page.staff)[:2])
    page.set_tags(second, [3, None, 7, 0])
    page.staff["Tạm Thử Nghiệm"] = forgotten = page.uuid("staff:forgotten")
    pipeline = sync(user_access_token=pancake.user_token)
    assert_equal(pipeline, page)
    assert_linked(pipeline, page, tag_events(page))
    page.staff.pop("Tạm Thử Nghiệm")

    time.advance(600)
    page.assign(first)
    page.set_tags(second, [])
    for conversation_id in page.conversations:
        page.add_message(conversation_id)
    events = tag_events(page)
    page.delete_tag(21)
    at_work, leaves = (name for name in page.staff if name not in page.disabled_staff)
    page.disabled_staff.add(leaves)
    pipeline = sync(user_access_token=pancake.user_token)
    assert_linked(pipeline, page, events)
    tags = {key[1]: row for key, row in table(pipeline, "tags", "page_id", "id").items()}
    assert {tag for tag, row in tags.items() if row["is_listed"]} == {str(tag) for tag in page.tag_texts}
    assert (tags["21"]["is_listed"], tags["21"]["text"]) == (False, "Đổi trả")
    assert tags["21"]["last_seen_at"] < tags["21"]["synced_at"] == tags["7"]["last_seen_at"]
    users = {key[1]: row for key, row in table(pipeline, "users", "page_id", "id").items()}
    assert {row["name"] for row in users.values() if row["is_disabled"]} == page.disabled_staff
    assert {key for key, row in users.items() if not row["is_listed"]} == {forgotten}
    assert users[page.staff[at_work]]["in_inbox_round_robin"]
    assert not users[page.staff[leaves]]["in_inbox_round_robin"]
    (row,) = table(pipeline, "pages", "page_id").values()
    assert (row["page_id"], row["name"], row["utc_offset_minutes"]) == (page.page_id, page.name, 420)


def test_an_older_copy_that_arrives_later_brings_no_tag_back(
    sync: Sync, warehouse: Warehouse, page: FakePage, time: FakeTime, tmp_path: Path, make_client: MakeClient
) -> None:
    emptied = page.add_conversation(tags=[3, 7]).id
    changed = page.add_conversation(tags=[3, 7]).id
    late = warehouse.pipeline(tmp_path / "late", "late")
    late.extract(pancake_backfill("any", "any", client=make_client(), since="2026-03-01"))
    time.advance(600)
    page.set_tags(emptied, [])
    page.set_tags(changed, [9])
    pipeline = sync()
    late.normalize()
    late.load()
    assert tags_of(pipeline, emptied) == set()
    assert tags_of(pipeline, changed) == {"9"}
    assert {row["tag_id"] for row in table(pipeline, "tag_events").values()} == {"3", "7", "9"}


def test_a_refresh_without_messages_brings_tags_that_moved_no_stamp(
    sync: Sync, warehouse: Warehouse, page: FakePage, time: FakeTime, tmp_path: Path, make_client: MakeClient
) -> None:
    key = page.add_conversation(tags=[3, 7]).id
    sync()
    time.advance(600)
    page.set_tags(key, [7, 9])
    refresh = warehouse.pipeline(tmp_path / "refresh", "refresh")
    source = pancake_backfill("any", "any", client=make_client(), since="2026-03-01", with_messages=False)
    destinations.load(refresh, source)
    assert tags_of(refresh, key) == {"7", "9"}


@pytest.mark.parametrize("later_first", [False, True])
def test_of_two_copies_in_one_load_the_later_set_is_kept(
    later_first: bool, warehouse: Warehouse, page: FakePage, time: FakeTime, tmp_path: Path
) -> None:
    kept, emptied = page.add_conversation(tags=[3, 7]).id, page.add_conversation(tags=[3]).id

    def read() -> list[Row]:
        return [shape(row, CONVERSATIONS, page.page_id, page.now()) for row in page.rows()]

    before = read()
    time.advance(5)
    page.set_tags(kept, [9])
    page.set_tags(emptied, [])
    batches = [read(), before] if later_first else [before, read()]

    def conversations() -> Iterator[Any]:
        yield guarded(CONVERSATIONS)
        yield from batches

    parent = dlt.resource(
        conversations, primary_key="id", write_disposition="merge", columns=CONVERSATIONS.hints()
    )
    source = dlt.source(
        lambda: (parent, links(parent, CONVERSATION_TAGS)), name="pancake", max_table_nesting=0
    )
    pipeline = warehouse.pipeline(tmp_path)
    destinations.load(pipeline, source())
    assert linked(pipeline, "conversation_tags", "tag_id") == {(kept, "9")}


@on_duckdb
@pytest.mark.parametrize("kind", ["html", "missing_key", "status"])
def test_a_lookup_that_fails_stops_nothing_else(
    kind: Any, sync: Sync, page: FakePage, pancake: FakePancake, time: FakeTime
) -> None:
    page.populate(days=2, conversations=5)
    pipeline = sync()
    before = table(pipeline, "tags", "page_id", "id")
    time.advance(600)
    page.add_conversation(messages=3)
    pancake.fail(Fault(kind, endpoint="tags", status=403, times=None))
    pipeline = sync()
    assert_equal(pipeline, page)
    assert table(pipeline, "tags", "page_id", "id") == before
    metrics = custom_metrics(pipeline, "tags")
    assert metrics["lookups_failed"] == 1
    assert metrics["lookup_error"] in ("PancakeShapeError", "PancakeAccessError")
    assert "lookups_failed" not in custom_metrics(pipeline, "users")


@on_duckdb
@pytest.mark.parametrize("endpoint", ["tags", "users"])
def test_a_refused_page_token_ends_the_run_at_a_lookup_too(
    endpoint: str, sync: Sync, page: FakePage, pancake: FakePancake
) -> None:
    page.add_conversation()
    pancake.fail(Fault("body_error", endpoint=endpoint, code=105, times=None))
    with pytest.raises(PipelineStepFailed) as raised:
        sync()
    assert isinstance(raised.value.__cause__.__cause__, PancakeAuthError)  # type: ignore[union-attr]


@on_duckdb
def test_a_user_token_that_expired_costs_the_description_of_the_page_alone(
    sync: Sync, page: FakePage
) -> None:
    page.add_conversation()
    pipeline = sync(user_access_token="expired")
    assert_equal(pipeline, page)
    assert custom_metrics(pipeline, "pages")["lookup_error"] == "PancakeAccessError"
    assert table(pipeline, "pages", "page_id") == {}


@on_duckdb
def test_the_page_is_described_in_the_documented_reply_too(
    sync: Sync, page: FakePage, pancake: FakePancake
) -> None:
    page.dialect = replace(page.dialect, page_list="pages")
    pancake.add_page(FakePage("200000000000002", clock=page.clock))
    pipeline = sync(user_access_token=pancake.user_token)
    (row,) = table(pipeline, "pages", "page_id").values()
    assert (row["page_id"], row["name"], row["platform"]) == (page.page_id, page.name, "facebook")


@on_duckdb
def test_without_a_user_token_a_page_is_its_id_and_costs_no_call(
    sync: Sync, page: FakePage, pancake: FakePancake
) -> None:
    pipeline = sync()
    assert set(table(pipeline, "pages", "page_id")) == {page.page_id}
    assert pancake.count("pages") == 0


@on_duckdb
def test_only_the_tables_that_are_named_are_loaded(sync: Sync, page: FakePage, pancake: FakePancake) -> None:
    page.populate(days=2, conversations=5)
    pipeline = sync(tables=["conversation_tags", "tags"])
    loaded = {name for name in pipeline.default_schema.data_table_names() if not name.startswith("_dlt")}
    assert loaded == {"conversations", "conversation_tags", "tags"}
    assert {call.endpoint for call in pancake.calls} == {"conversations", "tags"}


def test_a_table_that_does_not_exist_is_refused_before_any_call(
    make_client: MakeClient, pancake: FakePancake
) -> None:
    with pytest.raises(PancakeSettingsError, match=r"names tgas; known are .*tags"):
        pancake_source("any", "any", client=make_client(), tables=["tgas"])
    assert pancake.calls == []


@on_duckdb
def test_a_tag_that_comes_in_any_form_is_one_id(sync: Sync, page: FakePage) -> None:
    key = page.add_conversation().id
    page.conversations[key].drift = {
        "tags": [7, "8", {"id": 9}, {"id": "10"}, None, {"id": None}, {}, True, "", 7, [11]]
    }
    assert tags_of(sync(), key) == {"7", "8", "9", "10"}


@on_duckdb
@pytest.mark.parametrize("value", [None, [], {}, "7", 7])
def test_what_is_no_list_is_no_link(value: Any, sync: Sync, page: FakePage) -> None:
    key = page.add_conversation().id
    names = ("tags", "tag_histories", "assignee_ids", "current_assign_users", "assignee_histories", "ads")
    page.conversations[key].drift = {**dict.fromkeys(names, value), "ad_ids": value}
    pipeline = sync()
    for name in ("conversation_tags", "conversation_assignees", "conversation_ads"):
        assert table(pipeline, name, "conversation_id") == {}


@on_duckdb
def test_no_token_and_no_phone_number_of_staff_reaches_the_disk(
    sync: Sync, warehouse: Warehouse, page: FakePage, pancake: FakePancake, tmp_path: Path
) -> None:
    page.add_conversation()
    pipeline = sync(user_access_token=pancake.user_token)
    assert table(pipeline, "users", "page_id", "id")
    secrets = [page.token, pancake.user_token, *map(page.staff_phone, page.staff)]
    with pipeline.sql_client() as client:
        found = client.execute_sql("SELECT table_schema, table_name FROM information_schema.tables") or []
        for schema, name in found:
            rows = repr(client.execute_sql(f'SELECT * FROM "{schema}"."{name}"'))
            assert [secret for secret in secrets if secret in rows] == [], name
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"trace.pickle", "warehouse.duckdb"} <= {path.name for path in files}
    for path in files:
        content = path.read_bytes()
        content = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
        assert [secret for secret in secrets if secret.encode() in content] == [], path
    assert {call.endpoint for call in pancake.calls if "access_token" in call.params} == set()
