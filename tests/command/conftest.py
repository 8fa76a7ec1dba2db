"""A page in real time, and the command that loads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import pytest

from tests.command.cli import Cli
from tests.fake_pancake import FakePage, FakePancake, FakeServer


@pytest.fixture
def page() -> FakePage:
    """A page of two weeks."""
    found = FakePage()
    found.populate(days=14, conversations=60)
    return found


@pytest.fixture
def pancake(page: FakePage) -> FakePancake:
    """A Pancake with the page."""
    return FakePancake([page])


@pytest.fixture
def server(pancake: FakePancake) -> Iterator[FakeServer]:
    """The same over HTTP."""
    with FakeServer(pancake) as running:
        yield running


@pytest.fixture
def command(page: FakePage, server: FakeServer, tmp_path: Path) -> Cli:
    """The command, set up for the page."""
    return Cli(page, server.url, tmp_path)


@pytest.fixture
def powerless(command: Cli, postgres: str) -> Iterator[Any]:
    """The command logs in to PostgreSQL as `powerless`, who may create nothing; yields an administrator."""
    admin = dlt.destinations.postgres(postgres)
    with dlt.pipeline("admin", destination=admin, dataset_name="admin").sql_client() as client:
        client.execute_sql("DROP ROLE IF EXISTS powerless")
        client.execute_sql("CREATE ROLE powerless LOGIN PASSWORD 'x'")
        command.settings.update(
            DESTINATION__WAREHOUSE__DESTINATION_TYPE="postgres",
            DESTINATION__WAREHOUSE__CREDENTIALS=postgres.replace("//postgres:", "//powerless:"),
        )
        yield client
        client.execute_sql("DROP OWNED BY powerless CASCADE")
        client.execute_sql("DROP ROLE powerless")
