"""Questions to the warehouse of the running pipeline."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import dlt
from dlt.common.configuration.container import Container
from dlt.common.pipeline import PipelineContext
from dlt.common.storages.exceptions import CurrentLoadPackageStateNotAvailable
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from . import settings

T = TypeVar("T")


def running_pipeline() -> Any:
    """Return the pipeline that runs, or None while rows are only looked at."""
    context = Container()[PipelineContext]
    return context.pipeline() if context.is_active() else None


def load_id() -> str | None:
    """Return the id of the package that is being filled, or None while none is."""
    try:
        return str(dlt.current.load_package_state()["load_id"])
    except CurrentLoadPackageStateNotAvailable:
        return None


def selected(query_of: Callable[[Any], str], *values: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query; none while the table is missing, or no pipeline runs.

    Args:
        query_of: Makes the query; takes an SQL client for its names.
        *values: Stand for the `%s` of the query.
    """

    def select(client: Any) -> list[tuple[Any, ...]]:
        query = query_of(client)
        with _connection(client):
            try:
                return list(client.execute_sql(query, *values) or [])
            except DatabaseUndefinedRelation:
                return []

    nothing: list[tuple[Any, ...]] = []
    return _asked(select, nothing)


def named(key: Hashable, make: Callable[[Any], T], otherwise: T) -> T:
    """Return something that is made of names of the destination, once for each package.

    Args:
        key: What it is.
        make: Takes an SQL client, which needs no connection for names.
        otherwise: Returned when no pipeline runs.
    """
    package = load_id()
    if package is None:
        return _asked(make, otherwise)
    found = _kept.of(package).named
    with _NAMING:
        if key not in found:
            found[key] = _asked(make, otherwise)
        answer: T = found[key]
    return answer


class _OfPackage:
    """What is made once for each package: making it takes ten milliseconds, and a run has many pages."""

    def __init__(self) -> None:
        self.clients: list[Any] = []
        self.named: dict[Hashable, Any] = {}


class _Kept:
    """Keeps it for the last package."""

    def __init__(self) -> None:
        self._load_id: str | None = None
        self._found = _OfPackage()
        self._lock = threading.Lock()

    def of(self, package: str | None) -> _OfPackage:
        if package is None:
            return _OfPackage()
        with self._lock:
            if package != self._load_id:
                self._load_id, self._found = package, _OfPackage()
            return self._found


# One client is made, opened or closed at a time: making one changes the schema of the pipeline for a moment,
# and DuckDB cannot open a file while it is closed.
_DOOR = threading.Lock()
_NAMING = threading.Lock()
_SEATS = threading.BoundedSemaphore(settings.QUESTIONS_AT_ONCE)
_kept = _Kept()


def _asked(question: Callable[[Any], T], otherwise: T) -> T:
    """Return the answer to a question that takes an SQL client.

    It is asked in a thread of its own: those in which dlt runs resources share one context, and the making
    of an SQL client changes it for a moment.
    """
    pipeline = running_pipeline()
    if pipeline is None:
        return otherwise
    idle = _kept.of(load_id()).clients

    def ask() -> T:
        with _DOOR:
            client = idle.pop() if idle else pipeline.sql_client()
        answer = question(client)
        with _DOOR:
            idle.append(client)
        return answer

    with _SEATS, ThreadPoolExecutor(1, thread_name_prefix="warehouse") as thread:
        return thread.submit(ask).result()


@contextmanager
def _connection(client: Any) -> Iterator[None]:
    with _DOOR:
        client.open_connection()
    try:
        yield
    finally:
        with _DOOR:
            client.close_connection()
