"""The simulated API as a `requests` transport: in process, no sockets."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import get_encoding_from_headers
from urllib3 import HTTPResponse

from .api import FakePancake
from .replies import Reply

Timeout = float | tuple[float, float] | tuple[float, None] | None


class FakeAdapter(BaseAdapter):
    """Mount it on a session: `session.mount("https://", FakeAdapter(pancake))`.

    Delays pass on the clock of the FakePancake. As with real connections, the text of an exception holds the
    URL, and so the token.
    """

    def __init__(self, pancake: FakePancake) -> None:
        super().__init__()
        self.pancake = pancake

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Timeout = None,
        verify: bool | str = True,
        cert: bytes | str | tuple[bytes | str, bytes | str] | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Answer a request, or fail as a connection would."""
        parts = urlsplit(request.url or "")
        reply = self.pancake.answer(parts.path, parts.query, method=request.method or "GET")
        read_timeout = timeout[1] if isinstance(timeout, tuple) else timeout
        # urllib3's Timeout object is allowed here as well.
        read_timeout = getattr(read_timeout, "read_timeout", read_timeout)
        if read_timeout is not None and reply.delay_s > read_timeout:
            self.pancake.clock.sleep(read_timeout)
            cause = f"ReadTimeoutError('Read timed out. (read timeout={read_timeout})')"
            raise requests.ReadTimeout(_broken(request, cause), request=request)
        if reply.delay_s > 0:
            self.pancake.clock.sleep(reply.delay_s)
        if reply.drop:
            cause = "ProtocolError('Connection aborted.', RemoteDisconnected('no response'))"
            raise requests.ConnectionError(_broken(request, cause), request=request)
        if reply.drop_midway:
            sent = len(reply.body) // 2
            cause = f"IncompleteRead({sent} bytes read, {len(reply.body) - sent} more expected)"
            raise requests.exceptions.ChunkedEncodingError(_broken(request, cause), request=request)
        return self._response(request, reply)

    def close(self) -> None:
        """Nothing to close."""

    def _response(self, request: requests.PreparedRequest, reply: Reply) -> requests.Response:
        response = requests.Response()
        response.status_code = reply.status
        response.headers = CaseInsensitiveDict(reply.headers)
        response.encoding = get_encoding_from_headers(response.headers)
        response.raw = HTTPResponse(
            body=BytesIO(reply.body), headers=reply.headers, status=reply.status, preload_content=False
        )
        response.url = request.url or ""
        response.request = request
        response.reason = str(response.raw.reason or "")
        return response


def _broken(request: requests.PreparedRequest, cause: str) -> str:
    parts = urlsplit(request.url or "")
    pool = f"{parts.scheme.upper()}ConnectionPool(host={parts.hostname!r}, port={parts.port or 443})"
    return f"{pool}: Max retries exceeded with url: {request.path_url} (Caused by {cause}) {request.url}"
