"""What a load costs in calls, beside the least that it can cost."""

from __future__ import annotations

from datetime import timedelta
from math import ceil
from random import Random

import pytest

from sources.pancake import PancakeClient
from sources.pancake.filters import Filters
from sources.pancake.page_run import PageRun
from sources.pancake.resources.conversations import now, windows_of_rows
from sources.pancake.resources.messages import Reader
from sources.pancake.windows import Window
from tests.fake_pancake import ARTICLE, LIVE, Dialect, FakeAdapter, FakePage, FakePancake, FakeTime

from .warehouse import Load, Warehouse

FIXED = {"live": LIVE, "article": Dialect(**{**vars(ARTICLE), "message_batches": (30,)})}
NEW_PER_CALL = 29  # of a batch of 30, one message is known


@pytest.mark.parametrize("dialect", FIXED.values(), ids=FIXED.keys())
def test_a_load_stays_within_three_percent_of_the_least_calls(dialect: Dialect) -> None:
    time = FakeTime()
    page = FakePage(dialect=dialect, clock=time)
    pancake = FakePancake([page], clock=time)
    draw = Random(3)
    for number in range(3_000):
        page.add_conversation(at=time.now() - timedelta(minutes=12 * number), messages=draw.randint(1, 40))
    transport = FakeAdapter(pancake)
    client = PancakeClient(page.page_id, page.token, requests_per_second=5, clock=time, transport=transport)

    windows: list[int] = []
    warehouse, load = Warehouse(), Load(time.time())
    state: dict[str, dict[str, object]] = {"conversations": {}, "messages": {}}
    run = PageRun(client)
    reader = Reader(run, 86_400, 120, 1, False)
    for table, rows in reader.open(warehouse, state["messages"]):
        load.rows[table.name] += rows
    whole = Window(time.now() - timedelta(days=30), now(client))
    for batch in windows_of_rows(run, whole, Filters(), state["conversations"], {}):
        windows.append(len(batch))
        load.rows["conversations"] += batch
        for table, rows in reader.read(batch, warehouse, state["messages"]):
            load.rows[table.name] += rows
    warehouse.commit(load)

    assert warehouse.tables["conversations"].keys() == page.conversations.keys()
    threads = [len(conversation.messages) for conversation in page.conversations.values()]
    assert len(warehouse.tables["messages"]) == sum(threads)
    lists = sum(ceil(rows / 60) + 1 for rows in windows)
    least = lists + sum(max(1, ceil(messages / NEW_PER_CALL)) for messages in threads)
    assert pancake.count() <= 1.03 * least
