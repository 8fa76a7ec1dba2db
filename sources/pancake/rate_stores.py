"""The line in which calls wait for their start: in memory, or shared by processes and machines.

pyrate-limiter's GCRA keeps one stamp a page, the moment at which the next call may start. Whoever takes a
start moves the stamp on by one interval, so starts are given out in the order in which they are asked for,
and no process can starve another. In memory the stamp is of the monotonic clock. A shared stamp must mean
the same to all: in SQLite it is of the machine's wall clock, in Redis and PostgreSQL of the server's clock.
A machine whose wall clock is set back waits until the old time is reached, or until the file is deleted.

pyrate-limiter's own buckets for SQLite and PostgreSQL keep a log of starts instead of a stamp. With those a
process that has slowed down finds no gap long enough between the starts of the others.
"""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib import import_module
from math import ceil
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pyrate_limiter import (
    GCRA,
    Decision,
    InMemoryStateStore,
    Rate,
    RedisStateStore,
    StateAlgorithm,
    StateStore,
)
from pyrate_limiter.abstracts.algorithm import State

from . import settings
from .errors import PancakeSettingsError, PancakeTransientError

T = TypeVar("T")

_SETTING = "`sources.pancake.rate_limit_store`"
_ACCEPTED = (
    "expected `sqlite:///file`, `sqlite:////folder/file`, `redis://host:port/db` or"
    " `postgresql://user:password@host/db`; leave it empty when one process alone reads the page"
)
_NAME = "pancake_next_start"
_ALGORITHM = GCRA()


class StartLine:
    """Gives out the starts of one page's calls.

    Args:
        store: Holds the stamp.
        now: The clock of the stamp, in milliseconds.
        name: Where the stamp is, without credentials, for messages.
        problems: What the store raises when it cannot be used.
    """

    def __init__(
        self,
        store: StateStore,
        now: Callable[[], int],
        name: str = "",
        problems: tuple[type[Exception], ...] = (),
    ) -> None:
        self._store = store
        self._now = now
        self._name = name
        self._problems = problems

    def take(self, interval_s: float, burst: int, longest_s: float) -> float:
        """Take the next start and return the seconds until it.

        Args:
            interval_s: Seconds to the start after it.
            burst: Starts that may follow one another at once.
            longest_s: A start further away is not taken; the seconds until it are returned all the same.

        Raises:
            PancakeTransientError: The store cannot be used.
        """
        return self._ask(lambda: self._take(_rate(interval_s * 1e6, burst), longest_s))

    def close(self, seconds: float) -> bool:
        """Give out no start that is less than `seconds` away; return whether none so late had been taken.

        Starts that were given out before remain.

        Raises:
            PancakeTransientError: The store cannot be used.
        """
        return self._ask(lambda: self._close(ceil(seconds * 1000)))

    def _take(self, rate: Rate, longest_s: float) -> float:
        now = at = self._now()
        while (wait := self._check(rate, at)) and (at + wait - now) / 1000 <= longest_s:
            at += wait
        return (at + wait - now) / 1000

    def _close(self, pause: int) -> bool:
        """Take one start that lasts as long as what is left of the pause."""
        now = at = self._now()
        while (left := now + pause - at) > 0 and (wait := self._check(_rate(left * 1000, 1), at)):
            at += wait
        return left > 0

    def _check(self, rate: Rate, at: int) -> int:
        """Take the start at this moment and return 0, or return the milliseconds from there to the next."""
        decision = self._store.check(_ALGORITHM, [rate], at, 1)
        assert isinstance(decision, Decision)  # noqa: S101  # none of the stores is asynchronous
        return decision.retry_after_ms or 0

    def _ask(self, question: Callable[[], T]) -> T:
        problem = ""
        try:
            return question()
        except self._problems as exc:
            problem = type(exc).__name__  # its text may hold the password
        raise PancakeTransientError(
            f"The store of the rate limit, {self._name}, cannot be used ({problem}). Check {_SETTING} and"
            " whether the store can be reached. It holds nothing worth keeping: a broken one may be deleted."
        )


