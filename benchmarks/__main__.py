"""Processor time and memory of a load, beside other ways to do it: `make bench`.

Each contender loads the same simulated page, served by another process, into a new DuckDB file. What counts
is what its own process used, its start included; the figures of one run compare with each other only. They
run in an environment without extras and tools: DuckDB imports pandas wherever it is installed, which costs a
second.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
from rich.console import Console
from rich.table import Table

REPOSITORY = Path(__file__).parents[1]
PYTHON = REPOSITORY / ".venv-bench/bin/python"
OURS = ("pipelines.cli", "sync", "--load-every", "1000")
CONTENDERS = {
    "rest_api, default": ("benchmarks.by_rest_api", "default"),
    "rest_api, tuned": ("benchmarks.by_rest_api", "tuned"),
    "by hand": ("benchmarks.by_hand",),
    "pancake sync": OURS,
    "pancake sync, messages": (*OURS, "--tables", "messages"),
    "empty dlt run": ("benchmarks.empty",),
}


@dataclass(frozen=True)
class Cost:
    """What a process used.

    Args:
        processor_s: Processor time, user and system.
        peak_mib: Largest resident memory.
        wall_s: Time that passed.
    """

    processor_s: float
    peak_mib: float
    wall_s: float


@dataclass(frozen=True)
class Server:
    """A simulated page in another process."""

    process: subprocess.Popen[str]
    environment: Mapping[str, str]

    def change(self) -> None:
        """Let one conversation in a hundred get a message."""
        self.process.send_signal(signal.SIGUSR1)
        assert self.process.stdout is not None
        self.process.stdout.readline()


@contextmanager
def serving(
    conversations: int, messages_each: int, pages: int = 1, *, rate: float = 100_000, latency_ms: int = 0
) -> Iterator[Server]:
    """Serve pages of plain threads, and let them be read at so many calls a second."""
    command = [sys.executable, "-m", "tests.fake_pancake", "--conversations", str(conversations)]
    command += ["--messages-each", str(messages_each), "--pages", str(pages), "--latency-ms", str(latency_ms)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url, ids, token = (process.stdout.readline().strip() for _ in range(3))
        environment = {
            "SOURCES__PANCAKE__BASE_URL": url,
            "SOURCES__PANCAKE__REQUESTS_PER_SECOND": str(rate),
        }
        if pages == 1:
            environment |= {"SOURCES__PANCAKE__PAGE_ID": ids, "SOURCES__PANCAKE__PAGE_ACCESS_TOKEN": token}
        else:
            listed = [{"page_id": page_id, "page_access_token": token} for page_id in ids.split(",")]
            environment["SOURCES__PANCAKE__PAGES"] = json.dumps(listed)
        yield Server(process, environment)
    finally:
        process.terminate()
        process.wait()


def cost(module: tuple[str, ...], server: Server, folder: Path) -> Cost:
    """Run a module to its end, in the environment of a user, and return what it used."""
    environment = {
        **os.environ,
        **server.environment,
        "DESTINATION__WAREHOUSE__DESTINATION_TYPE": "duckdb",
        "DESTINATION__WAREHOUSE__CREDENTIALS": str(folder / "warehouse.duckdb"),
        "DLT_DATA_DIR": str(folder / "dlt"),
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "RUNTIME__LOG_LEVEL": "ERROR",
        "PYTHONPATH": str(REPOSITORY),
    }
    began = time.monotonic()
    said = folder / "said.txt"
    with said.open("w") as output:
        process = subprocess.Popen(
            [PYTHON, "-m", *module], cwd=folder, env=environment, stdout=output, stderr=output
        )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(module)} ended with {process.returncode}: {said.read_text()}")
    return Cost(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, time.monotonic() - began)


def loaded(folder: Path) -> tuple[int, int]:
    """Count the conversations and messages in the database, whatever the schema."""
    with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as connection:
        found = dict(
            connection.sql(
                "SELECT table_name, estimated_size FROM duckdb_tables()"
                " WHERE schema_name IN ('main', 'pancake') AND table_name IN ('conversations', 'messages')"
            ).fetchall()
        )
    return found.get("conversations", 0), found.get("messages", 0)


def full(console: Console, conversations: int, messages_each: int, names: list[str]) -> None:
    """Compare a first load of everything."""
    found: dict[str, Cost] = {}
    rows: dict[str, tuple[int, int]] = {}
    with serving(conversations, messages_each) as server:
        for name in names:
            with tempfile.TemporaryDirectory(prefix="bench-") as made:
                found[name] = cost(CONTENDERS[name], server, Path(made))
                rows[name] = loaded(Path(made))
    reference = found.get("by hand") or next(iter(found.values()))
    table = _table(f"first load: {conversations:,} conversations, {messages_each:,} messages each")
    table.add_column("against by hand", justify="right")
    table.add_column("conversations, messages loaded", justify="right")
    for name, used in found.items():
        ratio = used.processor_s / reference.processor_s
        table.add_row(name, *_figures(used), f"{ratio:.2f}", "{:,}, {:,}".format(*rows[name]))
    console.print(table)


def delta(console: Console, conversations: int, messages_each: int) -> None:
    """Compare a sync after one conversation in a hundred changed with an empty run."""
    table = _table(f"after a change of 1 % of {conversations:,} conversations")
    with (
        serving(conversations, messages_each) as server,
        tempfile.TemporaryDirectory(prefix="bench-") as made,
    ):
        folder = Path(made)
        cost(OURS, server, folder)
        server.change()
        changed = cost(OURS, server, folder)
        nothing = cost(OURS, server, folder)
    with serving(1, 1) as server, tempfile.TemporaryDirectory(prefix="bench-") as made:
        cost(CONTENDERS["empty dlt run"], server, Path(made))
        empty = cost(CONTENDERS["empty dlt run"], server, Path(made))
    for name, used in (("1 % changed", changed), ("nothing changed", nothing), ("empty dlt run", empty)):
        table.add_row(name, *_figures(used))
    console.print(table)


def memory(console: Console, sizes: tuple[tuple[int, int], ...]) -> None:
    """Show that memory does not grow with the load."""
    table = _table("memory of a first load")
    for conversations, messages_each in sizes:
        with serving(conversations, messages_each) as server, tempfile.TemporaryDirectory() as made:
            used = cost(OURS, server, Path(made))
            count = loaded(Path(made))
        table.add_row("{:,} conversations, {:,} messages".format(*count), *_figures(used))
    console.print(table)


def many(console: Console, counts: tuple[int, ...], conversations: int, messages_each: int) -> None:
    """Show what a page more costs."""
    table = _table(f"pages of {conversations:,} conversations, {messages_each:,} messages each")
    for pages in counts:
        with serving(conversations, messages_each, pages) as server, tempfile.TemporaryDirectory() as made:
            first = cost(OURS, server, Path(made))
            server.change()
            changed = cost(OURS, server, Path(made))
        table.add_row(f"{pages} pages, first load", *_figures(first))
        table.add_row(f"{pages} pages, one thread of each changed", *_figures(changed))
    console.print(table)


def paced(console: Console, counts: tuple[int, ...], conversations: int, messages_each: int) -> None:
    """Show how many pages are read at their full rate."""
    table = _table(f"first load at 4 calls/s a page, 100 ms a call, {conversations} conversations each")
    table.add_column("calls", justify="right")
    for pages in counts:
        with (
            serving(conversations, messages_each, pages, rate=4, latency_ms=100) as server,
            tempfile.TemporaryDirectory(prefix="bench-") as made,
        ):
            record = Path(made) / "record.json"
            used = cost((*OURS, "--report", str(record)), server, Path(made))
            calls = json.loads(record.read_text())["calls"]
        table.add_row(f"{pages} pages", *_figures(used), f"{calls:,}")
    console.print(table)


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for name in ("processor s", "peak MiB", "wall s"):
        table.add_column(name, justify="right")
    return table


def _figures(used: Cost) -> tuple[str, str, str]:
    return f"{used.processor_s:.1f}", f"{used.peak_mib:.0f}", f"{used.wall_s:.0f}"


def main() -> None:
    """Run the parts that are asked for."""
    parts = ("full", "thread", "delta", "memory", "pages", "paced")
    parser = ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", default=parts, help=f"of {', '.join(parts)}; default all")
    parser.add_argument("--only", action="append", choices=CONTENDERS, help="contenders; default all")
    options = parser.parse_args()
    console = Console(width=110)
    names = options.only or list(CONTENDERS)
    if "full" in options.parts:
        full(console, 5_000, 5, names)
    if "thread" in options.parts:
        full(console, 1, 100_000, names)
    if "delta" in options.parts:
        delta(console, 5_000, 5)
    if "memory" in options.parts:
        memory(console, ((250, 100), (2_500, 100)))
    if "pages" in options.parts:
        many(console, (1, 10, 50, 300), 100, 5)
    if "paced" in options.parts:
        paced(console, (1, 50, 300), 40, 5)


if __name__ == "__main__":
    main()
