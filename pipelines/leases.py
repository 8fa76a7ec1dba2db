"""Leases: of two runs that would do the same at the same time, one does."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any
from uuid import getnode

import dlt
import sqlglot
from dlt.common.utils import uniq_id
from tenacity import Retrying, stop_after_attempt, wait_random

from pipelines import destinations

TABLE = "pancake_leases"
_COLUMNS = "command TEXT, page_id TEXT, holder TEXT, holder_name TEXT, expires_at BIGINT"
_OF_HOLDER = "(command = %s AND holder = %s)"

_MACHINE = f"{socket.gethostname()} {getnode():012x}"
"""Machines may have the same name, but hardly the same network address too."""

_creating_at_once = Retrying(stop=stop_after_attempt(4), wait=wait_random(0, 0.5), reraise=True)
"""Of two that create the same table, or delete the same row, one may get an error."""


class LeaseTakenError(Exception):
    """Another run has what the lease is for."""


@dataclass(frozen=True)
class Holder:
    """Who has a lease.

    Args:
        holder: See `Lease`.
        name: Of the machine and process; of a DuckDB file that is open elsewhere, what DuckDB says.
        page_id: The page, or what else the lease is for; empty when the warehouse cannot be opened.
        expires_at: Unix seconds.
    """

    holder: str
    name: str
    page_id: str = ""
    expires_at: int = 0

    @classmethod
    def name_of_this(cls) -> str:
        """Return the name of this process."""
        return f"{_MACHINE} (process {os.getpid()})"

    @property
    def is_gone(self) -> bool:
        """Whether it was a process of this machine, and runs no more."""
        import psutil  # noqa: PLC0415  # 40 ms, and hardly ever needed

        machine, _, process = self.name.removesuffix(")").partition(" (process ")
        return machine == _MACHINE and not psutil.pid_exists(int(process))


class Lease:
    """The right to do something with some pages, until it expires.

    It stands in the dataset, so it holds for all machines; a run that is killed leaves it to expire. Clocks
    of machines may differ by a part of its duration, no more.

    Args:
        pipeline: Into the warehouse.
        command: What is done. Leases of different commands do not exclude one another: a backfill runs beside
            syncs.
        page_ids: The pages, or what else is to be had by one at a time.
        duration_s: Seconds for which it is taken and renewed.
        clock: Returns unix seconds.
        holder: Who takes it. A run of the same holder goes on with the lease of one that was killed; by
            default each is a holder of its own.
    """

    def __init__(
        self,
        pipeline: dlt.Pipeline,
        command: str,
        page_ids: Sequence[str],
        duration_s: float,
        clock: Callable[[], float] = time.time,
        holder: str | None = None,
    ) -> None:
        self._pipeline = pipeline
        self._command = command
        self._page_ids = list(page_ids)
        self._duration_s = duration_s
        self._clock = clock
        self._holder = holder or uniq_id()

    def take(self) -> None:
        """Take the lease; that of a process of this machine which is no more is over.

        Raises:
            LeaseTakenError: Another run has it for one of the pages, or has the warehouse to itself.
            WarehouseError: It cannot be written down.
        """
        holder = self.enter()
        while holder is not None and holder.is_gone:
            self._end(holder.holder)
            holder = self.enter()
        if holder is None:
            return
        if not holder.page_id:
            raise LeaseTakenError(
                "Another process has the warehouse open, most likely another run. Nothing was read."
                f" {holder.name}"
            )
        raise LeaseTakenError(
            f"Page {holder.page_id} is being read by another `pancake {self._command}`, on {holder.name}. Its"
            f" lease ends with it, or at {datetime.fromtimestamp(holder.expires_at, timezone.utc):%H:%M:%S}"
            " UTC if it was killed. Nothing was read."
        )

    def enter(self) -> Holder | None:
        """Take the lease, unless another has it: then return who.

        Of two that come at the same moment both may be refused, but never none.

        Raises:
            WarehouseError: It cannot be written down.
        """
        try:
            with self._client() as (client, table):
                return _creating_at_once(self._enter, client, table)
        except Exception as error:
            if destinations.is_in_use(error):
                return Holder("", str(error))
            raise destinations.WarehouseError(str(error)) from error

    def _enter(self, client: Any, table: str) -> Holder | None:
        now = int(self._clock())
        self._create(client, table)
        written = self._written(client, table)
        if other := self._other(written, now):
            return other
        if written:
            client.execute_sql(
                f"DELETE FROM {table} WHERE expires_at <= %s OR {_OF_HOLDER}",  # noqa: S608
                now,
                self._command,
                self._holder,
            )
        name = Holder.name_of_this()
        expires_at = now + int(self._duration_s)
        row = "(%s, %s, %s, %s, %s)"
        values = [
            value
            for page_id in self._page_ids
            for value in (self._command, page_id, self._holder, name, expires_at)
        ]
        rows = ", ".join([row] * len(self._page_ids))
        client.execute_sql(f"INSERT INTO {table} VALUES {rows}", *values)  # noqa: S608
        if other := self._other(self._written(client, table), now):
            self._delete(client, table, self._holder)
        return other

    def renew(self) -> None:
        """Take it for its duration from now on."""
        with self._client() as (client, table):
            client.execute_sql(
                f"UPDATE {table} SET expires_at = %s WHERE {_OF_HOLDER}",  # noqa: S608
                int(self._clock() + self._duration_s),
                self._command,
                self._holder,
            )

    def give_back(self) -> None:
        """End it."""
        self._end(self._holder)

    def _end(self, holder: str) -> None:
        with self._client() as (client, table):
            self._delete(client, table, holder)

    def _delete(self, client: Any, table: str, holder: str) -> None:
        client.execute_sql(f"DELETE FROM {table} WHERE {_OF_HOLDER}", self._command, holder)  # noqa: S608

    @contextmanager
    def _client(self) -> Iterator[tuple[Any, str]]:
        with self._pipeline.sql_client() as client:
            yield client, client.make_qualified_table_name(TABLE)

    def _create(self, client: Any, table: str) -> None:
        if not client.has_dataset():
            client.create_dataset()
        dialect = client.capabilities.sqlglot_dialect
        columns = sqlglot.parse_one(f"CREATE TABLE t ({_COLUMNS})").sql(dialect=dialect)
        client.execute_sql(columns.replace("CREATE TABLE t", f"CREATE TABLE IF NOT EXISTS {table}", 1))

    def _written(self, client: Any, table: str) -> list[Holder]:
        """Return what is written down of the command and the pages, also what is over."""
        places = ", ".join(["%s"] * len(self._page_ids))
        found = client.execute_sql(
            "SELECT holder, holder_name, page_id, expires_at"  # noqa: S608
            f" FROM {table} WHERE command = %s AND page_id IN ({places})",
            self._command,
            *self._page_ids,
        )
        return [Holder(*row) for row in found or ()]

    def _other(self, written: list[Holder], now: int) -> Holder | None:
        return next((one for one in written if one.holder != self._holder and one.expires_at > now), None)


@contextmanager
def held(lease: Lease) -> Iterator[None]:
    """Hold a lease while the block runs.

    Raises:
        LeaseTakenError: See `Lease.take`.
    """
    lease.take()
    with given_back(lease):
        yield


@contextmanager
def given_back(lease: Lease) -> Iterator[None]:
    """Give a lease back when the block ends; what ends the block is not hidden by an error of giving back."""
    try:
        yield
    except BaseException:
        with suppress(Exception):
            lease.give_back()
        raise
    lease.give_back()
