"""The demo: a simulated Pancake over real HTTP, loaded into DuckDB by `pancake sync`, twice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import duckdb
from rich.console import Console
from rich.table import Table

from tests.fake_pancake import FakePage, FakePancake, FakeServer

DATABASE = Path("demo.duckdb")
DLT_DATA = Path(".cache/demo")
QUERIES = {
    "conversations per day and type, the last days": """
        SELECT updated_at::DATE AS day, type, COUNT(*) AS conversations
        FROM pancake.conversations GROUP BY ALL ORDER BY day DESC, type LIMIT 6
    """,
    "busiest tags": """
        SELECT tag ->> 'text' AS tag, COUNT(*) AS conversations
        FROM (SELECT UNNEST(tags::JSON[]) AS tag FROM pancake.conversations)
        WHERE tag ->> 'text' IS NOT NULL GROUP BY ALL ORDER BY conversations DESC, tag LIMIT 5
    """,
    "unanswered threads: the customer wrote last, oldest first": """
        SELECT sender_name AS customer, original_message AS message, inserted_at AT TIME ZONE 'UTC' AS since
        FROM pancake.messages
        QUALIFY ROW_NUMBER() OVER (PARTITION BY conversation_id ORDER BY inserted_at DESC, id DESC) = 1
            AND sender_id <> page_id
        ORDER BY inserted_at LIMIT 5
    """,
}


def main() -> None:
    """Run the demo in the present folder."""
    console = Console(width=100)
    DATABASE.unlink(missing_ok=True)
    shutil.rmtree(DLT_DATA, ignore_errors=True)
    page = FakePage(seed=7)
    page.populate(days=14, conversations=300)
    with FakeServer(FakePancake([page])) as server:
        console.rule("first sync: two weeks of a shop")
        _sync(page, server.url)
        before = _versions()
        page.churn(60)
        console.rule("second sync: what changed since")
        _sync(page, server.url)
    console.rule("what changed")
    after = _versions()
    counted = Counter(table for table, *_ in after) - Counter(table for table, *_ in before)
    changed = Counter(table for table, *_ in after - before)
    for table in ("conversations", "messages"):
        console.print(f"{table}: {counted[table]} new, {changed[table] - counted[table]} changed")
    for title, query in QUERIES.items():
        console.rule(title)
        console.print(_answer(query))


def _sync(page: FakePage, url: str) -> None:
    settings = {
        "SOURCES__PANCAKE__BASE_URL": url,
        "SOURCES__PANCAKE__PAGE_ID": page.page_id,
        "SOURCES__PANCAKE__PAGE_ACCESS_TOKEN": page.token,
        "SOURCES__PANCAKE__REQUESTS_PER_SECOND": "100",
        "DESTINATION__WAREHOUSE__DESTINATION_TYPE": "duckdb",
        "DESTINATION__WAREHOUSE__CREDENTIALS": str(DATABASE),
        "DLT_DATA_DIR": str(DLT_DATA.resolve()),
        "RUNTIME__LOG_LEVEL": "ERROR",
    }
    command = [sys.executable, "-m", "pipelines.cli", "sync"]
    subprocess.run(command, env={**os.environ, **settings}, check=True)  # noqa: S603


def _versions() -> set[tuple[str, ...]]:
    """Return every row as table, id, and the fields by which a person would see a change."""
    with duckdb.connect(str(DATABASE), read_only=True) as connection:
        found = connection.sql(
            "SELECT 'conversations', id, updated_at::VARCHAR, tags::VARCHAR FROM pancake.conversations"
            " UNION ALL"
            " SELECT 'messages', id, message, is_hidden::VARCHAR || is_removed::VARCHAR FROM pancake.messages"
        ).fetchall()
    return set(found)


def _answer(query: str) -> Table:
    with duckdb.connect(str(DATABASE), read_only=True) as connection:
        relation = connection.sql(query)
        table = Table(*relation.columns, box=None, pad_edge=False)
        for row in relation.fetchall():
            table.add_row(*map(str, row))
    return table


if __name__ == "__main__":
    main()
