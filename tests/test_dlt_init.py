"""The source as others get it: copied by `dlt init` into an empty folder, and run there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb

from tests.fake_pancake import FakePage, FakePancake, FakeServer

REPOSITORY = Path(__file__).parents[1]


def run(folder: Path, *command: str, **settings: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=folder, env={**environment, **settings}, check=True, capture_output=True, text=True
    )
    return done.stdout


def test_the_source_works_where_dlt_init_puts_it(tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    shutil.copytree(REPOSITORY / "sources", shelf / "sources", ignore=shutil.ignore_patterns("__pycache__"))
    git = ("git", "-c", "user.name=test", "-c", "user.email=test@example.com")
    run(shelf, *git, "init", "--quiet")
    run(shelf, *git, "add", ".")
    run(shelf, *git, "commit", "--quiet", "--message", "the sources")
    folder = tmp_path / "project"
    folder.mkdir()
    dlt_command = Path(sys.executable).with_name("dlt")
    arguments = ("--non-interactive", "init", "pancake", "duckdb", "--location", str(shelf))
    said = run(folder, str(dlt_command), *arguments)
    assert "Reads conversations and messages of Pancake" in said
    assert "page_access_token" in (folder / ".dlt/secrets.toml").read_text()
    copied = {path.name for path in (folder / "pancake").rglob("*.py")}
    assert copied == {path.name for path in (REPOSITORY / "sources/pancake").rglob("*.py")}

    page = FakePage()
    page.populate(days=5, conversations=12)
    with FakeServer(FakePancake([page])) as server:
        said = run(
            folder,
            sys.executable,
            "pancake_pipeline.py",
            SOURCES__PANCAKE__BASE_URL=server.url,
            SOURCES__PANCAKE__PAGE_ID=page.page_id,
            SOURCES__PANCAKE__PAGE_ACCESS_TOKEN=page.token,
            SOURCES__PANCAKE__REQUESTS_PER_SECOND="100",
        )
    assert "contains no failed jobs" in said
    with duckdb.connect(str(folder / "pancake.duckdb")) as warehouse:
        assert warehouse.sql("SELECT COUNT(*) FROM pancake_data.conversations").fetchone() == (12,)
