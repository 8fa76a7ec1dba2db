"""How much of the rate limit is used: `python -m benchmarks.rate`. Takes two minutes.

First a sync of one page with three latencies, then 50 pages side by side in one process. The simulated
Pancake runs in another process and answers 429 to every call above five in a sliding second.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

import dlt

from sources.pancake import PancakeClient, endpoints, pancake_source, settings
from tests.fake_pancake import FakePage, FakePancake, FakeServer

LIMIT = 5
LATENCIES_S = (0.2, 0.3, 0.5)
CONVERSATIONS = 60
PAGES = 50
SECONDS = 20.0
THREAD = "1_1"


@dataclass
class Arrivals:
    """What the server saw of the threads of messages.

    Attributes:
        rate: Calls a second, without the first and the last twentieth of the calls.
        busiest: Most calls of one page in any sliding second.
        refused: Calls answered with 429.
        cpu_s: Processor time of the server.
    """

    rate: float
    busiest: int
    refused: int
    cpu_s: float


class Server:
    """A simulated Pancake in another process."""

    def __init__(self, url: str, accounts: Sequence[tuple[str, str]], pipe: Connection) -> None:
        self.url = url
        self.accounts = accounts
        self._pipe = pipe

    def arrivals(self) -> Arrivals:
        """Ask for what arrived so far."""
        self._pipe.send("arrivals")
        found: Arrivals = self._pipe.recv()
        return found


@contextmanager
def server(pages: int, latency_s: float) -> Iterator[Server]:
    """Start a server with so many pages, and stop it."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(pages, latency_s, theirs))
    process.start()
    url, accounts = ours.recv()
    try:
        yield Server(url, accounts, ours)
    finally:
        ours.send("end")
        process.join()


def serve(pages: int, latency_s: float, pipe: Connection) -> None:
    """Run a server until the other process has enough."""
    served = [FakePage(page_id=str(number)) for number in range(pages)]
    for page in served:
        page.add_conversation(id=THREAD)
    if pages == 1:
        served[0].grow(CONVERSATIONS, 3)
    pancake = FakePancake(served)
    pancake.strict_rate = LIMIT
    pancake.latency_s = latency_s
    with FakeServer(pancake) as running:
        pipe.send((running.url, [(page.page_id, page.token) for page in served]))
        while pipe.recv() == "arrivals":
            at = [call.at for call in pancake.calls if call.endpoint == "messages"]
            middle = at[len(at) // 20 : -len(at) // 20]
            rate = (len(middle) - 1) / (middle[-1] - middle[0])
            cpu_s = cpu_so_far_s()
            pipe.send(Arrivals(rate, pancake.busiest_second(), pancake.rate_limited, cpu_s))


def cpu_so_far_s() -> float:
    """Return the processor time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def one_page(latency_s: float) -> None:
    """Sync one page from nothing."""
    with server(1, latency_s) as running, tempfile.TemporaryDirectory() as folder:
        ((page_id, token),) = running.accounts
        pipeline = dlt.pipeline(
            "rate",
            destination=dlt.destinations.duckdb(f"{folder}/rate.duckdb"),
            dataset_name="pancake",
            pipelines_dir=folder,
        )
        source = pancake_source(
            page_id, token, base_url=running.url, requests_per_second=LIMIT, tables=["messages"]
        )
        pipeline.run(source)
        seen = running.arrivals()
        print(
            f"one page, latency {latency_s:.1f} s, {settings.WORKERS} threads: {seen.rate:.2f} calls/s,"
            f" busiest second {seen.busiest}, {seen.refused} × 429",
            flush=True,
        )


def many_pages(latency_s: float) -> None:
    """Read threads of many pages side by side."""
    with server(PAGES, latency_s) as running:
        clients = [
            PancakeClient(page_id, token, base_url=running.url, requests_per_second=LIMIT)
            for page_id, token in running.accounts
        ]
        cpu_s, began = cpu_so_far_s(), time.monotonic()

        def work(job: tuple[int, PancakeClient]) -> None:
            number, client = job
            time.sleep(number / PAGES / LIMIT)  # or all pages would call at the same moments for ever
            while time.monotonic() - began < SECONDS:
                client.get(endpoints.MESSAGES, {"current_count": 0}, conversation_id=THREAD)

        with ThreadPoolExecutor(PAGES * settings.WORKERS) as pool:
            list(pool.map(work, list(enumerate(clients)) * settings.WORKERS))
        lasted = time.monotonic() - began
        cpu_s = cpu_so_far_s() - cpu_s
        seen = running.arrivals()
        print(
            f"{PAGES} pages, latency {latency_s:.1f} s, {settings.WORKERS} threads each: {seen.rate:.0f} of"
            f" {PAGES * LIMIT} calls/s, busiest second of a page {seen.busiest}, {seen.refused} × 429;"
            f" processor: {cpu_s / lasted:.0%} of one core here, {seen.cpu_s / lasted:.0%} for the server",
            flush=True,
        )


def main() -> None:
    """Measure and print."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DLT_DATA_DIR"] = folder
        for latency_s in LATENCIES_S:
            one_page(latency_s)
        many_pages(LATENCIES_S[0])


if __name__ == "__main__":
    main()
