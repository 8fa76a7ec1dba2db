"""Answers that go wrong on purpose."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from .calls import Call
from .replies import TOO_MANY, Reply, failure, html_reply, json_reply

FaultKind = Literal[
    "status",  # an HTTP status with a JSON body of success false
    "body_error",  # HTTP 200, success false, code and message
    "body_429",  # HTTP 200, success false, code 429
    "html",  # HTTP 200, the shell of the web app
    "truncated",  # the normal answer, its JSON cut in the middle
    "drop",  # the connection closes without a reply
    "drop_midway",  # the connection closes in the middle of the body
    "slow",  # the normal answer, `seconds` late
    "missing_key",  # success true, but no list of rows
    "not_a_list",  # success true, and `value` where the list belongs
    "empty_body",  # HTTP 200 and nothing
]


@dataclass
class Fault:
    """One disturbance and the calls that it meets.

    Attributes:
        kind: what happens, see FaultKind.
        endpoint: only calls of this endpoint; None is any.
        conversation_id: only calls for this conversation; None is any.
        page_id: only calls for this page; None is any.
        times: how many calls it meets; None is every one, for ever. Counts down.
        skip: how many matching calls pass unharmed first. Counts down.
        status: HTTP status of kind "status".
        code: `error_code` in the body.
        message: `message` in the body.
        retry_after_s: value of a Retry-After header.
        seconds: delay of kind "slow".
        value: what stands in place of the list in kind "not_a_list": null, or an object.
    """

    kind: FaultKind
    _: dataclasses.KW_ONLY
    endpoint: str | None = None
    conversation_id: str | None = None
    page_id: str | None = None
    times: int | None = 1
    skip: int = 0
    status: int = 500
    code: int | None = None
    message: str = ""
    retry_after_s: float | None = None
    seconds: float = 0.0
    value: Any = None

    def matches(self, call: Call) -> bool:
        """Whether this fault concerns a call."""
        return (
            self.endpoint in (None, call.endpoint)
            and self.conversation_id in (None, call.conversation_id)
            and self.page_id in (None, call.page_id)
        )

    @property
    def needs_answer(self) -> bool:
        """Whether the normal answer is made first, and then marred."""
        return self.kind not in _INSTEAD


def take_fault(faults: list[Fault], call: Call) -> Fault | None:
    """The first fault due for this call, counted down; one that is used up leaves the list."""
    for fault in list(faults):
        if not fault.matches(call):
            continue
        if fault.skip > 0:
            fault.skip -= 1
            continue
        if fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                faults.remove(fault)
        return fault
    return None


def instead(fault: Fault, key: str) -> Reply:
    """The answer given in place of the normal one, whose rows would stand under `key`."""
    return _INSTEAD[fault.kind](fault, key)


def marred(fault: Fault, normal: Reply) -> Reply:
    """The normal answer, late or broken."""
    if fault.kind == "slow":
        return dataclasses.replace(normal, delay_s=fault.seconds)
    if fault.kind == "drop_midway":
        return dataclasses.replace(normal, drop_midway=True)
    return dataclasses.replace(normal, body=normal.body[: len(normal.body) // 2])


def _error(fault: Fault, status: int, message: str, code: int | None) -> Reply:
    body = failure(fault.message or message, code)
    return json_reply(status, body, retry_after_s=fault.retry_after_s)


_INSTEAD: dict[str, Callable[[Fault, str], Reply]] = {
    "status": lambda fault, _: _error(fault, fault.status, f"HTTP {fault.status}", fault.code),
    "body_error": lambda fault, _: _error(fault, 200, "", fault.code),
    "body_429": lambda fault, _: _error(fault, 200, TOO_MANY, 429),
    "html": lambda fault, _: html_reply(),
    "drop": lambda fault, _: Reply(0, drop=True),
    "missing_key": lambda fault, _: json_reply(200, {"success": True}),
    "not_a_list": lambda fault, key: json_reply(200, {"success": True, key: fault.value}),
    "empty_body": lambda fault, _: dataclasses.replace(json_reply(200, {}), body=b""),
}
"""Kinds that do not look at the data."""
