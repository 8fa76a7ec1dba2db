"""The client sends what was asked, paces and repeats it, and keeps the token to itself."""

from __future__ import annotations

import base64
import dataclasses
import json
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import dlt
import pytest
from urllib3 import BaseHTTPResponse

from sources.pancake import PancakeClient, endpoints, settings
from sources.pancake.errors import (
    PancakeAccessError,
    PancakeAuthError,
    PancakeError,
    PancakeRateLimitError,
    PancakeRequestError,
    PancakeSettingsError,
    PancakeShapeError,
    PancakeTransientError,
)
from tests.fake_pancake import FakeAdapter, FakePage, FakePancake, FakeServer, FakeTime, Fault
from tests.fake_pancake.replies import Reply

PAGE = "100000000000001"
PAUSES = [1.0, 2.0, 4.0]


class Wire(FakeAdapter):
    """Carries calls to the simulator and keeps what was sent; `headers` are added to every answer."""

    def __init__(self, pancake: FakePancake, **headers: str) -> None:
        super().__init__(pancake)
        self.added = {name.replace("_", "-"): value for name, value in headers.items()}
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def urlopen(self, method: str, url: str, *args: Any, **options: Any) -> BaseHTTPResponse:
        self.sent.append((url, options))
        response = super().urlopen(method, url, *args, **options)
        response.headers.update(self.added)
        return response


@pytest.fixture
def wire(pancake: FakePancake) -> Wire:
    return Wire(pancake)


@pytest.fixture
def client(page: FakePage, wire: Wire, time: FakeTime) -> PancakeClient:
    return PancakeClient(page.page_id, page.token, requests_per_second=5, clock=time, transport=wire)


def jwt(claims: object) -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256"}, claims)]
    return ".".join([*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts), "signature"])


def connections(client: PancakeClient) -> Any:
    return client._transport


def listed(client: PancakeClient, params: Mapping[str, str | int] | None = None) -> list[dict[str, Any]]:
    return client.get(endpoints.CONVERSATIONS, params or {}).rows


def assert_backed_off(slept: list[float], pauses: list[float]) -> None:
    assert len(slept) == len(pauses)
    for wait, pause in zip(slept, pauses, strict=True):
        assert pause <= wait <= pause + 0.25


# What is sent, and what comes back.


def test_rows_come_with_the_moment_of_the_call(
    client: PancakeClient, page: FakePage, pancake: FakePancake, time: FakeTime
) -> None:
    page.add_conversation()
    pancake.fail(Fault("slow", seconds=9))
    began = time.now()
    batch = client.get(endpoints.CONVERSATIONS, {})
    assert [row["id"] for row in batch.rows] == list(page.conversations)
    assert batch.sent_at == began
    assert time.now() == began + timedelta(seconds=9)


def test_path_and_parameters_arrive_as_given(client: PancakeClient, page: FakePage, wire: Wire) -> None:
    id_ = "wa_0000@c.us_tt:1/2"
    page.add_conversation(id=id_)
    params: dict[str, str | int] = {"since": 1, "until": 2, "tags": "7,9", "order_by": "updated_at"}
    listed(client, params)
    client.get(endpoints.MESSAGES, {"current_count": 0}, conversation_id=id_)
    first, second = wire.pancake.calls
    assert first.params == {name: str(value) for name, value in params.items()}
    assert (first.endpoint, first.page_id) == ("conversations", PAGE)
    assert (second.endpoint, second.conversation_id) == ("messages", id_)
    assert second.rows == 1


def test_the_token_travels_in_the_query_once_and_nowhere_else(
    client: PancakeClient, page: FakePage, wire: Wire
) -> None:
    listed(client)
    ((url, options),) = wire.sent
    query = parse_qsl(urlsplit(url).query)
    assert query.count(("page_access_token", page.token)) == 1
    assert page.token not in str(options["headers"])
    timeout = options["timeout"]
    assert (timeout.connect_timeout, timeout.read_timeout) == (
        settings.CONNECT_TIMEOUT_S,
        settings.READ_TIMEOUT_S,
    )


