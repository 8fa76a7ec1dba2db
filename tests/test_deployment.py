"""The container and the units of docs/deployment.md: linted, and the image's steps done in a folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pytest

from tests.fake_pancake import FakePage, FakePancake, FakeServer

REPOSITORY = Path(__file__).parents[1]
TOOLS = Path(sys.prefix) / "bin"
TOP_FOLDERS = r"(?<![\w./-])/(?=(?:build|data|opt|srv)\b)"


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile as pairs of a word and its argument."""
    text = (REPOSITORY / "Dockerfile").read_text().replace("\\\n", " ")
    lines = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    return [(word, " ".join(argument.split())) for word, argument in lines]


def context(folder: Path) -> Path:
    """Copy what .dockerignore lets through; it holds nothing back but what it does not name."""
    patterns = (REPOSITORY / ".dockerignore").read_text().split()
    assert patterns[0] == "*"
    assert [pattern for pattern in patterns[1:] if not pattern.startswith("!")] == ["**/__pycache__"]
    for name in (pattern[1:] for pattern in patterns if pattern.startswith("!")):
        source, target = REPOSITORY / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return folder


@dataclass
class Stage:
    """A stage of the image, with a folder in the place of its root."""

    root: Path
    environment: dict[str, str]
    folder: Path
    said: dict[str, str] = field(default_factory=dict)

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/") if name.startswith("/") else self.folder / name

    def run(self, *command: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environment, **settings},
            capture_output=True,
            text=True,
            check=False,
        )


def build(folder: Path) -> Stage:
    """Do what the Dockerfile says, each stage below a folder, with the Python of the tests as base image."""
    files = context(folder / "context")
    base = base_image(folder / "base")
    stages: dict[str, Stage] = {}
    stage = Stage(folder, {}, folder)
    for word, argument in instructions():
        if word == "FROM":
            name = argument.partition(" AS ")[2] or "image"
            (folder / name).mkdir()
            stage = stages[name] = Stage(folder / name, dict(base), folder / name)
        elif word == "WORKDIR":
            stage.folder = stage.path(argument)
            stage.folder.mkdir(parents=True, exist_ok=True)
        elif word == "ENV":
            for key, value in re.findall(r"(\w+)=(\S+)", argument):
                there = re.sub(TOP_FOLDERS, f"{stage.root}/", value)
                stage.environment[key] = there.replace("$PATH", stage.environment["PATH"])
            for slow in ("UV_COMPILE_BYTECODE", "UV_LINK_MODE"):  # they change no result
                stage.environment.pop(slow, None)
        elif word == "COPY":
            options = dict(re.findall(r"--(\w+)=(\S+)", argument))
            *sources, target = re.sub(r"--\S+", "", argument).split()
            for source in sources:
                origin = stages[options["from"]].path(source) if "from" in options else files / source
                copy(origin, stage.path(target), into=target.endswith("/"))
        elif word == "RUN":
            done = stage.run("sh", "-e", "-c", re.sub(TOP_FOLDERS, f"{stage.root}/", argument))
            assert done.returncode == 0, done.stdout + done.stderr
        else:
            stage.said[word] = argument
    return stage


def base_image(root: Path) -> dict[str, str]:
    """Return the environment of a machine with Python, pip and the way to the network, and nothing else."""
    subprocess.run([sys.executable, "-m", "venv", str(root)], check=True)
    ours = ("UV_", "MAKE", "MFLAGS", "PYTHON", "VIRTUAL_ENV", "DLT_")
    machine = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    cache = os.environ.get("UV_CACHE_DIR", str(REPOSITORY / ".cache/uv"))
    return {**machine, "PATH": f"{root}/bin:/usr/bin:/bin", "HOME": str(root), "UV_CACHE_DIR": cache}


def copy(origin: Path, target: Path, *, into: bool) -> None:
    if origin.is_dir():
        shutil.copytree(origin, target, symlinks=True, copy_function=os.link)
    else:
        target = target / origin.name if into else target
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(origin, target)


def test_hadolint_finds_nothing() -> None:
    command = [str(TOOLS / "hadolint"), "--no-color", str(REPOSITORY / "Dockerfile")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_image_holds_the_command_and_loads_a_page_as_its_own_user_would(tmp_path: Path) -> None:
    image = build(tmp_path)
    assert image.said["USER"].split(":")[0] not in ("0", "root")
    assert (image.said["ENTRYPOINT"], image.said["CMD"]) == ('["pancake"]', '["sync"]')
    packages = {path.name for path in image.path("/opt/pancake").glob("lib/python*/site-packages/*")}
    assert packages >= {"pipelines", "sources", "psycopg2", "google"}
    assert not packages & {"pytest", "ruff", "mypy"}
    page = FakePage()
    page.populate(days=5, conversations=12)
    with FakeServer(FakePancake([page])) as server:
        done = image.run(
            str(image.path("/opt/pancake/bin/pancake")),
            "sync",
            SOURCES__PANCAKE__BASE_URL=server.url,
            SOURCES__PANCAKE__PAGE_ID=page.page_id,
            SOURCES__PANCAKE__PAGE_ACCESS_TOKEN=page.token,
            SOURCES__PANCAKE__REQUESTS_PER_SECOND="100",
            DESTINATION__WAREHOUSE__CREDENTIALS=str(image.path("/data/warehouse.duckdb")),
        )
    assert done.returncode == 0, done.stdout + done.stderr
    with duckdb.connect(str(image.path("/data/warehouse.duckdb"))) as warehouse:
        assert warehouse.sql("SELECT COUNT(*) FROM pancake.conversations").fetchone() == (12,)
    assert {path.name for path in image.root.iterdir()} == {"data", "opt", "srv"}
    assert image.said["VOLUME"] == "/data"
    assert [path.name for path in image.path("/srv/pancake").rglob("*") if path.is_file()] == ["config.toml"]


def test_the_image_and_the_makefile_bring_the_same_uv() -> None:
    versions = {
        match[1]
        for name in ("Dockerfile", "Makefile")
        for match in re.finditer(r"(?:uv==|UV_VERSION := )([\d.]+)", (REPOSITORY / name).read_text())
    }
    assert len(versions) == 1


def test_no_secret_comes_near_the_image(tmp_path: Path) -> None:
    names = {path.name for path in context(tmp_path / "context").rglob("*")}
    assert "config.toml" in names
    assert not {name for name in names if "secrets" in name or name.startswith(".env")}
    assert not [
        argument for word, argument in instructions() if word in ("ARG", "ENV") and "TOKEN" in argument
    ]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_units_of_the_docs(tmp_path: Path) -> None:
    text = (REPOSITORY / "docs/deployment.md").read_text()
    units = dict(re.findall(r"```ini\n# /etc/systemd/system/(\S+)\n(.*?)```", text, re.DOTALL))
    assert set(units) == {
        "pancake-sync.service",
        "pancake-sync.timer",
        "pancake-refresh.service",
        "pancake-refresh.timer",
    }
    place = tmp_path / "srv/pancake"
    (place / ".venv").mkdir(parents=True)
    (place / ".venv/bin").symlink_to(TOOLS)
    for name, unit in units.items():
        (tmp_path / name).write_text(unit.replace("/srv/pancake", str(place)))
    files = [str(tmp_path / name) for name in units]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True, check=False
    )
    about_ours = [line for line in done.stderr.splitlines() if "pancake" in line]
    assert (done.returncode, about_ours) == (0, [])
    named = set(re.findall(r"/srv/pancake/(\S+)", "".join(units.values())))
    assert named
    assert all((place / name).is_file() for name in named), named
