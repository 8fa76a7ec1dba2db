"""Filters become parameters that the server understands, and the rest is decided here."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sources.pancake.errors import PancakeSettingsError
from sources.pancake.filters import Filters, make_filters


def made(
    types: Sequence[str] | str | None = None,
    tags: Sequence[str | int] | str | int | None = None,
    post_ids: Sequence[str | int] | str | int | None = None,
    unread_first: bool = False,
    order_by: str = "updated_at",
    ranged: bool = False,
) -> Filters:
    return make_filters(types, tags, post_ids, unread_first=unread_first, order_by=order_by, ranged=ranged)


def test_no_filter_asks_for_everything() -> None:
    assert made() == Filters()
    assert made().params() == {}
    assert made().keeps({"type": "INBOX"})
    assert made().keeps({})


def test_one_type_is_left_to_the_server() -> None:
    filters = made(types=["INBOX"])
    assert filters.params() == {"type": "INBOX"}
    assert filters.keeps({"type": "COMMENT"})


def test_several_types_are_never_sent_and_filtered_here() -> None:
    filters = made(types=["INBOX", "COMMENT"])
    assert filters.params() == {}
    assert filters.keeps({"type": "INBOX"})
    assert filters.keeps({"type": "COMMENT"})
    assert not filters.keeps({"type": "RATING"})
    assert not filters.keeps({})


def test_tags_and_posts_are_sent_joined_by_commas() -> None:
    filters = made(tags=[7, "9"], post_ids=["1_2", "3_4"])
    assert filters.params() == {"tags": "7,9", "post_ids": "1_2,3_4"}


def test_unread_first_is_sent_only_when_asked_for() -> None:
    assert made(unread_first=True, ranged=True).params() == {"unread_first": "true"}
    assert "unread_first" not in made(ranged=True).params()


@pytest.mark.parametrize("values", ["7, 9", ["7", " 9 "], (7, 9), "7,,9,", ["7", "", "9"]])
def test_a_list_may_be_written_in_many_ways(values: Sequence[str | int] | str) -> None:
    assert made(tags=values).tags == ("7", "9")


def test_a_single_number_is_a_list_of_one() -> None:
    assert made(tags=0).tags == ("0",)
    assert made(post_ids=7).params() == {"post_ids": "7"}


@pytest.mark.parametrize("nothing", [None, "", " ", ",", [], [""]])
def test_an_empty_list_is_no_filter(nothing: list[str] | str | None) -> None:
    assert made(types=nothing, tags=nothing, post_ids=nothing) == Filters()


@pytest.mark.parametrize("order_by", ["", "id", "UPDATED_AT"])
def test_an_unknown_order_is_refused(order_by: str) -> None:
    with pytest.raises(PancakeSettingsError, match=r"`order_by`.*updated_at or inserted_at"):
        made(order_by=order_by, ranged=True)


def test_an_order_that_a_cursor_cannot_stand_on_is_refused_for_a_sync() -> None:
    with pytest.raises(PancakeSettingsError, match=r"order_by=inserted_at.*`since` and `until`"):
        made(order_by="inserted_at")
    with pytest.raises(PancakeSettingsError, match=r"unread_first.*`since` and `until`"):
        made(unread_first=True)
    assert made(order_by="inserted_at", ranged=True).order_by == "inserted_at"


def test_equal_filters_have_equal_fingerprints_whatever_their_order() -> None:
    one = made(types="INBOX,COMMENT", tags=[7, 9], post_ids=["1_2", "3_4"])
    other = made(types=["COMMENT", "INBOX"], tags="9,7", post_ids="3_4,1_2")
    assert one.fingerprint() == other.fingerprint()


def test_other_filters_have_other_fingerprints() -> None:
    all_of_them = [made(), made(types="1"), made(tags="1"), made(post_ids="1"), made(types="1", tags="1")]
    assert len({filters.fingerprint() for filters in all_of_them}) == len(all_of_them)
