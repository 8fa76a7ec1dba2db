"""Rows as Arrow tables, which dlt hands on as they are instead of looking at every value."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, ClassVar

import orjson
import pyarrow as pa
from dlt.common.normalizers.utils import generate_dlt_ids
from dlt.extract import DltResource
from dlt.extract.items import TableNameMeta
from dlt.extract.items_transform import ItemTransform

from .records import Row
from .schema import Table
from .warehouse import load_id, running_pipeline

_TAKES_ARROW = "duckdb"
"""Parquet files. For PostgreSQL dlt writes CSV, in which empty text becomes null, and for BigQuery JSON, in
which the text of a JSON column is encoded twice: they get rows."""

_TYPES = {
    "text": pa.string(),
    "json": pa.string(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
_NOT_OF_THESE_TYPES = (pa.ArrowException, LookupError, OverflowError, TypeError, ValueError)


def in_arrow(resource: DltResource, *tables: Table) -> DltResource:
    """Let a resource hand on its rows as Arrow tables where the destination takes them.

    It is done last, so that whoever adds a step to the resource finds rows.

    Args:
        resource: Yields lists of rows.
        *tables: What they are rows of: its own table, and those beside it.
    """
    logging.getLogger("dlt").addFilter(_is_news)
    resource.add_step(_ToArrow(tables))
    return resource


class _ToArrow(ItemTransform[Any, dict[str, Any]]):
    placement_affinity: ClassVar[float] = 2  # behind the cursor, which has 1

    def __init__(self, tables: Sequence[Table]) -> None:
        super().__init__(lambda item: item)
        self._own = tables[0]
        self._by_name = {table.name: table for table in tables}

    def __call__(self, item: Any, meta: Any = None) -> Any:
        if type(item) is not list or not item or (package := _package()) is None:
            return item
        try:
            table = self._by_name[meta.table_name] if isinstance(meta, TableNameMeta) else self._own
            return to_arrow(item, table, package)
        except _NOT_OF_THESE_TYPES:  # somebody's step made other rows of them, which dlt can look at
            return item


def to_arrow(rows: Sequence[Row], table: Table, load_id: str) -> Any:
    """Return rows as an Arrow table with the two columns that dlt adds to others itself.

    Args:
        rows: Shaped rows of the table.
        table: The table.
        load_id: The package that they are loaded in.

    Raises:
        LookupError, TypeError, ValueError, OverflowError: They are no rows of the table.
    """
    names = tuple(column.name for column in table.columns)
    if any(len(row) != len(names) for row in rows):
        raise LookupError("rows have other columns than their table")
    values = zip(*map(itemgetter(*names), rows), strict=True)
    arrays = [
        pa.array(map(_as_json, found) if column.data_type == "json" else found, _TYPES[column.data_type])
        for column, found in zip(table.columns, values, strict=True)
    ]
    arrays += [pa.repeat(load_id, len(rows)), pa.array(generate_dlt_ids(len(rows)))]
    return pa.Table.from_arrays(arrays, schema=_schema(table))


def _as_json(value: Any) -> bytes | None:
    return None if value is None else orjson.dumps(value)


@lru_cache
def _schema(table: Table) -> Any:
    fields = [
        pa.field(column.name, _TYPES[column.data_type], nullable=column.name not in table.key)
        for column in table.columns
    ]
    of_dlt = (pa.field(name, pa.string(), nullable=False) for name in ("_dlt_load_id", "_dlt_id"))
    return pa.schema([*fields, *of_dlt])


def _package() -> str | None:
    """Return the package that is being filled for a destination that takes Arrow tables, or None."""
    pipeline = running_pipeline()
    if pipeline is None or pipeline.destination is None:
        return None
    kind = pipeline.destination.destination_type.rsplit(".", 1)[-1]
    return load_id() if kind == _TAKES_ARROW else None


def _is_news(record: logging.LogRecord) -> bool:
    """Take out what dlt says of each Arrow table whose JSON columns hold text: that is how it is meant."""
    return "when merging arrow schema" not in record.getMessage()
