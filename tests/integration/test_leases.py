"""Of two runs that would read the same page at the same time, the second one ends at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dlt
import pytest

from pipelines import destinations, leases, runs
from pipelines.leases import TABLE, Lease, LeaseTakenError, held
from pipelines.runs import ExitCode
from tests.fake_pancake import FakeTime
from tests.warehouses import Warehouse

DURATION_S = 600

MakeLease = Callable[..., Lease]


@pytest.fixture
def pipeline(warehouse: Warehouse, tmp_path: Path) -> dlt.Pipeline:
    """A pipeline into an empty dataset."""
    return warehouse.pipeline(tmp_path)


@pytest.fixture
def lease(pipeline: dlt.Pipeline, time: FakeTime) -> MakeLease:
    """Make leases in the dataset."""

    def make(*page_ids: str, command: str = "sync", holder: str | None = None) -> Lease:
        return Lease(pipeline, command, page_ids, DURATION_S, time.time, holder)

    return make


def test_the_second_run_of_a_page_is_refused_until_the_first_ends(lease: MakeLease) -> None:
    first, second = lease("1", "2"), lease("2", "3")
    with held(first), pytest.raises(LeaseTakenError, match="Page 2 is being read by another `pancake sync`"):
        second.take()
    second.take()
    with pytest.raises(LeaseTakenError):
        first.take()
    second.give_back()
    first.take()


def test_runs_that_begin_at_once_in_an_empty_warehouse_all_get_their_pages(
    warehouse: Warehouse, tmp_path: Path
) -> None:
    pages = [str(number) for number in range(8)]
    leases = [
        Lease(warehouse.pipeline(tmp_path, f"page_{page}"), "sync", [page], DURATION_S) for page in pages
    ]
    with ThreadPoolExecutor(len(pages)) as runs_at_once:
        list(runs_at_once.map(Lease.take, leases))
    with warehouse.pipeline(tmp_path).sql_client() as client:
        table = client.make_qualified_table_name(TABLE)
        taken = client.execute_sql(f"SELECT page_id FROM {table} ORDER BY page_id") or []
    assert [page for (page,) in taken] == pages


def test_a_refused_run_leaves_nothing_behind(lease: MakeLease) -> None:
    with held(lease("1")):
        with pytest.raises(LeaseTakenError):
            lease("1", "2").take()
        lease("2").take()


def test_the_lease_of_a_killed_run_expires_unless_it_was_renewed(lease: MakeLease, time: FakeTime) -> None:
    killed = lease("1")
    killed.take()
    time.advance(DURATION_S - 1)
    with pytest.raises(LeaseTakenError):
        lease("1").take()
    killed.renew()
    time.advance(DURATION_S - 1)
    with pytest.raises(LeaseTakenError):
        lease("1").take()
    time.advance(1)
    lease("1").take()


def test_the_lease_of_a_process_that_is_gone_from_this_machine_is_over(
    lease: MakeLease, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = [subprocess.Popen([sys.executable, "-c", ""]) for _ in range(2)]
    for page_id, process in zip(("1", "2"), gone, strict=True):
        process.wait()
        with monkeypatch.context() as killed:
            killed.setattr(os, "getpid", lambda process=process: process.pid)
            lease(page_id).take()
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(leases, "_MACHINE", "another machine")
        with pytest.raises(LeaseTakenError):
            lease("1", "2").take()
    lease("1", "2").take()


def test_the_next_try_of_a_killed_task_goes_on_at_once(lease: MakeLease) -> None:
    lease("1", holder="task 7").take()
    next_try = lease("1", holder="task 7")
    next_try.take()
    with pytest.raises(LeaseTakenError):
        lease("1", holder="task 8").take()
    next_try.give_back()
    lease("1", holder="task 8").take()


def test_a_backfill_runs_beside_syncs(lease: MakeLease) -> None:
    with held(lease("1")):
        lease("1", command="backfill").take()


def test_an_error_in_the_run_gives_the_lease_back(lease: MakeLease) -> None:
    with pytest.raises(ZeroDivisionError), held(lease("1")):
        _ = 1 / 0
    lease("1").take()


def test_a_first_load_finds_the_dataset_with_the_lease_in_it(
    lease: MakeLease, pipeline: dlt.Pipeline
) -> None:
    with held(lease("1")):
        destinations.load(pipeline, dlt.resource([{"id": 1}], name="things"))
    assert not pipeline.has_pending_data
    with pipeline.sql_client() as client:
        name = client.make_qualified_table_name("things")
        assert [tuple(row) for row in client.execute_sql(f"SELECT id FROM {name}") or []] == [(1,)]


def test_a_taken_lease_ends_with_code_5() -> None:
    error: Any = LeaseTakenError("Page 1 is being read")
    assert runs.explain(error) == (ExitCode.OVERLAP, "Page 1 is being read")
