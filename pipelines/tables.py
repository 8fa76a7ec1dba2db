"""Writes docs/tables.md, the data dictionary, from the declared tables."""

from __future__ import annotations

import sys
from pathlib import Path

from pipelines.run_record import SYNC_PAGES, SYNC_RUNS
from sources.pancake.schema import TABLES, Table

TARGET = Path(__file__).parents[1] / "docs/tables.md"
TYPES = {
    "text": ("VARCHAR", "varchar", "STRING"),
    "bigint": ("BIGINT", "bigint", "INT64"),
    "double": ("DOUBLE", "double precision", "FLOAT64"),
    "bool": ("BOOLEAN", "boolean", "BOOL"),
    "timestamp": ("TIMESTAMPTZ", "timestamptz", "TIMESTAMP"),
    "json": ("JSON", "jsonb", "JSON"),
}
EVERY_TABLE = (*TABLES, SYNC_RUNS, SYNC_PAGES)
HEADER = """# Tables

Every table that is loaded exists with all of its columns after the first run, also of an empty page. Only
when `tables` names them are `posts`, `page_customers`, `page_statistics` and `user_statistics` loaded.
`sync_runs` and `sync_pages` are written by the command line and by Airflow; `pancake_leases` beside them
keeps two runs of a page, and two loads, apart. Stamps are UTC. Ids are text. A nested value is one JSON
column; a field that the API sends and that has no column, or a value that does not fit its column, is found
under its name in `extra`. dlt adds `_dlt_load_id` and `_dlt_id`.

This page is written by `python -m pipelines.tables`. Queries on these tables are in [queries.md](queries.md).

```mermaid
erDiagram
    pages ||--o{ conversations : "page_id"
    conversations ||--o{ messages : "conversation_id"
    conversations ||--|| conversation_coverage : "conversation_id"
    conversations ||--o{ conversation_tags : "conversation_id"
    conversations ||--o{ conversation_assignees : "conversation_id"
    conversations ||--o{ conversation_ads : "conversation_id"
    conversations ||--o{ tag_events : "conversation_id"
    conversations ||--o{ assignee_events : "conversation_id"
    tags ||--o{ conversation_tags : "page_id, tag_id"
    tags |o--o{ tag_events : "page_id, tag_id"
    users ||--o{ conversation_assignees : "page_id, user_id"
    users |o--o{ assignee_events : "page_id, user_id"
    users |o--o{ messages : "sender.uid"
    posts |o--o{ conversations : "post_id"
    page_customers |o--o{ conversations : "page_customer.id"
    users ||--o{ user_statistics : "page_id, user_id"
    pages ||--o{ page_statistics : "page_id"
```

| Type | DuckDB | PostgreSQL | BigQuery |
|---|---|---|---|
"""


def render() -> str:
    """Return the page."""
    types = "".join(f"| {name} | {' | '.join(found)} |\n" for name, found in TYPES.items())
    return HEADER + types + "".join(map(_section, EVERY_TABLE))


def _section(table: Table) -> str:
    lines = [
        f"\n## {table.name}\n",
        (
            f"{table.description} Merged by {_names(table.key)}"
            + (
                f". {table.merged}\n"
                if table.merged
                else f"; of two versions the one with the later {_names(table.version, ', then ')} stays.\n"
            )
        ),
        "| Column | Type | Holds |",
        "|---|---|---|",
        *(f"| `{column.name}` | {column.data_type} | {column.description} |" for column in table.columns),
    ]
    return "\n".join(lines) + "\n"


def _names(columns: tuple[str, ...], between: str = ", ") -> str:
    return between.join(f"`{name}`" for name in columns)


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
    sys.stdout.write(f"{TARGET.name} written\n")