def test_calls_go_to_the_address_given() -> None:
    pool = connections(PancakeClient(PAGE, "token", base_url="http://[::1]:8080/"))
    assert (pool.scheme, pool.host, pool.port) == ("http", "::1", 8080)


@pytest.mark.parametrize("ending", ["", "/"])
def test_the_address_may_end_in_a_path(ending: str, page: FakePage, wire: Wire, time: FakeTime) -> None:
    base_url = f"https://gate.example/pancake{ending}"
    client = PancakeClient(PAGE, page.token, base_url=base_url, clock=time, transport=wire)
    with pytest.raises(PancakeShapeError):  # the simulator lies at the root
        listed(client)
    assert wire.sent[0][0].startswith("/pancake/api/public_api/v2/pages/")


def test_a_token_that_the_server_echoes_is_blotted_out(client: PancakeClient, page: FakePage) -> None:
    page.add_conversation(text=f"see https://pages.fm/?page_access_token={page.token}&x=1")
    text = json.dumps(listed(client))
    assert page.token not in text
    assert "page_access_token=***" in text


def test_a_token_in_the_words_of_a_refusal_is_blotted_out(
    client: PancakeClient, page: FakePage, pancake: FakePancake
) -> None:
    pancake.fail(Fault("body_error", code=9, message=f"cannot read with {page.token}"))
    with pytest.raises(PancakeRequestError, match=r"cannot read with \*\*\*"):
        listed(client)


def test_no_redirect_is_followed(page: FakePage, pancake: FakePancake, time: FakeTime) -> None:
    wire = Wire(pancake, Location="https://elsewhere.example/")
    client = PancakeClient(PAGE, page.token, clock=time, transport=wire)
    pancake.fail(Fault("status", status=302))
    with pytest.raises(PancakeShapeError, match="redirected"):
        listed(client)
    assert len(wire.sent) == 1


# Repeating.


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", status=500, times=3),
        Fault("status", status=503, times=3),
        Fault("status", status=408, times=3),
        Fault("body_error", message="An error occurred. Please try again later.", times=3),
        Fault("drop", times=3),
        Fault("drop_midway", times=3),
        Fault("truncated", times=3),
        Fault("empty_body", times=3),
    ],
    ids=lambda fault: f"{fault.kind} {fault.status}",
)
def test_what_may_pass_is_asked_again_after_1_2_and_4_seconds(
    fault: Fault, client: PancakeClient, page: FakePage, pancake: FakePancake, time: FakeTime
) -> None:
    page.add_conversation()
    pancake.fail(fault)
    assert len(listed(client)) == 1
    assert pancake.count() == 4
    assert_backed_off(time.slept, PAUSES)
    assert client.tally.retries == 3


def test_a_reply_that_takes_too_long_is_asked_for_again(
    client: PancakeClient, page: FakePage, pancake: FakePancake, time: FakeTime
) -> None:
    page.add_conversation()
    pancake.fail(Fault("slow", seconds=settings.READ_TIMEOUT_S + 1, times=3))
    assert len(listed(client)) == 1
    assert time.slept[::2] == [settings.READ_TIMEOUT_S] * 3
    assert_backed_off(time.slept[1::2], PAUSES)


@pytest.mark.parametrize("kind", ["status", "drop", "truncated"])
def test_the_fourth_failure_is_the_last(
    kind: Any, client: PancakeClient, pancake: FakePancake, time: FakeTime
) -> None:
    pancake.fail(Fault(kind, times=None))
    with pytest.raises(PancakeTransientError) as raised:
        listed(client)
    assert pancake.count() == 4
    assert raised.value.endpoint == "/pages/{page_id}/conversations"
    assert_backed_off(time.slept, PAUSES)


@pytest.mark.parametrize("kind", ["drop", "drop_midway", "status"])
def test_over_the_network_too_nobody_else_repeats_a_call(
    kind: Any, page: FakePage, pancake: FakePancake, time: FakeTime
) -> None:
    pancake.fail(Fault(kind, status=503, times=None))
    with FakeServer(pancake) as server, pytest.raises(PancakeTransientError):
        listed(PancakeClient(PAGE, page.token, base_url=server.url, clock=time))
    assert pancake.count() == 4
    assert_backed_off(time.slept, PAUSES)


