"""A destination in memory: tables merged by key, newest version first, each load wholly or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter
from typing import Any

from sources.pancake.records import Row
from sources.pancake.resources.coverage import COMPLETE, Coverage
from sources.pancake.schema import TABLES, Table

State = dict[str, dict[str, Any]]


@dataclass
class Load:
    """What one run gives.

    Attributes:
        started: when it began, unix seconds.
        rows: by table.
        cursor: newest `updated_at` listed; None for a range.
        state: by resource; None for a range.
    """

    started: float
    rows: dict[str, list[Row]] = field(default_factory=lambda: {table.name: [] for table in TABLES})
    cursor: datetime | None = None
    state: State | None = None


class Warehouse:
    """The tables, the cursor and the states; also a `Ledger`.

    Attributes:
        tables: rows by table and key.
        cursor: of the sync, None before its first load.
        state: of the sync, by resource.
    """

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, Row]] = {table.name: {} for table in TABLES}
        self.cursor: datetime | None = None
        self.state: State = {"conversations": {}, "messages": {}}

    def commit(self, load: Load) -> None:
        """Merge a load."""
        for table in TABLES:
            self._merge(table, load.rows[table.name])
        if load.cursor is not None:
            self.cursor = load.cursor
        if load.state is not None:
            self.state = deepcopy(load.state)

    def coverage(self) -> list[Coverage]:
        """The ledger."""
        return [Coverage(**row) for row in self.tables["conversation_coverage"].values()]

    def marks(self, conversation_ids: Sequence[str]) -> dict[str, Coverage]:
        """See `Ledger`."""
        known = self.tables["conversation_coverage"]
        return {key: Coverage(**known[key]) for key in conversation_ids if key in known}

    def due(self, *, unverified: bool) -> list[Coverage]:
        """See `Ledger`."""
        return [
            known
            for known in self.coverage()
            if known.status != COMPLETE or (unverified and not known.end_verified)
        ]

    def newest_message_at(self) -> datetime | None:
        """See `Ledger`."""
        marks = [known.newest_message_at for known in self.coverage()]
        return max((mark for mark in marks if mark is not None), default=None)

    def _merge(self, table: Table, rows: Sequence[Row]) -> None:
        newest: dict[str, Row] = {}
        key_of = itemgetter(*table.key)
        read_at = table.version[-1]
        for row in rows:
            known = newest.get(key_of(row))
            if known is None or row[read_at] >= known[read_at]:
                newest[key_of(row)] = row
        loaded = self.tables[table.name]
        for key, row in newest.items():
            if key not in loaded or _version(table, loaded[key]) <= _version(table, row):
                loaded[key] = row


def _version(table: Table, row: Row) -> tuple[Any, ...]:
    return tuple(row[column] for column in table.version)