def in_memory(monotonic: Callable[[], float]) -> StartLine:
    """Return a line for the threads of this process.

    Args:
        monotonic: Seconds that only grow.
    """
    return StartLine(InMemoryStateStore(), _in_ms(monotonic))


def shared(url: str, page: str, wall_clock: Callable[[], float]) -> StartLine:
    """Return the line of a page in a store that others use too. Nothing is connected to yet.

    Args:
        url: `sqlite:///file`, `redis://…`, `rediss://…` or `postgresql://…`.
        page: Names the page in the store.
        wall_clock: Unix seconds, for SQLite; the other stores have a clock of their own.

    Raises:
        PancakeSettingsError: The address is none of these, or a package is missing.
    """
    url = url.strip()
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and rest.strip("/"):
        return _in_sqlite(Path(rest[1:]).absolute(), page, wall_clock)
    if scheme in {"redis", "rediss"} and rest:
        return _in_redis(url, page)
    if scheme in {"postgresql", "postgres"} and rest:
        return _in_postgres(url, page)
    # What was found is not quoted: it may hold a password.
    raise PancakeSettingsError(f"{_SETTING} is not the address of a store; {_ACCEPTED}.")


def _in_ms(seconds: Callable[[], float]) -> Callable[[], int]:
    return lambda: int(seconds() * 1000)


def _in_sqlite(path: Path, page: str, wall_clock: Callable[[], float]) -> StartLine:
    store = _SqliteStore(path, page, _in_ms(wall_clock))
    return StartLine(store, store.present, f"the SQLite file {path}", (sqlite3.Error, OSError))


