"""What can go wrong while reading Pancake, and the one place that tells a reply from an error.

PancakeError                    endpoint, status, code
├── PancakeSettingsError        stop: a setting is missing or makes no sense; raised before any call
├── PancakeAuthError            stop: the token is wrong, expired or replaced
├── PancakeAccessError          skip the page: it is disabled, expired or not for this token
├── PancakeRateLimitError       skip the page for now: it answers nothing but 429
├── PancakeRequestError         stop: we asked for something that the API refuses
├── PancakeShapeError           stop: the reply is not one that we can read
├── PancakeWalkError            stop: a list did not hold still long enough to be read to its end
└── PancakeTransientError       wait, then ask again; carries retry_after_s
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

import orjson
from dlt.common.exceptions import DltException

Body = dict[str, Any]

_WHERE_TO_GET_ONE = (
    "Copy the page's current token from its Settings > Tools and store it as"
    " `sources.pancake.page_access_token` (in the environment SOURCES__PANCAKE__PAGE_ACCESS_TOKEN)."
    " Do not generate a new one for this: that ends the old one everywhere."
)
_WHAT_TO_CHECK = "Check the page id and the filters."
_AUTH_CODES = {
    100: "the token is invalid",
    101: "the token is missing",
    102: "the token is invalid, or is not a page token",
    103: "the token has expired",
    105: "the token has expired or was replaced by a newer one",
}
_RATE_LIMIT_CODE = 429
_SUBSCRIPTION_CODE = 122
_TELLING_CODES = frozenset({*_AUTH_CODES, _RATE_LIMIT_CODE, _SUBSCRIPTION_CODE})
_TRANSIENT_MESSAGE = "an error occurred. please try again later"
_QUOTED_CHARACTERS = 200
_NAMED_KEYS = 10
_NO_JSON: Final = object()
_CODE = re.compile(r"[0-9]{1,9}")
_LONG_NUMBER = re.compile(r"\d{5,}")
_DIGITS_TO_0 = bytes.maketrans(b"0123456789", b"0000000000")
_LONG_INTEGER = b"0" * 19  # orjson would round it
# A pair of surrogates or an escaped backslash, which are left alone; or an escape that stands for no text.
_ESCAPE = re.compile(
    r"(\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|\\u(?:0000|[dD][89a-fA-F][0-9a-fA-F]{2})"
)


class PancakeError(DltException):
    """Root of all errors of this source.

    Args:
        message: What was found, what was expected and what to do.
        endpoint: Template of the endpoint, never with ids filled in.
        status: HTTP status of the reply, if there was one.
        code: `error_code` in the reply's body, if there was one.
    """

    def __init__(
        self, message: str, endpoint: str = "", status: int | None = None, code: int | None = None
    ) -> None:
        self.endpoint = endpoint
        self.status = status
        self.code = code
        super().__init__(message)


class PancakeSettingsError(PancakeError, ValueError):
    """A setting is missing or makes no sense."""


class PancakeAuthError(PancakeError):
    """The token is wrong, expired or replaced."""


class PancakeAccessError(PancakeError):
    """The page is disabled, its subscription has ended, or the token may not read it."""


class PancakeRateLimitError(PancakeError):
    """The page answers nothing but 429, for longer than a run should wait."""


class PancakeRequestError(PancakeError):
    """The API refuses what was asked for."""


class PancakeShapeError(PancakeError):
    """The reply is not one that can be read."""


class PancakeWalkError(PancakeError):
    """A list could not be read to its end."""


class PancakeTransientError(PancakeError):
    """The call may succeed when it is repeated.

    Args:
        retry_after_s: Seconds that the server asks to wait, if it says so.
        rate_limited: Whether the server said that calls come too fast.
    """

    def __init__(
        self,
        message: str,
        endpoint: str = "",
        status: int | None = None,
        code: int | None = None,
        retry_after_s: float | None = None,
        rate_limited: bool = False,
    ) -> None:
        self.retry_after_s = retry_after_s
        self.rate_limited = rate_limited
        super().__init__(message, endpoint, status, code)


def unwrap(
    status: int,
    content: bytes,
    endpoint: str,
    rows_key: str,
    retry_after_s: float | None = None,
    *,
    one_object: bool = False,
) -> Body:
    """Return the body of a good reply and raise for every other.

    A reply is good when its status is 200, its body is a JSON object that does not say
    `success: false`, and `rows_key` holds a list. A missing `success` is accepted.

    Args:
        status: HTTP status.
        content: Body as received.
        endpoint: Template of the endpoint, for messages.
        rows_key: Key under which this endpoint gives its rows.
        retry_after_s: The server's `Retry-After` in seconds, if sent.
        one_object: Whether an object stands under `rows_key` instead of a list.

    Raises:
        PancakeTransientError: 429 in status or body, 408, 5xx, a passing fault named in the body, cut JSON.
        PancakeAuthError: 401, or a body code that concerns the token.
        PancakeAccessError: 403, or the page's subscription has ended.
        PancakeRequestError: Any other refusal.
        PancakeShapeError: A web page, or a body without a list under `rows_key`.
    """
    if status != 200:  # noqa: PLR2004
        _raise_for_status(status, content, endpoint, retry_after_s)
    if content.lstrip()[:1] == b"<":
        raise PancakeShapeError(
            f"`GET {endpoint}` was answered with a web page instead of JSON, as Pancake does for an address"
            " that it does not know. Check `sources.pancake.base_url` and the page id.",
            endpoint,
            status,
        )
    body = _decode(content)
    if body is _NO_JSON:
        raise PancakeTransientError(
            f"`GET {endpoint}` was answered with {len(content)} bytes that are no complete JSON."
            " If it happens again and again, look for a proxy that cuts replies.",
            endpoint,
            status,
        )
    if isinstance(body, dict) and body.get("success") is False:
        _raise_for_body(body, endpoint, status, retry_after_s)
    expected = dict if one_object else list
    if not isinstance(body, dict) or not isinstance(body.get(rows_key), expected):
        found = _keys(body) if isinstance(body, dict) else type(body).__name__
        raise PancakeShapeError(
            f"`GET {endpoint}` should hold {'an object' if one_object else 'a list'} under `{rows_key}`;"
            f" found {found}."
            " This is not the end of the data, so nothing is taken for read.",
            endpoint,
            status,
        )
    return body


def _raise_for_status(status: int, content: bytes, endpoint: str, retry_after_s: float | None) -> NoReturn:
    body = _decode(content)
    if isinstance(body, dict) and _code(body) in _TELLING_CODES and status < 500:  # noqa: PLR2004
        _raise_for_body(body, endpoint, status, retry_after_s)
    if status == _RATE_LIMIT_CODE:
        _raise_rate_limited(endpoint, status, retry_after_s)
    if status == 408 or status >= 500:  # noqa: PLR2004
        raise PancakeTransientError(
            f"`GET {endpoint}` failed on the server (HTTP {status}). Run again later.",
            endpoint,
            status,
            retry_after_s=retry_after_s,
        )
    if status == 401:  # noqa: PLR2004
        raise PancakeAuthError(
            f"Pancake refused the token on `GET {endpoint}` (HTTP 401). {_WHERE_TO_GET_ONE}", endpoint, status
        )
    if status == 403:  # noqa: PLR2004
        raise PancakeAccessError(
            f"Pancake forbids `GET {endpoint}` to this token (HTTP 403). Check that the page is active and"
            " that the token belongs to it.",
            endpoint,
            status,
        )
    if 300 <= status < 400:  # noqa: PLR2004
        raise PancakeShapeError(
            f"`GET {endpoint}` was redirected (HTTP {status}). The token is not carried along; set"
            " `sources.pancake.base_url` to the final address.",
            endpoint,
            status,
        )
    raise PancakeRequestError(
        f"Pancake refused `GET {endpoint}` (HTTP {status}{_quote(body)}). {_WHAT_TO_CHECK}", endpoint, status
    )


def _raise_for_body(body: Body, endpoint: str, status: int, retry_after_s: float | None) -> NoReturn:
    code = _code(body)
    if code == _RATE_LIMIT_CODE:
        _raise_rate_limited(endpoint, status, retry_after_s, code)
    if code in _AUTH_CODES:
        raise PancakeAuthError(
            f"Pancake refused the token on `GET {endpoint}` (code {code}: {_AUTH_CODES[code]})."
            f" {_WHERE_TO_GET_ONE}",
            endpoint,
            status,
            code,
        )
    if code == _SUBSCRIPTION_CODE:
        raise PancakeAccessError(
            f"Pancake does not serve this page on `GET {endpoint}` (code {code}): its subscription has ended."
            " Renew it, or take the page out of the configuration.",
            endpoint,
            status,
            code,
        )
    if str(body.get("message", "")).lower().startswith(_TRANSIENT_MESSAGE):
        raise PancakeTransientError(
            f"`GET {endpoint}` failed for the moment, says Pancake. Run again later.",
            endpoint,
            status,
            code,
            retry_after_s=retry_after_s,
        )
    raise PancakeRequestError(
        f"Pancake refused `GET {endpoint}` (code {code}{_quote(body)}). {_WHAT_TO_CHECK}",
        endpoint,
        status,
        code,
    )


def _raise_rate_limited(
    endpoint: str, status: int, retry_after_s: float | None, code: int | None = None
) -> NoReturn:
    raise PancakeTransientError(
        f"Pancake says that calls come too fast (429 on `GET {endpoint}`). If other tools read the same page,"
        " lower `sources.pancake.requests_per_second`.",
        endpoint,
        status,
        code,
        retry_after_s=retry_after_s,
        rate_limited=True,
    )


def _decode(content: bytes) -> Any:
    """Return what JSON stands for, or `_NO_JSON`.

    Bytes that are no UTF-8, NUL characters and halves of surrogate pairs become U+FFFD: databases take none.
    """
    if b"\\u" not in content and _LONG_INTEGER not in content.translate(_DIGITS_TO_0):
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError:
            pass
    return _decode_slowly(content)


def _decode_slowly(content: bytes) -> Any:
    text = content.decode("utf-8-sig", "replace")
    if "\\u" in text:
        text = _ESCAPE.sub(lambda found: found[1] or "\\ufffd", text)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _NO_JSON


def _code(body: Body) -> int | None:
    code = body.get("error_code")
    if isinstance(code, str) and _CODE.fullmatch(code):
        return int(code)
    return code if type(code) is int else None


def _keys(body: Body) -> str:
    """Name the keys of a body, without those that may be ids or phone numbers."""
    names = sorted(key for key in body if key.isidentifier() and not _LONG_NUMBER.search(key))
    return f"{len(body)} keys, among them {names[:_NAMED_KEYS]}" if names else f"{len(body)} keys"


def _quote(body: Any) -> str:
    """Quote the server's own words, without the ids in them."""
    message = body.get("message") if isinstance(body, dict) else None
    if not isinstance(message, str) or not message:
        return ""
    return f": {_LONG_NUMBER.sub('…', message)[:_QUOTED_CHARACTERS]!r}"
