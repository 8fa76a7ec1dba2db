"""The one room that knows destinations by name: what each needs beside its configuration."""

from __future__ import annotations

from typing import TypedDict

import dlt
from dlt.common.destination import AnyDestination, Destination, TLoaderFileFormat

WAREHOUSE = "warehouse"
DEFAULT_TYPE = "duckdb"


class LoadOptions(TypedDict, total=False):
    """Arguments of `pipeline.run` that depend on the type of the destination."""

    loader_file_format: TLoaderFileFormat


_LOAD_OPTIONS: dict[str, LoadOptions] = {
    # dlt's default for DuckDB, SQL text, costs ten times the time and memory.
    "duckdb": {"loader_file_format": "parquet"},
}


def warehouse(pipeline_name: str, dataset_name: str) -> AnyDestination:
    """Return the destination named `warehouse`; its type and credentials come from the configuration.

    Every pipeline has a staging dataset of its own: two that load into one dataset would otherwise
    overwrite each other's staged rows.
    """
    configured = dlt.config.get(f"destination.{WAREHOUSE}.destination_type", str)
    staging = "%s_staging" if pipeline_name == dataset_name else f"%s_{pipeline_name}_staging"
    found = Destination.from_reference(
        configured or DEFAULT_TYPE,
        destination_name=WAREHOUSE,
        staging_dataset_name_layout=staging,
    )
    assert found is not None  # noqa: S101  # it is for an empty reference only
    return found


def load_options(destination: AnyDestination) -> LoadOptions:
    """Return what `pipeline.run` should be given for this type of destination."""
    return _LOAD_OPTIONS.get(destination.destination_type.rsplit(".", 1)[-1], {})
