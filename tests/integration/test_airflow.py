"""The DAGs in a real Airflow, in an environment of its own, over real HTTP into real warehouses."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dlt
import pytest

from pipelines.leases import Lease, held
from tests.fake_pancake import FakePage, FakePancake, FakeServer, Fault
from tests.support import table

Destination = Any

REPOSITORY = Path(__file__).parents[2]
PYTHON = REPOSITORY / ".venv-airflow/bin/python"
TOOLS = REPOSITORY / "tests/airflow"
DAGS = REPOSITORY / "pipelines/pancake_dag.py"

SECRET = "7d2e9b"
IN_GROUP_1 = "100000000000002"
IN_GROUP_3 = "100000000000001"
ALSO_IN_GROUP_3 = "100000000000015"
ONLY_GROUP_1 = json.dumps({"pages": [IN_GROUP_1]})
CONVERSATIONS_EACH = 12


class Airflow:
    """Runs Airflow's commands in one home; its DAGs wait milliseconds between tries, not minutes."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._output = home.parent / "output.txt"
        (home / "dags").mkdir(parents=True)
        text = DAGS.read_text(encoding="utf-8").replace("timedelta(minutes=", "timedelta(milliseconds=")
        (home / "dags/pancake.py").write_text(text, encoding="utf-8")
        settings = {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
            "AIRFLOW__CORE__FERNET_KEY": "YlCImzjge_TeZc7jPJ7Jz2pgOtb4yTssA1pVyqIADWg=",
        }
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        answers, theirs = os.pipe()
        self._answers = os.fdopen(answers)
        self._process = subprocess.Popen(
            [str(PYTHON), str(TOOLS / "serve.py"), str(theirs)],
            env={**inherited, **settings},
            pass_fds=(theirs,),
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)

    def __call__(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """Run a command and return its exit code and output."""
        command = {"arguments": arguments, "environment": environment, "output": str(self._output)}
        assert self._process.stdin is not None
        print(json.dumps(command), file=self._process.stdin, flush=True)
        return int(self._answers.readline()), self._output.read_text(encoding="utf-8")

    def stop(self) -> None:
        self._process.communicate()
        self._answers.close()

    def ask(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        """Query the metadata database."""
        with contextlib.closing(sqlite3.connect(self.home / "airflow.db")) as connection:
            found = connection.execute(query, values).fetchall()
            connection.commit()
        return found

    def xcoms(self, dag_id: str, key: str) -> list[Any]:
        """Return what the tasks of the last run pushed, by their place in the mapping."""
        found = self.ask(
            "SELECT value FROM xcom WHERE dag_id = ?1 AND key = ?2 AND run_id ="
            " (SELECT run_id FROM dag_run WHERE dag_id = ?1 ORDER BY id DESC LIMIT 1) ORDER BY map_index",
            dag_id,
            key,
        )
        return [json.loads(value) for (value,) in found]

    def tasks(self, dag_id: str, task_id: str) -> list[tuple[Any, ...]]:
        """Return label, state and number of tries of the tasks of the last run, by their place."""
        return self.ask(
            "SELECT rendered_map_index, state, try_number FROM task_instance"
            " WHERE dag_id = ?1 AND task_id = ?2 AND run_id ="
            " (SELECT run_id FROM dag_run WHERE dag_id = ?1 ORDER BY id DESC LIMIT 1) ORDER BY map_index",
            dag_id,
            task_id,
        )


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """An Airflow with an empty metadata database."""
    running = Airflow(tmp_path_factory.mktemp("airflow") / "home")
    code, output = running("db", "migrate")
    assert code == 0, output
    yield running
    running.stop()


@pytest.fixture
def pages() -> list[FakePage]:
    """Three pages in two groups, each with ten days of conversations."""
    ids = (IN_GROUP_3, IN_GROUP_1, ALSO_IN_GROUP_3)
    found = [FakePage(page_id, f"token-{SECRET}-{seed}", seed=seed) for seed, page_id in enumerate(ids)]
    for page in found:
        page.populate(days=10, conversations=CONVERSATIONS_EACH)
    return found


@pytest.fixture
def pancake(pages: list[FakePage]) -> FakePancake:
    """A Pancake in real time."""
    return FakePancake(pages)


@pytest.fixture
def server(pancake: FakePancake) -> Iterator[FakeServer]:
    """The same over HTTP."""
    with FakeServer(pancake) as running:
        yield running


@pytest.fixture
def duckdb(tmp_path: Path) -> Destination:
    """An empty DuckDB file."""
    found: Destination = dlt.destinations.duckdb(str(tmp_path / "warehouse.duckdb"))
    return found


@pytest.fixture
def settings(pages: list[FakePage], server: FakeServer, tmp_path: Path) -> dict[str, str]:
    """The Variable `dlt_secrets_toml`, as the environment gives it."""
    listed = ", ".join(
        f'{{page_id = "{page.page_id}", page_access_token = "{page.token}"}}' for page in pages
    )
    toml = (
        f'[sources.pancake]\nbase_url = "{server.url}"\nrequests_per_second = 100\npages = [{listed}]\n'
        f'[destination.warehouse]\ncredentials = "{tmp_path / "warehouse.duckdb"}"\n'
    )
    return {"AIRFLOW_VAR_DLT_SECRETS_TOML": toml}


def group(dag_id: str, number: int, destination: Destination) -> dlt.Pipeline:
    """Return the pipeline of a group as the warehouse knows it."""
    pipeline: dlt.Pipeline = dlt.attach(
        f"{dag_id}_group_{number}", destination=destination, dataset_name="pancake"
    )
    return pipeline


def assert_all_complete(pipeline: dlt.Pipeline, pages: Sequence[FakePage]) -> None:
    """Check that the warehouse holds every conversation in its last version, and every message."""
    expected = {key: row.updated_at for page in pages for key, row in page.conversations.items()}
    assert {key: row["updated_at"] for key, row in table(pipeline, "conversations").items()} == expected
    messages = {
        message.id for page in pages for row in page.conversations.values() for message in row.messages
    }
    assert table(pipeline, "messages").keys() == messages


def test_parsing_needs_only_airflow_and_opens_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(PYTHON), str(TOOLS / "parse.py"), str(DAGS)],
        env={"PATH": os.environ["PATH"], "AIRFLOW_HOME": str(tmp_path / "nothing here")},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_each_group_is_a_task_that_goes_on_from_its_own_cursors(
    airflow: Airflow,
    pages: list[FakePage],
    settings: dict[str, str],
    duckdb: Destination,
    tmp_path: Path,
) -> None:
    variables = tmp_path / "variables.json"
    variables.write_text(json.dumps({"dlt_secrets_toml": settings["AIRFLOW_VAR_DLT_SECRETS_TOML"]}))
    assert airflow("variables", "import", str(variables))[0] == 0
    code, output = airflow("dags", "test", "pancake_sync")
    assert code == 0, output
    assert airflow.xcoms("pancake_sync", "return_value") == [
        [
            {"group": 1, "page_ids": [IN_GROUP_1]},
            {"group": 3, "page_ids": [IN_GROUP_3, ALSO_IN_GROUP_3]},
        ]
    ]
    assert airflow.tasks("pancake_sync", "sync") == [("group 1", "success", 1), ("group 3", "success", 1)]
    reports = airflow.xcoms("pancake_sync", "report")
    assert [report["conversations_new"] for report in reports] == [
        CONVERSATIONS_EACH,
        2 * CONVERSATIONS_EACH,
    ]
    assert f"report: {json.dumps(reports[0])}" in output
    assert_all_complete(group("pancake_sync", 1, duckdb), pages)

    for page in pages:
        page.add_conversation(messages=2)
    code, output = airflow("dags", "test", "pancake_sync")
    assert code == 0, output
    reports = airflow.xcoms("pancake_sync", "report")
    assert [report["conversations_new"] for report in reports] == [1, 2]
    listed = ("conversations_new", "conversations_changed", "conversations_unchanged")
    assert sum(report[count] for report in reports for count in listed) < CONVERSATIONS_EACH
    assert_all_complete(group("pancake_sync", 3, duckdb), pages)


def test_a_page_that_cannot_be_read_fails_its_task_after_all_others_are_loaded(
    airflow: Airflow, pages: list[FakePage], settings: dict[str, str], duckdb: Destination
) -> None:
    refused = next(page for page in pages if page.page_id == ALSO_IN_GROUP_3)
    refused.token = "replaced"
    code, output = airflow("dags", "test", "pancake_sync", **settings)
    assert code != 0
    assert airflow.tasks("pancake_sync", "sync") == [("group 1", "success", 1), ("group 3", "failed", 3)]
    assert "Pancake refused the token" in output
    report = airflow.xcoms("pancake_sync", "report")[1]
    assert report["ending"] == "partial"
    assert {page["page_id"]: page["status"] for page in report["pages"]} == {
        IN_GROUP_3: "complete",
        ALSO_IN_GROUP_3: "failed",
    }
    assert_all_complete(
        group("pancake_sync", 3, duckdb), [page for page in pages if page.page_id != ALSO_IN_GROUP_3]
    )


def test_the_next_try_reads_the_thread_that_failed(
    airflow: Airflow,
    pages: list[FakePage],
    pancake: FakePancake,
    settings: dict[str, str],
    duckdb: Destination,
) -> None:
    pancake.fail(
        Fault("status", status=404, endpoint="messages", conversation_id=next(iter(pages[1].conversations)))
    )
    code, output = airflow("dags", "test", "pancake_sync", "--conf", ONLY_GROUP_1, **settings)
    assert code == 0, output
    assert airflow.tasks("pancake_sync", "sync") == [("group 1", "success", 2)]
    assert '"threads_failed": 1' in output
    assert airflow.xcoms("pancake_sync", "report")[0]["ending"] == "done"
    assert_all_complete(group("pancake_sync", 1, duckdb), [pages[1]])


def test_the_refresh_sees_a_tag_that_did_not_move_the_conversation(
    airflow: Airflow,
    pages: list[FakePage],
    pancake: FakePancake,
    settings: dict[str, str],
    duckdb: Destination,
) -> None:
    page = pages[1]
    week = datetime.now(timezone.utc) - timedelta(days=6)
    key = next(key for key, row in page.conversations.items() if row.updated_at > week)
    page.set_tags(key, [7])
    code, output = airflow("dags", "test", "pancake_refresh", "--conf", ONLY_GROUP_1, **settings)
    assert code == 0, output
    tags = table(group("pancake_refresh", 1, duckdb), "conversations")[key]["tags"]
    assert [tag["id"] for tag in tags] == [7]
    assert {call.endpoint for call in pancake.calls} == {"conversations"}


def test_a_group_is_skipped_while_another_run_reads_one_of_its_pages(
    airflow: Airflow, pancake: FakePancake, settings: dict[str, str], duckdb: Destination, tmp_path: Path
) -> None:
    """The other one stands for `pancake sync` on another machine."""
    other = dlt.pipeline(
        "other", destination=duckdb, dataset_name="pancake", pipelines_dir=str(tmp_path / "other")
    )
    with held(Lease(other, "sync", [IN_GROUP_1], duration_s=600)):
        code, output = airflow("dags", "test", "pancake_sync", "--conf", ONLY_GROUP_1, **settings)
    assert code == 0, output
    assert airflow.tasks("pancake_sync", "sync") == [("group 1", "skipped", 1)]
    assert f"Page {IN_GROUP_1} is being read by another `pancake sync`" in output
    assert pancake.calls == []


def test_a_backfill_loads_the_span_and_the_pages_of_its_params(
    airflow: Airflow, pages: list[FakePage], settings: dict[str, str], duckdb: Destination
) -> None:
    now = datetime.now(timezone.utc)
    since, until = now - timedelta(days=6), now - timedelta(days=2)
    span = {"since": since.isoformat(), "until": until.isoformat(), "pages": [IN_GROUP_1]}
    code, output = airflow("dags", "test", "pancake_backfill", "--conf", json.dumps(span), **settings)
    assert code == 0, output
    loaded = table(group("pancake_backfill", 1, duckdb), "conversations")
    assert loaded.keys() == {
        key for key, row in pages[1].conversations.items() if since <= row.updated_at < until
    }
    assert airflow.tasks("pancake_backfill", "backfill") == [("group 1", "success", 1)]


def test_a_backfill_without_params_loads_its_data_interval(
    airflow: Airflow, pages: list[FakePage], settings: dict[str, str], duckdb: Destination
) -> None:
    today = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    since, until = today - timedelta(days=2), today - timedelta(days=1)
    code, output = airflow(
        "dags", "test", "pancake_backfill", f"{until:%Y-%m-%d}", "--conf", ONLY_GROUP_1, **settings
    )
    assert code == 0, output
    assert table(group("pancake_backfill", 1, duckdb), "conversations").keys() == {
        key for key, row in pages[1].conversations.items() if since <= row.updated_at < until
    }


def test_the_warehouse_can_be_an_airflow_connection(
    airflow: Airflow, pages: list[FakePage], settings: dict[str, str], postgres: str
) -> None:
    settings["AIRFLOW_CONN_PANCAKE_WAREHOUSE"] = postgres
    code, output = airflow("dags", "test", "pancake_sync", "--conf", ONLY_GROUP_1, **settings)
    assert code == 0, output
    assert_all_complete(group("pancake_sync", 1, dlt.destinations.postgres(postgres)), [pages[1]])


def test_wrong_settings_fail_at_once_and_say_what_to_set(
    airflow: Airflow, settings: dict[str, str], pancake: FakePancake
) -> None:
    settings["SOURCES__PANCAKE__PAGES"] = "[]"
    code, output = airflow("dags", "test", "pancake_sync", **settings)
    assert code != 0
    assert "The list of pages is empty" in output
    assert airflow.tasks("pancake_sync", "list_groups") == [(None, "failed", 1)]
    assert pancake.calls == []


def test_a_second_run_at_the_same_time_is_refused(
    airflow: Airflow, settings: dict[str, str], pancake: FakePancake
) -> None:
    assert airflow("dags", "reserialize")[0] == 0
    assert airflow("dags", "trigger", "pancake_backfill", "--run-id", "first")[0] == 0
    airflow.ask("UPDATE dag_run SET state = 'running' WHERE run_id = 'first'")
    code, output = airflow("dags", "test", "pancake_backfill", **settings)
    airflow.ask("UPDATE dag_run SET state = 'success' WHERE run_id = 'first'")
    assert code != 0
    assert "Another run of pancake_backfill is under way" in output
    assert pancake.calls == []


def test_no_token_is_logged_or_stored(
    airflow: Airflow, pancake: FakePancake, settings: dict[str, str]
) -> None:
    pancake.fail(Fault("drop", endpoint="conversations", times=1))
    pancake.fail(Fault("html", endpoint="tags", times=None))
    settings.update(RUNTIME__LOG_LEVEL="DEBUG", AIRFLOW__LOGGING__LOGGING_LEVEL="DEBUG")
    code, output = airflow("dags", "test", "pancake_sync", "--conf", ONLY_GROUP_1, **settings)
    assert code != 0
    assert "page_access_token=***" in output, "urllib3 writes addresses at this level"
    assert SECRET not in output
    stored = [path for path in airflow.home.rglob("*") if path.is_file()]
    assert {"airflow.db"} <= {path.name for path in stored}
    assert [path for path in stored if SECRET.encode() in path.read_bytes()] == []
