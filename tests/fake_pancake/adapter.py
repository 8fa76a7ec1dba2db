"""The simulated API as connections of `urllib3`: in process, no sockets."""

from __future__ import annotations

from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPResponse
from urllib3.exceptions import IncompleteRead, ProtocolError, ReadTimeoutError

from .api import FakePancake


class FakeAdapter(HTTPConnectionPool):
    """Takes the place of connections: `FakeAdapter(pancake).request("GET", path, fields=query)`.

    Delays pass on the clock of the FakePancake. As with real connections, the text of an exception holds the
    URL, and so the token.
    """

    def __init__(self, pancake: FakePancake) -> None:
        super().__init__("pages.fm")
        self.pancake = pancake

    def urlopen(self, method: str, url: str, *args: Any, **options: Any) -> BaseHTTPResponse:
        """Answer a request, or fail as a connection would."""
        parts = urlsplit(url)
        reply = self.pancake.answer(parts.path, parts.query, method=method)
        timeout = self._get_timeout(options.get("timeout")).read_timeout
        if isinstance(timeout, int | float) and reply.delay_s > timeout:
            self.pancake.clock.sleep(timeout)
            raise ReadTimeoutError(self, url, f"Read timed out. (read timeout={timeout}) {url}")
        if reply.delay_s > 0:
            self.pancake.clock.sleep(reply.delay_s)
        if reply.drop:
            raise ProtocolError(f"Connection aborted. {url}")
        if reply.drop_midway:
            sent = len(reply.body) // 2
            broken = IncompleteRead(sent, len(reply.body) - sent)
            raise ProtocolError(f"Connection broken: {broken} {url}")
        return HTTPResponse(
            body=BytesIO(reply.body), headers=reply.headers, status=reply.status, request_url=url
        )