@pytest.mark.parametrize(("kind", "word"), [("drop", "ProtocolError"), ("slow", "ReadTimeoutError")])
def test_a_call_without_a_reply_says_why_and_hides_the_address(
    kind: Any, word: str, client: PancakeClient, page: FakePage, pancake: FakePancake
) -> None:
    pancake.fail(Fault(kind, seconds=1000, times=None))
    with pytest.raises(PancakeTransientError, match=word) as raised:
        listed(client)
    error: BaseException | None = raised.value
    assert page.token not in str(error)
    assert PAGE not in str(error)
    assert raised.value.__context__ is None
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault("status", status=400), PancakeRequestError),
        (Fault("status", status=401), PancakeAuthError),
        (Fault("status", status=403), PancakeAccessError),
        (Fault("status", status=404), PancakeRequestError),
        (Fault("status", status=410), PancakeRequestError),
        (Fault("body_error", code=100), PancakeAuthError),
        (Fault("body_error", code=105), PancakeAuthError),
        (Fault("body_error", code=122), PancakeAccessError),
        (Fault("body_error", code=777), PancakeRequestError),
        (Fault("html"), PancakeShapeError),
        (Fault("missing_key"), PancakeShapeError),
        (Fault("not_a_list", value={}), PancakeShapeError),
    ],
    ids=lambda value: f"{value.kind} {value.code or value.status}" if isinstance(value, Fault) else "",
)
def test_what_will_not_pass_is_not_asked_again(
    fault: Fault, expected: type[PancakeError], client: PancakeClient, pancake: FakePancake, time: FakeTime
) -> None:
    pancake.fail(fault)
    with pytest.raises(expected):
        listed(client)
    assert pancake.count() == 1
    assert time.slept == []
    assert client.tally.retries == 0


@pytest.mark.parametrize(
    "fault", [Fault("status", status=429), Fault("status", status=503), Fault("body_429")]
)
def test_the_servers_own_delay_wins(
    fault: Fault, client: PancakeClient, pancake: FakePancake, time: FakeTime
) -> None:
    fault.retry_after_s = 7
    pancake.fail(fault)
    listed(client)
    assert time.slept == [7.0]


def test_the_servers_own_delay_may_be_a_date(page: FakePage, pancake: FakePancake, time: FakeTime) -> None:
    then = format_datetime(time.now() + timedelta(seconds=42), usegmt=True)
    client = PancakeClient(PAGE, page.token, clock=time, transport=Wire(pancake, Retry_After=then))
    pancake.fail(Fault("status", status=503))
    listed(client)
    assert time.slept == [42.0]


@pytest.mark.parametrize("value", ["0", "-5", "Fri, 20 Mar 2020 00:00:00 GMT"])
def test_a_delay_that_is_over_is_no_delay(
    value: str, page: FakePage, pancake: FakePancake, time: FakeTime
) -> None:
    client = PancakeClient(PAGE, page.token, clock=time, transport=Wire(pancake, Retry_After=value))
    pancake.fail(Fault("status", status=503))
    listed(client)
    assert sum(time.slept) < 1.0


@pytest.mark.parametrize("value", ["soon", "", " ", "Fri, 99 Foo 2026"])
def test_a_delay_that_cannot_be_read_is_none(
    value: str, page: FakePage, pancake: FakePancake, time: FakeTime
) -> None:
    client = PancakeClient(PAGE, page.token, clock=time, transport=Wire(pancake, Retry_After=value))
    pancake.fail(Fault("status", status=503))
    listed(client)
    assert_backed_off(time.slept, [1.0])


def test_a_delay_over_the_cap_ends_the_call(
    client: PancakeClient, pancake: FakePancake, time: FakeTime
) -> None:
    pancake.fail(Fault("status", status=503, retry_after_s=settings.RETRY_AFTER_CAP_S + 1))
    with pytest.raises(PancakeTransientError) as raised:
        listed(client)
    assert raised.value.retry_after_s == settings.RETRY_AFTER_CAP_S + 1
    assert pancake.count() == 1
    assert time.slept == []


