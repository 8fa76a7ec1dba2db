"""A window of the conversations list is read to its end, whatever the server answers and whatever moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sources.pancake import PancakeClient, endpoints
from sources.pancake.errors import PancakeError, PancakeRateLimitError, PancakeWalkError
from sources.pancake.paginators import EndOfList, Walk, walk_window
from sources.pancake.records import Batch
from sources.pancake.settings import END_CHECK_EVERY, END_CHECK_MESSAGES, END_CHECKS
from sources.pancake.windows import Window
from tests.fake_pancake import ARTICLE, Call, Dialect, FakeAdapter, FakePage, FakePancake, FakeTime, Fault
from tests.fake_pancake.dialect import LostCursor, Ties, WindowField
from tests.fake_pancake.faults import FaultKind

UNTIL = datetime(2026, 3, 19, tzinfo=timezone.utc)
DAY = Window(UNTIL - timedelta(days=1), UNTIL)
PROVEN = EndOfList(checks=END_CHECKS, checked_rows=END_CHECK_MESSAGES)


class Place:
    """A page a day after the window, and a client of it."""

    def __init__(self, dialect: Dialect = ARTICLE, seed: int = 0) -> None:
        self.time = FakeTime(UNTIL + timedelta(days=1))
        self.page = FakePage(dialect=dialect, seed=seed, clock=self.time)
        self.pancake = FakePancake([self.page], clock=self.time)
        self.params: dict[str, str] = {}
        self._client = PancakeClient(
            self.page.page_id,
            self.page.token,
            requests_per_second=5,
            clock=self.time,
            transport=FakeAdapter(self.pancake),
        )

    def fetch(self, params: dict[str, str | int]) -> Batch:
        return self._client.get(endpoints.CONVERSATIONS, {**self.params, **params})

    def walk(self, end: EndOfList | None = None, window: Window = DAY, **options: Any) -> Walk:
        options.setdefault("order_by", "updated_at")
        return walk_window(self.fetch, window, end=EndOfList() if end is None else end, **options)

    def fill(self, stamps: Sequence[datetime]) -> list[str]:
        return [self.page.add_conversation(at=at).id for at in stamps]

    def between_calls(self, change: Callable[[int], object]) -> None:
        """Call `change` with the number of each call, the first is 1, before its answer is made."""

        def before(_: Call) -> None:
            change(len(self.pancake.calls))

        self.pancake.before_call = before


def spread(count: int, step_s: float = 300) -> list[datetime]:
    """Stamps within the window, newest first."""
    return [UNTIL - timedelta(seconds=step_s * (place + 1)) for place in range(count)]


def ids(walk: Walk) -> list[str]:
    assert walk.complete
    rows = walk.ascending()
    stamps = [listed.stamp for listed in rows if listed.stamp is not None]
    assert stamps == sorted(stamps)
    assert len(stamps) == len(rows)
    return [listed.row["id"] for listed in rows]


@pytest.mark.parametrize("change", ["moves up", "is deleted"])
@pytest.mark.parametrize("lost_cursor", get_args(LostCursor))
def test_no_row_is_missed_when_the_row_to_go_on_from(lost_cursor: LostCursor, change: str) -> None:
    place = Place(replace(ARTICLE, lost_cursor=lost_cursor))
    filled = place.fill(spread(200))

    def disturb(call: int) -> None:
        cursor = place.pancake.calls[-1].params.get("last_conversation_id")
        if call not in (2, 4) or cursor not in place.page.conversations:
            return
        if change == "moves up":
            place.page.add_message(cursor)
        else:
            place.page.delete_conversation(cursor)

    place.between_calls(disturb)
    assert sorted(ids(place.walk())) == sorted(filled)


@pytest.mark.parametrize("ties", get_args(Ties))
@pytest.mark.parametrize("count", [60, 61, 120, 130, 250])
def test_conversations_with_one_stamp_are_all_found_across_batches(count: int, ties: Ties) -> None:
    place = Place(replace(ARTICLE, ties=ties))
    filled = place.fill([*spread(25), *[UNTIL - timedelta(hours=4)] * count, *spread(90)[50:]])
    assert sorted(ids(place.walk())) == sorted(filled)


@pytest.mark.parametrize("lost_cursor", get_args(LostCursor))
def test_an_empty_answer_to_a_lost_row_is_not_the_end_among_known_rows(lost_cursor: LostCursor) -> None:
    place = Place(replace(ARTICLE, lost_cursor=lost_cursor))
    filled = place.fill([UNTIL - timedelta(hours=4)] * 250)
    gone: list[str] = []
    steps: list[str | None] = []  # what each call goes on from, repeated calls left out

    def delete_cursor(_: int) -> None:
        cursor = place.pancake.calls[-1].params.get("last_conversation_id")
        if [cursor] != steps[-1:]:
            steps.append(cursor)
            if cursor is not None and len(steps) in (3, 5):
                gone.append(cursor)
                place.page.delete_conversation(cursor)

    place.between_calls(delete_cursor)
    assert set(ids(place.walk())) >= set(filled) - set(gone)


@pytest.mark.parametrize("count", [3, 61, 200])
def test_an_unmoving_window_with_one_stamp_ends(count: int) -> None:
    place = Place()
    filled = place.fill([UNTIL - timedelta(hours=4)] * count)
    assert sorted(ids(place.walk())) == sorted(filled)


@pytest.mark.parametrize("until_inclusive", [True, False])
@pytest.mark.parametrize("since_inclusive", [True, False])
def test_both_bounds_are_read_whether_the_server_includes_them(
    since_inclusive: bool, until_inclusive: bool
) -> None:
    place = Place(replace(ARTICLE, since_inclusive=since_inclusive, until_inclusive=until_inclusive))
    instant = timedelta(milliseconds=1)
    window = Window(DAY.since + timedelta(milliseconds=500), DAY.until + timedelta(milliseconds=500))
    inside = place.fill([window.since, window.since + instant, window.until - instant])
    assert set(inside) <= set(ids(place.walk(window=window)))


@pytest.mark.parametrize("window_field", get_args(WindowField))
def test_the_field_that_the_server_filters_makes_no_difference(window_field: WindowField) -> None:
    place = Place(replace(ARTICLE, window_field=window_field))
    filled = place.fill(spread(150))
    assert sorted(ids(place.walk())) == sorted(filled)


def test_a_window_of_begins_is_read_by_begin() -> None:
    place = Place()
    begun = place.fill(spread(130))
    place.fill([DAY.since - timedelta(hours=1)])
    for key in begun[::3]:
        place.page.add_message(key)
    walk = place.walk(order_by="inserted_at")
    assert sorted(ids(walk)) == sorted(begun)


@pytest.mark.parametrize("seed", range(12))
def test_batches_of_random_size_lose_nothing(seed: int) -> None:
    place = Place(replace(ARTICLE, conversation_batch_jitter=True), seed)
    filled = place.fill([*spread(100), *[UNTIL - timedelta(hours=2)] * 90])
    end = EndOfList()
    for _ in range(3):
        assert sorted(ids(place.walk(end))) == sorted(filled)
    assert end.uneven


@pytest.mark.parametrize("seed", range(12))
def test_random_batches_of_one_stamp_are_known_for_uneven(seed: int) -> None:
    place = Place(replace(ARTICLE, conversation_batch_jitter=True), seed)
    place.fill([*[UNTIL - timedelta(hours=2)] * 150, UNTIL - timedelta(hours=1)])
    end = EndOfList()
    place.walk(end)
    assert end.uneven


@pytest.mark.parametrize("kind", get_args(FaultKind))
def test_a_server_that_breaks_after_the_first_batch_is_an_error_not_an_end(kind: FaultKind) -> None:
    place = Place()
    place.fill(spread(150))
    place.pancake.fail(Fault(kind, skip=1, times=None, seconds=90))
    with pytest.raises(PancakeError):
        place.walk()


@pytest.mark.parametrize("lost_cursor", get_args(LostCursor))
@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize("kind", get_args(FaultKind))
def test_a_fault_on_the_second_batch_raises_or_costs_nothing(
    kind: FaultKind, times: int, lost_cursor: LostCursor
) -> None:
    place = Place(replace(ARTICLE, lost_cursor=lost_cursor))
    filled = place.fill(spread(150))
    place.pancake.fail(Fault(kind, skip=1, times=times, seconds=90))
    try:
        walk = place.walk()
    except PancakeError:
        return
    assert sorted(ids(walk)) == sorted(filled)


def test_too_many_calls_are_not_answered_by_another_call() -> None:
    place = Place()
    place.fill(spread(150))
    place.pancake.fail(Fault("status", status=429, skip=1, times=None))
    with pytest.raises(PancakeRateLimitError):
        place.walk()
    assert all("last_conversation_id" in call.params for call in place.pancake.calls[1:])


def test_an_empty_window_costs_one_call() -> None:
    place = Place()
    assert ids(place.walk()) == []
    assert place.pancake.count() == 1


@pytest.mark.parametrize("count", [1, 59, 60, 61, 119, 120, 150, 250])
def test_a_quiet_window_costs_its_batches_and_one_call_that_proves_the_end(count: int) -> None:
    place = Place()
    place.fill(spread(count))
    place.walk(replace(PROVEN))
    assert place.pancake.count() == count // 60 + 2
    place.pancake.clear_calls()
    place.walk()
    assert place.pancake.count() == count // 60 + (3 if count % 60 else 2)


def test_the_end_is_checked_again_after_enough_trust() -> None:
    place = Place()
    place.fill(spread(30))
    place.walk(end := replace(PROVEN, trusted=END_CHECK_EVERY))
    assert place.pancake.count() == 3
    assert end.trusted == 0


def test_a_window_that_holds_too_much_is_incomplete() -> None:
    place = Place()
    place.fill(spread(150))
    walk = place.walk(max_rows=100)
    assert not walk.complete
    assert place.pancake.count() == 2
    assert place.walk(max_rows=150).complete


def test_a_server_that_always_gives_the_first_batch_fails_loudly() -> None:
    place = Place()
    place.fill(spread(61))
    first = place.fetch({"since": 0, "until": 4_000_000_000, "order_by": "updated_at"})
    calls: list[object] = []

    def stuck(params: dict[str, str | int]) -> Batch:
        calls.append(params)
        return first

    with pytest.raises(PancakeWalkError, match="not taken for read"):
        walk_window(stuck, DAY, order_by="updated_at", end=EndOfList())
    assert len(calls) < 20


def test_a_server_that_ignores_the_cursor_is_walked_by_stamps() -> None:
    place = Place()
    filled = place.fill(spread(150))

    def without_cursor(params: dict[str, str | int]) -> Batch:
        return place.fetch({key: value for key, value in params.items() if key != "last_conversation_id"})

    walk = walk_window(without_cursor, DAY, order_by="updated_at", end=replace(PROVEN))
    assert sorted(ids(walk)) == sorted(filled)


def test_a_server_that_ignores_the_cursor_fails_loudly_when_a_second_holds_more_than_a_batch() -> None:
    place = Place()
    place.fill([UNTIL - timedelta(hours=1)] * 61)

    def without_cursor(params: dict[str, str | int]) -> Batch:
        return place.fetch({key: value for key, value in params.items() if key != "last_conversation_id"})

    with pytest.raises(PancakeWalkError):
        walk_window(without_cursor, DAY, order_by="updated_at", end=EndOfList())


def test_a_list_that_is_not_in_the_order_of_its_stamps_ends_at_an_empty_batch() -> None:
    place = Place()
    place.params = {"unread_first": "true"}
    filled = place.fill(spread(150))
    for key in filled[::2]:
        place.page.mark_seen(key)
    assert sorted(ids(place.walk(ordered=False))) == sorted(filled)
    assert place.pancake.count() == 4


def test_a_list_that_is_not_in_order_fails_when_it_repeats_itself() -> None:
    place = Place()
    place.fill(spread(61))
    first = place.fetch({"since": 0, "until": 4_000_000_000, "order_by": "updated_at"})
    with pytest.raises(PancakeWalkError):
        walk_window(lambda _: first, DAY, order_by="updated_at", end=EndOfList(), ordered=False)


def test_short_batches_are_trusted_once_enough_of_them_were_last() -> None:
    end = EndOfList()
    for _ in range(END_CHECKS):
        assert not end.trust()
        end.was_last(END_CHECK_MESSAGES // END_CHECKS)
    assert end.trust()


def test_short_batches_that_held_little_prove_little() -> None:
    end = EndOfList()
    for _ in range(10 * END_CHECKS):
        end.was_last(0)
    assert not end.trust()


def test_every_fiftieth_trusted_batch_is_checked() -> None:
    end = replace(PROVEN)
    assert [end.trust() for _ in range(END_CHECK_EVERY + 1)] == [True] * END_CHECK_EVERY + [False]
    end.was_last(5)
    assert end.trust()


def test_one_contradiction_ends_the_trust_for_good() -> None:
    end = replace(PROVEN)
    end.was_not_last()
    for _ in range(END_CHECKS):
        end.was_last(END_CHECK_MESSAGES)
    assert not end.trust()


@pytest.mark.parametrize(("first", "rows", "short"), [(True, 19, True), (True, 20, False), (False, 25, True)])
def test_a_batch_is_short_beside_others_of_its_place(first: bool, rows: int, short: bool) -> None:
    end = EndOfList()
    end.note_size(20, first=True)
    end.note_size(26, first=False)
    assert end.is_short(rows, first=first, at_least=20) is short


CHURN = st.lists(
    st.tuples(st.sampled_from(["moves up", "is deleted", "begins"]), st.integers(0, 999)), max_size=4
)


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.tuples(st.integers(0, 80_000), st.sampled_from([1, 1, 1, 5, 70])), max_size=40),
    lost_cursor=st.sampled_from(get_args(LostCursor)),
    ties=st.sampled_from(get_args(Ties)),
    inclusive=st.booleans(),
    size=st.sampled_from([60, 60, 7]),
    jitter=st.booleans(),
    proven=st.booleans(),
    churn=st.lists(CHURN, max_size=12),
)
def test_what_stays_unchanged_is_found_once_whatever_happens_between_calls(
    counts: list[tuple[int, int]],
    lost_cursor: LostCursor,
    ties: Ties,
    inclusive: bool,
    size: int,
    jitter: bool,
    proven: bool,
    churn: list[list[tuple[str, int]]],
) -> None:
    place = Place(
        replace(
            ARTICLE,
            lost_cursor=lost_cursor,
            ties=ties,
            since_inclusive=inclusive,
            until_inclusive=inclusive,
            conversation_batch=size,
            conversation_batch_jitter=jitter,
        )
    )
    filled = place.fill([UNTIL - timedelta(seconds=s) for s, n in counts for _ in range(n)][:300])
    unchanged = {key for key in filled if place.page.conversations[key].updated_at < UNTIL}

    def disturb(call: int) -> None:
        for kind, which in churn[call - 1] if call <= len(churn) else ():
            listed = list(place.page.conversations)
            if kind == "begins" or not listed:
                place.page.add_conversation()
                continue
            key = listed[which % len(listed)]
            unchanged.discard(key)
            if kind == "moves up":
                place.page.add_message(key)
            else:
                place.page.delete_conversation(key)

    place.between_calls(disturb)
    even = size == 60 and not jitter
    found = ids(place.walk(replace(PROVEN) if proven and even else None))
    assert len(found) == len(set(found))
    assert unchanged <= set(found)
