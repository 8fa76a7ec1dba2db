"""The command `pancake check`: what stands between this machine, the pages and the warehouse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from rich.console import Console

from pipelines import destinations, findings, runs
from pipelines.copies import copy_of_pipeline
from pipelines.findings import CONFIGURATION, WAREHOUSE, Finding, Level
from pipelines.page_checks import check_page
from pipelines.reading import MakeClient, Reading
from pipelines.runs import ExitCode
from sources.pancake import Page
from sources.pancake.errors import PancakeSettingsError

SETTINGS = "settings"
"""Name of the check whose failure means wrong settings."""

PAGES_AT_ONCE = 8  # ours


def check(
    configured: Callable[[], Sequence[Page]],
    make_client: MakeClient,
    reading: Reading,
    pipeline: str,
    dataset: str,
) -> list[Finding]:
    """Return what is found of the pages, of each one whatever becomes of the others, and of the warehouse.

    Args:
        configured: Returns the pages.
        make_client: Makes the client of a page.
        reading: How a sync would read.
        pipeline: Name of the pipeline of a sync.
        dataset: Dataset of the warehouse.
    """
    found: list[Finding] = []
    try:
        pages = configured()
    except Exception as error:  # noqa: BLE001  # every error becomes a finding
        found.append(_unusable(CONFIGURATION, error))
    else:
        with ThreadPoolExecutor(PAGES_AT_ONCE) as pool:
            for of_page in pool.map(partial(_check_page, make_client, reading), pages):
                found += of_page
    return [*found, *_check_warehouse(pipeline, dataset)]


def _check_page(make_client: MakeClient, reading: Reading, page: Page) -> list[Finding]:
    found: list[Finding] = []
    try:
        client = make_client(page)
    except PancakeSettingsError as error:
        return [_unusable(page.page_id, error)]
    found.append(Finding(page.page_id, SETTINGS, Level.OK, "the settings of the page make sense"))
    try:
        found.extend(check_page(client, workers=reading.workers, lag_s=reading.lag_s))
    except Exception as error:  # noqa: BLE001  # the others are still to be checked
        said = f"the check of this page broke off ({type(error).__name__})"
        found.append(Finding(page.page_id, "check", Level.ERROR, said, "Report it."))
    return found


def _check_warehouse(pipeline: str, dataset: str) -> list[Finding]:
    found: list[Finding] = []
    try:
        with copy_of_pipeline(pipeline, dataset) as copy:
            found.extend(destinations.check(copy))
    except Exception as error:  # noqa: BLE001  # every error becomes a finding
        found.append(_unusable(WAREHOUSE, error, "create" if found else "reach"))
    return found


def _unusable(place: str, error: Exception, check: str = SETTINGS) -> Finding:
    code, message = runs.explain(error)
    said = " ".join(message.split())
    if code is ExitCode.WRONG_SETTINGS:
        return Finding(place, SETTINGS, Level.ERROR, *_in_two(said))
    return Finding(place, check, Level.ERROR, said, destinations.HOW_TO_REACH)


def _in_two(message: str) -> tuple[str, str]:
    """Part what was found from what to do."""
    found, _, advice = message.partition(". ")
    return found, advice


def exit_code(found: Sequence[Finding]) -> ExitCode:
    """Return how the command ends on what was found."""
    failed = {finding.check for finding in found if finding.level is Level.ERROR}
    if SETTINGS in failed:
        return ExitCode.WRONG_SETTINGS
    return ExitCode.FAILED if failed else ExitCode.DONE


def show(found: Sequence[Finding], console: Console, *, as_json: bool) -> None:
    """Print what was found.

    Args:
        found: It.
        console: Where to print.
        as_json: Print one JSON document for machines instead of lines for people.
    """
    if as_json:
        document = {
            "ok": exit_code(found) is ExitCode.DONE,
            "findings": [finding.as_json() for finding in found],
        }
        console.print_json(data=document, ensure_ascii=True)
    else:
        findings.show(found, console)
