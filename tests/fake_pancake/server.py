"""The simulated API over HTTP, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from types import TracebackType

from aiohttp import web

from .api import FakePancake

START_TIMEOUT_S = 10.0
SHUTDOWN_TIMEOUT_S = 0.2
BACKLOG = 512  # connections that may wait to be accepted


class FakeServer:
    """A real server around a FakePancake: `with FakeServer(pancake) as server: server.url`.

    Delays pass in real time, whatever clock the FakePancake has.
    """

    def __init__(self, pancake: FakePancake, host: str = "127.0.0.1", port: int = 0) -> None:
        self.pancake = pancake
        self.url = ""
        self._host = host
        self._port = port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> FakeServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; returns when `url` answers."""
        started: Future[str] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="fake-pancake", daemon=True)
        self._thread.start()
        self.url = started.result(START_TIMEOUT_S)

    def stop(self) -> None:
        """Close every connection and wait for the thread."""
        if self._loop is not None and self._stop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
            self._thread = None

    def _run(self, started: Future[str]) -> None:
        try:
            asyncio.run(self._serve(started))
        except BaseException as problem:
            if started.done():
                raise
            started.set_exception(problem)

    async def _serve(self, started: Future[str]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        handling = web.Server(self._handle, access_log=None)
        runner = web.ServerRunner(handling, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._host, self._port, backlog=BACKLOG)
            await site.start()
            host, port = runner.addresses[0][:2]
            started.set_result(f"http://{host}:{port}")
            await self._stop.wait()
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        reply = self.pancake.answer(path, query, method=request.method)
        if reply.delay_s > 0:
            await asyncio.sleep(reply.delay_s)
        if reply.drop:
            _abort(request)
        elif reply.drop_midway:
            begun = web.StreamResponse(status=reply.status, headers=reply.headers)
            begun.content_length = len(reply.body)
            await begun.prepare(request)
            await begun.write(reply.body[: len(reply.body) // 2])
            if request.transport is not None:
                request.transport.close()  # after what was written has left
            return begun
        return web.Response(status=reply.status or 200, headers=reply.headers, body=reply.body)


def _abort(request: web.BaseRequest) -> None:
    """Close the connection at once; what the handler returns is never sent."""
    if request.transport is not None:
        request.transport.abort()
