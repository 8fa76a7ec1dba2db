"""The command `pancake` as a user runs it: a process of its own, over real HTTP, into DuckDB."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import dlt

from tests.fake_pancake import FakePage

REPOSITORY = Path(__file__).parents[2]
RATE = 100
"""Calls per second in these tests; the simulator sets no limit."""


class Cli:
    """Runs the command with the settings of one page."""

    def __init__(self, page: FakePage, url: str, folder: Path) -> None:
        self.folder = folder
        self.largest_file = resource.RLIM_INFINITY
        self.settings = {
            "SOURCES__PANCAKE__BASE_URL": url,
            "SOURCES__PANCAKE__PAGE_ID": page.page_id,
            "SOURCES__PANCAKE__PAGE_ACCESS_TOKEN": page.token,
            "SOURCES__PANCAKE__REQUESTS_PER_SECOND": str(RATE),
            "DESTINATION__WAREHOUSE__CREDENTIALS": str(folder / "warehouse.duckdb"),
            "RUNTIME__LOG_LEVEL": "ERROR",
            "COLUMNS": "200",
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), **self.settings},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=self._limit_files,  # noqa: PLW1509  # it takes no lock
        )

    def _limit_files(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.largest_file, resource.RLIM_INFINITY))

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def start_and_kill(self, condition: Callable[[], bool], *arguments: str) -> None:
        """Start the command and kill it, without a chance to clean up, when the condition holds."""
        process = self.start(*arguments)
        wait_until(lambda: condition() or process.poll() is not None)
        process.kill()
        process.communicate(timeout=60)

    def warehouse(self, pipeline_name: str = "pancake") -> dlt.Pipeline:
        pipeline: dlt.Pipeline = dlt.attach(
            pipeline_name,
            destination=dlt.destinations.duckdb(str(self.folder / "warehouse.duckdb")),
            dataset_name="pancake",
        )
        return pipeline


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    ends = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.005)
