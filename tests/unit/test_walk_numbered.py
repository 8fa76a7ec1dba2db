"""A list with page numbers is read to its end, whatever moves meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest

from sources.pancake import settings
from sources.pancake.errors import PancakeShapeError, PancakeTransientError, PancakeWalkError
from sources.pancake.paginators import Walk, walk_numbered
from sources.pancake.records import Batch

SIZE = 3
NOW = datetime(2026, 3, 20, tzinfo=timezone.utc)


class Numbered:
    """A list in pages of three, newest first, that changes after each call."""

    def __init__(self, rows: int, *, counts: bool = True) -> None:
        self.rows = [{"id": number, "at": f"2026-03-01T00:00:{number:02d}"} for number in range(rows, 0, -1)]
        self.counts = counts
        self.calls: list[int] = []
        self.change: Callable[[int], Any] = lambda call: None

    def __call__(self, params: dict[str, str | int]) -> Batch:
        number = int(params["page_number"])
        self.calls.append(number)
        page = self.rows[(number - 1) * SIZE : number * SIZE]
        body: dict[str, Any] = {"total": len(self.rows)} if self.counts else {}
        self.change(len(self.calls))
        return Batch(page, NOW, body)

    def walk(self) -> Walk:
        return walk_numbered(self, order_by="at", endpoint="list")


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize(("rows", "calls"), [(0, [1]), (2, [1, 2]), (3, [1, 2]), (7, [1, 2, 3, 4])])
def test_only_an_empty_page_ends_the_walk(rows: int, calls: list[int], counts: bool) -> None:
    numbered = Numbered(rows, counts=counts)
    walk = numbered.walk()
    assert numbered.calls == calls
    assert walk.complete
    assert [listed.row["id"] for listed in walk.ascending()] == [*range(1, rows + 1)]
    assert {listed.sent_at for listed in walk.rows.values()} <= {NOW}


def test_a_list_that_shrank_is_read_again_and_nothing_is_missed() -> None:
    numbered = Numbered(7)
    numbered.change = lambda call: numbered.rows.pop(0) if call == 1 else None
    walk = numbered.walk()
    assert numbered.calls == [1, 2, 3, 1, 2, 3]
    assert len(walk.rows) == 7


def test_a_list_that_grew_is_read_once() -> None:
    numbered = Numbered(7)
    numbered.change = lambda call: numbered.rows.insert(0, {"id": 99, "at": None}) if call == 1 else None
    walk = numbered.walk()
    assert numbered.calls == [1, 2, 3, 4]
    assert len(walk.rows) == 7


def test_a_row_that_comes_twice_is_kept_in_its_last_version() -> None:
    numbered = Numbered(4)

    def move(call: int) -> None:
        if call == 1:
            numbered.rows.insert(0, {"id": 9, "at": None})
            numbered.rows[3] = {**numbered.rows[3], "name": "new"}

    numbered.change = move
    walk = numbered.walk()
    assert walk.rows["2"].row["name"] == "new"


def test_a_list_that_shrinks_during_every_walk_fails_loudly() -> None:
    numbered = Numbered(90)
    numbered.change = lambda call: numbered.rows.pop()
    with pytest.raises(PancakeWalkError):
        numbered.walk()
    assert numbered.calls.count(1) == settings.MAX_STALLED_STEPS


def test_a_page_that_comes_again_under_the_next_number_fails_loudly() -> None:
    def same(params: dict[str, str | int]) -> Batch:
        return Batch([{"id": 1}], NOW, {"total": 1})

    with pytest.raises(PancakeShapeError, match="page 1 again as page 2"):
        walk_numbered(same, order_by="at", endpoint="list")


def test_a_row_without_an_id_fails_loudly() -> None:
    def nameless(params: dict[str, str | int]) -> Batch:
        return Batch([{"name": "x"}], NOW)

    with pytest.raises(PancakeShapeError):
        walk_numbered(nameless, order_by="at", endpoint="list")


def test_a_list_that_holds_too_much_is_left_incomplete() -> None:
    numbered = Numbered(9)
    walk = walk_numbered(numbered, order_by="at", endpoint="list", max_rows=4)
    assert not walk.complete
    assert numbered.calls == [1, 2]
    assert walk_numbered(numbered, order_by="at", endpoint="list", max_rows=9).complete


def test_an_error_on_any_page_is_never_the_end() -> None:
    numbered = Numbered(7)

    def fail(call: int) -> None:
        if call == 3:
            raise PancakeTransientError("x")

    numbered.change = fail
    with pytest.raises(PancakeTransientError):
        numbered.walk()
