"""Airflow: the doors `pancake_sync`, `pancake_refresh` and `pancake_backfill`, one task per group of pages.

Copy this file into the folder of DAGs; the package `dlt-pancake` must be installed beside Airflow. Nothing is
read or called while Airflow parses it: what needs dlt is imported when a task runs. See docs/airflow.md.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow.sdk import Connection, CronDataIntervalTimetable, Param, dag, get_current_context, task
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
)

if TYPE_CHECKING:
    from pipelines.runs import MakeSource
    from sources.pancake import Page

GROUPS = 8
"""Never change it once pages are loaded: a page's cursor is kept under the name of its group."""

POOL = "pancake"
"""Its slots say how many groups are loaded at once, over all three DAGs; one for DuckDB."""

CONNECTION = "pancake_warehouse"
"""The Airflow connection of the warehouse; without it dlt's own configuration says where the warehouse is."""

DATASET = "pancake"
LOAD_EVERY_S = 300.0
REFRESHED_DAYS = 7

os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
# Only `dlt_secrets_toml`: dlt would else ask Airflow for more than 700 Variables in each task, one by one.
os.environ.setdefault("PROVIDERS__AIRFLOW_SECRETS__ONLY_TOML_FRAGMENTS", "true")

log = logging.getLogger(__name__)

PAGES = Param(None, type=["null", "array"], items={"type": "string"}, description="Only these page ids.")


def group_of(page_id: str) -> int:
    """Return the group of a page, which depends on nothing but its id."""
    return zlib.crc32(page_id.encode()) % GROUPS


@task
def list_groups(*, on_schedule: bool = True) -> list[dict[str, Any]]:
    """Return the groups that have pages and the ids of these, without their tokens: it becomes an XCom."""
    from sources.pancake import configured_pages

    context = get_current_context()
    dag_id = context["dag"].dag_id
    if context["dag_run"].run_type == "scheduled" and not on_schedule:
        raise AirflowSkipException(f"{dag_id} runs when it is asked to.")
    if context["ti"].get_dr_count(dag_id=dag_id, states=["running"]) > 1:
        raise AirflowException(
            f"Another run of {dag_id} is under way, and two would overwrite each other's staged rows."
            " `airflow backfill create` needs `--max-active-runs 1`. This task is tried again."
        )
    with _errors_explained():
        pages = configured_pages(context["params"].get("pages") or ())
        groups: dict[int, list[str]] = {}
        for page in pages:
            groups.setdefault(group_of(page.page_id), []).append(page.page_id)
    return [{"group": group, "page_ids": page_ids} for group, page_ids in sorted(groups.items())]


@task(pool=POOL, map_index_template="group {{ task.op_kwargs['group'] }}")
def sync(group: int, page_ids: list[str]) -> None:
    """Load what is new of the pages of one group."""
    from pipelines import jobs

    _load("sync", group, page_ids, lambda _: jobs.sync(), load_every_s=LOAD_EVERY_S)


@task(pool=POOL, map_index_template="group {{ task.op_kwargs['group'] }}")
def refresh(group: int, page_ids: list[str]) -> None:
    """List the conversations of the last days again."""
    from pipelines import jobs

    begin = get_current_context()["dag_run"].run_after - timedelta(days=REFRESHED_DAYS)
    since = f"{begin.astimezone(timezone.utc):%Y-%m-%d}"
    _load(
        "backfill",
        group,
        page_ids,
        lambda pages: jobs.backfill(pages, since=since, until=None, with_messages=False),
    )


@task(pool=POOL, map_index_template="group {{ task.op_kwargs['group'] }}")
def backfill(group: int, page_ids: list[str]) -> None:
    """Load the span of the params, or else of the run's data interval."""
    from pipelines import jobs

    params = get_current_context()["params"]
    since, until = _span()
    log.info("from %s until %s", since, until or "now")
    _load(
        "backfill",
        group,
        page_ids,
        lambda pages: jobs.backfill(pages, since=since, until=until, with_messages=params["messages"]),
    )


@dag(
    schedule="*/10 * * * *",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={"pages": PAGES},
    tags=["pancake"],
)
def pancake_sync() -> None:
    """Load what is new since the last sync, of all pages."""
    sync.expand_kwargs(list_groups())


@dag(
    schedule="15 20 * * *",  # 03:15 in Vietnam
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    params={"pages": PAGES},
    tags=["pancake"],
)
def pancake_refresh() -> None:
    """List the last days again: tags, assignees and read marks do not move `updated_at`."""
    refresh.expand_kwargs(list_groups())


