"""Answers before they are sent, and the bodies that stand for refusals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import orjson

JSON = "application/json; charset=utf-8"
HTML = "text/html; charset=utf-8"
WEB_APP = b"<!DOCTYPE html><html><head><title>Pancake</title></head><body><div id='app'></div></body></html>"
TRANSIENT = "An error occurred. Please try again later."
TOO_MANY = "Too many requests"
TOKENS = frozenset({"page_access_token", "access_token"})
"""Query names that hold a secret."""


@dataclass(frozen=True)
class Reply:
    """What goes over the wire, and how.

    Attributes:
        delay_s: how long the caller waits for it.
        drop: the connection closes and nothing is sent.
        drop_midway: the connection closes after half of the body.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay_s: float = 0.0
    drop: bool = False
    drop_midway: bool = False


class RefusedError(Exception):
    """Ends the handling of a call with an answer that is not the one asked for."""

    def __init__(self, status: int, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = failure(message, code)


class Query:
    """The parameters of one call, in order and repeatable."""

    def __init__(self, query: str | Sequence[tuple[str, str]]) -> None:
        self.pairs = parse_qsl(query, keep_blank_values=True) if isinstance(query, str) else list(query)

    def all(self, name: str) -> list[str]:
        """Every value given under this name."""
        return [value for key, value in self.pairs if key == name]

    def one(self, name: str) -> str | None:
        """The last value under this name; None when it is missing or empty."""
        return (self.all(name) or [""])[-1] or None

    def number(self, name: str) -> int | None:
        """The value as a whole number. Anything else is more than the API can stand."""
        value = self.one(name)
        if value is None:
            return None
        if not value.isascii() or not value.isdigit():
            raise RefusedError(500, "Internal server error")
        return int(value)

    def without_tokens(self) -> dict[str, str]:
        """What may be kept: repeated names joined by commas, no secrets."""
        kept: dict[str, str] = {}
        for name, value in self.pairs:
            if name not in TOKENS:
                kept[name] = f"{kept[name]},{value}" if name in kept else value
        return kept


def failure(message: str, code: int | None = None) -> dict[str, Any]:
    """The body of an error."""
    body: dict[str, Any] = {"success": False, "message": message}
    if code is not None:
        body["error_code"] = code
    return body


def json_reply(status: int, body: dict[str, Any], *, retry_after_s: float | None = None) -> Reply:
    """A JSON answer."""
    headers = {"Content-Type": JSON}
    if retry_after_s is not None:
        headers["Retry-After"] = f"{retry_after_s:g}"
    return Reply(status, headers, orjson.dumps(body))


def html_reply(status: int = 200) -> Reply:
    """The web app's shell, which answers every route that the API does not have."""
    return Reply(status, {"Content-Type": HTML}, WEB_APP)
