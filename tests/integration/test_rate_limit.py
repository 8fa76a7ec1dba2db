"""The documented limit is kept over real HTTP, whatever the threads do."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sources.pancake import PancakeClient, endpoints, settings
from tests.fake_pancake import FakePage, FakePancake, FakeServer
from tests.steady import measured

SECONDS = 4.0


def _read(threads: int, latency_s: float) -> tuple[FakePancake, PancakeClient]:
    page = FakePage()
    pancake = FakePancake([page])
    pancake.strict_rate = 5
    pancake.latency_s = latency_s
    with FakeServer(pancake) as server, ThreadPoolExecutor(threads) as pool:
        client = PancakeClient(
            page.page_id, page.token, base_url=server.url, requests_per_second=5, connections=threads
        )
        until = time.monotonic() + SECONDS

        def work(_: int) -> None:
            while time.monotonic() < until:
                client.get(endpoints.CONVERSATIONS, {})

        list(pool.map(work, range(threads)))
    return pancake, client


@pytest.mark.parametrize(
    ("threads", "latency_s"), [(8, 0.0), (settings.WORKERS, 0.2), (settings.WORKERS, 0.5)]
)
def test_threads_use_five_calls_a_second_and_never_one_more(threads: int, latency_s: float) -> None:
    pancake, client = measured(lambda: _read(threads, latency_s))
    arrivals = [call.at for call in pancake.calls]
    assert pancake.rate_limited == 0
    assert pancake.busiest_second() <= 5
    assert (len(arrivals) - 1) / (arrivals[-1] - arrivals[0]) >= 4.7
    assert client.tally.calls == {"conversations": len(arrivals)}
    assert client.tally.retries == 0
