"""The command `pancake` as a user runs it: a process of its own, over real HTTP, into DuckDB."""

from __future__ import annotations

import random
import resource
import signal
import time as wall
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.command.cli import RATE, Cli, wait_until
from tests.fake_pancake import FakePage, FakePancake, Fault
from tests.support import assert_complete, table


def test_a_sync_loads_the_page_and_reports_what_it_did(command: Cli, page: FakePage) -> None:
    code, out, _ = command("sync")
    assert code == 0
    assert "60 new, 0 changed" in out
    assert "60 complete, 0 left, 0 failed" in out
    assert "everything is read" in out
    assert_complete(command.warehouse(), page)
    code, out, _ = command("sync")
    assert code == 0
    assert "0 new, 0 changed" in out


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("SOURCES__PANCAKE__PAGE_ID", "SOURCES__PANCAKE__PAGE_ID in the environment"),
        ("SOURCES__PANCAKE__PAGE_ACCESS_TOKEN", "Settings > Tools"),
    ],
)
def test_a_missing_setting_ends_with_code_2_and_says_where_to_put_it(
    command: Cli, pancake: FakePancake, name: str, advice: str
) -> None:
    del command.settings[name]
    code, _, err = command("sync")
    assert (code, pancake.count()) == (2, 0)
    assert advice in err


@pytest.mark.parametrize(
    "setting",
    [
        {"SOURCES__PANCAKE__START_DATE": "1772700269000"},
        {"SOURCES__PANCAKE__START_DATE": "2026-01-01T00:00:00"},
        {"SOURCES__PANCAKE__BASE_URL": "pages.fm"},
        {"SOURCES__PANCAKE__REQUESTS_PER_SECOND": "0"},
        {"DESTINATION__WAREHOUSE__DESTINATION_TYPE": "duckbd"},
    ],
    ids=["milliseconds", "naive", "address", "rate", "destination"],
)
def test_a_wrong_setting_ends_with_code_2_before_any_call(
    command: Cli, pancake: FakePancake, setting: dict[str, str]
) -> None:
    command.settings.update(setting)
    code, _, err = command("sync")
    assert (code, pancake.count()) == (2, 0)
    assert "error: " in {line[:7] for line in err.splitlines()}
    assert "Traceback" not in err


def test_a_warehouse_that_cannot_be_reached_ends_before_any_call(command: Cli, pancake: FakePancake) -> None:
    command.settings.update(
        DESTINATION__WAREHOUSE__DESTINATION_TYPE="postgres",
        DESTINATION__WAREHOUSE__CREDENTIALS="postgresql://user:planted-password@127.0.0.1:1/db",
    )
    code, _, err = command("sync")
    assert (code, pancake.count()) == (1, 0)
    assert "Connection refused" in err
    assert "DESTINATION__WAREHOUSE__CREDENTIALS" in err
    assert "planted-password" not in err


def test_a_missing_extra_ends_with_code_2_and_says_what_to_install(
    command: Cli, pancake: FakePancake
) -> None:
    (command.folder / "psycopg2.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'psycopg2'\", name='psycopg2')"
    )
    command.settings.update(
        DESTINATION__WAREHOUSE__DESTINATION_TYPE="postgres",
        DESTINATION__WAREHOUSE__CREDENTIALS="postgresql://user:x@127.0.0.1:1/db",
    )
    code, _, err = command("sync")
    assert (code, pancake.count()) == (2, 0)
    assert "dlt-pancake[postgres]" in err


def test_a_file_that_cannot_be_opened_ends_before_any_call(command: Cli, pancake: FakePancake) -> None:
    command.settings["DESTINATION__WAREHOUSE__CREDENTIALS"] = "/proc/warehouse.duckdb"
    code, _, err = command("sync")
    assert (code, pancake.count()) == (1, 0)
    assert "/proc/warehouse.duckdb" in err


