"""The queries of the documentation give what the page itself says, on each warehouse they are written for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from pipelines import destinations
from sources.pancake import pancake_source
from tests.conftest import MakeClient
from tests.fake_pancake import FakePage, FakeTime
from tests.fake_pancake.entities import Conversation, Message
from tests.warehouses import Warehouse

QUERIES = Path(__file__).parents[2] / "docs/queries"
SHOP = timezone(timedelta(hours=7))

Answer = list[tuple[Any, ...]]


@pytest.fixture
def page(time: FakeTime) -> FakePage:
    """A page whose customers come back, and whose staff is assigned."""
    page = FakePage(clock=time)
    page.populate(days=6, conversations=60)
    for number, (conversation_id, name) in enumerate(
        zip(page.conversations, sorted(page.staff) * 9, strict=False)
    ):
        page.assign(conversation_id, name)
        if number % 4 == 0:
            page.add_message(conversation_id)
    return page


@pytest.fixture(params=["duckdb", "postgres"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Warehouse:
    """The warehouses whose SQL the queries are written in."""
    if request.param == "duckdb":
        return Warehouse("duckdb", str(tmp_path / "warehouse.duckdb"))
    return Warehouse("postgres", request.getfixturevalue("postgres"))


def day_of(at: datetime) -> date:
    return at.astimezone(SHOP).date()


def messages(page: FakePage) -> Iterator[tuple[Conversation, Message]]:
    for conversation in page.conversations.values():
        for message in conversation.messages:
            yield conversation, message


def by_customer(page: FakePage, message: Message) -> bool:
    return message.from_id != page.page_id


def first_response_time(page: FakePage) -> Answer:
    waits: dict[date, list[float]] = defaultdict(list)
    for conversation in page.conversations.values():
        asked = [message.inserted_at for message in conversation.messages if by_customer(page, message)]
        answers = [
            message.inserted_at
            for message in conversation.messages
            if message.admin_name is not None and asked and message.inserted_at > min(asked)
        ]
        if answers:
            waits[day_of(min(asked))].append((min(answers) - min(asked)).total_seconds())
    return sorted((day, len(found), median(found)) for day, found in waits.items())


def waits(page: FakePage, conversation: Conversation) -> bool:
    return by_customer(page, conversation.messages[-1])


def unanswered_now(page: FakePage) -> Answer:
    found = [
        (row.messages[-1].inserted_at, row.id)
        for row in page.conversations.values()
        if row.type == "INBOX" and waits(page, row)
    ]
    return [(conversation_id, at) for at, conversation_id in sorted(found)]


def conversations_per_tag(page: FakePage) -> Answer:
    uses = Counter(tag for row in page.conversations.values() for tag in row.tags if tag is not None)
    found = [(page.page_id, str(tag), text, uses[tag]) for tag, (text, _) in page.tag_texts.items()]
    return sorted(found, key=lambda row: (-row[3], row[1]))


def conversations_per_ad(page: FakePage) -> Answer:
    rows = [row for row in page.conversations.values() if row.ad_id]
    every = Counter(row.ad_id for row in rows)
    written = Counter(row.ad_id for row in rows if any(by_customer(page, found) for found in row.messages))
    return sorted(((ad, every[ad], written[ad]) for ad in every), key=lambda row: (-row[1], row[0]))


def messages_per_agent(page: FakePage) -> Answer:
    sent = Counter(message.admin_name for _, message in messages(page) if message.admin_name)
    threads = {(message.admin_name, row.id) for row, message in messages(page)}
    places = Counter(name for name, _ in threads)
    found = [(name, name in page.disabled_staff, sent[name], places[name]) for name in sent]
    return sorted(found, key=lambda row: (-row[2], row[0]))


def open_work_per_agent(page: FakePage) -> Answer:
    rows = [(name, row) for row in page.conversations.values() for name in row.assignees]
    assigned = Counter(name for name, _ in rows)
    waiting = Counter(name for name, row in rows if waits(page, row))
    return sorted(
        ((name, count, waiting[name]) for name, count in assigned.items()), key=lambda row: (-row[1], row[0])
    )


def busiest_hours(page: FakePage) -> Answer:
    asked = [(row.id, message) for row, message in messages(page) if by_customer(page, message)]
    hours = Counter(message.inserted_at.astimezone(SHOP).hour for _, message in asked)
    threads = {(message.inserted_at.astimezone(SHOP).hour, key) for key, message in asked}
    places = Counter(hour for hour, _ in threads)
    return sorted((hour, count, places[hour]) for hour, count in hours.items())


def new_and_returning_customers(page: FakePage) -> Answer:
    days: dict[str, set[date]] = defaultdict(set)
    for row, message in messages(page):
        if by_customer(page, message):
            days[row.customer_id].add(day_of(message.inserted_at))
    new = Counter(min(found) for found in days.values())
    every = Counter(day for found in days.values() for day in found)
    return sorted((day, new[day], count - new[day]) for day, count in every.items())


def time_to_tag(page: FakePage) -> Answer:
    added: dict[tuple[str, int], list[datetime]] = defaultdict(list)
    for row in page.conversations.values():
        for change in row.tag_changes:
            if change.action == "add" and change.tag_id is not None:
                added[row.id, change.tag_id].append(change.at)
    hours: dict[str, list[float]] = defaultdict(list)
    for (key, tag), stamps in added.items():
        wait = min(stamps) - page.conversations[key].inserted_at
        hours[page.tag_texts[tag][0]].append(wait.total_seconds() / 3600)
    return sorted((text, len(found), median(found)) for text, found in hours.items())


def messages_per_day(page: FakePage) -> Answer:
    def kind(message: Message) -> str:
        return "customer" if by_customer(page, message) else "staff" if message.admin_name else "automatic"

    counts = Counter((day_of(message.inserted_at), kind(message)) for _, message in messages(page))
    return sorted((*key, count) for key, count in counts.items())


ANSWERS = {
    answer.__name__: answer
    for answer in (
        first_response_time,
        unanswered_now,
        conversations_per_tag,
        conversations_per_ad,
        messages_per_agent,
        open_work_per_agent,
        busiest_hours,
        new_and_returning_customers,
        time_to_tag,
        messages_per_day,
    )
}


def plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc)
    return pytest.approx(float(value)) if isinstance(value, float | Decimal) else value


def test_every_query_is_tested_and_on_the_page() -> None:
    assert {path.stem for path in QUERIES.glob("*.sql")} == ANSWERS.keys()
    text = QUERIES.with_suffix(".md").read_text(encoding="utf-8")
    assert all(f"(queries/{name}.sql)" in text for name in ANSWERS)


def test_each_query_gives_what_the_page_says(
    warehouse: Warehouse, page: FakePage, make_client: MakeClient, tmp_path: Path
) -> None:
    pipeline = warehouse.pipeline(tmp_path)
    destinations.load(pipeline, pancake_source("any", "any", client=make_client()))
    for name, answer in ANSWERS.items():
        with pipeline.sql_client() as client:
            rows = client.execute_sql((QUERIES / f"{name}.sql").read_text(encoding="utf-8"))
        expected = answer(page)
        assert len(expected) > 1, name
        found = [tuple(map(plain, row)) for row in rows or ()]
        assert found == expected, name
