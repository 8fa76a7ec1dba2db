"""The command `pancake check` as a user runs it."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from pathlib import Path

import duckdb
import pytest

from tests.command.cli import Cli
from tests.fake_pancake import FakePage


@pytest.fixture
def page() -> FakePage:
    """A page in real time."""
    found = FakePage()
    found.populate(days=14, conversations=70)
    return found


def test_the_command_finds_all_fine_and_makes_no_file(command: Cli, tmp_path: Path) -> None:
    code, out, err = command("check")
    assert (code, err) == (0, "")
    assert out.count("✓") == 17
    assert "✗" not in out
    assert "!" not in out
    assert "agree within" in out
    assert list(tmp_path.rglob("*.duckdb")) == []
    assert list(tmp_path.glob("dlt/pipelines/*")) == []


def test_machines_get_one_json_document_with_the_same_keys_in_each_finding(command: Cli) -> None:
    code, out, _ = command("check", "--json")
    document = json.loads(out)
    assert (code, document["ok"]) == (0, True)
    keys = {"page", "check", "ok", "level", "found", "advice"}
    assert {frozenset(finding) for finding in document["findings"]} == {frozenset(keys)}


def test_no_output_holds_token_people_or_texts(command: Cli, page: FakePage) -> None:
    for arguments in (["check"], ["check", "--json"]):
        _, out, err = command(*arguments)
        said = out + err
        assert page.token not in said
        for conversation in page.conversations.values():
            assert conversation.id not in said
            assert conversation.customer_psid not in said
            assert conversation.customer_name not in said


def test_a_token_of_another_page_fails_with_code_2_without_a_call_and_the_warehouse_is_checked(
    command: Cli,
) -> None:
    claims = urlsafe_b64encode(json.dumps({"page_id": "100000000000009"}).encode()).decode().rstrip("=")
    command.settings["SOURCES__PANCAKE__PAGE_ACCESS_TOKEN"] = f"e30.{claims}.x"
    code, out, _ = command("check")
    assert code == 2
    assert "✗ settings " in out
    assert "the token of another page" in out
    assert "✓ create" in out


def test_a_token_that_the_server_refuses_fails_with_code_1(command: Cli) -> None:
    command.settings["SOURCES__PANCAKE__PAGE_ACCESS_TOKEN"] = "some-other-token"
    code, out, err = command("check")
    assert code == 1
    assert "✗ api" in out
    assert "Settings > Tools" in out
    assert "some-other-token" not in out + err


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        ({"DESTINATION_TYPE": "duckbd"}, 2, "knows no type of destination"),
        ({"CREDENTIALS": "/proc/nothing/warehouse.duckdb"}, 1, "/proc/nothing"),
        (
            {"DESTINATION_TYPE": "postgres", "CREDENTIALS": "postgresql://u:planted@127.0.0.1:1/db"},
            1,
            "Connection refused",
        ),
    ],
    ids=["type", "folder", "server"],
)
def test_a_warehouse_that_does_not_work_is_told_beside_the_page(
    command: Cli, settings: dict[str, str], code: int, said: str
) -> None:
    command.settings.update({f"DESTINATION__WAREHOUSE__{name}": value for name, value in settings.items()})
    ended, out, err = command("check")
    assert ended == code
    assert said in out
    assert "✓ api" in out
    assert "planted" not in out + err


@pytest.mark.usefixtures("powerless")
def test_a_user_who_may_not_create_schemas_is_told(command: Cli) -> None:
    code, out, _ = command("check")
    assert code == 1
    assert "permission denied" in out
    assert "create schemas" in out


def test_a_duckdb_file_that_another_process_writes_to_is_told(command: Cli, tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")):
        code, out, _ = command("check")
    assert code == 1
    assert "Conflicting lock" in out


def test_a_missing_setting_is_told_with_code_2(command: Cli) -> None:
    del command.settings["SOURCES__PANCAKE__PAGE_ID"]
    code, out, _ = command("check")
    assert code == 2
    assert "SOURCES__PANCAKE__PAGE_ID in the environment" in out