# Answers of 429.

too_many = pytest.mark.parametrize(
    "fault", [Fault("status", status=429, times=None), Fault("body_429", times=None)], ids=["status", "body"]
)


@too_many
def test_a_429_is_no_failed_try(
    fault: Fault, client: PancakeClient, page: FakePage, pancake: FakePancake, time: FakeTime
) -> None:
    page.add_conversation()
    pancake.fail(dataclasses.replace(fault, times=8))
    assert len(listed(client)) == 1
    assert pancake.count() == 9
    assert time.monotonic() == pytest.approx(128, rel=0.05)
    assert (client.tally.retries, client.tally.rate_limited) == (8, 8)


def test_failures_between_429s_are_counted_by_themselves(
    client: PancakeClient, pancake: FakePancake, time: FakeTime
) -> None:
    for _ in range(4):
        pancake.fail(Fault("status", status=429, times=2))
        pancake.fail(Fault("drop"))
    with pytest.raises(PancakeTransientError, match="ProtocolError"):
        listed(client)
    assert pancake.count() == 12


@too_many
@pytest.mark.parametrize("retry_after_s", [None, 0, 20])
def test_a_page_that_only_says_429_ends_within_the_budget(
    fault: Fault, retry_after_s: float | None, client: PancakeClient, pancake: FakePancake, time: FakeTime
) -> None:
    pancake.fail(dataclasses.replace(fault, retry_after_s=retry_after_s))
    with pytest.raises(PancakeRateLimitError, match="429") as raised:
        listed(client)
    assert (raised.value.endpoint, raised.value.status) == ("/pages/{page_id}/conversations", 429)
    assert not isinstance(raised.value, PancakeTransientError)
    assert raised.value.__context__ is None
    assert 0.9 * settings.RATE_LIMIT_BUDGET_S <= time.monotonic() <= settings.RATE_LIMIT_BUDGET_S + 1
    assert pancake.count() <= 20


@too_many
def test_no_call_is_sent_for_a_page_that_was_given_up(
    fault: Fault, client: PancakeClient, pancake: FakePancake, time: FakeTime
) -> None:
    pancake.fail(dataclasses.replace(fault))
    for _ in range(3):
        with pytest.raises(PancakeRateLimitError):
            listed(client)
    calls, at = pancake.count(), time.monotonic()
    with pytest.raises(PancakeRateLimitError):
        client.as_user("token").get(endpoints.TAGS, {})
    assert (pancake.count(), time.monotonic()) == (calls, at)
    pancake.faults.clear()
    time.advance(settings.RATE_LIMIT_BUDGET_S)
    assert listed(client) == []


@pytest.mark.parametrize(
    "answer", [Fault("status", status=404), Fault("status", status=503, times=4), Fault("html")]
)
def test_any_other_answer_shows_that_the_page_is_still_served(
    answer: Fault, client: PancakeClient, pancake: FakePancake, time: FakeTime
) -> None:
    for _ in range(3):
        pancake.fail(Fault("status", status=429, retry_after_s=150))
        pancake.fail(answer)
        with pytest.raises(PancakeError) as raised:
            listed(client)
        assert not isinstance(raised.value, PancakeRateLimitError)
    assert time.monotonic() >= 450


def test_no_answer_shows_nothing(client: PancakeClient, pancake: FakePancake, time: FakeTime) -> None:
    for _ in range(3):
        pancake.fail(Fault("status", status=429, retry_after_s=120))
        pancake.fail(Fault("drop"))
    with pytest.raises(PancakeRateLimitError):
        listed(client)


def test_a_pause_at_the_budget_is_waited_for(
    client: PancakeClient, pancake: FakePancake, time: FakeTime
) -> None:
    pancake.fail(Fault("status", status=429, retry_after_s=settings.RATE_LIMIT_BUDGET_S))
    listed(client)
    assert time.slept == [settings.RATE_LIMIT_BUDGET_S]


