"""Serve a simulated page: `python -m tests.fake_pancake --conversations 300`.

Prints the URL, the page id and the token, one a line, and serves until it is told to stop. Several pages have
their ids in one line, with commas, and one token. On SIGUSR1 one conversation in a hundred of each page gets
a message, and a line says how many.
"""

from __future__ import annotations

import argparse
import signal
import threading

from .api import FakePancake
from .dialect import ARTICLE, LIVE
from .model import FakePage
from .server import FakeServer

CHANGED_ONE_IN = 100
FIRST_ID = 100_000_000_000_001


def main() -> None:
    """Build the page, say where it is, serve."""
    parser = argparse.ArgumentParser(prog="python -m tests.fake_pancake", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free port")
    parser.add_argument("--pages", type=int, default=1)
    parser.add_argument("--conversations", type=int, default=300, help="of each page")
    parser.add_argument("--days", type=float, default=14, help="length of the past")
    parser.add_argument("--messages-each", type=int, help="plain threads of this length, for benchmarks")
    parser.add_argument("--article", action="store_true", help="the simple rows of the tutorial")
    parser.add_argument("--rate", type=int, help="calls a second above which a 429 is answered")
    parser.add_argument("--latency-ms", type=float, default=0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    pages = [
        FakePage(
            str(FIRST_ID + number), dialect=ARTICLE if options.article else LIVE, seed=options.seed + number
        )
        for number in range(options.pages)
    ]
    for page in pages:
        if options.messages_each is None:
            page.populate(days=options.days, conversations=options.conversations)
        else:
            page.grow(options.conversations, options.messages_each)
    pancake = FakePancake(pages)
    pancake.strict_rate = options.rate
    pancake.latency_s = options.latency_ms / 1000

    def change(*_: object) -> None:
        chosen = [(page, key) for page in pages for key in list(page.conversations)[::CHANGED_ONE_IN]]
        for page, conversation_id in chosen:
            page.add_message(conversation_id)
        print(len(chosen), flush=True)  # noqa: T201

    signal.signal(signal.SIGUSR1, change)
    told_to_stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told_to_stop.set())
    with FakeServer(pancake, host=options.host, port=options.port) as server:
        ids = ",".join(page.page_id for page in pages)
        print(server.url, ids, pages[0].token, sep="\n", flush=True)  # noqa: T201
        told_to_stop.wait()


if __name__ == "__main__":
    main()
