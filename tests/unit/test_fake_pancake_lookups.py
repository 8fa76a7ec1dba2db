"""The simulated lists beside conversations say what the real ones say."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import orjson
import pytest

from tests.fake_pancake import ARTICLE, LIVE, Dialect, FakePage, FakePancake, FakeTime, Fault
from tests.fake_pancake.replies import Reply

PAGE = "/api/public_api/v1/pages/100000000000001"
WHOLE = {"since": 0, "until": 4_000_000_000, "page_number": 1}
HOUR = timedelta(hours=1)

both_dialects = pytest.mark.parametrize("dialect", [LIVE, ARTICLE], ids=["live", "article"])


def ask(pancake: FakePancake, path: str, /, **params: Any) -> Reply:
    pairs = [("page_access_token", pancake.page().token)]
    return pancake.answer(f"{PAGE}/{path}", [*pairs, *((name, str(value)) for name, value in params.items())])


def body(reply: Reply) -> Any:
    assert reply.status == 200
    return orjson.loads(reply.body)


def day_of(page: FakePage) -> str:
    """Yesterday in the page's zone, as `date_range`."""
    day = (page.now() + timedelta(hours=page.utc_offset_hours) - timedelta(days=1)).strftime("%d/%m/%Y")
    return f"{day} 00:00:00 - {day} 23:59:59"


@both_dialects
def test_tags_are_listed_without_a_word_of_success(
    pancake: FakePancake, page: FakePage, dialect: Dialect
) -> None:
    page.dialect = dialect
    answer = body(ask(pancake, "tags"))
    assert answer.keys() == {"tags"}
    assert [tag["id"] for tag in answer["tags"]] == [*page.tag_texts]


def test_a_deleted_tag_leaves_the_list_and_an_empty_place_in_its_conversations(
    pancake: FakePancake, page: FakePage
) -> None:
    conversation = page.add_conversation(tags=[7, 9])
    page.delete_tag(7)
    assert 7 not in [tag["id"] for tag in body(ask(pancake, "tags"))["tags"]]
    (row,) = page.rows()
    assert row["tags"][0] is None
    assert row["tag_histories"][0]["payload"]["tag"]["id"] in (None, 9)
    assert conversation.tags == [None, 9]


def test_staff_who_left_stand_apart_and_know_less(pancake: FakePancake, page: FakePage) -> None:
    answer = body(ask(pancake, "users"))
    (gone,) = page.disabled_staff
    assert {row["id"] for row in answer["users"]} == set(page.staff.values()) - {page.staff[gone]}
    (disabled,) = answer["disabled_users"]
    assert disabled.keys() == {"id", "name", "fb_id"}
    assert disabled["id"] == page.staff[gone]
    assert set(answer["round_robin_users"]["inbox"]) == {row["id"] for row in answer["users"]}
    assert answer["round_robin_users"].keys() == {"inbox", "comment"}


def test_staff_rows_hold_phone_numbers_that_a_leak_test_can_find(
    pancake: FakePancake, page: FakePage
) -> None:
    listed = pancake.answer("/api/v1/pages", [("access_token", pancake.user_token)])
    for name in page.staff:
        assert page.staff_phone(name).encode() in listed.body
    assert page.token.encode() in listed.body
    active = next(name for name in page.staff if name not in page.disabled_staff)
    assert page.staff_phone(active).encode() in ask(pancake, "users").body


def test_pages_are_listed_by_category_or_in_one_list(pancake: FakePancake, page: FakePage) -> None:
    other = pancake.add_page(FakePage("100000000000002", "another-token", clock=page.clock))
    other.is_activated = False
    signed = [("access_token", pancake.user_token)]
    categorized = body(pancake.answer("/api/v1/pages", signed))["categorized"]
    assert [row["id"] for row in categorized["activated"]] == categorized["activated_page_ids"]
    assert [row["id"] for row in categorized["inactivated"]] == [other.page_id]
    page.dialect = ARTICLE
    assert {row["id"] for row in body(pancake.answer("/api/v1/pages", signed))["pages"]} == {
        page.page_id,
        other.page_id,
    }


