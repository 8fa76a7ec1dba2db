"""The demo as `make demo` runs it, in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.fake_pancake import FakePage

REPOSITORY = Path(__file__).parents[1]


def test_the_demo_loads_twice_and_shows_what_changed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.demo"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert "300 new, 0 changed" in done.stdout
    for title in ("second sync", "conversations per day and type", "busiest tags", "unanswered threads"):
        assert title in done.stdout
    assert any(tag in done.stdout for tag, _ in FakePage().tag_texts.values())
