"""The simulated Pancake does what it says, so that tests standing on it mean something."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

import orjson
import pytest
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, Timeout, connection_from_url, request
from urllib3.exceptions import ProtocolError, ReadTimeoutError

from tests.fake_pancake import (
    ARTICLE,
    LIVE,
    Call,
    Dialect,
    FakeAdapter,
    FakePage,
    FakePancake,
    FakeServer,
    FakeTime,
    Fault,
)
from tests.fake_pancake.dialect import LostCursor, MessageCount, MessageOrder, Stamps, Ties, WindowField
from tests.fake_pancake.replies import Reply

TOKEN = "page-token-for-tests"
CONVERSATIONS = "/api/public_api/v2/pages/100000000000001/conversations"
ROOT = Path(__file__).parents[2]

DIALECTS = {
    "live": LIVE,
    "article": ARTICLE,
    "mixed stamps": replace(LIVE, stamps="mixed"),
    "offset stamps": replace(ARTICLE, stamps="offset"),
    "jitter": replace(LIVE, message_batch_jitter=True, conversation_batch_jitter=True),
    "shuffled": replace(LIVE, message_order="shuffled", message_batches=(25,)),
    "20 then 25": replace(LIVE, message_batches=(20, 25)),
    "one by one": replace(LIVE, message_batches=(1,), conversation_batch=1),
    "a short batch in the middle": replace(LIVE, message_batches=(30, 7, 30)),
    "reverse ties": replace(LIVE, ties="reverse_id", conversation_batch=7),
}


@pytest.fixture
def clock() -> FakeTime:
    return FakeTime()


@pytest.fixture
def page(clock: FakeTime) -> FakePage:
    return FakePage(clock=clock)


@pytest.fixture
def pancake(page: FakePage, clock: FakeTime) -> FakePancake:
    return FakePancake([page], clock=clock)


def messages_path(conversation_id: str) -> str:
    return (
        f"/api/public_api/v1/pages/100000000000001/conversations/{quote(conversation_id, safe='')}/messages"
    )


def ask(pancake: FakePancake, path: str = CONVERSATIONS, /, **params: Any) -> Reply:
    pairs = [("page_access_token", TOKEN), *((name, str(value)) for name, value in params.items())]
    return pancake.answer(path, pairs)


def body(reply: Reply) -> Any:
    assert reply.status == 200
    return orjson.loads(reply.body)


def listed(pancake: FakePancake, **params: object) -> list[str]:
    return [row["id"] for row in body(ask(pancake, **params))["conversations"]]


def walk(pancake: FakePancake, **params: object) -> list[dict[str, Any]]:
    """Every conversation, following the cursor to the empty batch."""
    rows: list[dict[str, Any]] = []
    while batch := body(ask(pancake, **params))["conversations"]:
        rows += batch
        params["last_conversation_id"] = batch[-1]["id"]
    return rows


def walk_thread(pancake: FakePancake, conversation_id: str) -> list[list[dict[str, Any]]]:
    """Every batch of a thread, by rows received, to the empty one."""
    batches: list[list[dict[str, Any]]] = []
    path = messages_path(conversation_id)
    while batch := body(ask(pancake, path, current_count=sum(map(len, batches))))["messages"]:
        batches.append(batch)
    return batches


def moment(text: str) -> datetime:
    at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return at if at.tzinfo else at.replace(tzinfo=timezone.utc)


@contextmanager
def over_adapter(pancake: FakePancake) -> Iterator[HTTPConnectionPool]:
    yield FakeAdapter(pancake)


@contextmanager
def over_server(pancake: FakePancake) -> Iterator[HTTPConnectionPool]:
    with FakeServer(pancake) as server, connection_from_url(server.url) as pool:
        yield pool


@pytest.fixture(params=[over_adapter, over_server])
def wire(request: pytest.FixtureRequest, pancake: FakePancake) -> Iterator[HTTPConnectionPool]:
    with request.param(pancake) as face:
        yield face


def get(wire: HTTPConnectionPool, path: str = CONVERSATIONS, /, **params: Any) -> BaseHTTPResponse:
    query = {"page_access_token": TOKEN, **{name: str(value) for name, value in params.items()}}
    return wire.request("GET", path, fields=query, timeout=5, retries=False)


# Paging.


@pytest.mark.parametrize("name", DIALECTS)
def test_paging_to_the_end_gives_what_the_page_holds(name: str, clock: FakeTime) -> None:
    page = FakePage(dialect=DIALECTS[name], clock=clock)
    page.populate(days=3, conversations=130, messages=(1, 9))
    page.churn(100)  # stamped now, so there are ties
    pancake = FakePancake([page], clock=clock)

    rows = walk(pancake)

    assert len(rows) == len(page.conversations)
    assert sorted(rows, key=lambda row: row["id"]) == sorted(page.rows(), key=lambda row: row["id"])
    stamps = [moment(row["updated_at"]) for row in rows]
    assert stamps == sorted(stamps, reverse=True)
    for row in rows:
        read = [message for batch in reversed(walk_thread(pancake, row["id"])) for message in batch]
        assert sorted(read, key=lambda message: message["id"]) == sorted(
            page.message_rows(row["id"]), key=lambda message: message["id"]
        )


@pytest.mark.parametrize("order", get_args(MessageOrder))
def test_batches_get_older_whatever_the_order_inside(order: MessageOrder, clock: FakeTime) -> None:
    page = FakePage(dialect=replace(LIVE, message_order=order), clock=clock)
    conversation = page.add_conversation(messages=70)

    batches = walk_thread(FakePancake([page], clock=clock), conversation.id)

    assert [len(batch) for batch in batches] == [30, 30, 10]
    ids = [[message["id"] for message in batch] for batch in batches]
    oldest_first = [sorted(batch) for batch in ids]
    assert oldest_first[2] + oldest_first[1] + oldest_first[0] == [m.id for m in conversation.messages]
    inside = {"oldest_first": oldest_first, "newest_first": [batch[::-1] for batch in oldest_first]}
    assert (ids == inside[order]) if order in inside else (ids not in inside.values())


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [((30,), [30, 30, 30]), ((20, 25), [20, 25, 25, 20]), ((30, 7, 30), [30, 7, 30, 23])],
)
def test_batch_sizes_follow_the_position_of_the_call(
    sizes: tuple[int, ...], expected: list[int], clock: FakeTime
) -> None:
    page = FakePage(dialect=replace(LIVE, message_batches=sizes), clock=clock)
    conversation = page.add_conversation(messages=90)
    batches = walk_thread(FakePancake([page], clock=clock), conversation.id)
    assert [len(batch) for batch in batches] == expected


def test_jitter_gives_the_same_batches_again(clock: FakeTime) -> None:
    page = FakePage(dialect=DIALECTS["jitter"], clock=clock)
    conversation = page.add_conversation(messages=90)
    pancake = FakePancake([page], clock=clock)
    sizes = [len(batch) for batch in walk_thread(pancake, conversation.id)]
    assert len(set(sizes)) > 1
    assert sizes == [len(batch) for batch in walk_thread(pancake, conversation.id)]


def test_a_page_may_ignore_current_count(clock: FakeTime) -> None:
    page = FakePage(dialect=replace(LIVE, ignores_current_count=True), clock=clock)
    path = messages_path(page.add_conversation(messages=40).id)
    pancake = FakePancake([page], clock=clock)
    assert ask(pancake, path, current_count=30).body == ask(pancake, path).body


# Cursors.


def lost_cursor_page(lost_cursor: LostCursor, clock: FakeTime) -> tuple[FakePage, FakePancake, list[str]]:
    """Nine conversations, newest first in the list of ids, in batches of three."""
    page = FakePage(dialect=replace(LIVE, lost_cursor=lost_cursor, conversation_batch=3), clock=clock)
    ids = [page.add_conversation(at=page.now() - timedelta(hours=hours)).id for hours in range(1, 10)]
    return page, FakePancake([page], clock=clock), ids


@pytest.mark.parametrize("how", ["deleted", "moved out of the window"])
@pytest.mark.parametrize("lost_cursor", get_args(LostCursor))
def test_a_lost_cursor_is_answered_as_the_dialect_says(
    lost_cursor: LostCursor, how: str, clock: FakeTime
) -> None:
    page, pancake, ids = lost_cursor_page(lost_cursor, clock)
    window = {"since": 0, "until": int(clock.time())}
    assert listed(pancake, **window) == ids[:3]

    clock.advance(60)
    if how == "deleted":
        page.delete_conversation(ids[2])
    else:
        page.add_message(ids[2])
    answer = body(ask(pancake, **window, last_conversation_id=ids[2]))

    if lost_cursor == "error":
        assert answer == {"success": False, "message": "An error occurred. Please try again later."}
    else:
        expected = {"top": [ids[0], ids[1], ids[3]], "goes_on": ids[3:6], "empty": []}[lost_cursor]
        assert [row["id"] for row in answer["conversations"]] == expected


@pytest.mark.parametrize("lost_cursor", get_args(LostCursor))
def test_a_cursor_that_moved_inside_the_list_goes_on_after_its_new_place(
    lost_cursor: LostCursor, clock: FakeTime
) -> None:
    page, pancake, ids = lost_cursor_page(lost_cursor, clock)
    assert listed(pancake) == ids[:3]
    page.add_message(ids[2])
    assert listed(pancake, last_conversation_id=ids[2]) == [ids[0], ids[1], ids[3]]


def test_a_cursor_never_served_starts_at_the_top(clock: FakeTime) -> None:
    _, pancake, ids = lost_cursor_page("goes_on", clock)
    assert listed(pancake, last_conversation_id="nobody") == ids[:3]


def test_an_empty_cursor_is_none(pancake: FakePancake, page: FakePage) -> None:
    page.add_conversation()
    assert len(listed(pancake, last_conversation_id="")) == 1


# Windows, filters, order.


def test_since_alone_is_refused_or_allowed(clock: FakeTime) -> None:
    for dialect, refused in ((LIVE, True), (ARTICLE, False)):
        page = FakePage(dialect=dialect, clock=clock)
        page.add_conversation()
        pancake = FakePancake([page], clock=clock)
        answer = body(ask(pancake, since=0))
        if refused:
            assert answer == {"success": False, "message": "since and until must be used together"}
        else:
            assert len(answer["conversations"]) == 1
        assert len(listed(pancake, since=0, until=int(clock.time()))) == 1
        assert len(listed(pancake, until=int(clock.time()))) == 1


@pytest.mark.parametrize(("since_inclusive", "until_inclusive"), [(True, True), (False, False)])
def test_bounds_are_whole_seconds_against_the_full_stamp(
    since_inclusive: bool, until_inclusive: bool, clock: FakeTime
) -> None:
    dialect = replace(LIVE, since_inclusive=since_inclusive, until_inclusive=until_inclusive)
    page = FakePage(dialect=dialect, clock=clock)
    pancake = FakePancake([page], clock=clock)
    now = int(clock.time())
    exact = page.add_conversation(at=page.now()).id
    later = page.add_conversation(at=page.now() + timedelta(milliseconds=1)).id

    assert (exact in listed(pancake, since=now, until=now + 10)) is since_inclusive
    assert later in listed(pancake, since=now, until=now + 10)
    assert (exact in listed(pancake, since=now - 10, until=now)) is until_inclusive
    assert later not in listed(pancake, since=now - 10, until=now)


@pytest.mark.parametrize(("window_field", "expected"), [("order_by", 0), ("updated_at", 1)])
def test_the_window_filters_the_field_that_the_dialect_says(
    window_field: WindowField, expected: int, clock: FakeTime
) -> None:
    page = FakePage(dialect=replace(LIVE, window_field=window_field), clock=clock)
    conversation = page.add_conversation(at=page.now() - timedelta(days=2))
    page.add_message(conversation.id)
    pancake = FakePancake([page], clock=clock)
    window = {"since": int(clock.time()) - 60, "until": int(clock.time())}
    assert len(listed(pancake, **window, order_by="updated_at")) == 1
    assert len(listed(pancake, **window, order_by="inserted_at")) == expected


def test_the_list_can_be_ordered_by_inserted_at(pancake: FakePancake, page: FakePage) -> None:
    older = page.add_conversation(at=page.now() - timedelta(days=2)).id
    newer = page.add_conversation(at=page.now() - timedelta(days=1)).id
    page.add_message(older)
    assert listed(pancake) == [older, newer]
    assert listed(pancake, order_by="inserted_at") == [newer, older]


@pytest.mark.parametrize(("ties", "turn"), [("id", 1), ("reverse_id", -1)])
def test_ties_are_ordered_by_id_one_way_or_the_other(ties: Ties, turn: int, clock: FakeTime) -> None:
    page = FakePage(dialect=replace(LIVE, ties=ties, conversation_batch=2), clock=clock)
    ids = [page.add_conversation(id=name).id for name in ("a", "ab", "b", "tt_0:1", "á")]
    assert [row["id"] for row in walk(FakePancake([page], clock=clock))] == ids[::turn]


def test_one_type_filters_and_two_types_find_nothing(pancake: FakePancake, page: FakePage) -> None:
    inbox, comment = page.add_conversation().id, page.add_conversation(type="COMMENT").id
    token = f"page_access_token={TOKEN}"

    assert listed(pancake, type="COMMENT") == [comment]
    assert sorted(listed(pancake)) == sorted([inbox, comment])
    repeated = pancake.answer(CONVERSATIONS, f"{token}&type=INBOX&type=COMMENT")
    assert body(repeated) == {"success": True, "conversations": []}
    assert pancake.answer(CONVERSATIONS, f"{token}&type%5B%5D=INBOX").status == 500


def test_tags_must_all_be_there_and_posts_any(pancake: FakePancake, page: FakePage) -> None:
    both = page.add_conversation(tags=(3, 7, None)).id
    page.add_conversation(tags=(3,))
    comment = page.add_conversation(type="COMMENT")
    assert listed(pancake, tags="3,7") == [both]
    assert listed(pancake, post_ids=f"x,{comment.post_id}") == [comment.id]


def test_unread_first_breaks_the_order_of_time(pancake: FakePancake, page: FakePage) -> None:
    unread = page.add_conversation(at=page.now() - timedelta(days=1)).id
    read = page.add_conversation().id
    page.mark_seen(read)
    assert listed(pancake) == [read, unread]
    assert listed(pancake, unread_first="true") == [unread, read]
    assert listed(pancake, unread_first="true", last_conversation_id=unread) == [read]


@pytest.mark.parametrize(
    "params", [{"since": "2026-03-01", "until": 1}, {"since": -1, "until": 1}, {"order_by": "seen"}]
)
def test_bad_parameters_are_a_server_error(pancake: FakePancake, params: dict[str, object]) -> None:
    assert ask(pancake, **params).status == 500


# Routes and tokens.


def test_an_unknown_route_is_answered_with_html(pancake: FakePancake) -> None:
    v1 = CONVERSATIONS.replace("v2", "v1")
    for path in (v1, "/", f"{v1}/some-id"):
        reply = ask(pancake, path)
        assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert reply.body.startswith(b"<!DOCTYPE html>")


def test_an_unknown_conversation_is_a_404(pancake: FakePancake) -> None:
    reply = ask(pancake, messages_path("nobody"))
    assert (reply.status, orjson.loads(reply.body)["success"]) == (404, False)


@pytest.mark.parametrize("query", ["", "page_access_token=wrong", "page_access_token=user-token-for-tests"])
def test_a_token_that_is_not_the_pages_is_code_102(pancake: FakePancake, query: str) -> None:
    answer = body(pancake.answer(CONVERSATIONS, query))
    assert answer == {"success": False, "message": "Invalid access_token", "error_code": 102}


def test_a_wrong_token_may_be_a_401_but_a_user_token_is_code_102(clock: FakeTime) -> None:
    pancake = FakePancake([FakePage(dialect=replace(LIVE, auth_failure="http"), clock=clock)], clock=clock)
    assert pancake.answer(CONVERSATIONS, "page_access_token=wrong").status == 401
    assert body(pancake.answer(CONVERSATIONS, f"page_access_token={pancake.user_token}"))["error_code"] == 102


def test_pages_are_apart(clock: FakeTime) -> None:
    first, second = FakePage(clock=clock), FakePage("2", "second-token", clock=clock)
    first.add_conversation()
    pancake = FakePancake([first, second], clock=clock)
    path = CONVERSATIONS.replace(first.page_id, "2")
    assert body(pancake.answer(path, "page_access_token=second-token"))["conversations"] == []
    assert body(pancake.answer(path, f"page_access_token={TOKEN}"))["error_code"] == 102
    assert (pancake.page(), pancake.page("2")) == (first, second)


def test_nothing_can_be_written(wire: HTTPConnectionPool) -> None:
    path = f"{CONVERSATIONS}?page_access_token={TOKEN}"
    assert wire.request("POST", path).status == 405


# Faults.


@pytest.mark.parametrize(
    ("fault", "status", "expected"),
    [
        (Fault("status", status=503), 503, {"success": False, "message": "HTTP 503"}),
        (Fault("body_error", code=105, message="Expired"), 200, {"error_code": 105, "message": "Expired"}),
        (Fault("body_429"), 200, {"error_code": 429, "message": "Too many requests"}),
        (Fault("missing_key"), 200, {"success": True}),
        (Fault("not_a_list"), 200, {"success": True, "conversations": None}),
        (Fault("not_a_list", value={"a": 1}), 200, {"success": True, "conversations": {"a": 1}}),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
def test_faults_that_are_json(
    wire: HTTPConnectionPool,
    pancake: FakePancake,
    fault: Fault,
    status: int,
    expected: dict[str, object],
) -> None:
    pancake.fail(fault)
    response = get(wire)
    assert response.status == status
    assert response.json() == {"success": False, **expected}
    assert get(wire).json() == {"success": True, "conversations": []}
    assert pancake.faults == []


def test_faults_that_are_not_json(wire: HTTPConnectionPool, pancake: FakePancake, page: FakePage) -> None:
    page.add_conversation()
    for kind in ("html", "truncated", "empty_body"):
        pancake.fail(Fault(kind))
        response = get(wire)
        assert response.status == 200
        with pytest.raises(ValueError):
            response.json()
    assert [call.rows for call in pancake.calls] == [0, 0, 0]


@pytest.mark.parametrize("kind", ["drop", "drop_midway"])
def test_a_dropped_connection(
    wire: HTTPConnectionPool, pancake: FakePancake, page: FakePage, kind: Any
) -> None:
    page.add_conversation()
    pancake.fail(Fault(kind, times=2))
    for _ in range(2):
        with pytest.raises(ProtocolError):
            get(wire)
    assert len(get(wire).json()["conversations"]) == 1
    assert pancake.count() == 3


def test_a_slow_answer_takes_its_time_on_the_fake_clock(pancake: FakePancake, clock: FakeTime) -> None:
    pancake.fail(Fault("slow", seconds=3))
    pancake.latency_s = 0.5
    with over_adapter(pancake) as wire:
        assert get(wire).json()["success"]
        assert get(wire).json()["success"]
    assert clock.slept == [3.5, 0.5]


def test_a_slow_answer_takes_its_time_over_http(pancake: FakePancake) -> None:
    pancake.latency_s = 0.01
    with over_server(pancake) as wire:
        begun = time.monotonic()
        assert get(wire).json()["success"]
        assert time.monotonic() - begun >= 0.01


@pytest.mark.parametrize("timeout", [2.0, Timeout(connect=1.0, read=2.0)])
def test_an_answer_slower_than_the_read_timeout_never_comes(
    pancake: FakePancake, clock: FakeTime, timeout: Any
) -> None:
    pancake.fail(Fault("slow", seconds=60))
    signed = {"page_access_token": TOKEN}
    with over_adapter(pancake) as wire, pytest.raises(ReadTimeoutError, match=TOKEN):
        wire.request("GET", CONVERSATIONS, fields=signed, timeout=timeout)
    assert clock.slept == [2.0]


def test_the_text_of_a_dropped_connection_holds_the_token(pancake: FakePancake) -> None:
    pancake.fail(Fault("drop"))
    with over_adapter(pancake) as wire, pytest.raises(ProtocolError, match=TOKEN):
        get(wire)


def test_faults_choose_their_calls(pancake: FakePancake, page: FakePage) -> None:
    one, other = page.add_conversation().id, page.add_conversation().id
    pancake.fail(Fault("status", endpoint="messages", conversation_id=one, skip=1, times=2, status=500))

    assert ask(pancake).status == 200
    assert ask(pancake, messages_path(other)).status == 200
    assert [ask(pancake, messages_path(one)).status for _ in range(4)] == [200, 500, 500, 200]


def test_a_fault_without_times_stays_and_the_first_one_wins(pancake: FakePancake) -> None:
    pancake.fail(Fault("status", status=502))
    pancake.fail(Fault("status", status=503, times=None))
    assert [ask(pancake).status for _ in range(4)] == [502, 503, 503, 503]


def test_a_fault_can_be_used_again(pancake: FakePancake) -> None:
    fault = Fault("status", status=500)
    for _ in range(2):
        pancake.fail(fault)
        assert ask(pancake).status == 500


def test_a_fault_may_say_when_to_come_back(wire: HTTPConnectionPool, pancake: FakePancake) -> None:
    pancake.fail(Fault("status", status=429, retry_after_s=7))
    assert get(wire).headers["Retry-After"] == "7"


# Rate.


def test_the_limiter_counts_exactly(pancake: FakePancake, clock: FakeTime) -> None:
    pancake.strict_rate = 5
    assert [ask(pancake).status for _ in range(7)] == [200] * 5 + [429] * 2
    clock.advance(0.999)
    assert ask(pancake).status == 429
    clock.advance(0.001)
    assert ask(pancake).status == 200
    assert pancake.rate_limited == 3
    assert pancake.busiest_second("100000000000001") == 8


def test_any_second_counts_not_only_whole_ones(pancake: FakePancake, clock: FakeTime) -> None:
    pancake.strict_rate = 2
    statuses = []
    for wait in (0.0, 0.6, 0.3, 0.3, 0.6):  # at 0, 0.6, 0.9, 1.2, 1.8
        clock.advance(wait)
        statuses.append(ask(pancake).status)
    assert statuses == [200, 200, 429, 429, 429]
    assert pancake.busiest_second() == 3


def test_pages_have_limits_of_their_own(clock: FakeTime) -> None:
    pancake = FakePancake([FakePage(clock=clock), FakePage("2", TOKEN, clock=clock)], clock=clock)
    pancake.strict_rate = 1
    assert ask(pancake).status == 200
    assert ask(pancake, CONVERSATIONS.replace("100000000000001", "2")).status == 200
    assert (pancake.busiest_second("2"), pancake.busiest_second()) == (1, 1)


def test_the_limit_may_be_told_in_the_body(wire: HTTPConnectionPool, pancake: FakePancake) -> None:
    pancake.strict_rate, pancake.rate_reply, pancake.rate_retry_after_s = 0, "body", 1.5
    response = get(wire)
    assert (response.status, response.json()["error_code"]) == (200, 429)
    assert response.headers["Retry-After"] == "1.5"


# The log of calls, and hooks.


def test_calls_are_written_down_without_the_token(
    pancake: FakePancake, page: FakePage, clock: FakeTime
) -> None:
    conversation = page.add_conversation(id="tt_0:1:7.7:x", messages=3)
    clock.advance(4)
    ask(pancake, since=1, until=2)
    ask(pancake, messages_path(conversation.id), current_count=1)
    pancake.fail(Fault("drop"))
    ask(pancake)

    assert pancake.calls == [
        Call(page.page_id, "conversations", None, 4.0, {"since": "1", "until": "2"}, 200, 0),
        Call(page.page_id, "messages", "tt_0:1:7.7:x", 4.0, {"current_count": "1"}, 200, 2),
        Call(page.page_id, "conversations", None, 4.0, {}, 0, 0),
    ]
    assert (pancake.count(), pancake.count("messages")) == (3, 1)
    pancake.clear_calls()
    assert pancake.calls == []


def test_the_page_can_change_before_and_after_an_answer(pancake: FakePancake, page: FakePage) -> None:
    def somebody_writes(call: Call) -> None:
        page.add_conversation()

    pancake.before_call = somebody_writes
    assert len(listed(pancake)) == 1
    seen: list[int] = []
    pancake.before_call, pancake.after_call = None, lambda call: seen.append(call.rows)
    listed(pancake)
    assert seen == [1]


def test_every_answer_has_a_request_id(wire: HTTPConnectionPool, pancake: FakePancake) -> None:
    pancake.fail(Fault("html"))
    assert len({get(wire).headers["x-request-id"] for _ in range(3)}) == 3


# Changes.


def test_changes_other_than_messages_move_no_stamp(page: FakePage, clock: FakeTime) -> None:
    conversation = page.add_conversation(messages=4)
    first, second, third, newest = conversation.messages
    before = conversation.updated_at
    clock.advance(60)

    page.set_tags(conversation.id, [7, None])
    page.assign(conversation.id, "Mai Thử Nghiệm")
    page.mark_seen(conversation.id)
    page.edit_message(conversation.id, first.id, "khác")
    page.hide_message(conversation.id, second.id)
    page.remove_message(conversation.id, third.id)
    page.vanish_message(conversation.id, newest.id)

    assert conversation.updated_at == before
    row = page.rows()[0]
    assert [tag and tag["id"] for tag in row["tags"]] == [7, None]
    assert {moment(entry["inserted_at"]) for entry in row["tag_histories"]} == {page.now()}
    assert row["assignee_ids"] == [page.staff["Mai Thử Nghiệm"]]
    rows = page.message_rows(conversation.id)
    assert [(m["original_message"], m["is_hidden"], m["is_removed"]) for m in rows] == [
        ("khác", False, False),
        (second.text, True, False),
        (third.text, False, True),
    ]
    assert rows[0]["edit_history"]


def test_a_message_moves_the_stamp_unless_it_is_an_old_one(page: FakePage, clock: FakeTime) -> None:
    conversation = page.add_conversation()
    clock.advance(60)
    newest = page.add_message(conversation.id)
    late = page.add_message(conversation.id, at=newest.inserted_at - timedelta(seconds=30))
    assert conversation.updated_at == newest.inserted_at == page.now()
    assert [message.id for message in conversation.messages][1:] == [late.id, newest.id]


def test_a_conversation_is_stamped_by_its_newest_message(page: FakePage) -> None:
    at = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=7)))
    conversation = page.add_conversation(at=at, messages=3)
    assert conversation.updated_at == conversation.messages[-1].inserted_at == at
    assert conversation.inserted_at == conversation.messages[0].inserted_at == at - timedelta(minutes=2)


def test_a_naive_stamp_is_a_mistake(page: FakePage) -> None:
    with pytest.raises(ValueError, match="aware"):
        page.add_conversation(at=datetime(2026, 3, 1))  # noqa: DTZ001


def test_a_deleted_conversation_leaves_nothing(pancake: FakePancake, page: FakePage) -> None:
    conversation = page.add_conversation()
    page.delete_conversation(conversation.id)
    assert conversation.deleted
    assert listed(pancake) == []
    assert ask(pancake, messages_path(conversation.id)).status == 404


# The past.


def populated(seed: int) -> FakePage:
    page = FakePage(seed=seed, clock=FakeTime())
    page.populate()
    page.churn(300)
    return page


def test_the_same_seed_gives_the_same_past() -> None:
    assert populated(1).rows() == populated(1).rows()
    assert populated(1).rows() != populated(2).rows()


def test_the_past_is_believable(page: FakePage) -> None:
    page.populate(days=14, conversations=300)
    conversations = list(page.conversations.values())
    messages = [message for conversation in conversations for message in conversation.messages]

    assert len(conversations) == 300
    assert {conversation.type for conversation in conversations} == {"INBOX", "COMMENT", "RATING"}
    for conversation in conversations:
        stamps = [message.inserted_at for message in conversation.messages]
        assert stamps == sorted(set(stamps))
        assert conversation.updated_at == stamps[-1] <= page.now()
        assert conversation.inserted_at == stamps[0] >= page.now() - timedelta(days=14)
    assert 1 <= sum(len(conversation.messages) > 60 for conversation in conversations) <= 20
    assert any(
        len(c.messages) > 1 and all(m.from_id != page.page_id for m in c.messages) for c in conversations
    )
    assert {conversation.id[:3] for conversation in conversations} >= {"tt_", "wa_"}
    assert {a["type"] for m in messages for a in m.attachments} == {"photo", "sticker", "ad_click"}
    assert any(message.inserted_at.microsecond == 0 for message in messages)
    assert any(None in conversation.tags for conversation in conversations)
    assert len({message.id for message in messages}) == len(messages)


def test_staff_answer_while_the_shop_is_open(page: FakePage) -> None:
    page.populate()
    answers = [
        message.inserted_at.astimezone(timezone(timedelta(hours=7))).hour
        for conversation in page.conversations.values()
        if len(conversation.messages) <= 60
        for message in conversation.messages
        if message.admin_name
    ]
    assert min(answers) >= 8
    assert max(answers) < 21


def test_churn_keeps_the_law_of_the_stamp(page: FakePage, clock: FakeTime) -> None:
    page.populate(conversations=50)
    for _ in range(50):
        clock.advance(7)
        page.churn(5)
    for conversation in page.conversations.values():
        stamps = [message.inserted_at for message in conversation.messages]
        assert conversation.updated_at >= max(stamps, default=conversation.inserted_at)


def test_growing_is_plain_and_even(page: FakePage) -> None:
    page.grow(200, 10)
    assert len(page.conversations) == 200
    stamps = [conversation.updated_at for conversation in page.conversations.values()]
    assert len(set(stamps)) == 200
    assert max(stamps) == page.now()
    for conversation in page.conversations.values():
        assert len(conversation.messages) == 10
        assert conversation.updated_at == conversation.messages[-1].inserted_at


# Rows.


def test_live_rows_have_the_keys_of_a_real_page(page: FakePage) -> None:
    page.populate()
    conversations = page.rows()
    assert all(len(message) == 32 for row in conversations for message in page.message_rows(row["id"]))
    assert all("ads" not in row for row in conversations if row["type"] != "INBOX")
    assert any("ads" in row for row in conversations)
    assert any(None in row["tags"] for row in conversations)
    assert any(row["from"]["id"] == page.page_id for row in conversations)  # a thread that the page began
    assert not {"last_message", "participants", "page_uid"} & {key for row in conversations for key in row}


def test_live_envelopes_have_keys_made_of_data(pancake: FakePancake, page: FakePage) -> None:
    conversation = page.add_conversation(text="Số mình là 000 000 0012 nha")
    answer = body(ask(pancake, messages_path(conversation.id)))
    assert list(answer["reports_by_phone"]) == ["+840000000012"]
    assert answer["ad_clicks"] == {conversation.customer_id: None}
    assert answer["last_commented_at"] is False
    assert answer["messages"][0]["has_phone"] is True


def test_article_rows_are_the_simple_ones(clock: FakeTime) -> None:
    page = FakePage(dialect=ARTICLE, clock=clock)
    conversation = page.add_conversation(tags=(3, None, 7), text="Còn <hàng> không?")
    (row,), (message,) = page.rows(), page.message_rows(conversation.id)
    assert row["tags"] == ["3", "7"]
    assert row["updated_at"] == row["last_message"]["inserted_at"] == "2026-03-20T00:00:00.000000Z"
    assert row["last_message"]["message"] == message["message"] == "Còn <hàng> không?"
    assert [person["id"] for person in row["participants"]] == [conversation.customer_psid, page.page_id]
    assert set(row) == {"id", "page_id", "page_uid", "type", "tags", "inserted_at", "updated_at"} | {
        "last_message",
        "participants",
    }


def test_live_messages_are_wrapped_in_html(page: FakePage) -> None:
    conversation = page.add_conversation(text="Size < M\n& L?")
    (message,) = page.message_rows(conversation.id)
    assert message["message"] == "<div>Size &lt; M<br />&amp; L?</div>"
    assert message["original_message"] == "Size < M\n& L?"


def test_every_style_of_stamp_means_the_same_moment(clock: FakeTime) -> None:
    texts: dict[str, set[str]] = {}
    for style in get_args(Stamps):
        page = FakePage(dialect=replace(LIVE, stamps=style), clock=clock)
        for _ in range(40):
            page.add_conversation()
        texts[style] = {row["updated_at"] for row in page.rows()}
        assert {moment(text) for text in texts[style]} == {page.now()}
    assert texts["naive"] == {"2026-03-20T00:00:00.000000"}
    assert texts["z"] == {"2026-03-20T00:00:00.000000Z"}
    assert texts["offset"] == {"2026-03-20T07:00:00.000000+07:00"}
    assert texts["mixed"] == texts["naive"] | texts["z"] | texts["offset"] | {"2026-03-20T00:00:00"}


@pytest.mark.parametrize(("message_count", "honest"), [("exact", True), ("off", False)])
def test_message_count_may_be_off(message_count: MessageCount, honest: bool, clock: FakeTime) -> None:
    page = FakePage(dialect=replace(LIVE, message_count=message_count), clock=clock)
    page.populate(conversations=40)
    told = {row["id"]: row["message_count"] for row in page.rows()}
    real = {conversation.id: len(conversation.messages) for conversation in page.conversations.values()}
    assert (told == real) is honest
    assert (0 in told.values()) is not honest


# The wire.


def test_utf8_survives_the_wire(wire: HTTPConnectionPool, page: FakePage) -> None:
    text = "Tiếng Việt có dấu: ữ ặ ỵ 😍👩‍👧 & <b>"
    conversation = page.add_conversation(text=text)
    response = get(wire, messages_path(conversation.id))
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert response.json()["messages"][0]["original_message"] == text


@pytest.mark.parametrize("odd_id", ["tt_0:1:7.7:x", "wa_000@c.us_1@c.us", "a b/c?d#e%f", "mã số"])
def test_odd_ids_survive_the_wire(wire: HTTPConnectionPool, page: FakePage, odd_id: str) -> None:
    page.add_conversation(id=odd_id)
    assert get(wire, messages_path(odd_id)).json()["conversation_id"] == odd_id
    assert len(get(wire, last_conversation_id=odd_id).json()["conversations"]) == 0


def test_many_connections_are_served_at_once(pancake: FakePancake, page: FakePage) -> None:
    page.grow(20, 40)
    pancake.latency_s = 0.01
    paths = [messages_path(name) for name in page.conversations] * 8
    with FakeServer(pancake) as server:
        pool = connection_from_url(server.url, maxsize=32)

        def fetch(path: str) -> int:
            return len(get(pool, path).json()["messages"])

        with pool, ThreadPoolExecutor(32) as workers:
            assert set(workers.map(fetch, paths)) == {30}
    assert pancake.count("messages") == len(paths)


def test_a_page_may_change_while_it_is_read(pancake: FakePancake, page: FakePage) -> None:
    page.populate(conversations=100)
    with ThreadPoolExecutor(4) as workers:
        changes = [workers.submit(page.churn, 500) for _ in range(2)]
        walks = [workers.submit(walk, pancake) for _ in range(2)]
        assert all(future.result() is None for future in changes)
        assert all(future.result() for future in walks)


def test_a_server_can_be_started_again(pancake: FakePancake) -> None:
    for _ in range(2):
        with over_server(pancake) as wire:
            assert get(wire).json()["success"]


def test_a_port_in_use_is_told_at_once(pancake: FakePancake) -> None:
    with FakeServer(pancake) as server:
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(OSError):
            FakeServer(pancake, port=port).start()


def test_it_serves_from_the_command_line() -> None:
    command = [sys.executable, "-m", "tests.fake_pancake", "--conversations", "5", "--messages-each", "2"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url, page_id, token = (process.stdout.readline().strip() for _ in range(3))
        path = f"{url}/api/public_api/v2/pages/{page_id}/conversations"
        try:
            answer = request("GET", path, fields={"page_access_token": token}, timeout=5).json()
            process.send_signal(signal.SIGUSR1)
            assert process.stdout.readline() == "1\n"
            changed = request("GET", path, fields={"page_access_token": token}, timeout=5).json()
        finally:
            process.send_signal(signal.SIGTERM)
        assert len(answer["conversations"]) == 5
        assert [row["message_count"] for row in answer["conversations"]] == [2] * 5
        assert [row["message_count"] for row in changed["conversations"]] == [3, 2, 2, 2, 2]
        assert process.wait(10) == 0


# The clock.


def test_the_clock_moves_only_when_told(clock: FakeTime) -> None:
    start = clock.now()
    clock.sleep(2)
    clock.advance(0.5)
    assert (clock.slept, clock.monotonic()) == ([2], 2.5)
    assert clock.now() - start == timedelta(seconds=2.5)
    assert clock.time() == clock.now().timestamp()


def test_a_dialect_is_a_value() -> None:
    assert Dialect() == LIVE != ARTICLE
