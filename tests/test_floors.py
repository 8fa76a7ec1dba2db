"""The package travels alone, and no room imports from above."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "sources" / "pancake"
FLOORS = {
    "settings": 0,
    "errors": 0,
    "endpoints": 0,
    "records": 0,
    "schema": 0,
    "windows": 0,
    "filters": 0,
    "page_settings": 0,
    "rate_stores": 1,
    "throttle": 1,
    "client": 1,
    "workers": 1,
    "paginators": 2,
    "warehouse": 3,
    "guard": 3,
    "arrow": 3,
    "page_run": 3,
    "resources": 3,
    "resources.conversations": 3,
    "resources.messages": 3,
    "resources.coverage": 3,
    "resources.links": 3,
    "resources.lookups": 3,
    "resources.page_customers": 3,
    "resources.pages": 3,
    "resources.posts": 3,
    "resources.statistics": 3,
    "resources.tags": 3,
    "resources.users": 3,
    "assembly": 4,
    "": 4,
}
MODULES = sorted(PACKAGE.rglob("*.py"))
ONE_OWNER = {
    "requests": "client",
    "urllib3": "client",
    "tenacity": "client",
    "pyrate_limiter": "rate_stores",
    "sqlite3": "rate_stores",
    "socket": "",
    "http": "",
}
GROUND_MAY_IMPORT_OF_DLT = {"dlt.common.exceptions", "dlt.common.time", "dlt.common.data_types"}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def outside_imports(path: Path) -> Iterator[str]:
    """Modules that are imported by their full name."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""


def inside_imports(path: Path) -> Iterator[str]:
    """Rooms that are imported relatively, by their name in FLOORS."""
    package = path.relative_to(PACKAGE).parent.parts
    for node in ast.walk(tree_of(path)):
        if not isinstance(node, ast.ImportFrom) or node.level == 0:
            continue
        up = node.level - 1
        assert up <= len(package), f"{path} reaches out of the package"
        base = [*package[: len(package) - up], *(node.module or "").split(".")]
        base = [part for part in base if part]
        for alias in node.names:
            room = ".".join([*base, alias.name])
            yield room if room in FLOORS else ".".join(base)


def attributes_read(path: Path) -> set[str]:
    """Dotted names such as `os.environ`, with every name from-imported spelled out."""
    tree = tree_of(path)
    names = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


every_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: name_of(path) or "__init__")


def test_every_module_has_its_floor() -> None:
    assert {name_of(path) for path in MODULES} == set(FLOORS)


@every_module
def test_no_module_imports_from_above_its_floor(path: Path) -> None:
    floor = FLOORS[name_of(path)]
    above = {room for room in inside_imports(path) if FLOORS[room] > floor}
    assert above == set()


@every_module
def test_no_module_knows_that_it_lies_in_this_repository(path: Path) -> None:
    first_names = {name.split(".")[0] for name in outside_imports(path)}
    assert first_names.isdisjoint({"sources", "pancake", "tests", "pipelines", "benchmarks"})


@every_module
def test_the_network_has_one_owner(path: Path) -> None:
    imported = {name.split(".")[0] for name in outside_imports(path)}
    for library, owner in ONE_OWNER.items():
        assert library not in imported or name_of(path) == owner


@every_module
def test_configuration_is_read_in_one_place(path: Path) -> None:
    read = {
        name
        for name in attributes_read(path)
        if name.startswith(("os.environ", "os.getenv", "dlt.config", "dlt.secrets"))
    }
    assert not read or name_of(path) == ""


@pytest.mark.parametrize("path", [path for path in MODULES if FLOORS.get(name_of(path)) == 0], ids=name_of)
def test_the_ground_touches_no_clock_no_disk_and_no_pipeline(path: Path) -> None:
    names = set(outside_imports(path))
    dlt = {name for name in names if name.split(".")[0] == "dlt"} - {"dlt.common.schema.typing"}
    assert dlt <= GROUND_MAY_IMPORT_OF_DLT
    assert names.isdisjoint({"os", "time", "pathlib", "io", "logging", "threading", "random", "sys"})
    now = {"datetime.now", "datetime.utcnow", "date.today", "time.time"}
    assert attributes_read(path).isdisjoint(now)


def test_paging_stands_on_the_ground_and_knows_neither_dlt_nor_the_network() -> None:
    path = PACKAGE / "paginators.py"
    assert {FLOORS[room] for room in inside_imports(path)} == {0}
    imported = {name.split(".")[0] for name in outside_imports(path)}
    assert imported.isdisjoint({"dlt", "requests", "urllib3"})
