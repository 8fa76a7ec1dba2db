"""What all lookup tables share: one that fails stops nothing else, and what was once listed is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import dlt
from dlt.common import logger

from ..errors import PancakeAuthError, PancakeError
from ..page_run import PageRun
from ..records import Batch, Row
from ..schema import Table
from ..warehouse import selected


@contextmanager
def fails_alone(run: PageRun, table: Table) -> Iterator[None]:
    """Let an error of one lookup end that lookup only; a refused page token still ends the page.

    The metrics of the resource then hold `lookups_failed` and, as `lookup_error`, the class of the error.
    """
    metrics = dlt.current.resource_metrics()
    with run.errors_kept(metrics):
        try:
            yield
        except PancakeAuthError:
            raise
        except PancakeError as exc:
            metrics.update(lookups_failed=1, lookup_error=type(exc).__name__)
            logger.warning(f"`{table.name}` of page {run.client.page_id} was not loaded: {exc}")


def with_history(listed: Sequence[Row], batch: Batch, table: Table, page_id: str) -> list[Row]:
    """Return rows for what is listed, and for what the warehouse holds and is no longer listed.

    Args:
        listed: Shaped rows of everything that the page has.
        batch: The reply that they come from.
        table: Has the columns `is_listed` and `last_seen_at`.
        page_id: The page.
    """
    present = {row["id"] for row in listed}
    seen = [{**row, "is_listed": True, "last_seen_at": batch.sent_at} for row in listed]
    gone = [row for row in _listed_before(table, page_id) if row["id"] not in present]
    return [*seen, *({**row, "is_listed": False, "synced_at": batch.sent_at} for row in gone)]


def _listed_before(table: Table, page_id: str) -> list[Row]:
    names = [column.name for column in table.columns]

    def query_of(client: Any) -> str:
        columns = ", ".join(map(client.escape_column_name, names))
        place = client.make_qualified_table_name(table.name)
        return f"SELECT {columns} FROM {place} WHERE page_id = %s AND is_listed"  # noqa: S608

    decoded = {column.name for column in table.columns if column.data_type == "json"}
    rows = (dict(zip(names, row, strict=True)) for row in selected(query_of, page_id))
    return [{name: _json(value) if name in decoded else value for name, value in row.items()} for row in rows]


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value  # some drivers decode it, some do not