def test_a_full_disk_ends_with_code_1_and_nothing_read_is_lost(
    command: Cli, page: FakePage, pancake: FakePancake
) -> None:
    command.largest_file = 100_000
    command.settings["PYTHONDONTWRITEBYTECODE"] = "1"  # a cut one would stay for later runs
    code, _, err = command("sync")
    assert code == 1
    assert "error: The warehouse: " in err
    assert "there is space" in err
    command.largest_file = resource.RLIM_INFINITY
    assert command("sync")[0] == 0
    assert_complete(command.warehouse(), page)


def test_a_schema_that_may_not_be_created_ends_with_code_1_before_any_call(
    command: Cli, pancake: FakePancake, powerless: Any
) -> None:
    code, _, err = command("sync")
    assert code == 1
    assert "permission denied" in err
    assert "create schemas" in err
    assert pancake.count() == 0
    powerless.execute_sql(f"GRANT CREATE ON DATABASE {powerless.credentials.database} TO powerless")
    assert command("sync")[0] == 0
    assert powerless.execute_sql("SELECT COUNT(*) FROM pancake.conversations") == [(60,)]


def test_an_unknown_option_ends_with_code_2(command: Cli) -> None:
    assert command("sync", "--fast")[0] == 2
    assert command("backfill")[0] == 2


def test_a_wrong_token_ends_at_the_first_calls_with_code_1(command: Cli, pancake: FakePancake) -> None:
    command.settings["SOURCES__PANCAKE__PAGE_ACCESS_TOKEN"] = "some-other-token"
    code, out, err = command("sync")
    assert code == 1
    assert pancake.count() <= len(("conversations", "tags", "users"))
    assert "Settings > Tools" in err
    assert "some-other-token" not in out + err


def test_a_failing_thread_gives_code_3_and_is_repaired_by_the_next_run(
    command: Cli, page: FakePage, pancake: FakePancake
) -> None:
    broken = list(page.conversations)[3]
    pancake.fail(Fault("status", endpoint="messages", conversation_id=broken, status=404, times=None))
    code, out, _ = command("sync")
    assert code == 3
    assert "59 complete, 0 left, 1 failed" in out
    coverage = table(command.warehouse(), "conversation_coverage", "conversation_id")[broken]
    assert (coverage["status"], coverage["attempts"]) == ("failed", 1)
    assert coverage["last_error"] == "PancakeRequestError"
    pancake.faults.clear()
    assert command("sync")[0] == 0
    assert_complete(command.warehouse(), page)


def test_many_threads_failing_in_a_row_end_the_page_with_code_3_and_are_read_by_the_next_run(
    command: Cli, page: FakePage, pancake: FakePancake
) -> None:
    pancake.fail(Fault("html", endpoint="messages", times=None))
    code, _, err = command("sync")
    assert code == 3
    assert "one after the other" in err
    assert pancake.count("messages") < 40
    pancake.faults.clear()
    assert command("sync")[0] == 0
    assert_complete(command.warehouse(), page)


def test_a_lookup_that_fails_ends_with_code_3_and_is_named(
    command: Cli, page: FakePage, pancake: FakePancake
) -> None:
    pancake.fail(Fault("html", endpoint="tags", times=None))
    code, out, _ = command("sync", "--tables", "messages, tags, users")
    assert code == 3
    assert f"tags of page {page.page_id} (PancakeShapeError)" in out
    assert "users of page" not in out
    assert_complete(command.warehouse(), page)
    pancake.faults.clear()
    assert command("sync", "--tables", "tags")[0] == 0


def test_a_table_that_does_not_exist_ends_with_code_2(command: Cli, pancake: FakePancake) -> None:
    code, _, err = command("sync", "--tables", "messages,tgas")
    assert code == 2
    assert "names tgas" in err
    assert pancake.count() == 0


