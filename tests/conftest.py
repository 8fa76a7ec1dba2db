"""Fixtures for all tests: a place of one's own, time handed in, and pipelines that end with their test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import dlt
import pytest
from dlt.common.configuration.container import Container
from dlt.common.pipeline import PipelineContext

from sources.pancake import PancakeClient
from tests import warehouses
from tests.fake_pancake import FakeAdapter, FakePage, FakePancake, FakeTime
from tests.steady import machine

MakePipeline = Callable[..., dlt.Pipeline]
MakeClient = Callable[[], PancakeClient]


@pytest.fixture(autouse=True)
def place_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep configuration, working folders and active pipelines of one test from all others."""
    for name in os.environ:
        if name.startswith(("SOURCES__", "DESTINATION__", "PIPELINES__", "RUNTIME__")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    monkeypatch.chdir(tmp_path)
    yield
    context = Container()[PipelineContext]
    if context.is_active():
        context.deactivate()


@pytest.fixture(autouse=True)
def side_by_side() -> Iterator[None]:
    """Run beside tests of other processes, unless one of them measures time."""
    machine.share()
    yield
    machine.leave()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A PostgreSQL server, by the connection string of its first database."""
    with warehouses.postgres() as location:
        yield location


@pytest.fixture
def postgres(postgres_server: str) -> str:
    """An empty PostgreSQL database, by its connection string."""
    return warehouses.new_database(postgres_server)


@pytest.fixture(scope="session")
def bigquery() -> Iterator[str]:
    """A BigQuery emulator, by its address."""
    with warehouses.bigquery() as location:
        yield location


@pytest.fixture(params=["duckdb", "postgres", "bigquery"])
def warehouse(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> warehouses.Warehouse:
    """An empty dataset of each kind of warehouse."""
    kind: str = request.param
    if kind == "duckdb":
        return warehouses.Warehouse(kind, str(tmp_path / "warehouse.duckdb"))
    location: str = request.getfixturevalue(kind)
    if kind == "bigquery":
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", location)
        monkeypatch.setenv("DATA_WRITER__DISABLE_COMPRESSION", "true")  # the emulator reads plain files only
        monkeypatch.setenv("NO_GCE_CHECK", "true")
    return warehouses.Warehouse(kind, location)


@pytest.fixture
def time() -> FakeTime:
    """The time of simulator and client."""
    return FakeTime()


@pytest.fixture
def page(time: FakeTime) -> FakePage:
    """An empty page of the live dialect."""
    return FakePage(clock=time)


@pytest.fixture
def pancake(page: FakePage, time: FakeTime) -> FakePancake:
    """A Pancake that serves the page."""
    return FakePancake([page], clock=time)


@pytest.fixture
def make_client(page: FakePage, pancake: FakePancake, time: FakeTime) -> MakeClient:
    """Make clients of the page that call in process."""

    def make() -> PancakeClient:
        return PancakeClient(
            page.page_id,
            page.token,
            requests_per_second=5,
            clock=time,
            transport=FakeAdapter(pancake),
        )

    return make


@pytest.fixture
def make_pipeline(tmp_path: Path) -> MakePipeline:
    """Make pipelines into one DuckDB file; `folder` is the working folder, as on another machine."""

    def make(name: str = "pancake", folder: str = "here") -> dlt.Pipeline:
        pipeline: dlt.Pipeline = dlt.pipeline(
            name,
            destination=dlt.destinations.duckdb(str(tmp_path / "warehouse.duckdb")),
            dataset_name="pancake",
            pipelines_dir=str(tmp_path / folder),
        )
        return pipeline

    return make


@pytest.fixture
def pipeline(make_pipeline: MakePipeline) -> dlt.Pipeline:
    """A pipeline into an empty DuckDB file."""
    return make_pipeline()
