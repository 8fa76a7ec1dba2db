"""A row of the API becomes a row of a table, and nothing is lost on the way."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from dlt.common.json import json as dlt_json
from hypothesis import given
from hypothesis import strategies as st

from sources.pancake.errors import PancakeShapeError
from sources.pancake.records import parse_stamp, row_id, shape
from sources.pancake.schema import CONVERSATIONS, COVERAGE, MESSAGES, Table
from tests.fake_pancake import ARTICLE, LIVE, Dialect, FakePage, FakePancake, FakeTime

PAGE = "100000000000001"
SYNCED_AT = datetime(2026, 3, 20, tzinfo=timezone.utc)
STAMP = datetime(2026, 3, 5, 8, 44, 29, tzinfo=timezone.utc)


def shaped(row: dict[str, Any], table: Table = CONVERSATIONS) -> dict[str, Any]:
    return shape({"id": "1", **row}, table, PAGE, SYNCED_AT)


@pytest.mark.parametrize(
    ("text", "stamp"),
    [
        ("2026-03-05T08:44:29", STAMP),
        ("2026-03-05T08:44:29Z", STAMP),
        ("2026-03-05T08:44:29+00:00", STAMP),
        ("2026-03-05T15:44:29+07:00", STAMP),
        ("2026-03-05T03:44:29-05:00", STAMP),
        ("2026-03-05 08:44:29", STAMP),
        ("2026-03-05T08:44:29.1", STAMP + timedelta(milliseconds=100)),
        ("2026-03-05T08:44:29.12", STAMP + timedelta(milliseconds=120)),
        ("2026-03-05T08:44:29.123", STAMP + timedelta(milliseconds=123)),
        ("2026-03-05T08:44:29.1234", STAMP + timedelta(microseconds=123400)),
        ("2026-03-05T08:44:29.12345", STAMP + timedelta(microseconds=123450)),
        ("2026-03-05T08:44:29.123456", STAMP + timedelta(microseconds=123456)),
        ("2026-03-05T08:44:29.1234567", STAMP + timedelta(microseconds=123456)),
        ("2026-03-05T08:44:29.12345678", STAMP + timedelta(microseconds=123456)),
        ("2026-03-05T08:44:29.123456789", STAMP + timedelta(microseconds=123456)),
        ("2026-03-05T15:44:29.1234567+07:00", STAMP + timedelta(microseconds=123456)),
        ("2026-03-05T08:44:29.123456789Z", STAMP + timedelta(microseconds=123456)),
        ("2026-03-05", datetime(2026, 3, 5, tzinfo=timezone.utc)),
        ("9999-12-31T23:59:59.999999", datetime.max.replace(tzinfo=timezone.utc)),
    ],
)
def test_a_stamp_is_read_as_utc(text: str, stamp: datetime) -> None:
    read = parse_stamp(text)
    assert read == stamp
    assert read is not None
    assert read.utcoffset() == timedelta(0)
    assert type(read) is datetime


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "yesterday",
        "1998-00-00",
        "2026-02-30T00:00:00",
        "2026-03-05T25:00:00",
        "2026-03-05T08:44:29+25:00",
        "0001-01-01T00:00:00+07:00",
        "9999-12-31T23:59:59-07:00",
        "10000-01-01T00:00:00",
        "P1Y",
        "08:44:29",
        "1772700269",
        1772700269,
        1772700269.5,
        True,
        False,
        None,
        {},
        ["2026-03-05T08:44:29"],
    ],
)
def test_what_is_no_stamp_is_none(value: object) -> None:
    assert parse_stamp(value) is None


@given(st.one_of(st.text(), st.from_regex(r"\d{1,5}-?W?\d{1,3}-?\d*[T ]?[\d:.,Zz+-]{0,20}", fullmatch=True)))
def test_no_text_breaks_the_reading_of_stamps(text: str) -> None:
    stamp = parse_stamp(text)
    assert stamp is None or stamp.utcoffset() == timedelta(0)


@pytest.mark.parametrize(("sent", "text"), [("1", "1"), (7, "7"), (0, "0"), (2**80, str(2**80))])
def test_an_id_is_text(sent: object, text: str) -> None:
    assert row_id({"id": sent}, "endpoint") == text
    assert shape({"id": sent}, CONVERSATIONS, PAGE, SYNCED_AT)["id"] == text


@pytest.mark.parametrize(
    "row", [{}, {"id": None}, {"id": ""}, {"id": True}, {"id": 1.5}, {"id": {}}, [], None, 1]
)
def test_a_row_without_an_id_is_an_error(row: object) -> None:
    with pytest.raises(PancakeShapeError, match="without an `id`") as raised:
        row_id(row, "/pages/{page_id}/conversations")
    assert raised.value.endpoint == "/pages/{page_id}/conversations"


def rows_of(dialect: Dialect, key: str) -> list[dict[str, Any]]:
    clock = FakeTime()
    page = FakePage(dialect=dialect, clock=clock)
    page.populate(days=3, conversations=60)
    pancake = FakePancake([page], clock=clock)
    base, tail = (
        ("v2", "") if key == "conversations" else ("v1", f"/{next(iter(page.conversations))}/messages")
    )
    path = f"/api/public_api/{base}/pages/{page.page_id}/conversations{tail}"
    reply = pancake.answer(path, [("page_access_token", page.token)])
    rows: list[dict[str, Any]] = json.loads(reply.body)[key]
    assert rows
    return rows


@pytest.mark.parametrize("table", [CONVERSATIONS, MESSAGES])
def test_the_articles_row_and_the_live_row_have_the_same_columns(table: Table) -> None:
    names = [column.name for column in table.columns]
    for dialect in (ARTICLE, LIVE):
        for row in rows_of(dialect, table.name):
            assert list(shape(row, table, PAGE, SYNCED_AT)) == names


def source_fields(table: Table) -> dict[str, str]:
    return {column.source_field: column.name for column in table.columns if column.source_field}


def stamps_match(value: object, found: object) -> bool:
    return isinstance(found, datetime) and parse_stamp(value) == found


def assert_nothing_is_lost(row: dict[str, Any], table: Table, result: dict[str, Any]) -> None:
    names, extra = source_fields(table), result["extra"] or {}
    for field, value in row.items():
        found = result[names[field]] if field in names and field not in extra else extra[field]
        same = found == value or str(found) == str(value) or stamps_match(value, found)
        assert same or str(found) == str(storable(value)), (field, value, found)
    assert set(extra) <= set(row)


def storable(value: Any) -> Any:
    """Numbers that leave the range of a warehouse arrive as text."""
    if isinstance(value, dict):
        return {key: storable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [storable(inner) for inner in value]
    big = isinstance(value, int) and not -(2**63) <= value < 2**63
    return str(value) if big or value in (float("inf"), float("-inf")) else value


def without_credentials(value: Any) -> Any:
    if isinstance(value, dict):
        secrets = ("session_id", "token_for_business")
        return {key: without_credentials(inner) for key, inner in value.items() if key not in secrets}
    return [without_credentials(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("dialect", [ARTICLE, LIVE, replace(LIVE, stamps="mixed")])
@pytest.mark.parametrize("table", [CONVERSATIONS, MESSAGES])
def test_every_field_of_a_simulated_row_is_found_again(dialect: Dialect, table: Table) -> None:
    for row in rows_of(dialect, table.name):
        result = shape(row, table, PAGE, SYNCED_AT)
        assert_nothing_is_lost(without_credentials(row), table, result)
        assert result["synced_at"] == SYNCED_AT
        assert isinstance(result["inserted_at"], datetime)


NAMES = sorted({name for table in (CONVERSATIONS, MESSAGES, COVERAGE) for name in source_fields(table)})
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(2**62, 2**66),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    st.from_regex(r"-{0,2}\d{1,25}", fullmatch=True),
    st.sampled_from(["2026-03-05T08:44:29", "1998-00-00", "--5", "-", "1e5", "٣"]),
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
FIELDS = st.one_of(
    st.sampled_from([*NAMES, "extra", "synced_at", "sender_id", "", "0900"]), st.text(max_size=5)
)


@given(row=st.dictionaries(FIELDS, JSON, max_size=12), table=st.sampled_from([CONVERSATIONS, MESSAGES]))
def test_no_row_breaks_the_shaping_and_none_loses_a_field(row: dict[str, Any], table: Table) -> None:
    row = without_credentials({**row, "id": "1"})
    before = json.dumps(row)
    result = shape(row, table, PAGE, SYNCED_AT)
    assert list(result) == [column.name for column in table.columns]
    assert json.dumps(row) == before
    if row.get("page_id") in ("", None):
        row.pop("page_id", None)  # the page that was asked stands in
    assert_nothing_is_lost(row, table, result)
    dlt_json.dumpb(result)


@given(row=st.dictionaries(FIELDS, JSON, max_size=12), table=st.sampled_from([CONVERSATIONS, MESSAGES]))
def test_every_value_has_the_type_of_its_column(row: dict[str, Any], table: Table) -> None:
    types: dict[str, type | tuple[type, ...]] = {
        "text": str,
        "bool": bool,
        "bigint": int,
        "timestamp": datetime,
        "json": (dict, list),
    }
    result = shape({**row, "id": "1"}, table, PAGE, SYNCED_AT)
    for column in table.columns:
        value = result[column.name]
        assert value is None or isinstance(value, types[column.data_type])
        if column.data_type == "bigint" and isinstance(value, int):
            assert -(2**63) <= value < 2**63


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("type", {"name": "INBOX"}),
        ("snippet", True),
        ("post_id", 1.5),
        ("seen", "true"),
        ("seen", 1),
        ("message_count", "many"),
        ("message_count", "--5"),
        ("message_count", "9" * 5000),
        ("message_count", 1.5),
        ("message_count", 2**63),
        ("message_count", True),
        ("updated_at", "1998-00-00"),
        ("updated_at", 1772700269),
        ("inserted_at", False),
        ("tags", "7,9"),
        ("customers", 7),
    ],
)
def test_a_value_that_does_not_fit_goes_to_extra_and_its_column_is_null(field: str, value: object) -> None:
    result = shaped({field: value})
    assert result[field] is None
    assert result["extra"] == {field: str(value) if value == 2**63 else value}


@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [
        ("message_count", "12", 12),
        ("message_count", "-3", -3),
        ("message_count", 12.0, 12),
        ("message_count", 2**63 - 1, 2**63 - 1),
        ("message_count", 0, 0),
        ("customer_id", 7000000000000001, "7000000000000001"),
        ("post_id", 0, "0"),
        ("snippet", "", ""),
        ("seen", False, False),
        ("tags", [], []),
        ("page_customer", {}, {}),
    ],
)
def test_a_value_that_fits_is_kept(field: str, value: object, kept: object) -> None:
    result = shaped({field: value})
    assert result[field] == kept
    assert type(result[field]) is type(kept)
    assert result["extra"] is None


def test_tags_are_kept_as_sent_null_elements_too() -> None:
    tags = [None, 7, "9", {"id": 3, "text": "Hỏi giá", "is_lead_event": None}, None]
    assert shaped({"tags": tags})["tags"] == tags


def test_a_null_is_a_null_and_fills_no_extra() -> None:
    result = shaped({**dict.fromkeys(source_fields(CONVERSATIONS)), "id": 1})
    assert result["extra"] is None


def test_a_phone_number_as_a_field_makes_no_column() -> None:
    assert shaped({"0000000012": {"ok": 1}})["extra"] == {"0000000012": {"ok": 1}}


def test_fields_named_as_columns_that_we_fill_go_to_extra() -> None:
    row = {"extra": 1, "synced_at": "never", "sender": {"id": "x"}, "sender_id": "y"}
    result = shaped(row, MESSAGES)
    assert result["extra"] == row
    assert (result["synced_at"], result["sender"], result["sender_id"]) == (SYNCED_AT, None, None)


def test_the_page_that_was_asked_stands_in_for_a_missing_page_id() -> None:
    assert shaped({})["page_id"] == PAGE
    assert shaped({"page_id": ""})["page_id"] == PAGE
    assert shaped({"page_id": 7})["page_id"] == "7"


def test_a_page_id_of_another_form_is_kept_in_extra() -> None:
    result = shaped({"page_id": {"id": 7}})
    assert (result["page_id"], result["extra"]) == (PAGE, {"page_id": {"id": 7}})


@pytest.mark.parametrize(
    ("sender", "id_", "name"),
    [
        ({"id": "7", "name": "An"}, "7", "An"),
        ({"id": 7, "name": None}, "7", None),
        ({"id": {}, "name": ["An"]}, None, None),
        ({}, None, None),
        ("An", None, None),
        (None, None, None),
    ],
)
def test_a_message_tells_its_sender(sender: object, id_: str | None, name: str | None) -> None:
    result = shaped({"from": sender}, MESSAGES)
    assert (result["sender_id"], result["sender_name"]) == (id_, name)


def test_credentials_vanish_at_any_depth() -> None:
    note = {"message": "call back", "created_by": {"uid": "1", "session_id": "s", "token_for_business": "t"}}
    clean = {"message": "call back", "created_by": {"uid": "1"}}
    row = {"page_customer": {"notes": [note, [note]]}, "new_field": [{"deep": note}], "session_id": "s"}
    result = shaped(row)
    assert result["page_customer"] == {"notes": [clean, [clean]]}
    assert result["extra"] == {"new_field": [{"deep": clean}]}


@pytest.mark.parametrize("number", [2**63, 2**70, -(2**63) - 1])
def test_a_number_beyond_64_bits_arrives_as_text(number: int) -> None:
    assert shaped({"new": [{"n": number}]})["extra"] == {"new": [{"n": str(number)}]}


def test_the_largest_and_the_least_whole_number_stay_numbers() -> None:
    numbers = [2**63 - 1, -(2**63), 0, True, False, 1.5]
    kept = shaped({"new": numbers})["extra"]["new"]
    assert list(map(repr, kept)) == list(map(repr, numbers))


def test_a_number_without_end_arrives_as_text() -> None:
    assert shaped({"new": json.loads("[1e999, -1e999, NaN]")})["extra"] == {"new": ["inf", "-inf", "nan"]}
