"""A reply is good, or it is an error that says what to do; nothing in between."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from dlt.common.exceptions import DltException

from sources.pancake import errors
from sources.pancake.errors import (
    PancakeAccessError,
    PancakeAuthError,
    PancakeError,
    PancakeRateLimitError,
    PancakeRequestError,
    PancakeSettingsError,
    PancakeShapeError,
    PancakeTransientError,
    PancakeWalkError,
    unwrap,
)

ENDPOINT = "/pages/{page_id}/conversations"
PHONE = "84900000000"
CLASSES = [
    PancakeError,
    PancakeSettingsError,
    PancakeAuthError,
    PancakeAccessError,
    PancakeRateLimitError,
    PancakeRequestError,
    PancakeShapeError,
    PancakeWalkError,
    PancakeTransientError,
]


def failure(code: object = None, message: str = "") -> bytes:
    body: dict[str, object] = {"success": False, "message": message}
    if code is not None:
        body["error_code"] = code
    return json.dumps(body).encode()


def unwrapped(content: bytes, status: int = 200) -> Any:
    return unwrap(status, content, ENDPOINT, "conversations")


TRANSIENT_TEXT = "An error occurred. Please try again later."
HTML = b"<!DOCTYPE html><html></html>"

TABLE: list[tuple[str, int, bytes, type[PancakeError], str, str]] = [
    # what, status, body, class, what was found, what to do
    ("code 100", 200, failure(100), PancakeAuthError, "code 100", "Settings > Tools"),
    ("code 101", 200, failure(101), PancakeAuthError, "code 101", "Settings > Tools"),
    ("code 102", 200, failure(102), PancakeAuthError, "code 102", "Settings > Tools"),
    ("code 103", 200, failure(103), PancakeAuthError, "code 103", "Settings > Tools"),
    ("code 105", 200, failure(105), PancakeAuthError, "code 105", "Settings > Tools"),
    ("code 105 as text", 200, failure("105"), PancakeAuthError, "code 105", "Settings > Tools"),
    ("code 122", 200, failure(122), PancakeAccessError, "code 122", "Renew it"),
    ("code 429", 200, failure(429), PancakeTransientError, "429", "requests_per_second"),
    ("transient text", 200, failure(None, TRANSIENT_TEXT), PancakeTransientError, "failed", "Run again"),
    ("transient text with a code", 200, failure(1, TRANSIENT_TEXT), PancakeTransientError, "failed", "Run"),
    ("unknown code", 200, failure(9999), PancakeRequestError, "code 9999", "Check the page id"),
    ("no code", 200, failure(None, "bad since"), PancakeRequestError, "'bad since'", "Check the page id"),
    ("a code of another form", 200, failure([7]), PancakeRequestError, "code None", "Check"),
    ("a code of true", 200, failure(True), PancakeRequestError, "code None", "Check"),
    ("a code of many digits", 200, failure("9" * 5000), PancakeRequestError, "code None", "Check"),
    ("web page", 200, HTML, PancakeShapeError, "web page", "base_url"),
    ("web page after white space", 200, b" \r\n" + HTML, PancakeShapeError, "web page", "base_url"),
    ("nothing", 200, b"", PancakeTransientError, "0 bytes", "proxy"),
    ("cut JSON", 200, b'{"success": true, "conv', PancakeTransientError, "23 bytes", "proxy"),
    ("nested without end", 200, b'{"a":' + b"[" * 100_000, PancakeTransientError, "100005 bytes", "proxy"),
    ("null", 200, b"null", PancakeShapeError, "NoneType", "nothing is taken for read"),
    ("a list", 200, b"[]", PancakeShapeError, "found list", "nothing is taken for read"),
    ("a text", 200, b'"ok"', PancakeShapeError, "found str", "nothing is taken for read"),
    ("missing key", 200, b'{"success": true}', PancakeShapeError, "['success']", "nothing is taken for read"),
    ("no key at all", 200, b"{}", PancakeShapeError, "0 keys", "nothing is taken for read"),
    ("another key", 200, b'{"data": []}', PancakeShapeError, "['data']", "nothing is taken for read"),
    ("key of null", 200, b'{"conversations": null}', PancakeShapeError, "conversations", "nothing is taken"),
    (
        "key of an object",
        200,
        b'{"conversations": {}}',
        PancakeShapeError,
        "conversations",
        "nothing is taken",
    ),
    ("301", 301, b"", PancakeShapeError, "HTTP 301", "base_url"),
    ("302 to a web page", 302, HTML, PancakeShapeError, "HTTP 302", "base_url"),
    ("307", 307, b"", PancakeShapeError, "HTTP 307", "base_url"),
    ("400", 400, b"", PancakeRequestError, "HTTP 400", "Check the page id"),
    ("400 with words", 400, failure(None, "bad"), PancakeRequestError, "'bad'", "Check the page id"),
    ("400 with a token code", 400, failure(102), PancakeAuthError, "code 102", "Settings > Tools"),
    ("400 with a token code as text", 400, failure("102"), PancakeAuthError, "code 102", "Settings > Tools"),
    ("400 with code 122", 400, failure(122), PancakeAccessError, "code 122", "Renew it"),
    ("400 with code 429", 400, failure(429), PancakeTransientError, "429", "requests_per_second"),
    ("400 with a code of another form", 400, failure([7]), PancakeRequestError, "HTTP 400", "Check"),
    ("401", 401, b"", PancakeAuthError, "HTTP 401", "Settings > Tools"),
    ("403", 403, HTML, PancakeAccessError, "HTTP 403", "page is active"),
    ("403 with a token code", 403, failure(105), PancakeAuthError, "code 105", "Settings > Tools"),
    ("404", 404, HTML, PancakeRequestError, "HTTP 404", "Check the page id"),
    ("408", 408, b"", PancakeTransientError, "HTTP 408", "Run again"),
    ("429", 429, b"", PancakeTransientError, "429", "requests_per_second"),
    ("500", 500, b"", PancakeTransientError, "HTTP 500", "Run again"),
    ("502 with a web page", 502, HTML, PancakeTransientError, "HTTP 502", "Run again"),
    ("503 with a token code", 503, failure(103), PancakeTransientError, "HTTP 503", "Run again"),
    ("599", 599, b"", PancakeTransientError, "HTTP 599", "Run again"),
    ("204", 204, b"", PancakeRequestError, "HTTP 204", "Check the page id"),
]


@pytest.mark.parametrize(
    ("status", "content", "expected", "found", "remedy"),
    [pytest.param(*row[1:], id=row[0]) for row in TABLE],
)
def test_every_other_reply_is_an_error_that_says_what_to_do(
    status: int, content: bytes, expected: type[PancakeError], found: str, remedy: str
) -> None:
    with pytest.raises(PancakeError) as raised:
        unwrapped(content, status)
    error = raised.value
    assert type(error) is expected
    assert error.endpoint == ENDPOINT
    assert error.status == status
    for part in (ENDPOINT, found, remedy):
        assert part in str(error)
    assert error.__context__ is None


@pytest.mark.parametrize("status", [200, 400, 403])
def test_the_code_in_the_body_is_kept_on_the_error(status: int) -> None:
    with pytest.raises(PancakeAuthError) as raised:
        unwrapped(failure(102), status)
    assert raised.value.code == 102


@pytest.mark.parametrize(
    "content",
    [
        b'{"success": true, "conversations": []}',
        b'{"conversations": []}',
        b'{"success": null, "conversations": []}',
        b'\xef\xbb\xbf{"conversations": []}',
        b'  {"conversations": [], "more": {"unknown": 1}}\n',
    ],
)
def test_a_list_under_the_key_is_good(content: bytes) -> None:
    assert unwrapped(content)["conversations"] == []


def test_a_failure_is_an_error_even_with_rows() -> None:
    with pytest.raises(PancakeAuthError):
        unwrapped(b'{"success": false, "error_code": 102, "conversations": []}')


@pytest.mark.parametrize("status", [429, 200, 500])
def test_the_servers_own_delay_is_kept(status: int) -> None:
    with pytest.raises(PancakeTransientError) as raised:
        unwrap(status, failure(429 if status == 200 else None), ENDPOINT, "conversations", 7.0)
    assert raised.value.retry_after_s == 7.0
    assert raised.value.rate_limited == (status != 500)


def test_a_passing_fault_in_the_body_keeps_the_servers_own_delay() -> None:
    with pytest.raises(PancakeTransientError) as raised:
        unwrap(200, failure(None, TRANSIENT_TEXT), ENDPOINT, "conversations", 7.0)
    assert raised.value.retry_after_s == 7.0
    assert not raised.value.rate_limited


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, failure(9, f"Conversation wa_{PHONE}@c.us not found")),
        (404, failure(None, f"no page {PHONE}")),
        (200, json.dumps({"success": True, PHONE: {}, f"tel{PHONE}": 1, f"+{PHONE}": 1}).encode()),
    ],
)
def test_no_id_and_no_phone_number_gets_into_a_message(status: int, content: bytes) -> None:
    with pytest.raises(PancakeError) as raised:
        unwrapped(content, status)
    assert PHONE not in str(raised.value)


def test_long_words_of_the_server_are_cut() -> None:
    with pytest.raises(PancakeRequestError) as raised:
        unwrapped(failure(9, "x" * 10_000), 400)
    assert len(str(raised.value)) < 500


def test_a_body_of_a_thousand_keys_is_named_by_a_few() -> None:
    with pytest.raises(PancakeShapeError) as raised:
        unwrapped(json.dumps({f"name_{n}": n for n in range(1000)}).encode())
    assert "1000 keys" in str(raised.value)
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_survives_pickling_and_copying(kind: type[PancakeError]) -> None:
    error = kind("what happened", ENDPOINT, 400, 7)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is kind
        assert str(twin) == "what happened"
        assert vars(twin) == vars(error)


def test_a_transient_error_keeps_its_delay_when_pickled() -> None:
    error = PancakeTransientError("wait", ENDPOINT, 429, 429, retry_after_s=3.5, rate_limited=True)
    twin = pickle.loads(pickle.dumps(error))
    assert (twin.retry_after_s, twin.rate_limited, twin.status) == (3.5, True, 429)


def test_the_list_of_classes_is_whole_and_drawn_in_the_docstring() -> None:
    defined = [
        item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, PancakeError)
    ]
    assert defined == CLASSES
    assert issubclass(PancakeError, DltException)
    assert issubclass(PancakeSettingsError, ValueError)
    for kind in CLASSES:
        assert kind.__name__ in str(errors.__doc__)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        pytest.param(rb"a\u0000b", "a\ufffdb", id="NUL"),
        pytest.param(rb"a\\u0000b", "a\\u0000b", id="escaped backslash before u0000"),
        pytest.param(rb"a\\\u0000b", "a\\\ufffdb", id="escaped backslash before NUL"),
        pytest.param(rb"a\"\u0000b", 'a"\ufffdb', id="quote before NUL"),
        pytest.param(rb"a\n\u0000b", "a\n\ufffdb", id="newline before NUL"),
        pytest.param(rb"\u00000", "\ufffd0", id="NUL before a digit"),
        pytest.param(rb"\u0001\u00e1\u1ea1", "\x01\u00e1\u1ea1", id="other escapes"),
        pytest.param(rb"\ud83d\ude0d", "\U0001f60d", id="emoji pair"),
        pytest.param(rb"\uD83D\uDE0D", "\U0001f60d", id="emoji pair in capitals"),
        pytest.param("\U0001f60d ạ".encode(), "\U0001f60d ạ", id="emoji as bytes"),
        pytest.param(rb"\ud83d", "\ufffd", id="lone first half"),
        pytest.param(rb"\ude0d", "\ufffd", id="lone second half"),
        pytest.param(rb"\ude0d\ud83d", "\ufffd\ufffd", id="halves in the wrong order"),
        pytest.param(rb"\ud83d\ud83d\ude0d", "\ufffd\U0001f60d", id="half before a pair"),
        pytest.param(rb"\ud83dx\ude0d", "\ufffdx\ufffd", id="halves apart"),
        pytest.param(rb"\ud83d\\ude0d", "\ufffd\\ude0d", id="half before an escaped backslash"),
        pytest.param(rb"\\ud83d\ude0d", "\\ud83d\ufffd", id="escaped backslash before a half"),
        pytest.param(b"\xed\xa0\xbdx", "\ufffd\ufffd\ufffdx", id="half as bytes"),
        pytest.param(b"\xffx", "\ufffdx", id="no UTF-8"),
    ],
)
def test_characters_that_no_database_takes_are_replaced(sent: bytes, kept: str) -> None:
    body = unwrapped(b'{"conversations": [{"te' + sent + b'": "' + sent + b'"}]}')
    assert body["conversations"] == [{f"te{kept}": kept}]
    kept.encode()


def test_a_cut_reply_stays_an_error_when_characters_are_replaced() -> None:
    with pytest.raises(PancakeTransientError):
        unwrapped(rb'{"conversations": [{"id": "\ud83d')


@pytest.mark.parametrize(
    "number",
    [0, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 2**64, 10**30, -(10**30)],
)
def test_a_long_integer_keeps_all_its_digits(number: int) -> None:
    body = unwrapped(f'{{"conversations": [{{"id": {number}}}]}}'.encode())
    assert body["conversations"] == [{"id": number}]


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_a_number_that_is_none_does_not_spoil_the_reply(word: str) -> None:
    body = unwrapped(f'{{"conversations": [{{"id": {word}}}]}}'.encode())
    assert isinstance(body["conversations"][0]["id"], float)


def test_a_byte_order_mark_is_no_part_of_the_reply() -> None:
    assert unwrapped(b"\xef\xbb\xbf" + b'{"conversations": []}') == {"conversations": []}
