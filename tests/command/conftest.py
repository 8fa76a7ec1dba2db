"""A page in real time, and the command that loads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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
