"""The floor of every dlt load: start, make the tables of an empty page's worth of nothing, end."""

from __future__ import annotations

import dlt

from benchmarks import settings

if __name__ == "__main__":
    pipeline = dlt.pipeline(
        "empty", destination=dlt.destinations.duckdb(settings.database()), dataset_name="pancake"
    )
    nothing = dlt.resource([], name="nothing", columns={"id": {"data_type": "text"}})
    pipeline.run(nothing)
