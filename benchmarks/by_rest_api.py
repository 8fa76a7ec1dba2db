"""The same load with dlt's own `rest_api` source: `default` as documented, `tuned` by its options.

Tuned are the two options that a reader of dlt's performance guide would set: nested values stay in one
column, and the load files are parquet.
"""

from __future__ import annotations

import sys
from typing import Any

import dlt
from dlt.extract import DltSource
from dlt.sources.helpers.rest_client.paginators import JSONResponseCursorPaginator, OffsetPaginator
from dlt.sources.rest_api import rest_api_source

from benchmarks import settings


class CurrentCount(OffsetPaginator):
    """Ends at a short batch; dlt's own would ask every thread for one more."""

    def __init__(self) -> None:
        super().__init__(
            limit=settings.MESSAGES_PER_BATCH, offset_param="current_count", limit_param=None, total_path=None
        )

    def update_state(self, response: Any, data: list[Any] | None = None) -> None:
        """Count what came."""
        super().update_state(response, data)
        if len(data or ()) < settings.MESSAGES_PER_BATCH:
            self._has_next_page = False


def source() -> DltSource:
    """Return conversations and their messages, merged by id."""
    since, until = settings.span()
    page = f"pages/{settings.page_id()}"
    merged = {"primary_key": "id", "write_disposition": "merge"}
    config: Any = {
        "client": {
            "base_url": f"{settings.url()}/api/public_api/",
            "auth": {
                "type": "api_key",
                "name": "page_access_token",
                "api_key": settings.token(),
                "location": "query",
            },
        },
        "resources": [
            {
                "name": "conversations",
                **merged,
                "endpoint": {
                    "path": f"v2/{page}/conversations",
                    "params": {"since": since, "until": until, "order_by": "updated_at"},
                    "data_selector": "conversations",
                    "paginator": JSONResponseCursorPaginator(
                        cursor_path="conversations[-1].id", cursor_param="last_conversation_id"
                    ),
                },
            },
            {
                "name": "messages",
                **merged,
                "endpoint": {
                    "path": f"v1/{page}/conversations/{{resources.conversations.id}}/messages",
                    "data_selector": "messages",
                    "paginator": CurrentCount(),
                },
            },
        ],
    }
    return rest_api_source(config, name="shop")


if __name__ == "__main__":
    tuned = sys.argv[1] == "tuned"
    loaded = source()
    if tuned:
        loaded.max_table_nesting = 0
    pipeline = dlt.pipeline(
        "by_rest_api", destination=dlt.destinations.duckdb(settings.database()), dataset_name="pancake"
    )
    options: Any = {"loader_file_format": "parquet"} if tuned else {}
    pipeline.run(loaded, **options)
