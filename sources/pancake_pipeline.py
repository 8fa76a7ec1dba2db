"""Load the conversations and messages of one Pancake page.

Put the page's id into .dlt/config.toml and its token into .dlt/secrets.toml, both under
[sources.pancake], then run this script. Every further run loads what is new.
"""

import dlt
from pancake import pancake_source


def load_new() -> None:
    """Load what is new since the last run; the first run begins 30 days back."""
    pipeline = dlt.pipeline("pancake", destination="duckdb", dataset_name="pancake_data")
    print(pipeline.run(pancake_source()))


def load_range(since: str, until: str) -> None:
    """Load one span of time again, whole, beside the cursor: for example 2026-01-01 to 2026-02-01."""
    pipeline = dlt.pipeline("pancake", destination="duckdb", dataset_name="pancake_data")
    print(pipeline.run(pancake_source(since=since, until=until)))


if __name__ == "__main__":
    load_new()
