"""The workflows of GitHub: linted, and their own steps run against a simulated Pancake."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from tests.fake_pancake import FakePage, FakePancake, FakeServer, Fault

REPOSITORY = Path(__file__).parents[2]
WORKFLOWS = REPOSITORY / ".github/workflows"
TOOLS = Path(sys.prefix) / "bin"
SYNCS, REFRESH = "3-59/10 * * * *", "37 20 * * *"
NO_UV_NEEDED = "#!/bin/sh\nmkdir -p .venv\nln -s '{tools}' .venv/bin\necho \"$UV_NO_DEV $*\" > installed\n"
STUB = '#!/bin/sh\nprintf "%s\\n" "$@" > arguments\nexit {code}\n'


class Context(dict[str, Any]):
    """A context of a workflow: what is not in it is empty."""

    def __getattr__(self, name: str) -> Any:
        return self.get(name, "")


def evaluated(text: str, contexts: dict[str, Context]) -> str:
    """Return a value of a workflow with its `${{ }}` filled in; Python's `or` and `and` are GitHub's."""

    def value(found: re.Match[str]) -> str:
        expression = found[1].replace("||", " or ").replace("&&", " and ")
        return str(eval(expression, {"__builtins__": {}}, contexts))

    return re.sub(r"\$\{\{(.*?)\}\}", value, text)


def workflow(name: str) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load((WORKFLOWS / name).read_text())
    return found


def copy_of_the_repository(folder: Path) -> Path:
    """Copy what git knows or would add, as a checkout would bring it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        source, target = REPOSITORY / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    return folder


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@dataclass
class Job:
    """Runs the `run:` steps of a job as a runner does, each in `bash -e` with the environment it asks for.

    Args:
        file: The workflow.
        name: Its job.
        checkout: Where the steps run.
        contexts: `inputs`, `vars`, `secrets` and so on.
        runner: What the environment holds beside what the workflow says.
    """

    file: str
    name: str
    checkout: Path
    contexts: dict[str, Context]
    runner: dict[str, str]
    output: str = ""
    ran: list[str] = field(default_factory=list)

    def __call__(self) -> int:
        """Return the exit code of the first step that fails, or 0."""
        found = workflow(self.file)["jobs"][self.name]
        for step in found["steps"]:
            if "run" not in step:
                continue
            asked = {**found.get("env", {}), **step.get("env", {})}
            environment = {name: evaluated(str(value), self.contexts) for name, value in asked.items()}
            done = subprocess.run(
                ["bash", "-e", "-c", step["run"]],
                cwd=self.checkout,
                env={**self.runner, **environment},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            self.ran.append(step["name"])
            self.output += done.stdout
            if done.returncode:
                return done.returncode
        return 0


@pytest.fixture
def page() -> FakePage:
    """A page of two weeks, in real time."""
    found = FakePage()
    found.populate(days=14, conversations=30, messages=(1, 8))
    return found


@dataclass
class Machines:
    """Fresh machines, each with a checkout and nothing else, that share one warehouse."""

    folder: Path
    page: FakePage
    settings: dict[str, str]
    made: int = 0

    @property
    def database(self) -> Path:
        return self.folder / "warehouse.duckdb"

    def run(self, *, cron: str = "", **inputs: str) -> tuple[int, Job]:
        """Run the job that loads, as the schedule would or started by hand, on a machine of its own."""
        job = self.prepare(cron=cron, **inputs)
        return job(), job

    def prepare(self, *, cron: str = "", **inputs: str) -> Job:
        self.made += 1
        machine = self.folder / f"machine{self.made}"
        checkout = copy_of_the_repository(machine / "checkout")
        uv = executable(machine / "uv", NO_UV_NEEDED.format(tools=TOOLS))
        contexts = {
            "inputs": Context(inputs),
            "vars": Context(PANCAKE_PAGES=self.page.page_id, WAREHOUSE_TYPE="duckdb"),
            "secrets": Context(
                {f"PANCAKE_TOKEN_{self.page.page_id}": self.page.token},
                WAREHOUSE_CREDENTIALS=str(self.database),
            ),
            "github": Context(event=Context(schedule=cron) if cron else Context()),
        }
        runner = {
            "PATH": os.environ["PATH"],
            "HOME": str(machine),
            "DLT_DATA_DIR": str(machine / "dlt"),
            "PYTHONPATH": str(checkout),
            "MAKEFLAGS": f"UV={uv}",
            "GITHUB_STEP_SUMMARY": str(machine / "summary.md"),
            **self.settings,
        }
        return Job("load.yml", "load", checkout, contexts, runner)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.database), read_only=True) as connection:
            return connection.sql(query).fetchall()