def test_during_a_longer_pause_no_further_call_is_sent(
    client: PancakeClient, pancake: FakePancake, time: FakeTime
) -> None:
    pancake.fail(Fault("status", status=429, retry_after_s=3600))
    for _ in range(2):
        with pytest.raises(PancakeRateLimitError, match="3600 s"):
            listed(client)
    assert pancake.count() == 1
    assert time.slept == []
    time.advance(3600)
    assert listed(client) == []


# Pacing and counting.


def test_calls_keep_the_rate_repeated_ones_too(client: PancakeClient, pancake: FakePancake) -> None:
    pancake.strict_rate = 5
    pancake.fail(Fault("status", status=503, retry_after_s=0, times=3))
    for _ in range(30):
        listed(client)
    assert pancake.busiest_second() <= 5
    assert pancake.rate_limited == 0


@pytest.mark.parametrize("fault", [Fault("status", status=429), Fault("body_429")])
def test_a_429_slows_the_page_down(fault: Fault, client: PancakeClient, pancake: FakePancake) -> None:
    pancake.fail(fault)
    listed(client)
    assert client.throttle.requests_per_second == pytest.approx(2.5)
    assert client.tally.rate_limited == 1
    metrics = client.tally.as_metrics()
    assert metrics["rate"] == metrics["slowest_rate"] == pytest.approx(2.5)
    assert metrics["paused_s"] == pytest.approx(1.0)


def test_another_fault_does_not_slow_the_page_down(client: PancakeClient, pancake: FakePancake) -> None:
    pancake.fail(Fault("status", status=503))
    listed(client)
    assert client.throttle.requests_per_second == pytest.approx(5)
    assert client.tally.rate_limited == 0


def test_the_tally_counts_every_call_by_what_it_read(
    client: PancakeClient, page: FakePage, pancake: FakePancake, time: FakeTime
) -> None:
    page.add_conversation(id="1_2")
    pancake.fail(Fault("status", status=500, times=2))
    listed(client)
    for _ in range(3):
        client.get(endpoints.MESSAGES, {}, conversation_id="1_2")
    tally = client.tally
    assert tally.calls == {"conversations": 3, "messages": 3}
    assert tally.retries == 2
    assert tally.waited_s == pytest.approx(sum(time.slept[2:]))
    assert tally.waited_s > 0


def test_threads_share_one_client(client: PancakeClient, pancake: FakePancake) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: listed(client), range(40)))
    assert client.tally.calls == {"conversations": 40}
    assert pancake.count() == 40


# Settings.


def test_white_space_around_token_and_page_id_is_stripped(
    page: FakePage, pancake: FakePancake, time: FakeTime
) -> None:
    transport = FakeAdapter(pancake)
    client = PancakeClient(f" {PAGE}\n", f"\t{page.token} \r\n", clock=time, transport=transport)
    assert listed(client) == []
    assert client.page_id == PAGE


def test_a_page_id_may_be_a_number(page: FakePage, pancake: FakePancake, time: FakeTime) -> None:
    number: Any = int(PAGE)
    assert listed(PancakeClient(number, page.token, clock=time, transport=FakeAdapter(pancake))) == []


@pytest.mark.parametrize(
    "token", ["", "  ", "two parts", "two\nparts", "a\u00a0b", "tokén", "a\udc80b", "a\0b"]
)
def test_a_token_that_is_none_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(PancakeSettingsError, match=r"page_access_token` is (empty|broken)") as raised:
        PancakeClient(PAGE, token)
    assert not token.strip() or token not in str(raised.value)


@pytest.mark.parametrize("page_id", ["", " "])
def test_an_empty_page_id_is_refused(page_id: str) -> None:
    with pytest.raises(PancakeSettingsError, match="page_id` is empty"):
        PancakeClient(page_id, "token")


@pytest.mark.parametrize(
    "base_url",
    ["", "pages.fm", "ftp://pages.fm", "https://", "http://[::1", "https://pages.fm?x=1", "https://a b"],
)
def test_an_address_that_is_none_is_refused(base_url: str) -> None:
    with pytest.raises(
        PancakeSettingsError, match=r"base_url.*expected an address such as https://pages\.fm"
    ):
        PancakeClient(PAGE, "token", base_url=base_url)


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_a_rate_that_is_not_positive_is_refused(rate: float) -> None:
    with pytest.raises(PancakeSettingsError, match=r"requests_per_second.*positive"):
        PancakeClient(PAGE, "token", requests_per_second=rate)


