"""The token is nowhere but in the client's memory, whatever goes wrong."""

from __future__ import annotations

import gzip
import json
import logging
import pickle
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import dlt
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed

from sources.pancake import PancakeClient, pancake_pages_source, pancake_source, settings
from sources.pancake.errors import PancakeAuthError, PancakeError, PancakeTransientError
from tests.fake_pancake import FakePage, FakePancake, FakeServer, Fault

SECRET = "4f1d9c7e0b"
TOKEN = f"planted-token.{SECRET}.end"
LOGGERS = ("", "dlt", "urllib3", "urllib3.connectionpool", "urllib3.util.retry", "requests", "tenacity")
PASSES_NOTHING_ON = ("", "dlt")

Load = Callable[[], PancakeError | None]


class Log(logging.Handler):
    """Keeps every record as text, with its arguments and its traceback."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        formatted = logging.Formatter("%(name)s %(message)s").format(record)
        self.lines.append(f"{formatted} {record.msg!r} {record.args!r}")


class Impatient:
    """The present, in which nobody waits long."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float, /) -> None:
        time.sleep(min(seconds, 0.01))


@pytest.fixture(autouse=True)
def wordy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME__LOG_LEVEL", "DEBUG")
    monkeypatch.setattr(settings, "READ_TIMEOUT_S", 0.3)


@pytest.fixture
def log(pipeline: dlt.Pipeline) -> Iterator[Log]:
    """Everything that is logged, at the lowest level; made after the pipeline, which sets up dlt's logger."""
    assert pipeline is not None
    handler = Log()
    before = {name: logging.getLogger(name).level for name in LOGGERS}
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.DEBUG)
    for name in PASSES_NOTHING_ON:
        logging.getLogger(name).addHandler(handler)
    yield handler
    for name in PASSES_NOTHING_ON:
        logging.getLogger(name).removeHandler(handler)
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def page() -> FakePage:
    page = FakePage(token=TOKEN)
    page.populate(days=2, conversations=4)
    return page


@pytest.fixture
def pancake(page: FakePage) -> FakePancake:
    return FakePancake([page])


@pytest.fixture(params=["argument", "configuration", "client"])
def load(
    request: pytest.FixtureRequest,
    pipeline: dlt.Pipeline,
    pancake: FakePancake,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Load]:
    """Load over HTTP and return the error, if there was one; the token comes in three ways."""
    page_id = pancake.page().page_id
    monkeypatch.setenv("SOURCES__PANCAKE__REQUESTS_PER_SECOND", "100")
    with FakeServer(pancake) as server:
        monkeypatch.setenv("SOURCES__PANCAKE__BASE_URL", server.url)

        def run() -> PancakeError | None:
            if request.param == "argument":
                source = pancake_source(page_id=page_id, page_access_token=TOKEN)
            elif request.param == "configuration":
                monkeypatch.setenv("SOURCES__PANCAKE__PAGE_ID", page_id)
                monkeypatch.setenv("SOURCES__PANCAKE__PAGE_ACCESS_TOKEN", TOKEN)
                source = pancake_source()
            else:
                client = PancakeClient(
                    page_id, TOKEN, base_url=server.url, requests_per_second=100, clock=Impatient()
                )
                source = pancake_source(page_id=page_id, page_access_token="", client=client)
            try:
                pipeline.run(source)
            except PipelineStepFailed as failed:
                return reason(failed)
            return None

        yield run


in_a_hurry = pytest.mark.parametrize("load", ["client"], indirect=True)


def reason(failed: BaseException) -> PancakeError:
    """The source's own error below dlt's; what can be read of any of them is checked."""
    error: BaseException | None = failed
    while error is not None:
        for text in (str(error), repr(error), repr(error.args), repr(vars(error)), *lines(error)):
            assert SECRET not in text
        if isinstance(error, PancakeError):
            assert error.__context__ is None
            return error
        error = error.__cause__ or error.__context__
    raise AssertionError("the source raised nothing") from failed


def lines(error: BaseException) -> list[str]:
    return traceback.format_exception(error)


