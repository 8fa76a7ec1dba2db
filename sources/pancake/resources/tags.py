"""The table `tags`: the page's tags, deleted ones too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dlt.extract import DltResource

from .. import endpoints
from ..guard import guarded, merged
from ..page_run import PageRun
from ..records import row_id, shape
from ..schema import TAGS
from .lookups import fails_alone, with_history


def tags(run: PageRun, *, name: str = TAGS.name) -> DltResource:
    """One row per tag that the page has or had.

    Args:
        run: The page.
        name: Name of the resource; the table is always `tags`.
    """
    return merged(_tags, TAGS, name)(run)


def _tags(run: PageRun) -> Iterator[Any]:
    yield guarded(TAGS)
    with fails_alone(run, TAGS):
        batch = run.client.get(endpoints.TAGS, {})
        listed = [
            shape({**row, "id": row_id(row, str(endpoints.TAGS))}, TAGS, run.client.page_id, batch.sent_at)
            for row in batch.rows
        ]
        yield with_history(listed, batch, TAGS, run.client.page_id)
