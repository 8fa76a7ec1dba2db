"""What a check found, one finding a line, for people and for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

CONFIGURATION = "configuration"
WAREHOUSE = "warehouse"
"""Stand where a finding about a page names the page."""


class Level(Enum):
    """How a finding is to be taken."""

    OK = "ok"
    UNDECIDED = "undecided"
    WARNING = "warning"
    ERROR = "error"


_WIDTH = 15  # of the longest name of a check
_HEADINGS = {CONFIGURATION: "the configuration", WAREHOUSE: "the warehouse"}
_MARKS = {
    Level.OK: Text("✓", style="green"),
    Level.UNDECIDED: Text("?"),
    Level.WARNING: Text("!", style="yellow"),
    Level.ERROR: Text("✗", style="red"),
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Args:
        page: Id of the page, or `configuration` or `warehouse`.
        check: What was looked at; stays the same from version to version.
        level: How to take it.
        found: What was found, without ids of people, texts or tokens.
        advice: What to do, where something is to be done.
    """

    page: str
    check: str
    level: Level
    found: str
    advice: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "page": self.page,
            "check": self.check,
            "ok": self.level is not Level.ERROR,
            "level": self.level.value,
            "found": self.found,
            "advice": self.advice,
        }


def show(findings: Sequence[Finding], console: Console) -> None:
    """Print findings, below a heading for each page and one for the warehouse.

    Args:
        findings: Those of one page in a row.
        console: Where to print.
    """
    for page in dict.fromkeys(finding.page for finding in findings):
        console.print(Text(_HEADINGS.get(page, f"page {page}"), style="bold"))
        table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column()
        table.add_column(min_width=_WIDTH)
        table.add_column()
        for finding in findings:
            if finding.page == page:
                said = f"{finding.found}. {finding.advice}" if finding.advice else finding.found
                table.add_row(_MARKS[finding.level], finding.check, Text(said))
        console.print(table)
