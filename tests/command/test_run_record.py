"""Every run leaves a record: as JSON, as Markdown, in the warehouse, and in the log."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.command.cli import Cli
from tests.fake_pancake import FakePage, FakePancake, Fault

Record = dict[str, Any]

TOKEN = "planted-token.4f1d9c7e0b.end"
TEXT = "a text that nobody else should read"


@pytest.fixture
def page() -> FakePage:
    """A page with a recent past, in which one text is known."""
    page = FakePage(token=TOKEN)
    page.populate(days=5, conversations=20)
    page.add_conversation(messages=3, text=TEXT)
    return page


def record_in(folder: Path, name: str = "run.json") -> Record:
    found: Record = json.loads((folder / name).read_text(encoding="utf-8"))
    return found


def rows(folder: Path, query: str) -> list[Any]:
    with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as warehouse:
        return warehouse.sql(query).fetchall()


def test_the_record_counts_what_the_server_saw_and_the_warehouse_holds(
    command: Cli, page: FakePage, pancake: FakePancake, tmp_path: Path
) -> None:
    assert command("sync", "--report", "run.json")[0] == 0
    record = record_in(tmp_path)
    assert (record["ending"], record["exit_code"], record["loads"]) == ("done", 0, 1)
    assert record["calls"] == pancake.count()
    assert record["calls_by_endpoint"]["messages"] == pancake.count("messages")
    assert record["calls_minimum"] <= record["calls"]
    assert record["conversations_new"] == len(page.conversations)
    assert record["rows_by_table"]["conversations"] == len(page.conversations)
    assert record["seconds_by_step"].keys() == {"extract", "normalize", "load"}
    (of_page,) = record["pages"]
    newest = max(row.updated_at for row in page.conversations.values())
    assert datetime.fromisoformat(of_page["newest_updated_at"]) == newest
    assert of_page["status"] == "complete"
    page.add_message(next(iter(page.conversations)), text="more")
    assert command("sync", "--report", "run.json")[0] == 0
    record = record_in(tmp_path)
    assert (record["conversations_new"], record["conversations_changed"]) == (0, 1)
    assert record["messages_new"] == 1
    loaded = rows(tmp_path, "SELECT exit_code, conversations_new FROM pancake.sync_runs ORDER BY started_at")
    assert loaded == [(0, len(page.conversations)), (0, 0)]


def test_freshness_can_be_queried_by_page(command: Cli, page: FakePage, tmp_path: Path) -> None:
    assert command("sync")[0] == 0
    query = "SELECT page_id, status, newest_updated_at FROM pancake.sync_pages"
    ((page_id, status, newest),) = rows(tmp_path, query)
    assert (page_id, status) == (page.page_id, "complete")
    assert newest.astimezone(timezone.utc) == max(row.updated_at for row in page.conversations.values())


def test_a_failure_is_recorded_with_what_to_do(command: Cli, pancake: FakePancake, tmp_path: Path) -> None:
    pancake.fail(Fault("body_error", code=105, endpoint="messages", skip=5, times=None))
    pancake.fail(Fault("html", endpoint="tags", times=None))
    assert command("sync", "--report", "run.json", "--report-md", "run.md")[0] == 3
    (of_page,) = record_in(tmp_path)["pages"]
    assert of_page["status"] == "partial"
    assert of_page["error"]["class"] == "PancakeAuthError"
    assert "Settings > Tools" in of_page["error"]["message"]
    assert of_page["failed_tables"] == {"tags": "PancakeShapeError"}
    assert of_page["threads_partial"] > 0
    markdown = (tmp_path / "run.md").read_text(encoding="utf-8")
    assert "partial (exit code 3)" in markdown
    assert "Settings > Tools" in markdown
    ((status, error),) = rows(tmp_path, "SELECT status, error_class FROM pancake.sync_pages")
    assert (status, error) == ("partial", "PancakeAuthError")


def test_a_run_that_fails_as_a_whole_is_recorded_too(command: Cli, tmp_path: Path) -> None:
    command.settings["DESTINATION__WAREHOUSE__CREDENTIALS"] = "/proc/warehouse.duckdb"
    assert command("sync", "--report", "run.json")[0] == 1
    record = record_in(tmp_path)
    assert (record["ending"], record["loads"]) == ("failed", 0)
    assert "/proc/warehouse.duckdb" in record["error"]


def test_markdown_is_appended_to_the_summary_of_a_job(command: Cli, page: FakePage, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n", encoding="utf-8")
    command.settings["GITHUB_STEP_SUMMARY"] = str(summary)
    assert command("sync")[0] == 0
    written = summary.read_text(encoding="utf-8")
    assert written.startswith("before\n### pancake sync: done (exit code 0)\n")
    assert f"| {page.page_id} | complete |" in written


def test_the_record_lies_beside_the_state_of_dlt_by_default(command: Cli, tmp_path: Path) -> None:
    assert command("sync")[0] == 0
    (written,) = tmp_path.rglob("last_run.json")
    assert written.parent.name == "pancake"


def test_events_are_one_line_each_and_json_when_asked(command: Cli) -> None:
    code, _, err = command("sync", "--load-every", "0.01")
    assert code == 0
    assert all(line.startswith("timestamp=") for line in err.splitlines())
    code, _, err = command("backfill", "--last-days", "9", "--log-json")
    assert code == 0
    events = [json.loads(line) for line in err.splitlines()]
    assert [event["event"] for event in events][:1] == ["run_started"]
    assert events[-1]["event"] == "run_ended"
    assert {"piece_loaded"} == {event["event"] for event in events[1:-1]}
    assert events[-1]["exit_code"] == 0


def test_warnings_of_dlt_are_json_too(command: Cli, pancake: FakePancake) -> None:
    pancake.fail(Fault("html", endpoint="tags", times=None))
    command.settings["RUNTIME__LOG_LEVEL"] = "WARNING"
    code, _, err = command("sync", "--log-json")
    assert code == 3
    events = [json.loads(line) for line in err.splitlines()]
    assert {"event": "table_not_loaded", "table": "tags"}.items() <= next(
        event for event in events if event["event"] == "table_not_loaded"
    ).items()
    assert any("`tags` of page" in event["event"] for event in events)


def test_no_record_and_no_event_holds_a_person_a_text_or_the_token(
    command: Cli, page: FakePage, pancake: FakePancake, tmp_path: Path
) -> None:
    pancake.fail(Fault("status", endpoint="messages", status=404, times=2))
    command.settings["RUNTIME__LOG_LEVEL"] = "DEBUG"
    code, out, err = command("sync", "--report", "run.json", "--report-md", "run.md", "--log-json")
    assert code == 3
    written = out + err + "".join((tmp_path / name).read_text() for name in ("run.json", "run.md"))
    written += str(rows(tmp_path, "SELECT * FROM pancake.sync_runs, pancake.sync_pages"))
    assert TOKEN.split(".")[1] not in written
    assert TEXT not in written
    for key, conversation in page.conversations.items():
        assert key not in written
        assert not {message.id for message in conversation.messages} & set(written.split('"'))


def test_a_second_sync_of_the_page_ends_with_code_5_and_reads_nothing(
    command: Cli, page: FakePage, pancake: FakePancake, tmp_path: Path
) -> None:
    assert command("sync")[0] == 0
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as warehouse:
        warehouse.sql(
            "INSERT INTO pancake.pancake_leases"
            f" VALUES ('sync', '{page.page_id}', 'another', 'elsewhere (process 7)', 4102444800)"
        )
    pancake.clear_calls()
    code, _, err = command("sync", "--report", "run.json")
    assert (code, pancake.count()) == (5, 0)
    assert "is being read by another `pancake sync`, on elsewhere (process 7)" in err
    assert record_in(tmp_path)["ending"] == "overlap"
    assert command("backfill", "--last-days", "1")[0] == 0


def test_a_warehouse_that_another_process_has_open_ends_with_code_5(
    command: Cli, pancake: FakePancake, tmp_path: Path
) -> None:
    assert command("sync")[0] == 0
    pancake.clear_calls()
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")):
        code, _, err = command("sync")
    assert (code, pancake.count()) == (5, 0)
    assert "has the warehouse open" in err
