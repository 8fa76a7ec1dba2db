"""Many pages ask the warehouse: over few connections, and with clients that are made once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import pytest
from dlt.extract import DltResource

from sources.pancake.guard import newest_wins
from sources.pancake.schema import CONVERSATIONS, MESSAGES
from sources.pancake.settings import QUESTIONS_AT_ONCE
from sources.pancake.warehouse import selected
from tests.warehouses import Warehouse

PAGES = 2 * QUESTIONS_AT_ONCE


def test_questions_are_asked_side_by_side_but_not_by_all_pages_at_once(pipeline: dlt.Pipeline) -> None:
    """As many as may be inside wait there for one another, and then count who is."""
    meeting = threading.Barrier(QUESTIONS_AT_ONCE, timeout=60)
    inside: list[Any] = []

    def query_of(client: Any) -> str:
        inside.append(client)
        meeting.wait()
        query = f"SELECT {len(inside)}"
        meeting.wait()
        inside.remove(client)
        return query

    @dlt.source
    def shop() -> list[DltResource]:
        def ask() -> Iterator[Any]:
            yield [{"at_once": number} for (number,) in selected(query_of)]

        return [
            dlt.resource(ask, name=f"page_{n}", table_name="pages", parallelized=True) for n in range(PAGES)
        ]

    with dlt.config.values({"extract.workers": PAGES, "extract.max_parallel_items": 2 * PAGES}):
        pipeline.run(shop())
    with pipeline.sql_client() as client:
        found = client.execute_sql(f"SELECT at_once FROM {client.make_qualified_table_name('pages')}")
    assert [number for (number,) in found or ()] == [QUESTIONS_AT_ONCE] * PAGES


def test_what_is_made_of_names_is_made_once_for_each_load(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[Any] = []
    found: list[Any] = []
    make = dlt.Pipeline.sql_client

    def making(self: dlt.Pipeline) -> Any:
        made.append(self)
        return make(self)

    monkeypatch.setattr(dlt.Pipeline, "sql_client", making)

    @dlt.resource
    def pages() -> Iterator[dict[str, int]]:
        made.clear()
        for _ in range(PAGES):
            found.extend((newest_wins(CONVERSATIONS), newest_wins(MESSAGES)))
        assert len(made) == 1
        yield {"page": 1}

    for dataset in ("one", "two"):
        warehouse = Warehouse("duckdb", str(tmp_path / "warehouse.duckdb"))
        warehouse.dataset = dataset
        warehouse.pipeline(tmp_path / dataset, f"into_{dataset}").run(pages())
    filters = {disposition["source_filter"] for disposition in found}
    assert len(filters) == 4
    assert all(sum(f'"{dataset}"."' in text for text in filters) == 2 for dataset in ("one", "two"))
