"""The data dictionary is what the code declares."""

from __future__ import annotations

from pipelines import tables


def test_the_data_dictionary_is_current() -> None:
    assert tables.TARGET.read_text(encoding="utf-8") == tables.render()


def test_every_type_in_use_is_explained() -> None:
    assert {
        column.data_type for table in tables.EVERY_TABLE for column in table.columns
    } == tables.TYPES.keys()
