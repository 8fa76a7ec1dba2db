"""The API itself: from a path and a query to an answer, without sockets."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote

from . import lookups, statistics
from .calls import Call, SlidingSecond, busiest_second
from .clock import Clock
from .faults import Fault, instead, marred, take_fault
from .listing import ConversationList
from .model import FakePage
from .replies import TOO_MANY, Query, RefusedError, Reply, failure, html_reply, json_reply
from .thread import thread

Handler = Callable[[FakePage, Query, "str | None"], dict[str, Any]]


@dataclass(frozen=True)
class Endpoint:
    """One readable thing.

    Attributes:
        name: what faults and calls name it by.
        key: where the rows are in the body.
        handler: from the page, the query and the conversation in the path to the body; raises RefusedError.
    """

    name: str
    key: str
    handler: Handler


PAGES = "/api/v1/pages"
"""The only path that a user token opens."""


class FakePancake:
    """Pages behind the rules of the API. One instance may serve many threads.

    Attributes:
        endpoints: path template -> Endpoint. A template that is not here is answered with the web app's HTML.
        user_token: a token that is real, but not for pages.
        faults: disturbances to come, first match first.
        strict_rate: calls per page that any sliding second may hold; those above get a 429. None: no limit.
        rate_reply: whether that 429 is the HTTP status or in a 200 body.
        rate_retry_after_s: its Retry-After header.
        latency_s: delay of every answer.
        calls: every call so far, in the order of arrival.
        before_call, after_call: called with the call before its answer is made, and before it is sent.
    """

    def __init__(self, pages: Iterable[FakePage] = (), *, clock: Clock = time) -> None:
        self.clock = clock
        self.endpoints: dict[str, Endpoint] = {
            "/api/public_api/v2/pages/{page_id}/conversations": Endpoint(
                "conversations", "conversations", ConversationList()
            ),
            "/api/public_api/v1/pages/{page_id}/conversations/{conversation_id}/messages": Endpoint(
                "messages", "messages", thread
            ),
            PAGES: Endpoint("pages", "categorized", self._page_list),
            **{
                f"/api/public_api/v1/pages/{{page_id}}/{path}": Endpoint(name, key, handler)
                for path, name, key, handler in (
                    ("tags", "tags", "tags", lookups.tags),
                    ("users", "users", "users", lookups.users),
                    ("posts", "posts", "posts", lookups.posts),
                    ("page_customers", "page_customers", "customers", lookups.page_customers),
                    ("statistics/pages", "page_statistics", "data", statistics.of_page),
                    ("statistics/users", "user_statistics", "data", statistics.of_users),
                )
            },
        }
        self.user_token = "user-token-for-tests"
        self.faults: list[Fault] = []
        self.strict_rate: int | None = None
        self.rate_reply: Literal["http", "body"] = "http"
        self.rate_retry_after_s: float | None = None
        self.latency_s = 0.0
        self.calls: list[Call] = []
        self.before_call: Callable[[Call], None] | None = None
        self.after_call: Callable[[Call], None] | None = None
        self._pages: dict[str, FakePage] = {}
        self._seconds: defaultdict[str, SlidingSecond] = defaultdict(SlidingSecond)
        self._request_numbers = itertools.count(1)
        self._lock = threading.Lock()
        for page in pages:
            self.add_page(page)

    def add_page(self, page: FakePage) -> FakePage:
        """Serve one more page."""
        self._pages[page.page_id] = page
        return page

    def page(self, page_id: str | None = None) -> FakePage:
        """The page with this id, or the first one."""
        return next(iter(self._pages.values())) if page_id is None else self._pages[page_id]

    def fail(self, fault: Fault) -> None:
        """Let a fault happen, after those already waiting. The fault is copied, so it may be used again."""
        with self._lock:
            self.faults.append(dataclasses.replace(fault))

    def count(self, endpoint: str | None = None) -> int:
        """Calls so far, of one endpoint or of all."""
        return sum(1 for call in list(self.calls) if endpoint in (None, call.endpoint))

    def clear_calls(self) -> None:
        """Forget the calls, not the rate limit."""
        with self._lock:
            self.calls.clear()

    def busiest_second(self, page_id: str | None = None) -> int:
        """Most calls that arrived for one page in any sliding second; None is the busiest page."""
        arrivals: defaultdict[str, list[float]] = defaultdict(list)
        for call in list(self.calls):
            arrivals[call.page_id].append(call.at)
        pages = arrivals if page_id is None else {page_id: arrivals[page_id]}
        return max((busiest_second(times) for times in pages.values()), default=0)

    @property
    def rate_limited(self) -> int:
        """Calls refused by `strict_rate`."""
        return sum(1 for call in list(self.calls) if call.limited)

    def answer(self, path: str, query: str | Sequence[tuple[str, str]] = "", *, method: str = "GET") -> Reply:
        """Answer one request.

        Args:
            path: percent-encoded, from the root.
            query: percent-encoded text, or decoded pairs.
        """
        endpoint, named = self._route(path)
        parameters = Query(query)
        call, fault = self._arrive(endpoint, named, parameters)
        if self.before_call is not None:
            self.before_call(call)
        if call.limited:
            reply = self._too_many()
        elif method != "GET":
            reply = json_reply(405, failure("Only reading is simulated"))
        elif endpoint is None:
            reply = html_reply()
        else:
            reply = self._answer_endpoint(endpoint, call, fault, parameters)
        call.status = 0 if reply.drop else reply.status
        if self.after_call is not None:
            self.after_call(call)
        reply.headers["x-request-id"] = f"request-{next(self._request_numbers):08d}"
        return dataclasses.replace(reply, delay_s=reply.delay_s + self.latency_s)

    def _route(self, path: str) -> tuple[Endpoint | None, dict[str, str]]:
        """The endpoint of a path and the ids in it."""
        segments = [unquote(segment) for segment in path.split("/")]
        for template, endpoint in self.endpoints.items():
            parts = template.split("/")
            if len(parts) != len(segments):
                continue
            pairs = list(zip(parts, segments, strict=True))
            if all(part == segment or part.startswith("{") for part, segment in pairs):
                return endpoint, {part[1:-1]: segment for part, segment in pairs if part.startswith("{")}
        return None, {}

    def _arrive(
        self, endpoint: Endpoint | None, named: dict[str, str], query: Query
    ) -> tuple[Call, Fault | None]:
        """Write the call down, and settle what its arrival settles: the rate limit and the fault."""
        call = Call(
            page_id=named.get("page_id", ""),
            endpoint=endpoint.name if endpoint else "unknown",
            conversation_id=named.get("conversation_id"),
            at=0.0,
            params=query.without_tokens(),
        )
        with self._lock:
            call.at = self.clock.monotonic()
            self.calls.append(call)
            in_this_second = self._seconds[call.page_id].arrive(call.at)
            call.limited = self.strict_rate is not None and in_this_second > self.strict_rate
            if call.limited or endpoint is None:
                return call, None
            return call, take_fault(self.faults, call)

    def _too_many(self) -> Reply:
        status = 429 if self.rate_reply == "http" else 200
        return json_reply(status, failure(TOO_MANY, 429), retry_after_s=self.rate_retry_after_s)

    def _answer_endpoint(self, endpoint: Endpoint, call: Call, fault: Fault | None, query: Query) -> Reply:
        if fault is not None and not fault.needs_answer:
            return instead(fault, endpoint.key)
        normal = self._normal(endpoint, call, query)
        if fault is None:
            return normal
        if fault.kind != "slow":
            call.rows = 0
        return marred(fault, normal)

    def _normal(self, endpoint: Endpoint, call: Call, query: Query) -> Reply:
        try:
            page = self.page() if endpoint.name == "pages" else self._signed_in(call, query)
            body = endpoint.handler(page, query, call.conversation_id)
        except RefusedError as refused:
            return json_reply(refused.status, refused.body)
        call.rows = len(body.get(endpoint.key, ()))
        return json_reply(200, body)

    def _page_list(self, page: FakePage, query: Query, conversation_id: str | None) -> dict[str, Any]:
        """All pages, for the user token alone."""
        if query.one("access_token") != self.user_token:
            raise RefusedError(200, "Invalid access_token", 102)
        return lookups.page_list(list(self._pages.values()), page.dialect)

    def _signed_in(self, call: Call, query: Query) -> FakePage:
        """The page that the token opens."""
        page = self._pages.get(call.page_id)
        token = query.one("page_access_token")
        if page is not None and token == page.token:
            return page
        over_http = page is not None and page.dialect.auth_failure == "http" and token != self.user_token
        raise RefusedError(401 if over_http else 200, "Invalid access_token", 102)
