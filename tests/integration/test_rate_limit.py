"""The documented limit is kept over real HTTP, whatever the threads do."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from sources.pancake import PancakeClient, endpoints
from tests.fake_pancake import FakePage, FakePancake, FakeServer

THREADS = 8
SECONDS = 6.0


def test_eight_threads_use_five_calls_a_second_and_never_one_more() -> None:
    page = FakePage()
    pancake = FakePancake([page])
    pancake.strict_rate = 5
    with FakeServer(pancake) as server, ThreadPoolExecutor(THREADS) as pool:
        client = PancakeClient(
            page.page_id, page.token, base_url=server.url, requests_per_second=5, connections=THREADS
        )
        until = time.monotonic() + SECONDS

        def work(_: int) -> None:
            while time.monotonic() < until:
                client.get(endpoints.CONVERSATIONS, {})

        list(pool.map(work, range(THREADS)))
    arrivals = [call.at for call in pancake.calls]
    assert pancake.rate_limited == 0
    assert pancake.busiest_second() <= 5
    assert (len(arrivals) - 1) / (arrivals[-1] - arrivals[0]) >= 4.5
    assert client.tally.calls == {"conversations": len(arrivals)}
    assert client.tally.retries == 0
