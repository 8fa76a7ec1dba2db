"""The version guard: a row that was read earlier never replaces one that was read later."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import dlt
from dlt.common.schema.typing import TDeleteInsertStrategyDict
from dlt.extract import DltResource
from dlt.extract.utils import wrap_parallel_iterator

from .schema import Table
from .warehouse import named

_MERGE: TDeleteInsertStrategyDict = {"disposition": "merge", "strategy": "delete-insert"}


def newest_wins(table: Table) -> TDeleteInsertStrategyDict:
    """Return a write disposition that merges by key and leaves out rows older than what is there.

    It names the tables of the destination, so it can only be made while a pipeline runs; without one it is a
    plain merge.
    """

    def with_filter(client: Any) -> TDeleteInsertStrategyDict:
        loaded = client.make_qualified_table_name(table.name)
        with client.with_staging_dataset():
            staged = client.make_qualified_table_name(table.name)
        newer = _newer_than_loaded(table, loaded, staged, client.escape_column_name)
        return {**_MERGE, "source_filter": newer}

    return named(("newest_wins", table.name), with_filter, _MERGE)


def _newer_than_loaded(table: Table, loaded: str, staged: str, quote: Any) -> str:
    row = quote("_dlt_id")
    same_key = " AND ".join(f"d.{quote(name)} = s.{quote(name)}" for name in table.key)
    older: list[str] = []
    for place, column in enumerate(table.version):
        same = [f"d.{quote(before)} = s.{quote(before)}" for before in table.version[:place]]
        older.append(" AND ".join([*same, f"d.{quote(column)} > s.{quote(column)}"]))
    return _without_placeholders(
        f"{row} NOT IN (SELECT s.{row} FROM {staged} AS s JOIN {loaded} AS d ON {same_key}"  # noqa: S608
        f" WHERE {' OR '.join(f'({part})' for part in older)})"
    )


def first_wins(table: Table) -> TDeleteInsertStrategyDict:
    """Return a write disposition that leaves out rows whose key is there already."""

    def with_filter(client: Any) -> TDeleteInsertStrategyDict:
        (key,) = map(client.escape_column_name, table.key)
        loaded = client.make_qualified_table_name(table.name)
        absent = _without_placeholders(f"{key} NOT IN (SELECT {key} FROM {loaded})")  # noqa: S608
        return {**_MERGE, "source_filter": absent}

    return named(("first_wins", table.name), with_filter, _MERGE)


def newest_set_wins(table: Table, owner: Table) -> TDeleteInsertStrategyDict:
    """Return a write disposition that replaces the rows of each owner as a set, unless a newer set is there.

    A set that has become empty is one row whose last key column is empty: it deletes and is not inserted.
    As a set may have no rows to compare with, the owner's row is compared as well.

    Args:
        table: Its key is the page, the owner and a member; its version is `synced_at`.
        owner: Table of the owners, loaded beside it.
    """

    def with_filter(client: Any) -> TDeleteInsertStrategyDict:
        quote = client.escape_column_name
        loaded, owners = map(client.make_qualified_table_name, (table.name, owner.name))
        with client.with_staging_dataset():
            staged = client.make_qualified_table_name(table.name)
        row, version = quote("_dlt_id"), quote(table.version[-1])
        _, owned_by, member = map(quote, table.key)
        newest = " AND ".join(
            f"{row} NOT IN (SELECT s.{row} FROM {staged} AS s JOIN {other} AS d ON d.{key} = s.{owned_by}"  # noqa: S608
            f" WHERE d.{version} > s.{version})"
            for other, key in ((staged, owned_by), (loaded, owned_by), (owners, quote(*owner.key)))
        )
        replaced = f"{owned_by} IN (SELECT {owned_by} FROM {staged} WHERE {newest})"  # noqa: S608
        return {
            **_MERGE,
            "destination_scope": _without_placeholders(replaced),
            "source_filter": _without_placeholders(f"{newest} AND {member} <> ''"),
        }

    return named(("newest_set_wins", table.name), with_filter, _MERGE)


def _without_placeholders(condition: str) -> str:
    """Escape braces: dlt formats the condition, and those in names must survive it."""
    return condition.replace("{", "{{").replace("}", "}}")


def beside_others(generator: Iterator[Any]) -> Iterator[Any]:
    """Return what lets dlt run a generator in a thread of its own.

    `parallelized` does so by itself, but not for a generator with an incremental argument (dlt 1.31).
    """
    parallel: Iterator[Any] = wrap_parallel_iterator(generator)  # type: ignore[type-var]
    return parallel


def merged(generator: Callable[..., Iterator[Any]], table: Table, name: str) -> Callable[..., DltResource]:
    """Return what makes the resource of a table that is merged by its key, beside others.

    Args:
        generator: Yields its rows, after `guarded`.
        table: The table.
        name: Name of the resource.
    """
    return dlt.resource(
        generator,
        name=name,
        table_name=table.name,
        primary_key=list(table.key),
        write_disposition="merge",
        columns=table.hints(),
        parallelized=True,
    )


def guarded(table: Table, disposition: TDeleteInsertStrategyDict | None = None) -> Any:
    """Return an item that creates the resource's own table even without rows, and guards it.

    Args:
        table: The resource's own.
        disposition: How its rows are merged; default `newest_wins`.
    """
    return dlt.mark.with_hints(
        dlt.mark.materialize_table_schema(),
        dlt.mark.make_hints(write_disposition=disposition or newest_wins(table)),
    )


def guarded_beside(table: Table) -> Iterator[Any]:
    """Yield items that create `table` beside the resource's own, and guard it.

    dlt makes the hints of such a table from the resource's own, so they are emptied first.
    """
    yield dlt.mark.with_hints(
        [],
        dlt.mark.make_hints(table_name=table.name, columns={}, primary_key=list(table.key)),
        create_table_variant=True,
    )
    yield dlt.mark.with_hints(
        dlt.mark.materialize_table_schema(),
        dlt.mark.make_hints(
            table_name=table.name,
            columns=table.hints(),
            primary_key=list(table.key),
            write_disposition=newest_wins(table),
        ),
        create_table_variant=True,
    )