@pytest.mark.parametrize("pair", [("access_token", "page-token-for-tests"), ("page_access_token", "user")])
def test_only_the_user_token_opens_the_list_of_pages(pancake: FakePancake, pair: tuple[str, str]) -> None:
    name, token = pair
    token = pancake.user_token if token == "user" else token
    answer = body(pancake.answer("/api/v1/pages", [(name, token)]))
    assert (answer["success"], answer["error_code"]) == (False, 102)


@pytest.mark.parametrize(
    ("path", "key", "size"), [("posts", "posts", 30), ("page_customers", "customers", 100)]
)
def test_a_numbered_list_is_cut_into_batches_and_ends_with_an_empty_one(
    pancake: FakePancake, page: FakePage, path: str, key: str, size: int
) -> None:
    for number in range(size + 5):
        page.add_conversation(at=page.now() - HOUR * number)
        page.add_post(at=page.now() - HOUR * number)
    batches = [
        body(ask(pancake, path, **{**WHOLE, "page_number": number, "page_size": size}))[key]
        for number in (1, 2, 3)
    ]
    assert [len(batch) for batch in batches] == [size, 5, 0]
    stamps = [row["inserted_at"] for batch in batches for row in batch]
    assert stamps == sorted(stamps, reverse=True)
    assert len({row["id"] for batch in batches for row in batch}) == size + 5


@pytest.mark.parametrize("path", ["posts", "page_customers"])
@pytest.mark.parametrize("missing", ["since", "until", "page_number"])
def test_a_numbered_list_wants_its_span_and_number(pancake: FakePancake, path: str, missing: str) -> None:
    params = {name: value for name, value in WHOLE.items() if name != missing}
    assert body(ask(pancake, path, **params))["success"] is False


@pytest.mark.parametrize(("path", "size"), [("posts", 31), ("page_customers", 101)])
def test_more_rows_than_allowed_are_refused(pancake: FakePancake, path: str, size: int) -> None:
    assert ask(pancake, path, **WHOLE, page_size=size).status == 500


def test_comments_are_counted_on_their_post(pancake: FakePancake, page: FakePage) -> None:
    conversation = page.add_conversation(type="COMMENT", messages=2, text="Số mình là 000 000 0012")
    (post,) = body(ask(pancake, "posts", **WHOLE))["posts"]
    assert (post["id"], post["comment_count"], post["phone_number_count"]) == (conversation.post_id, 2, 2)
    page.add_message(conversation.id)
    (later,) = body(ask(pancake, "posts", **WHOLE))["posts"]
    assert later["comment_count"] == 3
    assert later["reactions"]["like_count"] == post["reactions"]["like_count"] + 1


def test_the_order_of_customers_is_the_field_that_the_span_filters(
    pancake: FakePancake, page: FakePage, time: FakeTime
) -> None:
    old = page.add_conversation(at=page.now() - timedelta(days=9))
    page.add_conversation(at=page.now() - timedelta(days=1))
    page.rename_customer(old.id, "Tên Mới")
    recent = {**WHOLE, "since": int((page.now() - HOUR).timestamp())}
    assert body(ask(pancake, "page_customers", **recent))["customers"] == []
    (row,) = body(ask(pancake, "page_customers", **recent, order_by="updated_at"))["customers"]
    assert (row["id"], row["name"]) == (old.page_customer_id, "Tên Mới")


def test_a_note_moves_the_customer_and_not_the_conversation(
    pancake: FakePancake, page: FakePage, time: FakeTime
) -> None:
    conversation = page.add_conversation()
    before = conversation.updated_at
    time.advance(600)
    page.add_note(conversation.id, "Khách khó tính")
    (row,) = body(ask(pancake, "page_customers", **WHOLE))["customers"]
    assert row["notes"][-1]["message"] == "Khách khó tính"
    assert row["updated_at"] == page.now().replace(tzinfo=None).isoformat()
    assert conversation.updated_at == before


def test_customers_come_without_a_page_and_with_birthdays_that_are_no_dates(
    pancake: FakePancake, page: FakePage
) -> None:
    for _ in range(20):
        page.add_conversation()
    rows = body(ask(pancake, "page_customers", **WHOLE))["customers"]
    assert all("page_id" not in row for row in rows)
    assert any((row["birthday"] or "").endswith("-00-00") for row in rows)
    assert {"lives_in" in row for row in rows} == {True, False}