def test_short_runs_end_with_code_4_and_reach_the_end_together(
    command: Cli, page: FakePage, pancake: FakePancake
) -> None:
    command.settings["SOURCES__PANCAKE__REQUESTS_PER_SECOND"] = "15"
    codes: list[int] = []
    while not codes or codes[-1] == 4:
        codes.append(command("sync", "--max-minutes", "0.06")[0])
    assert len(codes) > 1
    assert codes[-1] == 0
    assert_complete(command.warehouse(), page)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_an_interrupt_ends_at_a_safe_point_and_keeps_what_was_read(
    command: Cli, page: FakePage, pancake: FakePancake, number: signal.Signals
) -> None:
    command.settings["SOURCES__PANCAKE__REQUESTS_PER_SECOND"] = "20"
    process = command.start("sync")
    wait_until(lambda: pancake.count("messages") >= 10)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 4
    assert "safe point" in err
    read = len(table(command.warehouse(), "messages"))
    assert read > 0
    command.settings["SOURCES__PANCAKE__REQUESTS_PER_SECOND"] = str(RATE)
    assert command("sync")[0] == 0
    assert_complete(command.warehouse(), page)


def test_a_second_interrupt_ends_at_once(command: Cli, pancake: FakePancake) -> None:
    pancake.latency_s = 5.0
    process = command.start("sync")
    wait_until(lambda: pancake.count() >= 1)
    began = wall.monotonic()
    process.send_signal(signal.SIGTERM)
    wall.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
    assert wall.monotonic() - began < 4


def test_a_killed_run_loses_nothing_and_repeats_little(
    command: Cli, page: FakePage, pancake: FakePancake, tmp_path: Path
) -> None:
    page.populate(days=14, conversations=250)
    clean = Cli(page, command.settings["SOURCES__PANCAKE__BASE_URL"], tmp_path / "clean")
    clean.folder.mkdir()
    clean.settings.update(DLT_DATA_DIR=str(clean.folder), SOURCES__PANCAKE__REQUESTS_PER_SECOND="1000")
    assert clean("sync")[0] == 0
    needed = pancake.count()
    pancake.clear_calls()

    load_every_s, kills, chance = 0.6, 8, random.Random(20)
    arguments = ("sync", "--load-every", str(load_every_s / 60))
    for _ in range(kills):
        kill_at = pancake.count() + chance.randrange(int(2 * RATE * load_every_s))
        command.start_and_kill(lambda at=kill_at: pancake.count() >= at, *arguments)  # type: ignore[misc]
    assert command(*arguments)[0] == 0
    assert_complete(command.warehouse(), page)
    one_checkpoint = RATE * load_every_s + 20
    assert pancake.count() <= needed + (kills + 1) * one_checkpoint


def threads_read(pancake: FakePancake) -> set[str | None]:
    """Return the conversations whose messages were asked for."""
    return {call.conversation_id for call in list(pancake.calls) if call.endpoint == "messages"}


def test_a_backfill_that_was_cut_goes_on_where_it_stood(
    command: Cli, page: FakePage, pancake: FakePancake
) -> None:
    arguments = ("backfill", "--since", f"{min(c.updated_at for c in page.conversations.values()):%Y-%m-%d}")
    newest = max(conversation.updated_at for conversation in page.conversations.values())
    first_window = [c for c in page.conversations.values() if c.updated_at > newest - timedelta(days=1)]
    command.settings["SOURCES__PANCAKE__REQUESTS_PER_SECOND"] = "25"
    process = command.start(*arguments)
    wait_until(lambda: len(threads_read(pancake)) >= len(first_window) + 5)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 4
    pancake.clear_calls()
    command.settings["SOURCES__PANCAKE__REQUESTS_PER_SECOND"] = str(RATE)
    assert command(*arguments)[0] == 0
    assert threads_read(pancake) < page.conversations.keys()
    assert_complete(command.warehouse("pancake_backfill"), page)


def test_a_refresh_without_messages_sees_what_moves_no_stamp(
    command: Cli, page: FakePage, pancake: FakePancake
) -> None:
    assert command("sync")[0] == 0
    key = next(iter(page.conversations))
    page.set_tags(key, [7, None, 9])
    pancake.clear_calls()
    code, _, err = command("backfill", "--last-days", "20", "--no-messages")
    assert code == 0
    assert "% done, about" in err
    assert pancake.count("messages") == 0
    tags = table(command.warehouse(), "conversations")[key]["tags"]
    assert [tag and tag["id"] for tag in tags] == [7, None, 9]
