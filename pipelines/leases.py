"""Leases: of two runs that would read the same page at the same time, the second one ends at once."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import dlt
import sqlglot
from dlt.common.utils import uniq_id

from pipelines import destinations

TABLE = "pancake_leases"
_COLUMNS = "command TEXT, page_id TEXT, holder TEXT, holder_name TEXT, expires_at BIGINT"


class LeaseTakenError(Exception):
    """Another run reads one of the pages."""


class Lease:
    """The right to read some pages by one command, until it expires.

    It stands in the dataset, so it holds for all machines; a run that is killed leaves it to expire. Clocks
    of machines may differ by a part of its duration, no more.

    Args:
        pipeline: Into the warehouse.
        command: Leases of different commands do not exclude one another: a backfill runs beside syncs.
        page_ids: The pages.
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
        """Take the lease.

        Of two runs that come at the same moment both may be refused, but never none.

        Raises:
            LeaseTakenError: Another run has it for one of the pages, or has the warehouse to itself.
            WarehouseError: It cannot be written down.
        """
        try:
            others = self._enter()
        except Exception as error:
            if not destinations.is_in_use(error):
                raise destinations.WarehouseError(str(error)) from error
            raise LeaseTakenError(
                f"Another process has the warehouse open, most likely another run. Nothing was read. {error}"
            ) from None
        if others:
            self.give_back()
            page_id, other, until = others[0]
            raise LeaseTakenError(
                f"Page {page_id} is being read by another `pancake {self._command}`, on {other}. Its lease"
                f" ends with it, or at {datetime.fromtimestamp(until, timezone.utc):%H:%M:%S} UTC if it was"
                " killed. Nothing was read."
            )

    def _enter(self) -> list[tuple[str, str, int]]:
        """Write the lease down, and return who else has one."""
        with self._client() as (client, table):
            self._create(client, table)
            now = int(self._clock())
            over = "expires_at <= %s OR (command = %s AND holder = %s)"
            client.execute_sql(f"DELETE FROM {table} WHERE {over}", now, self._command, self._holder)  # noqa: S608
            name = f"{socket.gethostname()} (process {os.getpid()})"
            expires_at = now + int(self._duration_s)
            row = "(%s, %s, %s, %s, %s)"
            values = [
                value
                for page_id in self._page_ids
                for value in (self._command, page_id, self._holder, name, expires_at)
            ]
            rows = ", ".join([row] * len(self._page_ids))
            client.execute_sql(f"INSERT INTO {table} VALUES {rows}", *values)  # noqa: S608
            return self._others(client, table)

    def renew(self) -> None:
        """Take it for its duration from now on."""
        with self._client() as (client, table):
            client.execute_sql(
                f"UPDATE {table} SET expires_at = %s WHERE holder = %s",  # noqa: S608
                int(self._clock() + self._duration_s),
                self._holder,
            )

    def give_back(self) -> None:
        """End it."""
        with self._client() as (client, table):
            client.execute_sql(f"DELETE FROM {table} WHERE holder = %s", self._holder)  # noqa: S608

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

    def _others(self, client: Any, table: str) -> list[tuple[str, str, int]]:
        places = ", ".join(["%s"] * len(self._page_ids))
        found = client.execute_sql(
            "SELECT page_id, holder_name, expires_at"  # noqa: S608
            f" FROM {table} WHERE command = %s AND holder <> %s AND page_id IN ({places})",
            self._command,
            self._holder,
            *self._page_ids,
        )
        return list(found or [])


@contextmanager
def held(lease: Lease) -> Iterator[None]:
    """Hold a lease while the block runs.

    Raises:
        LeaseTakenError: See `Lease.take`.
    """
    lease.take()
    try:
        yield
    finally:
        lease.give_back()