@dag(
    # It cuts `airflow backfill create` into days. Runs of the schedule itself are skipped.
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2015, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 5, "retry_delay": timedelta(minutes=5)},
    params={
        "since": Param(
            None, type=["null", "string"], description="Begin: a date (midnight UTC) or a time with a zone."
        ),
        "until": Param(None, type=["null", "string"], description="End, excluded. Default: now."),
        "messages": Param(True, type="boolean", description="Read every thread whole."),
        "pages": PAGES,
    },
    tags=["pancake"],
)
def pancake_backfill() -> None:
    """Load a span of time again, every thread in it whole."""
    backfill.expand_kwargs(list_groups(on_schedule=False))


def _span() -> tuple[str, str | None]:
    """Return `since` and `until` in the same words at each try, so that a retry goes on where it stood."""
    context = get_current_context()
    since, until = context["params"]["since"], context["params"]["until"]
    if since is not None:
        return since, until
    begin, end = context.get("data_interval_start"), context.get("data_interval_end")
    if until is not None or begin is None or end is None:
        raise AirflowFailException(
            'The run has no begin. Give `since`, for example --conf \'{"since": "2026-01-01"}\'.'
        )
    return begin.isoformat(), end.isoformat()


def _load(
    command: str,
    group: int,
    page_ids: Sequence[str],
    of_pages: Callable[[Sequence[Page]], MakeSource],
    *,
    load_every_s: float = float("inf"),
) -> None:
    """Load a group; its record is logged and pushed as the XCom `report`, also when the task then fails."""
    import structlog

    from pipelines.execution import execute
    from pipelines.loading import make_pipeline
    from sources.pancake import configured_pages

    context = get_current_context()
    with _warehouse(), _working_folder(), _errors_explained():
        pages = configured_pages(page_ids)
        _, report = execute(
            command,
            make_pipeline(f"{context['dag'].dag_id}_group_{group}", DATASET),
            pages,
            of_pages(pages),
            structlog.get_logger("pancake"),
            load_every_s=load_every_s,
            holder=f"{context['run_id']} {context['dag'].dag_id} {group}",  # the next try is the same one
        )
    log.info("report: %s", json.dumps(report))
    context["ti"].xcom_push(key="report", value=report)
    _check(report)


def _check(report: dict[str, Any]) -> None:
    """Fail the task when something could not be read, so that it is seen, and tried again."""
    from pipelines.runs import ExitCode

    code = ExitCode(report["exit_code"])
    if code is ExitCode.WRONG_SETTINGS:
        raise AirflowFailException(report["error"])
    if code is ExitCode.OVERLAP:
        raise AirflowSkipException(report["error"])
    if code in (ExitCode.FAILED, ExitCode.PARTIAL):
        problems = {
            page["page_id"]: {
                key: page[key] for key in ("status", "error", "failed_tables", "threads_failed")
            }
            for page in report["pages"]
            if page["status"] in ("failed", "partial")
        }
        raise AirflowException(
            f"{code.name}: {report['error'] or json.dumps(problems, ensure_ascii=False)}."
            " What could be read is loaded; the next try reads the rest."
        )


@contextmanager
def _errors_explained() -> Iterator[None]:
    """Turn every error into one whose text a person can use; wrong settings are not tried again."""
    from pipelines import runs

    try:
        yield
    except Exception as error:  # noqa: BLE001  # the door: every error becomes a message
        code, message = runs.explain(error)
    else:
        return
    raise (AirflowFailException if code is runs.ExitCode.WRONG_SETTINGS else AirflowException)(message)


@contextmanager
def _working_folder() -> Iterator[None]:
    """Give dlt a folder for this try alone: the next may run on another machine, and asks the warehouse."""
    before = os.environ.get("DLT_DATA_DIR")
    with tempfile.TemporaryDirectory(prefix="pancake-") as folder:
        os.environ["DLT_DATA_DIR"] = folder
        try:
            yield
        finally:
            del os.environ["DLT_DATA_DIR"]
            if before is not None:
                os.environ["DLT_DATA_DIR"] = before


@contextmanager
def _warehouse() -> Iterator[None]:
    """Let dlt load into the Airflow connection of the warehouse, if there is one."""
    import dlt

    try:
        connection = Connection.get(CONNECTION)
    except AirflowNotFoundException:
        yield
        return
    if connection.conn_type == "postgres":
        kind, credentials = "postgres", connection.get_uri().replace("postgres://", "postgresql://", 1)
    elif connection.conn_type == "google_cloud_platform":
        kind, credentials = "bigquery", connection.extra_dejson.get("keyfile_dict")
    else:
        raise AirflowFailException(
            f"The connection `{CONNECTION}` has the type {connection.conn_type}; postgres and"
            " google_cloud_platform can be used. Set other warehouses in the Variable `dlt_secrets_toml`."
        )
    found = {"destination_type": kind, "credentials": credentials}
    with dlt.secrets.values({f"destination.warehouse.{key}": value for key, value in found.items() if value}):
        yield


pancake_sync()
pancake_refresh()
pancake_backfill()