@pytest.mark.parametrize(("rate", "warnings"), [(5, 0), (5.1, 1), (1000, 1)])
def test_a_rate_above_the_documented_one_is_warned_of(
    rate: float, warnings: int, caplog: pytest.LogCaptureFixture, pipeline: dlt.Pipeline
) -> None:
    assert pipeline is not None  # dlt logs only once a pipeline was made
    logging.getLogger("dlt").addHandler(caplog.handler)
    try:
        PancakeClient(PAGE, "token", requests_per_second=rate)
    finally:
        logging.getLogger("dlt").removeHandler(caplog.handler)
    found = [record for record in caplog.records if "requests_per_second" in record.getMessage()]
    assert len(found) == warnings


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"uid": "u-1", "name": "Mai", "session_id": "s"}, "user token"),
        ({"page_id": "200000000000002"}, "another page"),
        ({"page_id": 200000000000002, "uid": "u-1"}, "another page"),
    ],
)
def test_a_token_for_something_else_is_refused_before_any_call(
    claims: object, words: str, pancake: FakePancake
) -> None:
    with pytest.raises(PancakeSettingsError, match=words) as raised:
        PancakeClient(PAGE, jwt(claims), transport=FakeAdapter(pancake))
    assert jwt(claims) not in str(raised.value)
    assert pancake.count() == 0


@pytest.mark.parametrize(
    "token",
    [
        jwt({"id": PAGE, "uid": "u-1"}),
        jwt({"page_id": int(PAGE)}),
        jwt({"page_id": PAGE}),
        jwt({"id": "200000000000002", "uid": "u-1"}),
        jwt({}),
        jwt(["uid"]),
        "a.b.c",
        "a.*.c",
        "plain",
    ],
)
def test_a_token_that_does_not_speak_against_itself_is_left_to_the_server(token: str) -> None:
    assert PancakeClient(PAGE, token).page_id == PAGE


def test_proxies_and_certificates_of_the_environment_are_looked_up_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.touch()
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy.example:3128")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    pool = connections(PancakeClient(PAGE, "token"))
    assert pool.proxy is not None
    assert (pool.proxy.host, pool.proxy.port) == ("proxy.example", 3128)
    assert "Proxy-Authorization" in pool.proxy_headers
    assert (pool.cert_reqs, pool.ca_certs) == ("CERT_REQUIRED", str(bundle))


def test_an_address_that_needs_no_proxy_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "pages.fm")
    pool = connections(PancakeClient(PAGE, "token"))
    assert pool.proxy is None
    assert (pool.host, pool.cert_reqs) == ("pages.fm", "CERT_REQUIRED")


def test_a_proxy_in_clear_is_told_the_whole_address(
    page: FakePage, pancake: FakePancake, time: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.add_conversation()
    origin = pancake.answer
    asked: list[str] = []

    def as_proxy(path: str, query: str = "", *, method: str = "GET") -> Reply:
        asked.append(path)
        return origin(path.removeprefix("http://pages.example"), query, method=method)

    monkeypatch.setattr(pancake, "answer", as_proxy)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with FakeServer(pancake) as server:
        monkeypatch.setenv("HTTP_PROXY", server.url)
        monkeypatch.setenv("http_proxy", server.url)
        client = PancakeClient(PAGE, page.token, base_url="http://pages.example", clock=time)
        assert len(listed(client)) == 1
    assert asked[0].startswith("http://pages.example/api/")


def test_building_a_client_makes_no_call(client: PancakeClient, pancake: FakePancake) -> None:
    assert client.tally.calls == {}
    assert pancake.count() == 0


def test_the_moment_of_a_call_is_utc(client: PancakeClient) -> None:
    assert client.get(endpoints.CONVERSATIONS, {}).sent_at == datetime(2026, 3, 20, tzinfo=timezone.utc)