@pytest.fixture
def machines(tmp_path: Path, page: FakePage, server: FakeServer) -> Machines:
    """Machines on which the page is reached at the simulator."""
    settings = {
        "SOURCES__PANCAKE__BASE_URL": server.url,
        "SOURCES__PANCAKE__REQUESTS_PER_SECOND": "100",
        "RUNTIME__LOG_LEVEL": "ERROR",
        "COLUMNS": "200",
    }
    return Machines(tmp_path, page, settings)


def test_actionlint_finds_nothing() -> None:
    files = sorted(WORKFLOWS.glob("*.yml"))
    assert [path.name for path in files] == ["ci.yml", "load.yml"]
    command = [str(TOOLS / "actionlint"), "-no-color", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_zizmor_finds_nothing() -> None:
    command = [str(TOOLS / "zizmor"), "--offline", "--no-progress", "--color=never", str(WORKFLOWS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_scheduled_sync_loads_the_page_and_the_next_machine_goes_on_from_there(
    machines: Machines, page: FakePage, pancake: FakePancake
) -> None:
    code, job = machines.run(cron=SYNCS)
    assert code == 0, job.output
    assert job.ran == ["Install", "Load"]
    installed = (job.checkout / "installed").read_text()
    assert installed == "1 sync --frozen --all-extras --python python3\n"
    assert machines.rows("SELECT COUNT(*) FROM pancake.conversations") == [(len(page.conversations),)]
    messages = sum(len(thread.messages) for thread in page.conversations.values())
    assert machines.rows("SELECT COUNT(*) FROM pancake.messages") == [(messages,)]
    summary = Path(job.runner["GITHUB_STEP_SUMMARY"]).read_text()
    assert any(page.page_id in line for line in summary.splitlines())
    report = (job.checkout / "report.json").read_text()
    assert json.loads(report)
    assert page.token not in report + summary + job.output

    pancake.clear_calls()
    page.add_message(list(page.conversations)[3])
    code, job = machines.run(cron=SYNCS)
    assert code == 0, job.output
    assert machines.rows("SELECT COUNT(*) FROM pancake.messages") == [(messages + 1,)]
    assert pancake.count("messages") < len(page.conversations) / 2


def test_the_nightly_refresh_lists_conversations_and_reads_no_threads(
    machines: Machines, pancake: FakePancake
) -> None:
    code, job = machines.run(cron=REFRESH)
    assert code == 0, job.output
    assert pancake.count("conversations") > 0
    assert pancake.count("messages") == 0


def test_a_backfill_loads_the_span_that_was_asked_for(machines: Machines, page: FakePage) -> None:
    since = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=6)
    until = since + timedelta(days=3)
    inputs = {"since": f"{since:%Y-%m-%d}", "until": f"{until:%Y-%m-%d}", "page": page.page_id}
    code, job = machines.run(command="backfill", max_minutes="8", **inputs)
    assert code == 0, job.output
    expected = {key for key, row in page.conversations.items() if since <= row.updated_at < until}
    assert 0 < len(expected) < len(page.conversations)
    assert {row[0] for row in machines.rows("SELECT id FROM pancake.conversations")} == expected


def test_a_failing_thread_fails_the_job(machines: Machines, page: FakePage, pancake: FakePancake) -> None:
    broken = list(page.conversations)[3]
    pancake.fail(Fault("status", endpoint="messages", conversation_id=broken, status=404, times=None))
    code, job = machines.run(cron=SYNCS)
    assert code == 3, job.output


def test_a_sync_that_runs_out_of_time_does_not_fail_the_job(machines: Machines) -> None:
    machines.settings["SOURCES__PANCAKE__REQUESTS_PER_SECOND"] = "5"
    code, job = machines.run(command="sync", max_minutes="0.02")
    assert code == 0, job.output
    assert "::notice::Stopped with work left" in job.output


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 0), (5, 0)], ids=str)
def test_the_job_fails_with_the_code_of_the_command_unless_the_next_run_goes_on(
    machines: Machines, code: int, expected: int
) -> None:
    job = machines.prepare(cron=SYNCS)
    executable(job.checkout / ".venv/bin/pancake", STUB.format(code=code))
    job.runner["MAKEFLAGS"] = "UV=/bin/true"
    assert job() == expected, job.output


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ({"cron": SYNCS}, "sync --max-minutes 8 --report report.json"),
        ({"cron": REFRESH}, "backfill --last-days 7 --no-messages --max-minutes 50 --report report.json"),
        (
            {"command": "sync", "page": "5", "max_minutes": "120"},
            "sync --max-minutes 120 --report report.json --page=5",
        ),
        (
            {"command": "backfill", "since": "2026-01-01", "max_minutes": "300"},
            "backfill --since=2026-01-01 --max-minutes 300 --report report.json",
        ),
        (
            {"command": "plan", "since": "2026-01-01", "until": "2026-02-01", "max_minutes": "8"},
            "plan --since=2026-01-01 --until=2026-02-01",
        ),
        ({"command": "check", "page": "5", "max_minutes": "8"}, "check --page=5"),
    ],
    ids=lambda value: " ".join(value.values()) if isinstance(value, dict) else "",
)
def test_each_event_gives_the_command_its_arguments(
    machines: Machines, event: dict[str, str], arguments: str
) -> None:
    assert given(machines, **event) == arguments.split()