def _in_redis(url: str, page: str) -> StartLine:
    redis = _import("redis", "redis")
    client: Any = None
    with suppress(ValueError):  # its text may hold the password
        timeout_s = settings.RATE_STORE_TIMEOUT_S
        client = redis.Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)
    if client is None:
        raise PancakeSettingsError(f"{_SETTING} is not an address that Redis understands; {_ACCEPTED}.")

    def now() -> int:
        seconds, microseconds = client.time()
        return int(seconds * 1000 + microseconds // 1000)

    store = RedisStateStore(client, f"{_NAME}:{page}", ttl_ms=int(settings.RATE_STORE_KEEPS_S * 1000))
    return StartLine(store, now, f"Redis on {_host(url)}", (redis.RedisError,))


def _in_postgres(url: str, page: str) -> StartLine:
    psycopg2 = _import("psycopg2", "postgres")
    store = _PostgresStore(url, page, psycopg2.connect)
    return StartLine(store, store.present, f"PostgreSQL on {_host(url)}", (psycopg2.Error,))


def _import(package: str, extra: str) -> Any:
    with suppress(ImportError):
        return import_module(package)
    raise PancakeSettingsError(
        f"{_SETTING} needs the package `{package}`. Install it with `pip install 'dlt-pancake[{extra}]'`."
    )


def _host(url: str) -> str:
    """Return host and port of an address without credentials."""
    _, _, host = urlsplit(url).netloc.rpartition("@")
    return host or "this machine"


@lru_cache(maxsize=64)
def _rate(interval_us: float, burst: int) -> Rate:
    """Return the rate of one call in so many microseconds: a thousand in as many milliseconds."""
    return Rate(1000, max(1, round(interval_us)), burst)


def _nothing() -> None:
    pass


class _SqlStore(StateStore):
    """Keeps the stamps of all pages in one table, a row each, in microseconds since 1970.

    Whatever moment is asked about, the store does not look back from its own present: time has passed while
    others held the row.
    """

    def __init__(self, page: str) -> None:
        self._page = page
        self._connection: Any = None
        self._disconnect: Callable[[], Any] = _nothing
        self._lock = threading.Lock()

    def check(self, algorithm: StateAlgorithm, rates: list[Rate], now: int, weight: int) -> Decision:
        """Apply the algorithm to the stamp of the page, in one transaction."""
        with self._transaction() as connection:
            stamp, present = self._read_locked(connection)
            state, decision = algorithm.step(rates, (stamp,), max(now, present), weight)
            if decision.allowed:
                self._write(connection, int(state[0]))
            return decision

    def read(self, algorithm: StateAlgorithm, rates: list[Rate]) -> State:  # noqa: ARG002
        """Return the stamp of the page."""
        with self._transaction() as connection:
            return (self._read_locked(connection)[0],)

    def reset(self) -> None:
        """Forget the stamp of the page."""
        with self._transaction() as connection:
            self._read_locked(connection)
            self._write(connection, 0)

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._connect()
                    self._disconnect = weakref.finalize(self, self._connection.close)
                with self._connection:  # commits, or rolls back
                    yield self._connection
            except BaseException:
                self._disconnect()  # it may be broken: the next call connects anew
                self._connection = None
                raise

    def _connect(self) -> Any:
        raise NotImplementedError

    def _read_locked(self, connection: Any) -> tuple[int, int]:
        """Lock the row and return its stamp, and the present in milliseconds."""
        raise NotImplementedError

    def _write(self, connection: Any, stamp: int) -> None:
        raise NotImplementedError


class _SqliteStore(_SqlStore):
    def __init__(self, path: Path, page: str, now: Callable[[], int]) -> None:
        super().__init__(page)
        self._path = path
        self.present = now

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path,
            timeout=settings.RATE_STORE_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.execute("PRAGMA synchronous = OFF")  # a stamp is of no use after a power failure
        connection.execute(
            "CREATE TABLE IF NOT EXISTS pancake_next_start (page TEXT PRIMARY KEY, stamp INTEGER)"
        )
        return connection

    def _read_locked(self, connection: sqlite3.Connection) -> tuple[int, int]:
        connection.execute("BEGIN IMMEDIATE")
        found = connection.execute("SELECT stamp FROM pancake_next_start WHERE page = ?", (self._page,))
        (stamp,) = found.fetchone() or (0,)
        return stamp, self.present()

    def _write(self, connection: sqlite3.Connection, stamp: int) -> None:
        connection.execute("REPLACE INTO pancake_next_start VALUES (?, ?)", (self._page, stamp))


class _PostgresStore(_SqlStore):
    def __init__(self, url: str, page: str, connect: Callable[..., Any]) -> None:
        super().__init__(page)
        self._url = url
        self._connect_to = connect

    def present(self) -> int:
        with self._transaction() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
            (present,) = cursor.fetchone()
        return int(present)

    def _connect(self) -> Any:
        timeout_s = settings.RATE_STORE_TIMEOUT_S
        connection = self._connect_to(self._url, connect_timeout=int(timeout_s))
        with connection, connection.cursor() as cursor:
            cursor.execute(f"SET statement_timeout = {timeout_s * 1000:.0f}")
            cursor.execute("SET synchronous_commit = off")  # a stamp is of no use after a power failure
            # Two processes that make the same table at once fail.
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('pancake_next_start'))")
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS pancake_next_start (page text PRIMARY KEY, stamp bigint NOT NULL)"
            )
            cursor.execute(
                "INSERT INTO pancake_next_start VALUES (%s, 0) ON CONFLICT DO NOTHING", (self._page,)
            )
        return connection

    def _read_locked(self, connection: Any) -> tuple[int, int]:
        with connection.cursor() as cursor:
            # The clock is read outside of the subquery, and so when the row is locked.
            cursor.execute(
                "WITH locked AS (SELECT stamp FROM pancake_next_start WHERE page = %s FOR UPDATE)"
                " SELECT stamp, (extract(epoch FROM clock_timestamp()) * 1000)::bigint FROM locked",
                (self._page,),
            )
            stamp, present = cursor.fetchone()
        return int(stamp), int(present)

    def _write(self, connection: Any, stamp: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE pancake_next_start SET stamp = %s WHERE page = %s", (stamp, self._page))