def test_a_deleted_conversation_leaves_its_customer(pancake: FakePancake, page: FakePage) -> None:
    page.delete_conversation(page.add_conversation().id)
    assert len(body(ask(pancake, "page_customers", **WHOLE))["customers"]) == 1


def test_the_hours_of_a_page_count_its_messages_in_its_own_zone(pancake: FakePancake, page: FakePage) -> None:
    at = datetime(2026, 3, 18, 20, 30, tzinfo=timezone.utc)
    page.add_conversation(at=at, messages=3)
    span = {"since": int((at - HOUR).timestamp()), "until": int((at + HOUR).timestamp())}
    (hour,) = body(ask(pancake, "statistics/pages", **span))["data"]
    assert hour["hour"] == "2026-03-19T03:00:00"
    assert (hour["customer_inbox_count"], hour["page_inbox_count"], hour["new_inbox_count"]) == (2, 1, 1)
    assert hour["inbox_interactive_count"] == 1
    early = {"since": 0, "until": span["since"]}
    assert body(ask(pancake, "statistics/pages", **early))["data"] == []


def test_the_hours_of_staff_are_local_and_utc_and_their_waits_are_seconds(
    pancake: FakePancake, page: FakePage
) -> None:
    at = datetime(2026, 3, 19, 3, 30, tzinfo=timezone.utc)
    page.add_conversation(at=at, messages=2)
    data = body(ask(pancake, "statistics/users", date_range=day_of(page)))["data"]
    (uid,) = data["statistics"]
    (hour,) = data["statistics"][uid]
    assert (hour["hour"], hour["hour_in_integer"]) == ("2026-03-19T10:00:00", "20260319030000")
    assert (hour["inbox_count"], hour["average_response_time"]) == (1, 60)
    assert data["users"][uid]["user_name"] in page.staff
    assert data["users"][uid]["inbox_count"] == 1


def test_staff_hours_nobody_waited_in_have_no_response_time(pancake: FakePancake, page: FakePage) -> None:
    conversation = page.open_conversation(page.now() - timedelta(days=1))
    page.add_message(conversation.id, at=conversation.inserted_at, from_customer=False)
    data = body(ask(pancake, "statistics/users", date_range=day_of(page)))["data"]
    ((hour,),) = data["statistics"].values()
    assert hour["average_response_time"] == 0


@pytest.mark.parametrize("date_range", ["", "19/03/2026 - 19/03/2026", "2026-03-19"])
def test_a_date_range_in_another_form_breaks_the_server(pancake: FakePancake, date_range: str) -> None:
    assert ask(pancake, "statistics/users", date_range=date_range).status == 500


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("tags", "tags"),
        ("users", "users"),
        ("posts", "posts"),
        ("page_customers", "page_customers"),
        ("statistics/pages", "page_statistics"),
        ("statistics/users", "user_statistics"),
    ],
)
def test_every_list_meets_its_faults_and_wants_the_page_token(
    pancake: FakePancake, page: FakePage, path: str, name: str
) -> None:
    pancake.fail(Fault("status", endpoint=name, status=403))
    assert ask(pancake, path, **WHOLE, date_range=day_of(page)).status == 403
    answer = body(ask(pancake, path, **WHOLE, date_range=day_of(page)))
    assert answer.get("success", True) is True
    assert body(pancake.answer(f"{PAGE}/{path}", "page_access_token=wrong"))["error_code"] == 102
    assert [call.endpoint for call in pancake.calls] == [name] * 3


def test_the_bounds_of_a_span_are_as_the_dialect_says(pancake: FakePancake, page: FakePage) -> None:
    at = page.now().replace(microsecond=0)
    page.add_post(at=at)
    edge = {**WHOLE, "until": int(at.timestamp())}
    assert len(body(ask(pancake, "posts", **edge))["posts"]) == 1
    page.dialect = replace(LIVE, until_inclusive=False)
    assert body(ask(pancake, "posts", **edge))["posts"] == []
