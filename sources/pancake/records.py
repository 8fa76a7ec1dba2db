"""Rows as the API sends them become rows of a table. Pure: dict to dict."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import lru_cache
from math import isfinite
from typing import Any, Final

from dlt.common.time import parse_iso_like_datetime, to_py_datetime

from .errors import PancakeShapeError
from .schema import MESSAGES, Table

Row = dict[str, Any]


@dataclass(frozen=True)
class Batch:
    """What one call gave.

    Args:
        rows: Rows as sent.
        sent_at: When the call was sent, aware UTC.
        body: The whole reply, for what it holds beside the rows.
        server_time: The server's clock as it answered, in whole seconds, aware UTC; if it said.
    """

    rows: list[Row]
    sent_at: datetime
    body: Row = field(default_factory=dict)
    server_time: datetime | None = None


_MISFIT: Final = object()
_BIGINT = range(-(2**63), 2**63)
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,19}")
# Found in notes; both open doors elsewhere and have no use for an analyst.
_CREDENTIALS = frozenset({"session_id", "token_for_business"})


def parse_stamp(value: Any) -> datetime | None:
    """Return an ISO 8601 stamp as an aware UTC datetime, or None if it is none.

    A stamp without a zone is UTC: that is how Pancake sends them.
    """
    return _parse_stamp(value) if isinstance(value, str) else None


@lru_cache(maxsize=4096)  # of one batch: a walk looks at a stamp several times
def _parse_stamp(value: str) -> datetime | None:
    try:
        stamp = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        try:
            parsed = parse_iso_like_datetime(value)
        except ValueError:
            return None
        if not isinstance(parsed, datetime):
            return None
        stamp = to_py_datetime(parsed)
    if stamp.tzinfo is None:
        return stamp.replace(tzinfo=timezone.utc)
    try:
        return stamp.astimezone(timezone.utc)
    except OverflowError:
        return None


def row_id(row: Any, endpoint: str) -> str:
    """Return the id of a row as text.

    Raises:
        PancakeShapeError: The row is no object or has no id, so it could not be merged.
    """
    found = row.get("id") if isinstance(row, dict) else None
    if isinstance(found, bool) or not isinstance(found, str | int) or found == "":
        raise PancakeShapeError(
            f"`GET {endpoint}` gave a row without an `id`, which cannot be merged."
            " This is not the end of the data, so nothing is taken for read.",
            endpoint,
        )
    return str(found)


def shape(row: Row, table: Table, page_id: str, synced_at: datetime) -> Row:
    """Return one row of `table` with all its columns.

    A field without a column, and a value that does not fit its column, goes to `extra`. A table without that
    column holds what it declares and nothing else.

    Args:
        row: Row as the API sent it.
        table: Table that it is for.
        page_id: Page that was asked, for rows that do not name it.
        synced_at: When the call was sent, aware UTC.
    """
    fits = _fits(table)
    shaped: Row = dict.fromkeys(fits.columns)
    extra: Row = {}
    for sent_as, value in row.items():
        known = fits.by_field.get(sent_as)
        if known is None:
            extra[sent_as] = value
        elif value is not None:
            name, as_it_is, fit = known
            if type(value) is as_it_is:
                shaped[name] = value
            elif (fitted := fit(value)) is _MISFIT:
                extra[sent_as] = value
            else:
                shaped[name] = fitted
    shaped["page_id"] = shaped["page_id"] or page_id
    shaped["synced_at"] = synced_at
    if table is MESSAGES and isinstance(shaped["sender"], dict):
        for key in ("id", "name"):
            fitted = _fit_text(shaped["sender"].get(key))
            shaped[f"sender_{key}"] = None if fitted is _MISFIT else fitted
    if extra and "extra" in shaped:
        shaped["extra"] = _storable(extra)
    return shaped


class _Fits:
    """What `shape` needs to know of a table, worked out once."""

    def __init__(self, table: Table) -> None:
        self.columns = tuple(column.name for column in table.columns)
        self.by_field = {
            column.source_field: (column.name, _AS_IT_IS.get(column.data_type), _FIT[column.data_type])
            for column in table.columns
            if column.source_field
        }


@lru_cache
def _fits(table: Table) -> _Fits:
    return _Fits(table)


def _fit_text(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _MISFIT


def _fit_bool(value: Any) -> Any:
    return value if isinstance(value, bool) else _MISFIT


def _fit_bigint(value: Any) -> Any:
    if isinstance(value, bool):
        return _MISFIT
    if (isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value)) or (
        isinstance(value, float) and value.is_integer()
    ):
        value = int(value)
    return value if isinstance(value, int) and value in _BIGINT else _MISFIT


def _fit_timestamp(value: Any) -> Any:
    return parse_stamp(value) or _MISFIT


def _fit_json(value: Any) -> Any:
    return _storable(value) if isinstance(value, dict | list) else _MISFIT


_AS_IT_IS: dict[str, type] = {"text": str, "bool": bool}
_FIT: dict[str, Callable[[Any], Any]] = {
    "text": _fit_text,
    "bool": _fit_bool,
    "bigint": _fit_bigint,
    "timestamp": _fit_timestamp,
    "json": _fit_json,
}


def _storable(value: Any) -> Any:
    """Return a JSON value without credentials, and with numbers that no destination stores as text."""
    kind = type(value)
    if kind is dict:
        return {
            key: inner if type(inner) is str else _storable(inner)
            for key, inner in value.items()
            if key not in _CREDENTIALS
        }
    if kind is list:
        return [_storable(inner) for inner in value]
    if (kind is int and value not in _BIGINT) or (kind is float and not isfinite(value)):
        return str(value)
    return value
