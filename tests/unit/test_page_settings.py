"""The list of pages in a configuration."""

from __future__ import annotations

from typing import Any

import dlt
import pytest

from sources.pancake import Page, configured_pages
from sources.pancake.errors import PancakeSettingsError
from sources.pancake.page_settings import chosen, read_pages

TOKENS = {"1": "token-1", "igo_2": "token-2"}


@pytest.mark.parametrize(
    "listed",
    [
        ["1", "igo_2"],
        [1, {"page_id": "igo_2"}],
        "1, igo_2",
        '["1", {"page_id": "igo_2"}]',
        [{"page_id": 1, "page_access_token": "token-1"}, "igo_2"],
    ],
    ids=["ids", "numbers and tables", "commas", "json", "a token of its own"],
)
def test_pages_are_listed_by_id_or_as_tables(listed: Any) -> None:
    assert read_pages(listed, TOKENS.get) == [Page("1", "token-1"), Page("igo_2", "token-2")]


def test_a_page_may_have_its_own_start() -> None:
    (page,) = read_pages([{"page_id": "1", "start_date": "2026-01-01"}], TOKENS.get)
    assert page.start_date == "2026-01-01"


def test_a_page_without_a_token_has_an_empty_one_so_that_it_stops_no_other() -> None:
    assert read_pages(["3"], TOKENS.get) == [Page("3", "")]


def test_a_token_is_not_shown() -> None:
    assert "token-1" not in repr(Page("1", "token-1"))


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ([], "is empty"),
        ("", "is empty"),
        (7, "is a int"),
        ({"1": "token"}, "is a dict"),
        ("[1, ", "is no JSON"),
        (["1", 1], "lists 1 more than once"),
        ([{"id": "1"}], "unknown key id; known are page_access_token, page_id, start_date"),
        ([{"page_access_token": "x"}], "has no id"),
        ([None], "has no id"),
        ([True], "has no id"),
    ],
)
def test_a_list_that_is_none_is_refused_with_what_was_expected(listed: Any, message: str) -> None:
    with pytest.raises(PancakeSettingsError, match=message):
        read_pages(listed, TOKENS.get)


def test_some_of_the_pages_can_be_chosen() -> None:
    pages = read_pages(["1", "igo_2"], TOKENS.get)
    assert chosen(pages, []) == pages
    assert chosen(pages, ["igo_2"]) == [Page("igo_2", "token-2")]
    with pytest.raises(PancakeSettingsError, match="Page 9 is not configured; known are 1, igo_2"):
        chosen(pages, ["1", "9"])


def test_tokens_come_one_by_one_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__PANCAKE__PAGES", "1,igo_2")
    monkeypatch.setenv("SOURCES__PANCAKE__PAGE_ACCESS_TOKENS__1", "token-1")
    monkeypatch.setenv("SOURCES__PANCAKE__PAGE_ACCESS_TOKENS__IGO_2", "token-2")
    assert configured_pages() == [Page("1", "token-1"), Page("igo_2", "token-2")]
    assert configured_pages(["1"]) == [Page("1", "token-1")]


def test_pages_and_tokens_come_from_the_secrets_of_dlt() -> None:
    with dlt.secrets.values(
        {
            "sources.pancake.pages": [{"page_id": "1", "page_access_token": "token-1"}, {"page_id": "igo_2"}],
            "sources.pancake.page_access_tokens.igo_2": "token-2",
        }
    ):
        assert configured_pages() == [Page("1", "token-1"), Page("igo_2", "token-2")]


def test_one_page_needs_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__PANCAKE__PAGE_ID", "1")
    monkeypatch.setenv("SOURCES__PANCAKE__PAGE_ACCESS_TOKEN", "token-1")
    assert configured_pages() == [Page("1", "token-1")]


def test_no_page_and_two_ways_to_name_them_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PancakeSettingsError, match="SOURCES__PANCAKE__PAGE_ID"):
        configured_pages()
    monkeypatch.setenv("SOURCES__PANCAKE__PAGE_ID", "1")
    monkeypatch.setenv("SOURCES__PANCAKE__PAGES", "1,2")
    with pytest.raises(PancakeSettingsError, match="both set"):
        configured_pages()


def test_ids_come_from_the_configuration_of_dlt_and_tokens_do_not() -> None:
    with dlt.config.values({"sources.pancake.pages": ["1", {"page_id": "igo_2"}]}):
        assert configured_pages() == [Page("1", ""), Page("igo_2", "")]
    with (
        dlt.config.values({"sources.pancake.pages": [{"page_id": "1", "page_access_token": "token-1"}]}),
        pytest.raises(PancakeSettingsError, match="holds a token"),
    ):
        configured_pages()


def test_an_empty_setting_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__PANCAKE__PAGES", "")
    monkeypatch.setenv("SOURCES__PANCAKE__PAGE_ID", "1")
    monkeypatch.setenv("SOURCES__PANCAKE__PAGE_ACCESS_TOKEN", "token-1")
    assert configured_pages() == [Page("1", "token-1")]
    monkeypatch.setenv("SOURCES__PANCAKE__PAGES", "1")
    monkeypatch.setenv("SOURCES__PANCAKE__PAGE_ID", "")
    assert configured_pages() == [Page("1", "")]