def test_an_input_is_never_read_as_a_command(machines: Machines) -> None:
    planted = '2026-01-01"; touch planted; $(touch planted) `touch planted` --no-messages'
    inputs = {"since": planted, "until": planted, "page": planted}
    arguments = given(machines, command="backfill", max_minutes="8", **inputs)
    assert {f"--{name}={planted}" for name in inputs} <= set(arguments)
    assert not list(machines.folder.rglob("planted"))


def given(machines: Machines, **event: str) -> list[str]:
    """Return the arguments with which the job calls the command."""
    job = machines.prepare(**event)
    executable(job.checkout / ".venv/bin/pancake", STUB.format(code=0))
    job.runner["MAKEFLAGS"] = "UV=/bin/true"
    assert job() == 0, job.output
    return (job.checkout / "arguments").read_text().splitlines()


def test_the_job_may_run_longer_than_the_command() -> None:
    load = workflow("load.yml")
    timeout = load["jobs"]["load"]["timeout-minutes"]
    choices = load[True]["workflow_dispatch"]["inputs"]["max_minutes"]["options"]  # `on` is True in YAML 1.1
    by_hand = {"github": Context(event_name="workflow_dispatch")}
    scheduled = {"github": Context(event_name="schedule")}
    assert max(map(int, choices)) < int(evaluated(timeout, by_hand)) <= 360  # GitHub's limit of a job
    assert int(evaluated(timeout, scheduled)) > 50


def test_the_schedule_is_the_one_that_the_job_tells_apart() -> None:
    assert [entry["cron"] for entry in workflow("load.yml")[True]["schedule"]] == [SYNCS, REFRESH]


@pytest.mark.parametrize("python", workflow("ci.yml")["jobs"]["test"]["strategy"]["matrix"]["python"])
def test_ci_lints_and_tests_with_the_python_of_its_matrix(python: str, tmp_path: Path) -> None:
    runner = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "MAKEFLAGS": "n -- UV=/bin/true"}
    contexts = {"matrix": Context(python=python)}
    job = Job("ci.yml", "test", copy_of_the_repository(tmp_path / "checkout"), contexts, runner)
    assert job() == 0, job.output
    assert f"/bin/true sync --frozen --all-extras --python python{python}" in job.output
    for command in ("ruff check", "ruff format --check", "mypy", "-m pytest"):
        assert command in job.output
