"""The command `pancake check`: what it says of accounts of every kind, and that it writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import dlt
import pytest

from pipelines import destinations
from pipelines.findings import Level
from pipelines.page_checks import check_page
from sources.pancake import PancakeClient, pancake_source
from tests.conftest import MakeClient
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
from tests.fake_pancake.api import Endpoint
from tests.fake_pancake.replies import Query, Reply
from tests.warehouses import Warehouse

Said = dict[str, tuple[Level, str]]


def look(client: PancakeClient) -> Said:
    """Return what is found of a page, by the name of the check."""
    found = list(check_page(client, workers=4, lag_s=120))
    said = {finding.check: (finding.level, f"{finding.found}. {finding.advice}") for finding in found}
    assert len(said) == len(found)
    return said


@pytest.fixture
def page(time: FakeTime) -> FakePage:
    """A page of two weeks."""
    found = FakePage(clock=time)
    found.populate(days=14, conversations=120)
    return found


DIALECTS = {
    "live": LIVE,
    "article": ARTICLE,
    "offset": replace(LIVE, stamps="offset"),
    "shuffled": replace(LIVE, message_order="shuffled", since_alone="allowed"),
    "exclusive": replace(LIVE, since_inclusive=False, until_inclusive=False, ties="reverse_id"),
    "updated_at": replace(LIVE, window_field="updated_at"),
    "small_batches": replace(ARTICLE, message_batches=(25,), since_alone="refused"),
    "counts_off": replace(LIVE, message_count="off"),
}


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS.keys())
def test_every_dialect_is_told_as_it_is(
    page: FakePage, pancake: FakePancake, make_client: MakeClient, dialect: Dialect
) -> None:
    page.dialect = dialect
    said = look(make_client())
    of_ranges = "updated_at" if dialect.window_field == "updated_at" else "inserted_at"
    orders = {"oldest_first": "oldest first", "newest_first": "newest first", "shuffled": "no order"}
    expected = {
        "api": "opens the page; 60 conversations",
        "rows": "wide rows" if dialect.row_shape == "live" else "simple rows",
        "stamps": {"naive": "without a zone", "z": "with `Z`", "offset": "with an offset"}[dialect.stamps],
        "future": "does not lie in the future",
        "order": "newest change first",
        "window": "filter `updated_at`",
        "range_window": f"they filter `{of_ranges}`",
        "since_alone": f"is {dialect.since_alone}",
        "list_batches": "60 conversations in a batch",
        "message_order": orders[dialect.message_order],
        "message_batches": f"{dialect.message_batches[0]} messages in the first batch",
        "clock": "no reply carried the server's time",
        "latency": "0 ms at the median",
        "rate": "0 × 429",
    }
    assert said.keys() == expected.keys()
    assert {check: text for check, text in expected.items() if text not in said[check][1]} == {}
    assert {level for level, _ in said.values()} <= {Level.OK, Level.UNDECIDED, Level.WARNING}
    assert (said["range_window"][0] is Level.WARNING) == (dialect.window_field == "updated_at")
    assert pancake.count() <= 11


@pytest.mark.parametrize("seed", range(8))
def test_batches_that_vary_are_told(time: FakeTime, seed: int) -> None:
    dialect = replace(LIVE, conversation_batch_jitter=True, message_batch_jitter=True)
    page = FakePage(clock=time, seed=seed, dialect=dialect)
    page.grow(150, 80)
    said = look(client_of(page, FakePancake([page], clock=time), time))
    for check in ("list_batches", "message_batches"):
        level, text = said[check]
        assert (level, "vary" in text) in {(Level.WARNING, True), (Level.OK, False)}
    assert said["window"][0] is said["order"][0] is Level.OK


def client_of(page: FakePage, pancake: FakePancake, time: FakeTime, rate: float = 5) -> PancakeClient:
    return PancakeClient(
        page.page_id, page.token, requests_per_second=rate, clock=time, transport=FakeAdapter(pancake)
    )


def test_an_empty_page_leaves_undecided_what_cannot_be_told(time: FakeTime) -> None:
    page = FakePage(clock=time)
    pancake = FakePancake([page], clock=time)
    said = look(client_of(page, pancake, time))
    levels = {check: level for check, (level, _) in said.items()}
    fine = {"api", "latency", "rate"}
    assert {check for check, level in levels.items() if level is Level.OK} == fine
    assert {level for check, level in levels.items() if check not in fine} == {Level.UNDECIDED}
    assert pancake.count() == 2


def test_a_page_at_rest_for_a_year_is_checked_by_what_it_has(time: FakeTime) -> None:
    page = FakePage(clock=time)
    for day in range(70):
        page.add_conversation(at=time.now() - timedelta(days=365 + day), messages=40)
    said = look(client_of(page, FakePancake([page], clock=time), time))
    assert "no conversation has changed in the last 30 days" in said["api"][1]
    assert {level for level, _ in said.values()} == {Level.OK, Level.UNDECIDED}
    assert said["window"][0] is Level.OK


def test_one_conversation_of_one_message_is_no_ground_for_any_claim(time: FakeTime) -> None:
    page = FakePage(clock=time)
    page.add_conversation()
    said = look(client_of(page, FakePancake([page], clock=time), time))
    for check in ("order", "window", "range_window", "list_batches", "message_order", "message_batches"):
        assert said[check][0] is Level.UNDECIDED


# Accounts that no sync can read: the list answers otherwise than the simulator's dialects.


Ask = Callable[[dict[str, str]], Any]


def bend(pancake: FakePancake, change: Callable[[dict[str, str], Ask], Any]) -> None:
    """Put `change` between the calls for conversations and their answer."""
    (path,) = (path for path, found in pancake.endpoints.items() if found.name == "conversations")
    endpoint = pancake.endpoints[path]
    handler = endpoint.handler

    def bent(page: FakePage, query: Query, conversation_id: str | None) -> dict[str, Any]:
        def ask(params: dict[str, str]) -> Any:
            return handler(page, Query(list(params.items())), conversation_id)["conversations"]

        return {"conversations": change(dict(query.pairs), ask), "success": True}

    pancake.endpoints[path] = Endpoint(endpoint.name, endpoint.key, bent)


def test_a_window_over_the_begin_of_conversations_is_an_error(
    page: FakePage, pancake: FakePancake, make_client: MakeClient
) -> None:
    def by_begin(params: dict[str, str], ask: Ask) -> Any:
        if "until" not in params or "last_conversation_id" in params:
            return ask(params)
        return ask({**params, "order_by": "inserted_at"})

    bend(pancake, by_begin)
    level, text = look(make_client())["window"]
    assert level is Level.ERROR
    assert "filter `inserted_at`" in text


def test_a_window_that_is_not_heeded_is_an_error(
    page: FakePage, pancake: FakePancake, make_client: MakeClient
) -> None:
    bend(pancake, lambda params, ask: ask({k: v for k, v in params.items() if k not in ("since", "until")}))
    said = look(make_client())
    assert said["window"][0] is Level.ERROR
    assert "not heeded" in said["window"][1]
    assert "since` without `until` is not heeded" in said["since_alone"][1]


def test_a_window_that_is_not_heeded_is_seen_with_a_single_conversation(time: FakeTime) -> None:
    page = FakePage(clock=time)
    page.add_conversation(messages=10)
    pancake = FakePancake([page], clock=time)
    bend(pancake, lambda params, ask: ask({k: v for k, v in params.items() if k not in ("since", "until")}))
    assert look(client_of(page, pancake, time))["window"][0] is Level.ERROR


def test_another_order_is_an_error(page: FakePage, pancake: FakePancake, make_client: MakeClient) -> None:
    bend(pancake, lambda params, ask: ask(params)[::-1])
    assert look(make_client())["order"][0] is Level.ERROR


def test_a_cursor_that_is_not_heeded_is_told(
    page: FakePage, pancake: FakePancake, make_client: MakeClient
) -> None:
    bend(pancake, lambda params, ask: ask({k: v for k, v in params.items() if k != "last_conversation_id"}))
    level, text = look(make_client())["list_batches"]
    assert level is Level.WARNING
    assert "`last_conversation_id` brought nothing older" in text


def test_rows_without_an_id_or_a_stamp_are_an_error(
    page: FakePage, pancake: FakePancake, make_client: MakeClient
) -> None:
    bend(pancake, lambda params, ask: [{"name": "x"} for _ in ask(params)])
    said = look(make_client())
    assert said["rows"][0] is Level.ERROR
    assert "60 of 60 conversations" in said["rows"][1]
    assert "window" not in said


def test_a_count_that_is_not_heeded_is_an_error(
    page: FakePage, pancake: FakePancake, make_client: MakeClient
) -> None:
    page.dialect = replace(LIVE, ignores_current_count=True)
    level, text = look(make_client())["message_batches"]
    assert level is Level.ERROR
    assert "`current_count` is not heeded" in text


def test_messages_that_come_meanwhile_do_not_look_like_a_count_that_is_not_heeded(time: FakeTime) -> None:
    page = FakePage(clock=time, dialect=replace(LIVE, message_batches=(1,)))
    conversation = page.add_conversation(messages=5)
    pancake = FakePancake([page], clock=time)

    def one_more(call: Any) -> None:
        if call.endpoint == "messages":
            page.add_message(conversation.id)

    pancake.after_call = one_more
    assert look(client_of(page, pancake, time))["message_batches"][0] is not Level.ERROR


def test_a_page_that_changes_all_the_time_is_never_called_wrong(
    page: FakePage, pancake: FakePancake, make_client: MakeClient, time: FakeTime
) -> None:
    page.dialect = replace(LIVE, lost_cursor="empty")

    def live_on(call: Any) -> None:
        time.advance(5)
        page.churn(40)

    pancake.after_call = live_on
    said = look(make_client())
    assert {check: text for check, (level, text) in said.items() if level is Level.ERROR} == {}


def test_a_newcomer_does_not_look_like_batches_that_vary(time: FakeTime) -> None:
    page = FakePage(clock=time)
    oldest, *_ = [page.add_conversation(at=time.now() - timedelta(hours=3 - hour)) for hour in range(3)]
    pancake = FakePancake([page], clock=time)

    def one_goes_one_comes(call: Any) -> None:
        if oldest.id in page.conversations and "until" in call.params:
            page.delete_conversation(oldest.id)
            page.add_conversation(at=time.now())

    pancake.after_call = one_goes_one_comes
    assert "vary" not in look(client_of(page, pancake, time))["list_batches"][1]


# What fails.


REFUSALS: list[tuple[Fault, str, str]] = [
    (Fault("body_error", code=102, times=None), "refused the token", "Settings > Tools"),
    (Fault("body_error", code=105, times=None), "replaced by a newer one", "Settings > Tools"),
    (Fault("status", status=401, times=None), "refused the token", "Settings > Tools"),
    (Fault("status", status=403, times=None), "forbids", "page is active"),
    (Fault("body_error", code=122, times=None), "subscription has ended", "Renew it"),
    (Fault("html", times=None), "a web page instead of JSON", "base_url"),
    (Fault("missing_key", times=None), "should hold a list", "nothing is taken for read"),
    (Fault("status", status=502, times=None), "failed on the server", "Run again later"),
    (Fault("drop", times=None), "got no reply", "Check the network"),
    (Fault("body_429", times=None), "429, too many requests", "lower `sources.pancake.requests_per_second`"),
]


@pytest.mark.parametrize(("fault", "found", "advice"), REFUSALS)
def test_a_refusal_is_told_with_what_to_do(
    page: FakePage, pancake: FakePancake, make_client: MakeClient, fault: Fault, found: str, advice: str
) -> None:
    pancake.fail(fault)
    (api, *_) = findings = list(check_page(make_client(), workers=4, lag_s=120))
    assert (api.check, api.level) == ("api", Level.ERROR)
    assert found in api.found
    assert advice in api.advice
    assert {finding.check for finding in findings} == {"api", "clock", "latency", "rate"}
    assert not any(secret in str(findings) for secret in (page.token, "https://"))


def test_one_call_that_fails_for_good_spoils_one_check_only(
    page: FakePage, pancake: FakePancake, make_client: MakeClient
) -> None:
    pancake.fail(Fault("status", status=502, endpoint="messages", times=None))
    said = look(make_client())
    failed = {check for check, (level, _) in said.items() if level is Level.ERROR}
    assert failed == {"message_order", "message_batches"}


def test_a_conversation_that_is_deleted_meanwhile_is_replaced_by_another(
    page: FakePage, pancake: FakePancake, make_client: MakeClient
) -> None:
    pancake.fail(Fault("status", status=404, endpoint="messages"))
    assert look(make_client())["message_batches"][0] is Level.OK


@pytest.mark.parametrize("reply", ["http", "body"])
def test_a_limit_below_the_documented_one_is_told(
    page: FakePage, pancake: FakePancake, make_client: MakeClient, reply: Any
) -> None:
    pancake.strict_rate, pancake.rate_reply = 1, reply
    level, text = look(make_client())["rate"]
    assert level is Level.WARNING
    assert "× 429" in text
    assert " 0 × 429" not in text


def test_repeated_calls_are_told(page: FakePage, pancake: FakePancake, make_client: MakeClient) -> None:
    pancake.fail(Fault("truncated", times=2))
    level, text = look(make_client())["rate"]
    assert level is Level.WARNING
    assert "2 of them repeated" in text


def test_latency_that_workers_cannot_make_up_for_is_told(
    page: FakePage, pancake: FakePancake, make_client: MakeClient
) -> None:
    pancake.latency_s = 0.5
    assert look(make_client())["latency"][0] is Level.OK
    pancake.latency_s = 1.0
    level, text = look(make_client())["latency"]
    assert level is Level.WARNING
    assert "1000 ms at the median" in text
    assert "4 workers reach 4.0 calls/s of 5" in text
    assert "`sources.pancake.workers` to 6" in text


class Dated(FakePancake):
    """Says what time it is, some seconds off."""

    ahead_s = 0.0

    def answer(self, *args: Any, **kwargs: Any) -> Reply:
        reply = super().answer(*args, **kwargs)
        now = datetime.fromtimestamp(int(self.clock.time() + self.ahead_s), timezone.utc)
        reply.headers["Date"] = format_datetime(now, usegmt=True)
        return reply


@pytest.mark.parametrize(
    ("ahead_s", "level", "text"),
    [
        (0, Level.OK, "agree"),
        (3, Level.OK, "agree"),
        (40, Level.WARNING, "40 s behind"),
        (-40, Level.WARNING, "ahead of"),
        (7 * 3600, Level.ERROR, "7.0 h behind"),
        (-200, Level.ERROR, "ahead of"),
    ],
)
def test_a_clock_that_is_wrong_is_told(
    page: FakePage, time: FakeTime, ahead_s: float, level: Level, text: str
) -> None:
    pancake = Dated([page], clock=time)
    pancake.ahead_s = ahead_s
    pancake.latency_s = 0.3
    found = look(client_of(page, pancake, time))["clock"]
    assert found[0] is level
    assert text in found[1]


def test_a_change_in_the_future_is_told(page: FakePage, make_client: MakeClient, time: FakeTime) -> None:
    page.add_conversation(at=time.now() + timedelta(hours=7))
    level, text = look(make_client())["future"]
    assert level is Level.WARNING
    assert "7.0 h in the future" in text


# The warehouse.


def contents(pipeline: dlt.Pipeline) -> set[tuple[str, ...]]:
    """Return the names of all schemas and tables."""
    with pipeline.sql_client() as client:
        if client.capabilities.supports_ddl_transactions:
            rows = client.execute_sql(
                "SELECT schema_name, '' FROM information_schema.schemata"
                " UNION ALL SELECT table_schema, table_name FROM information_schema.tables"
            )
            return {tuple(row) for row in rows or ()}
        server: Any = client.native_connection
        datasets = [found.dataset_id for found in server.list_datasets()]
        tables = [(name, found.table_id) for name in datasets for found in server.list_tables(name)]
        return {*tables, *((name, "") for name in datasets)}


@pytest.mark.parametrize("loaded", [False, True], ids=["empty", "loaded"])
def test_a_warehouse_that_works_is_found_fine_and_left_as_it_was(
    warehouse: Warehouse, make_client: MakeClient, tmp_path: Path, loaded: bool
) -> None:
    pipeline = warehouse.pipeline(tmp_path / "here")
    if loaded or warehouse.kind == "duckdb":  # opening a DuckDB file makes one
        destinations.load(pipeline, pancake_source("any", "any", client=make_client()))
    before = contents(pipeline)
    found = list(destinations.check(pipeline))
    assert {finding.level for finding in found} == {Level.OK}
    assert [finding.check for finding in found][:2] == ["reach", "create"]
    assert contents(pipeline) == before
    assert any(name == warehouse.dataset for name, *_ in before) == (loaded or warehouse.kind == "duckdb")


def test_a_duckdb_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    pipeline = Warehouse("duckdb", str(tmp_path / "new.duckdb")).pipeline(tmp_path / "here")
    found = {finding.check: finding for finding in destinations.check(pipeline)}
    assert found.keys() == {"create", "space"}
    assert "free on the disk" in found["space"].found
    assert not (tmp_path / "new.duckdb").exists()


def test_little_space_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(destinations, "_LITTLE_SPACE", 2**80)
    pipeline = Warehouse("duckdb", str(tmp_path / "new.duckdb")).pipeline(tmp_path / "here")
    (space,) = (finding for finding in destinations.check(pipeline) if finding.check == "space")
    assert space.level is Level.WARNING
    assert "Make room" in space.advice