def assert_no_token(
    pipeline: dlt.Pipeline, log: Log, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert any("urllib3" in line and "page_access_token=***" in line for line in log.lines)
    assert any(line.startswith("dlt ") for line in log.lines)
    assert [line for line in log.lines if SECRET in line] == []
    assert SECRET not in "".join(capfd.readouterr())

    trace = pipeline.last_trace
    assert trace is not None
    for text in (str(trace), repr(trace), trace.asstr(verbosity=2), repr(trace.asdict())):
        assert SECRET not in text
    assert SECRET.encode() not in pickle.dumps(trace)

    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {"state.json", "trace.pickle", "warehouse.duckdb"} <= {path.name for path in files}
    for path in files:
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
        assert SECRET.encode() not in content, path
        assert SECRET not in path.name

    with pipeline.sql_client() as client:
        tables = client.execute_sql("SELECT table_schema, table_name FROM information_schema.tables") or []
        for schema, table in tables:
            rows = client.execute_sql(f'SELECT * FROM "{schema}"."{table}"') or []
            assert SECRET not in repr(rows), table


def rows(pipeline: dlt.Pipeline, table: str) -> int:
    with pipeline.sql_client() as client:
        return int((client.execute_sql(f"SELECT count(*) FROM {table}") or [(0,)])[0][0])


def test_a_load_that_goes_well_shows_no_token(
    load: Load, pipeline: dlt.Pipeline, log: Log, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert load() is None
    assert rows(pipeline, "conversations") == 4
    assert_no_token(pipeline, log, tmp_path, capfd)


def test_a_token_in_a_chat_is_blotted_out(
    load: Load,
    page: FakePage,
    pipeline: dlt.Pipeline,
    log: Log,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    page.add_conversation(text=f"https://pages.fm/?page_access_token={TOKEN}", messages=2)
    assert load() is None
    with pipeline.sql_client() as client:
        found = client.execute_sql("SELECT count(*) FROM messages WHERE original_message LIKE '%=***'")
    assert found == [(2,)]
    assert_no_token(pipeline, log, tmp_path, capfd)


def test_a_server_that_always_fails_is_told_no_token(
    load: Load,
    pancake: FakePancake,
    pipeline: dlt.Pipeline,
    log: Log,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert load() is None
    pancake.fail(Fault("status", status=500, retry_after_s=0.01, times=None, message=f"at {TOKEN}"))
    assert isinstance(load(), PancakeTransientError)
    assert_no_token(pipeline, log, tmp_path, capfd)


def test_threads_that_fail_show_no_token(
    load: Load,
    pancake: FakePancake,
    pipeline: dlt.Pipeline,
    log: Log,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    pancake.fail(Fault("status", endpoint="messages", status=429, retry_after_s=0.01, times=2))
    pancake.fail(Fault("body_error", endpoint="messages", code=9, message=f"at {TOKEN}", times=None))
    load()
    assert rows(pipeline, "conversations") == 4
    assert_no_token(pipeline, log, tmp_path, capfd)


def test_a_wrong_token_is_not_repeated(
    load: Load,
    page: FakePage,
    pipeline: dlt.Pipeline,
    log: Log,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert load() is None
    page.token = "another"
    assert isinstance(load(), PancakeAuthError)
    assert_no_token(pipeline, log, tmp_path, capfd)


@in_a_hurry
@pytest.mark.parametrize("kind", ["drop", "drop_midway", "slow", "html", "truncated"])
def test_a_broken_connection_shows_no_token(
    kind: str,
    load: Load,
    pancake: FakePancake,
    pipeline: dlt.Pipeline,
    log: Log,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert load() is None
    pancake.fail(Fault(kind, seconds=2.0, times=None))  # type: ignore[arg-type]
    assert isinstance(load(), PancakeError)
    assert_no_token(pipeline, log, tmp_path, capfd)


@in_a_hurry
def test_a_server_that_is_away_is_told_no_token(
    load: Load,
    pipeline: dlt.Pipeline,
    log: Log,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    page: FakePage,
) -> None:
    assert load() is None
    away = PancakeClient(page.page_id, TOKEN, base_url="http://127.0.0.1:9", clock=Impatient())
    with pytest.raises(PipelineStepFailed) as raised:
        pipeline.run(pancake_source(page_id=page.page_id, page_access_token="", client=away))
    assert "ConnectionError" in str(reason(raised.value))
    assert_no_token(pipeline, log, tmp_path, capfd)


@pytest.mark.parametrize("fault", [None, Fault("body_error", code=105, endpoint="messages", times=None)])
@pytest.mark.parametrize("way", ["list with tokens", "tokens of their own"])
def test_a_configuration_of_many_pages_shows_no_token(
    way: str,
    fault: Fault | None,
    pancake: FakePancake,
    pipeline: dlt.Pipeline,
    log: Log,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page_id = pancake.page().page_id
    listed = [{"page_id": page_id, "page_access_token": TOKEN}] if way == "list with tokens" else [page_id]
    monkeypatch.setenv("SOURCES__PANCAKE__PAGES", json.dumps(listed))
    monkeypatch.setenv(f"SOURCES__PANCAKE__PAGE_ACCESS_TOKENS__{page_id}", TOKEN)
    monkeypatch.setenv("SOURCES__PANCAKE__REQUESTS_PER_SECOND", "100")
    if fault:
        pancake.fail(fault)
    with FakeServer(pancake) as server:
        monkeypatch.setenv("SOURCES__PANCAKE__BASE_URL", server.url)
        pipeline.run(pancake_pages_source())
    assert rows(pipeline, "conversations") == 4
    assert_no_token(pipeline, log, tmp_path, capfd)
