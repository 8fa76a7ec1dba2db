"""The one owner of the token: sends calls, paces and repeats them, and returns what they gave."""

from __future__ import annotations

import base64
import copy
import json
import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

import dlt
import requests
from dlt.common import logger
from requests.adapters import HTTPAdapter
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_chain,
    wait_fixed,
    wait_random,
)
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, Timeout
from urllib3.exceptions import HTTPError

from . import rate_stores, settings
from .endpoints import Endpoint
from .errors import PancakeError, PancakeSettingsError, PancakeTransientError, unwrap
from .records import Batch
from .throttle import Clock, Throttle

Params = Mapping[str, str | int]

_TOKEN = re.compile(r"[!-~]+")
_BASE_URL = re.compile(r"https?://([\w.-]+|\[[0-9a-fA-F:]+\])(:\d{1,5})?(/[^\s?#]*)?")
_TOKEN_IN_TEXT = re.compile(r"(access_token=)[^&\s'\"]+")
_HEADERS = {
    "User-Agent": f"dlt/{dlt.__version__}",
    "Accept": "*/*",
    "Accept-Encoding": "gzip, deflate",
}


@dataclass
class Tally:
    """What the calls of one client cost; seconds of waiting are added over all threads.

    Args:
        throttle: Knows the rates and pauses.
        calls: Calls by endpoint.
        retries: Calls that were sent again.
        rate_limited: 429s.
        waited_s: Seconds waited for a start.
    """

    throttle: Throttle
    calls: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    rate_limited: int = 0
    waited_s: float = 0.0

    def as_metrics(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        return {
            "calls": dict(self.calls),
            "retries": self.retries,
            "rate_limited": self.rate_limited,
            "waited_s": self.waited_s,
            "paused_s": self.throttle.paused_s,
            "rate": self.throttle.requests_per_second,
            "slowest_rate": self.throttle.slowest_rate,
        }


class PancakeClient:
    """Reads one page.

    Args:
        page_id: The page.
        page_access_token: Its page token, from Settings > Tools.
        base_url: Address of Pancake, or of a simulator.
        requests_per_second: Most calls that start in any second; Pancake documents 5.
        rate_limit_store: Where processes and machines share the page's rate: `sqlite:///file`,
            `redis://host:port/db` or `postgresql://user:password@host/db`. None: this process has it alone.
        connections: Connections kept open: as many as threads call at once.
        clock: Where time comes from.
        transport: What carries the calls, when not the network.

    Raises:
        PancakeSettingsError: An argument is missing or makes no sense.
    """

    def __init__(
        self,
        page_id: str,
        page_access_token: str,
        *,
        base_url: str = settings.BASE_URL,
        requests_per_second: float = settings.REQUESTS_PER_SECOND,
        rate_limit_store: str | None = None,
        connections: int = settings.WORKERS,
        clock: Clock = time,
        transport: HTTPConnectionPool | None = None,
    ) -> None:
        token = page_access_token.strip()
        self.page_id = str(page_id).strip()
        _check(self.page_id, token, base_url, requests_per_second)
        self._base_url = base_url.rstrip("/")
        self.clock = clock
        line = None
        if rate_limit_store:
            line = rate_stores.shared(rate_limit_store, f"{self.page_id}@{self._base_url}", clock.time)
        self.throttle = Throttle(requests_per_second, clock, line)
        self.tally = Tally(self.throttle)
        self._lock = threading.Lock()
        self._token = ("page_access_token", token)
        self._timeout = Timeout(connect=settings.CONNECT_TIMEOUT_S, read=settings.READ_TIMEOUT_S)
        found, self._address = _way_to(base_url, connections)
        self._transport = transport or found

    def as_user(self, user_access_token: str) -> PancakeClient:
        """Return a client that sends a user token instead of the page's; both are paced and counted as one.

        Raises:
            PancakeSettingsError: It can be no token.
        """
        token = user_access_token.strip()
        if not _TOKEN.fullmatch(token):
            raise PancakeSettingsError(
                "`sources.pancake.user_access_token` holds white space or a character that no token has."
                " Copy it again, or take it out: only the names of pages need it."
            )
        other = copy.copy(self)
        other._token = ("access_token", token)  # noqa: SLF001  # of its own class
        return other

    def get(self, endpoint: Endpoint, params: Params, **ids: str) -> Batch:
        """Return the rows of one call.

        The call is repeated up to three times, after 1, 2 and 4 s or what `Retry-After` says, when the error
        is one that may pass. A 429 does not count as a try: the call goes on when the throttle lets it, until
        the page is given up.

        Args:
            endpoint: What to read.
            params: Query parameters without the token.
            **ids: Ids that the endpoint's path needs, besides the page's.

        Raises:
            PancakeRateLimitError: The page has answered nothing but 429 for RATE_LIMIT_BUDGET_S.
            PancakeError: As `unwrap` says; `PancakeTransientError` after the last try.
        """
        attempts = Retrying(
            retry=retry_if_exception_type(PancakeTransientError),
            stop=_is_enough,
            wait=_retry_wait,
            sleep=self.clock.sleep,
            before_sleep=self._before_retry,
            reraise=True,
        )
        return attempts(self._send_until_let_in, endpoint, params, ids)

    def _before_retry(self, state: RetryCallState) -> None:
        error = _error_of(state)
        with self._lock:
            self.tally.retries += 1
        logger.info(f"retry {state.attempt_number} in {state.upcoming_sleep:.1f} s: {error}")

    def _send_until_let_in(self, endpoint: Endpoint, params: Params, ids: Mapping[str, str]) -> Batch:
        while True:
            try:
                return self._send(endpoint, params, ids)
            except PancakeTransientError as error:
                if not error.rate_limited:
                    raise
            with self._lock:
                self.tally.retries += 1

    def _send(self, endpoint: Endpoint, params: Params, ids: Mapping[str, str]) -> Batch:
        waited = self.throttle.wait(str(endpoint))
        sent_at = datetime.fromtimestamp(self.clock.time(), timezone.utc)
        with self._lock:
            self.tally.calls[endpoint.name or endpoint.rows_key] += 1
            self.tally.waited_s += waited
        path = endpoint.path(page_id=self.page_id, **ids)
        query = urlencode((self._token, *params.items()))
        problem = ""
        try:
            response = self._transport.urlopen(
                "GET",
                f"{self._address}{path}?{query}",
                headers=_HEADERS,
                timeout=self._timeout,
                retries=False,
                redirect=False,
                assert_same_host=False,  # to a proxy the address is told whole
            )
        except HTTPError as exc:
            problem = type(exc).__name__  # its text holds the address, and so the token
        if problem:  # after the except block, or the error would carry the other one as its context
            raise PancakeTransientError(
                f"`GET {endpoint}` got no reply ({problem}). Check the network and"
                " `sources.pancake.base_url`.",
                str(endpoint),
            )
        try:
            body = unwrap(
                response.status,
                self._without_token(response.data),
                str(endpoint),
                endpoint.rows_key,
                _retry_after_s(response, self.clock),
                one_object=endpoint.one_object,
            )
        except PancakeError as error:
            if isinstance(error, PancakeTransientError) and error.rate_limited:
                self._slow_down(error)
            else:
                self.throttle.let_in()
            raise
        self.throttle.let_in()
        found = body[endpoint.rows_key]
        server_time = _server_time(response.headers.get("Date", ""))
        return Batch([found] if endpoint.one_object else found, sent_at, body, server_time)

    def _slow_down(self, error: PancakeTransientError) -> None:
        with self._lock:
            self.tally.rate_limited += 1
        self.throttle.slow_down(error.retry_after_s)
        logger.info(f"429: going on at {self.throttle.requests_per_second:.2f} calls/s")

    def _without_token(self, content: bytes) -> bytes:
        found = self._token[1].encode()
        return content.replace(found, b"***") if found in content else content


def _way_to(base_url: str, connections: int) -> tuple[Any, str]:
    """Return connections to an address, and how a request over them names it.

    Proxies and certificates of the environment are looked up here, as `requests` does, and not at every call:
    its sessions take three times the time of a call.
    """
    request = requests.Request("GET", base_url).prepare()
    adapter: Any = HTTPAdapter(pool_maxsize=connections)
    found = requests.Session().merge_environment_settings(base_url, {}, None, None, None)
    proxies, verify, cert = found["proxies"], found["verify"], found["cert"]
    pool = adapter.get_connection_with_tls_context(request, verify, proxies, cert)
    adapter.cert_verify(pool, base_url, verify, cert)
    for name in ("urllib3.connectionpool", "urllib3.util.retry"):
        logging.getLogger(name).addFilter(_hide_tokens)
    return pool, adapter.request_url(request, proxies).rstrip("/")


def _hide_tokens(record: logging.LogRecord) -> bool:
    """Take tokens out of the addresses that urllib3 logs."""
    text = record.getMessage()
    if "access_token=" in text:
        record.msg, record.args = _TOKEN_IN_TEXT.sub(r"\1***", text), ()
    return True


def _error_of(state: RetryCallState) -> PancakeTransientError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, PancakeTransientError)  # noqa: S101
    return error


