"""The same lives, through the real source, the real dlt and a DuckDB file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import dlt
from dlt.extract import DltSource
from dlt.pipeline.exceptions import PipelineStepFailed

from sources.pancake import pancake_source
from sources.pancake.errors import PancakeError
from sources.pancake.records import Row
from sources.pancake.resources.conversations import now
from sources.pancake.schema import CONVERSATIONS, COVERAGE, MESSAGES
from tests.support import table

from .warehouse import Load, State
from .world import KilledError, Stop, World

_SIMULATED = (CONVERSATIONS, MESSAGES, COVERAGE)


@dataclass
class Package(Load):
    """What one run has extracted and not loaded yet.

    Attributes:
        pipeline: that extracted it.
    """

    pipeline: dlt.Pipeline | None = None


class DuckDbWarehouse:
    """The tables in the file, the cursor and the states of the pipeline that syncs."""

    def __init__(self, pipeline: dlt.Pipeline) -> None:
        self._pipeline = pipeline
        self._loaded: dlt.Pipeline | None = None

    @property
    def tables(self) -> dict[str, dict[str, Row]]:
        """Rows by table and key."""
        assert self._loaded is not None
        return {one.name: table(self._loaded, one.name, *one.key) for one in _SIMULATED}

    @property
    def cursor(self) -> datetime | None:
        """Of the sync."""
        cursors = self.state["conversations"].get("incremental", {})
        found: datetime | None = cursors.get("updated_at", {}).get("last_value")
        return found

    @property
    def state(self) -> State:
        """Of the sync, by resource."""
        resources = self._pipeline.state.get("sources", {}).get("pancake", {}).get("resources", {})
        return {name: resources.get(name, {}) for name in ("conversations", "messages")}

    def commit(self, load: Package) -> None:
        """Load what was extracted."""
        assert load.pipeline is not None
        load.pipeline.normalize()
        load.pipeline.load()
        self._loaded = load.pipeline


class DltWorld(World):
    """A life whose loads go through dlt.

    Args:
        seed: gives the same life again.
        folder: where the warehouse and the pipelines are.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed)
        self._folder = folder
        self._backfills = 0
        self._sync_pipeline = self._pipeline("pancake")
        self._warehouse = DuckDbWarehouse(self._sync_pipeline)  # type: ignore[assignment]

    def _pipeline(self, name: str) -> dlt.Pipeline:
        pipeline: dlt.Pipeline = dlt.pipeline(
            name,
            destination=dlt.destinations.duckdb(
                str(self._folder / "warehouse.duckdb"), staging_dataset_name_layout=f"%s_{name}_staging"
            ),
            dataset_name="pancake",
            pipelines_dir=str(self._folder / "pipelines"),
        )
        return pipeline

    def _sync_load(self, stop: Stop) -> Package:
        package = Package(self._time.time(), state={}, pipeline=self._sync_pipeline)
        self._extract(package, stop, start_date=self._start.isoformat())
        return package

    def _backfill_load(self, stop: Stop) -> Package:
        begin, end = sorted(self._random.random() for _ in range(2))
        span = now(self._client()) - self._start
        self._backfills += 1
        package = Package(self._time.time(), pipeline=self._pipeline(f"backfill_{self._backfills}"))
        self._extract(package, stop, since=self._start + begin * span, until=self._start + end * span)
        return package

    def _extract(self, package: Package, stop: Stop, **arguments: Any) -> None:
        make: Callable[..., DltSource] = pancake_source
        source = make(
            "any",
            "any",
            client=self._client(),
            workers=1,
            messages_tail_s=self._tail_s,
            stop=stop,
            tables=[CONVERSATIONS.name, MESSAGES.name],
            **arguments,
        )
        assert package.pipeline is not None
        package.pipeline.activate()
        problem: BaseException | None = None
        try:
            package.pipeline.extract(source)
        except PipelineStepFailed as error:
            problem = error
        while problem is not None and not isinstance(problem, KilledError | PancakeError):
            problem = problem.__cause__
        if problem is not None:
            raise problem
