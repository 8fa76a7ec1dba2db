"""The command `pancake plan` as a user runs it."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from tests.command.cli import Cli
from tests.fake_pancake import FakePage


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_command_shows_the_plan_and_writes_nothing(command: Cli, tmp_path: Path) -> None:
    code, out, err = command("plan")
    assert (code, err) == (0, "")
    assert "first sync" in out
    assert files(tmp_path) == {}
    assert command("sync")[0] == 0
    before = files(tmp_path)
    assert "first sync" not in command("plan")[1]
    assert files(tmp_path) == before


def test_machines_get_the_plan_as_json(command: Cli) -> None:
    code, out, _ = command("plan", "--json")
    document = json.loads(out)
    (page,) = document["pages"]
    assert code == 0
    assert document["total"]["calls"] == page["calls"]["total"]
    assert page["conversations"] == 60
    assert datetime.fromisoformat(page["since"]) < datetime.fromisoformat(page["until"])


def test_a_backfill_is_planned_for_its_span(command: Cli) -> None:
    code, out, _ = command("plan", "--last-days", "3", "--no-messages", "--json")
    (page,) = json.loads(out)["pages"]
    assert code == 0
    assert (page["kind"], page["calls"]["threads"], page["calls"]["lookups"]) == ("backfill", 0, 0)
    assert command("plan", "--last-days", "3", "--since", "2026-01-01")[0] == 2
    assert command("plan", "--until", "2026-01-01")[0] == 2


def test_a_page_that_cannot_be_looked_at_stops_no_other(command: Cli, page: FakePage) -> None:
    command.settings["SOURCES__PANCAKE__PAGES"] = json.dumps(
        [
            {"page_id": "100000000000002", "page_access_token": "some-other-token"},
            {"page_id": page.page_id, "page_access_token": page.token},
        ]
    )
    for name in ("PAGE_ID", "PAGE_ACCESS_TOKEN"):
        del command.settings[f"SOURCES__PANCAKE__{name}"]
    code, out, err = command("plan")
    assert code == 1
    assert "first sync" in out
    assert "100000000000002: Pancake refused the token" in out
    assert "some-other-token" not in out + err
    code, out, _ = command("plan", "--page", page.page_id)
    assert code == 0
    assert "100000000000002" not in out
