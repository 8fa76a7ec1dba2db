"""Pipelines that load into one dataset at the same moment take turns."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dlt
import pytest
from tenacity import RetryCallState

from pipelines import loading, runs
from pipelines.leases import LeaseTakenError, held
from pipelines.runs import ExitCode
from sources.pancake import pancake_backfill, pancake_source
from tests.conftest import MakeClient
from tests.fake_pancake import FakePage, FakeTime
from tests.support import assert_equal, table
from tests.warehouses import Warehouse

TOGETHER_S = 60


class Loads:
    """Counts the loads that are under way."""

    def __init__(self) -> None:
        self.under_way = 0
        self.most_at_once = 0
        self._lock = threading.Lock()

    def counted(self, load: Callable[..., Any]) -> Callable[..., Any]:
        """Count the calls of dlt's own load, which all begin at once if nothing stops them."""

        def count(*args: Any, **kwargs: Any) -> Any:
            with self._lock:
                self.under_way += 1
                self.most_at_once = max(self.most_at_once, self.under_way)
            try:
                return load(*args, **kwargs)
            finally:
                with self._lock:
                    self.under_way -= 1

        return count


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Loads:
    """Count the loads."""
    counter = Loads()
    monkeypatch.setattr(dlt.Pipeline, "load", counter.counted(dlt.Pipeline.load))
    return counter


def all_at_once(*pipelines: dlt.Pipeline) -> None:
    """Load what pipelines have extracted, beginning at the same moment."""
    begin = threading.Barrier(len(pipelines), timeout=TOGETHER_S)

    def load(pipeline: dlt.Pipeline) -> None:
        begin.wait()
        pipeline.load()

    with ThreadPoolExecutor(len(pipelines)) as threads:
        list(threads.map(load, pipelines))


def test_a_sync_and_a_backfill_load_at_once_into_an_empty_warehouse(
    warehouse: Warehouse, page: FakePage, tmp_path: Path, make_client: MakeClient, loads: Loads
) -> None:
    page.populate(days=10, conversations=30)
    one, other = (warehouse.pipeline(tmp_path / name, name) for name in ("one", "other"))
    one.extract(pancake_source("any", "any", client=make_client()))
    other.extract(pancake_backfill("any", "any", client=make_client(), since="2026-03-01"))
    one.normalize()
    other.normalize()
    all_at_once(one, other)
    assert loads.most_at_once == 1
    assert_equal(one, page)
    assert not one.has_pending_data
    assert not other.has_pending_data


def test_tags_that_were_taken_away_do_not_come_back_from_a_load_at_the_same_moment(
    warehouse: Warehouse, page: FakePage, tmp_path: Path, make_client: MakeClient, time: FakeTime
) -> None:
    conversations = [page.add_conversation(tags=[3, 7]).id for _ in range(20)]
    older, newer = (warehouse.pipeline(tmp_path / name, name) for name in ("older", "newer"))
    older.extract(pancake_source("any", "any", client=make_client()))
    older.normalize()
    time.advance(600)
    for conversation in conversations:
        page.set_tags(conversation, [])
        page.add_message(conversation)
    newer.extract(pancake_source("any", "any", client=make_client()))
    newer.normalize()
    all_at_once(older, newer)
    assert_equal(newer, page)
    assert not table(newer, "conversation_tags", "conversation_id", "tag_id")


@pytest.fixture
def numbers(tmp_path: Path) -> Callable[..., dlt.Pipeline]:
    """Make pipelines into one DuckDB file, each with a row to load."""
    duckdb = Warehouse("duckdb", str(tmp_path / "warehouse.duckdb"))

    def make(name: str = "one") -> dlt.Pipeline:
        pipeline = duckdb.pipeline(tmp_path, name)
        pipeline.extract(dlt.resource([{"id": name}], name="numbers"))
        pipeline.normalize()
        return pipeline

    return make


def test_a_load_waits_for_that_of_another_pipeline(
    numbers: Callable[..., dlt.Pipeline], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    others = loading.lease_of(numbers("other"))
    others.take()

    def wait(_: RetryCallState) -> float:
        others.give_back()
        return 0

    monkeypatch.setattr(loading, "_WAIT", wait)
    with caplog.at_level(logging.WARNING, "pancake"):
        numbers().load()
    assert "Waiting for another load into the dataset" in caplog.text


def test_a_load_that_waited_too_long_is_left_to_the_next_run(
    numbers: Callable[..., dlt.Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = numbers()
    monkeypatch.setattr(loading, "_PATIENCE_S", 0)
    with held(loading.lease_of(numbers("other"))), pytest.raises(LeaseTakenError) as refused:
        pipeline.load()
    code, message = runs.explain(refused.value)
    assert code is ExitCode.OVERLAP
    assert "the next run loads it first" in message
    pipeline.load()
    assert set(table(pipeline, "numbers")) == {"one"}


def test_a_pipeline_that_was_killed_while_it_loaded_goes_on_at_once(
    numbers: Callable[..., dlt.Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_PATIENCE_S", 0)
    pipeline = numbers()
    loading.lease_of(pipeline).take()
    pipeline.load()


def test_a_load_that_fails_lets_the_next_one_in(
    numbers: Callable[..., dlt.Pipeline], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(loading, "_PATIENCE_S", 0)
    other = numbers("other")
    with monkeypatch.context() as broken:
        broken.setattr(dlt.Pipeline, "load", fail)
        with pytest.raises(ZeroDivisionError):
            other.load()
    numbers().load()