_backoff = wait_chain(*map(wait_fixed, settings.RETRY_WAITS_S)) + wait_random(0, settings.RETRY_JITTER_S)


def _retry_wait(state: RetryCallState) -> float:
    error = _error_of(state)
    if error.retry_after_s is not None:
        return error.retry_after_s
    return _backoff(state)


_last_attempt = stop_after_attempt(len(settings.RETRY_WAITS_S) + 1)


def _is_enough(state: RetryCallState) -> bool:
    asked_for_s = _error_of(state).retry_after_s or 0.0
    return _last_attempt(state) or asked_for_s > settings.RETRY_AFTER_CAP_S


def _retry_after_s(response: BaseHTTPResponse, clock: Clock) -> float | None:
    """Return `Retry-After` in seconds; it may be a number or an HTTP date."""
    value = response.headers.get("Retry-After", "").strip()
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - clock.time())
    except ValueError:
        return None


def _server_time(value: str) -> datetime | None:
    """Return what the header `Date` says."""
    try:
        return parsedate_to_datetime(value).replace(tzinfo=timezone.utc)
    except (ValueError, TypeError):
        return None


def _check(page_id: str, token: str, base_url: str, requests_per_second: float) -> None:
    if not page_id:
        raise PancakeSettingsError(
            "`sources.pancake.page_id` is empty. It is the number in the page's address in Pancake"
            " (SOURCES__PANCAKE__PAGE_ID)."
        )
    if not _TOKEN.fullmatch(token):
        raise PancakeSettingsError(
            "`sources.pancake.page_access_token` is "
            + ("broken by white space or a character that no token has" if token else "empty")
            + ". Copy it from the page's Settings > Tools (SOURCES__PANCAKE__PAGE_ACCESS_TOKEN)."
        )
    if not _BASE_URL.fullmatch(base_url):
        raise PancakeSettingsError(
            f"`sources.pancake.base_url` is {base_url!r}; expected an address such as {settings.BASE_URL}."
        )
    if not requests_per_second > 0:
        raise PancakeSettingsError(
            f"`sources.pancake.requests_per_second` is {requests_per_second}; expected a positive number."
            f" Pancake documents {settings.DOCUMENTED_REQUESTS_PER_SECOND:g}."
        )
    if requests_per_second > settings.DOCUMENTED_REQUESTS_PER_SECOND:
        logger.warning(
            f"`sources.pancake.requests_per_second` is {requests_per_second:g}, above the"
            f" {settings.DOCUMENTED_REQUESTS_PER_SECOND:g} that Pancake documents per page."
        )
    _check_token_claims(page_id, token)


def _check_token_claims(page_id: str, token: str) -> None:
    """Refuse a token that says of itself that it is for another page or for a user.

    A page token is a JWT whose payload names its page. A token of any other form is left to the server.
    """
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError):
        return
    if not isinstance(claims, dict) or page_id in map(str, claims.values()):
        return
    if "page_id" in claims:
        raise PancakeSettingsError(
            f"`sources.pancake.page_access_token` is the token of another page than {page_id}. Copy the one"
            " from this page's Settings > Tools."
        )
    if "uid" in claims and "id" not in claims:
        raise PancakeSettingsError(
            "`sources.pancake.page_access_token` holds a user token (it names a user, no page). Copy the"
            " page's own token from its Settings > Tools."
        )
