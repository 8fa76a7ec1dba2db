"""The ledger `conversation_coverage`: how far each thread is known. Read and written here alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from ..records import Row
from ..schema import COVERAGE
from ..warehouse import selected

COMPLETE = "complete"
PARTIAL = "partial"
FAILED = "failed"


@dataclass(frozen=True)
class Coverage:
    """One row of the ledger; see its columns in `schema.py`. Stamps are aware UTC."""

    conversation_id: str
    page_id: str
    status: str = PARTIAL
    end_verified: bool = False
    newest_message_at: datetime | None = None
    oldest_message_at: datetime | None = None
    messages_read: int = 0
    message_count: int | None = None
    attempts: int = 0
    last_error: str | None = None
    checked_at: datetime | None = None

    def row(self) -> Row:
        """Return it as a row of the table."""
        return dict(vars(self))

    def unread(self, status: str, error: str | None, checked_at: datetime) -> Coverage:
        """Return what to write when the thread could not be read now."""
        return replace(
            self, status=status, last_error=error, checked_at=checked_at, attempts=self.attempts + 1
        )


class Ledger(Protocol):
    """What is known of the threads of one page before a run."""

    def marks(self, conversation_ids: Sequence[str]) -> dict[str, Coverage]:
        """Return the rows of these conversations, by id."""

    def due(self, *, unverified: bool) -> list[Coverage]:
        """Return the threads to be read again, whatever the cursor.

        Args:
            unverified: Also those whose end was taken on trust.
        """

    def newest_message_at(self) -> datetime | None:
        """Return the newest mark of the page."""


class WarehouseLedger:
    """The ledger in the destination of the running pipeline; empty when none runs or none was written.

    Args:
        page_id: The page.
    """

    def __init__(self, page_id: str) -> None:
        self._page_id = page_id
        self._is_empty = False

    def marks(self, conversation_ids: Sequence[str]) -> dict[str, Coverage]:
        """See `Ledger`."""
        if self._is_empty or not conversation_ids:
            return {}
        places = ", ".join(["%s"] * len(conversation_ids))
        found = self._select(f"conversation_id IN ({places})", *conversation_ids)
        return {coverage.conversation_id: coverage for coverage in found}

    def due(self, *, unverified: bool) -> list[Coverage]:
        """See `Ledger`."""
        condition = "status <> %s OR NOT end_verified" if unverified else "status <> %s"
        return self._select(f"page_id = %s AND ({condition})", self._page_id, COMPLETE)

    def newest_message_at(self) -> datetime | None:
        """See `Ledger`."""
        found = self._query("MAX(newest_message_at), COUNT(*)", "page_id = %s", self._page_id)
        self._is_empty = not found or found[0][1] == 0  # then the queries of a first load can be spared
        return found[0][0] if found else None

    def _select(self, condition: str, *values: str) -> list[Coverage]:
        names = [column.name for column in COVERAGE.columns]
        rows = self._query(", ".join(names), condition, *values)
        return [Coverage(**dict(zip(names, row, strict=True))) for row in rows]

    def _query(self, what: str, condition: str, *values: str) -> list[tuple[Any, ...]]:
        def query_of(client: Any) -> str:
            place = client.make_qualified_table_name(COVERAGE.name)
            return f"SELECT {what} FROM {place} WHERE {condition}"  # noqa: S608

        return selected(query_of, *values)
