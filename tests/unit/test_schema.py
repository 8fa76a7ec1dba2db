"""Every table is described whole: key, version, types and words."""

from __future__ import annotations

from typing import get_args

import pytest
from dlt.common.data_types import TDataType
from dlt.common.normalizers.naming.snake_case import NamingConvention
from dlt.common.schema import Schema, utils

from sources.pancake.resources.coverage import Coverage
from sources.pancake.schema import CONVERSATIONS, COVERAGE, MESSAGES, TABLES, Table

NAMING = NamingConvention()
PROMISED = {
    "id",
    "page_id",
    "type",
    "tags",
    "updated_at",
    "inserted_at",
    "last_message",
    "participants",
    "synced_at",
}

every_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)


def names(table: Table) -> list[str]:
    return [column.name for column in table.columns]


@every_table
def test_a_table_has_a_key_a_version_and_the_page(table: Table) -> None:
    assert table.key
    assert table.version
    assert {*table.key, *table.version, "page_id"} <= set(names(table))
    assert len(names(table)) == len(set(names(table)))


@every_table
def test_a_version_is_a_stamp(table: Table) -> None:
    types = {column.name: column.data_type for column in table.columns}
    assert {types[name] for name in table.version} == {"timestamp"}


@every_table
def test_every_table_and_column_is_described(table: Table) -> None:
    for text in (table.description, *(column.description for column in table.columns)):
        assert text.strip() == text
        assert text.endswith(".")


@every_table
def test_names_stay_as_they_are_in_every_warehouse(table: Table) -> None:
    for name in (table.name, *names(table)):
        assert NAMING.normalize_identifier(name) == name
        assert NAMING.normalize_path(name) == name
        assert not name.startswith("_dlt")


@every_table
def test_hints_are_what_dlt_takes(table: Table) -> None:
    schema = Schema("pancake")
    schema.update_table(utils.new_table(table.name, columns=list(table.hints().values())))
    columns = schema.get_table_columns(table.name)
    assert list(columns) == names(table)
    for column in table.columns:
        hint = columns[column.name]
        assert hint["data_type"] == column.data_type
        assert column.data_type in get_args(TDataType)
        assert hint["description"] == column.description
        assert hint["nullable"] == (column.name not in table.key)
    assert {name for name, hint in columns.items() if "dedup_sort" in hint} == {table.version[-1]}


@every_table
def test_hints_are_made_anew_each_time(table: Table) -> None:
    table.hints()[table.key[0]]["nullable"] = True
    assert table.hints()[table.key[0]]["nullable"] is False


@every_table
def test_no_field_of_the_api_fills_two_columns(table: Table) -> None:
    fields = [column.source_field for column in table.columns if column.source_field]
    assert len(fields) == len(set(fields))


def test_the_promised_columns_of_conversations_exist() -> None:
    assert set(names(CONVERSATIONS)) >= PROMISED


def test_rows_of_the_api_keep_what_has_no_column() -> None:
    for table in (CONVERSATIONS, MESSAGES):
        assert {"extra", "synced_at"} <= set(names(table))


def test_a_row_of_the_ledger_fills_every_column_of_its_table() -> None:
    assert set(Coverage("1", "2").row()) == set(names(COVERAGE))
