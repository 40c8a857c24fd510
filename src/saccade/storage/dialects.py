"""What differs between SQLite and PostgreSQL, said once: no other file asks which it is."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import QueuePool

from saccade.errors import (
    DatabaseBusy,
    DataFolderUnusable,
    DiskFull,
    ExtraMissing,
    SaccadeError,
)

READ_CONNECTIONS: Final = 20  # a server's threads may all read at once
CONNECT_TIMEOUT_S: Final = 5
WAL_LIMIT_BYTES: Final = 64 * 1024 * 1024  # what a checkpoint leaves of a log that once grew larger


def _dump_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


@dataclass(frozen=True, slots=True)
class ChangeSignal:
    """A kept connection that tells whether anybody committed."""

    read: Callable[[], int]
    close: Callable[[], None]


class Dialect(Protocol):
    """One kind of database. Both pass the same tests."""

    #: The URL as errors, logs and pages may show it: no password, no query.
    display: str
    reader: Engine
    writer: Engine

    def migrator(self) -> Engine:
        """Return the engine whose transactions may change the schema, one process at a time."""
        ...

    def watch(self) -> ChangeSignal:
        """Return the change token's source, on a connection of its own."""
        ...

    def serialize(self, conn: Connection, name: str) -> None:
        """Let one transaction at a time pass here, until it ends."""
        ...

    def scrub(self) -> None:
        """Take deleted content out of side files, as far as the database can be told to."""
        ...

    def explain(self, error: DBAPIError | sqlite3.Error) -> SaccadeError | None:
        """Say what an error of the driver means to a caller; None when it is our own mistake."""
        ...


def conflict_insert(conn: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """Return an INSERT that has `on_conflict_do_nothing` and `on_conflict_do_update`.

    Both databases have the same grammar for it, SQLAlchemy no common word.
    """
    return sqlite.insert(table) if conn.dialect.name == "sqlite" else postgresql.insert(table)


class SqliteDialect:
    """One file in WAL mode. `url.database` is its path."""

    def __init__(self, url: URL, *, busy_s: float) -> None:
        self.path = Path(url.database or "").absolute()
        self.display = f"sqlite:///{self.path}"
        self._busy_s = busy_s
        self._creating = threading.Lock()
        self.reader = self._engine(
            lambda: self._connect("PRAGMA query_only=ON"), "BEGIN", size=READ_CONNECTIONS
        )
        # One connection for all of a process's writers: they queue fairly inside the process
        # instead of polling SQLite's lock against each other.
        self.writer = self._engine(self._connect, "BEGIN IMMEDIATE", size=1)

    def _engine(
        self, creator: Callable[[], sqlite3.Connection], begin: str, *, size: int
    ) -> Engine:
        engine = create_engine(
            "sqlite://",
            creator=creator,
            poolclass=QueuePool,
            pool_size=size,
            max_overflow=0,
            pool_timeout=self._busy_s,
            hide_parameters=True,  # they are names, messages and hashes of people's keys
            json_serializer=_dump_json,
            json_deserializer=msgspec.json.decode,
        )

        @event.listens_for(engine, "begin")
        def _begin(conn: Connection) -> None:
            conn.exec_driver_sql(begin)

        return engine

    def _connect(self, *pragmas: str) -> sqlite3.Connection:
        self._create_file()
        raw = sqlite3.connect(
            self.path, timeout=self._busy_s, isolation_level=None, check_same_thread=False
        )
        try:
            self._enter_wal(raw)
            for pragma in (
                "PRAGMA foreign_keys=ON",
                "PRAGMA synchronous=NORMAL",
                "PRAGMA secure_delete=ON",  # erased means overwritten, not only unlinked
                f"PRAGMA journal_size_limit={WAL_LIMIT_BYTES}",
                *pragmas,
            ):
                raw.execute(pragma)
        except BaseException:
            raw.close()
            raise
        return raw

    def _create_file(self) -> None:
        # The file holds camera passwords: nobody else's eyes. Only ever created here and then left
        # alone: closing a second descriptor of an open file would drop SQLite's locks on it.
        with self._creating:
            try:
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            except FileExistsError:
                pass
            except OSError as error:
                raise self._unusable(error.strerror or str(error)) from error

    def _enter_wal(self, raw: sqlite3.Connection) -> None:
        # Processes that open a fresh file together want the same exclusive lock, and SQLite may
        # say "locked" at once here, whatever the busy timeout is: 1 of 480, eight at a time.
        deadline = time.monotonic() + self._busy_s
        while True:
            try:
                (mode,) = raw.execute("PRAGMA journal_mode=WAL").fetchone()
                break
            except sqlite3.OperationalError as error:
                if not _is_sqlite_busy(error) or time.monotonic() > deadline:
                    raise
                threading.Event().wait(0.01)
        if mode != "wal":
            raise self._unusable(f"SQLite cannot keep a write-ahead log there (mode {mode})")

    def migrator(self) -> Engine:
        """Return an engine that does not enforce foreign keys."""
        # Recreating a table under foreign keys would cascade into its children; the pragma has no
        # effect inside a transaction, so it belongs to the connection.
        return self._engine(
            lambda: self._connect("PRAGMA foreign_keys=OFF"), "BEGIN IMMEDIATE", size=1
        )

    def watch(self) -> ChangeSignal:
        """Return `PRAGMA data_version` of a kept connection: 6 µs a look."""
        raw = self._connect("PRAGMA query_only=ON")

        def token() -> int:
            # Changes when another connection, of whatever process, commits.
            return int(raw.execute("PRAGMA data_version").fetchone()[0])

        return ChangeSignal(token, raw.close)

    def serialize(self, conn: Connection, name: str) -> None:
        """Nothing to do: whoever writes holds the only write lock."""

    def scrub(self) -> None:
        """Fold the log into the file and empty it, unless a reader still needs it."""
        with self.writer.connect() as conn:
            conn.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def explain(self, error: DBAPIError | sqlite3.Error) -> SaccadeError | None:
        """Say what an error of the driver means; see `Dialect`."""
        cause = error.orig if isinstance(error, DBAPIError) else error
        name: str = getattr(cause, "sqlite_errorname", "")
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return DatabaseBusy(
                f"{self.path} was locked for {self._busy_s:g} s",
                fix="another process writes for too long, or is stopped while it writes",
            )
        if name == "SQLITE_FULL":
            return DiskFull(
                f"no space left to write {self.path}", fix="free space on that disk, then try again"
            )
        if name.startswith(
            ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_NOTADB", "SQLITE_CORRUPT",
             "SQLITE_IOERR", "SQLITE_PERM", "SQLITE_AUTH")
        ):  # fmt: skip
            return self._unusable(str(cause))
        return None

    def _unusable(self, why: str) -> DataFolderUnusable:
        return DataFolderUnusable(
            f"the database {self.path} cannot be used: {why}",
            fix="name a folder on a local disk that this user may write, holding no other file of "
            "that name",
        )


def _is_sqlite_busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


class PostgresDialect:
    """A PostgreSQL database, by psycopg."""

    def __init__(self, url: URL, *, busy_s: float) -> None:
        self._url = url.set(drivername="postgresql+psycopg")
        # Built by hand: a query may carry a password too, and is not shown at all.
        port = f":{url.port}" if url.port else ""
        self.display = f"postgresql://{url.host or 'localhost'}{port}/{url.database or ''}"
        self._busy_s = busy_s
        engine = self._engine()
        # REPEATABLE READ gives a read one unmoving picture, as SQLite's snapshot does; a read-only
        # transaction in it never fails for a conflict.
        self.reader: Engine = engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        self.writer = engine

    def _engine(self) -> Engine:
        try:
            return create_engine(
                self._url,
                pool_size=5,
                max_overflow=READ_CONNECTIONS - 5,
                pool_timeout=self._busy_s,
                pool_pre_ping=True,  # a restarted server costs a reconnect, not an error
                hide_parameters=True,
                json_serializer=_dump_json,
                json_deserializer=msgspec.json.decode,
                connect_args={
                    "connect_timeout": CONNECT_TIMEOUT_S,
                    "application_name": "saccade",
                },
            )
        except ModuleNotFoundError as error:
            raise ExtraMissing(
                f"{self.display} needs the PostgreSQL driver, which is not installed",
                fix="pip install 'saccade[postgres]'",
            ) from error

    def migrator(self) -> Engine:
        """Return an engine whose transactions take one lock first."""
        engine = self._engine()

        @event.listens_for(engine, "begin")
        def _begin(conn: Connection) -> None:
            self.serialize(conn, "migrate")

        return engine

    def watch(self) -> ChangeSignal:
        """Return a digest of the current snapshot: one round trip a look."""
        conn = self.writer.connect().execution_options(isolation_level="AUTOCOMMIT")

        def token() -> int:
            # The snapshot's text changes exactly when what a next read may see does. The log
            # position would not do: it moves before a commit becomes visible, so a watcher could
            # read the old rows under the new token. Other databases of the cluster change it too.
            seen = conn.execute(text("SELECT pg_current_snapshot()::text")).scalar_one()
            digest = hashlib.blake2b(str(seen).encode(), digest_size=7).digest()
            return int.from_bytes(digest, "big")

        return ChangeSignal(token, conn.close)

    def serialize(self, conn: Connection, name: str) -> None:
        """Take an advisory lock that ends with the transaction, also when its process is killed."""
        key = int.from_bytes(
            hashlib.blake2b(f"saccade/{name}".encode(), digest_size=8).digest(), "big", signed=True
        )
        conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})

    def scrub(self) -> None:
        """Nothing to do: autovacuum reclaims dead rows; backups are their owner's."""

    def explain(self, error: DBAPIError | sqlite3.Error) -> SaccadeError | None:
        """Say what an error of the driver means; see `Dialect`."""
        cause = error.orig if isinstance(error, DBAPIError) else error
        state: str = getattr(cause, "sqlstate", None) or ""
        if state in {"40001", "40P01", "55P03", "57014", "53300"}:
            return DatabaseBusy(
                f"{self.display} could not serve this now (SQLSTATE {state})", fix="try again"
            )
        if state in {"53100", "53200"}:
            return DiskFull(
                f"{self.display} has no space left (SQLSTATE {state})",
                fix="free space on the database server, then try again",
            )
        lost = isinstance(error, OperationalError) and not state
        if lost or state[:2] in {"08", "28", "57"} or state in {"3D000", "42501"}:
            return DataFolderUnusable(
                f"the database {self.display} cannot be used: {self._first_line(cause)}",
                fix="check that the server runs and that host, database and user are right",
            )
        return None

    def _first_line(self, orig: Any) -> str:
        line = str(orig).strip().splitlines()[0] if str(orig).strip() else type(orig).__name__
        password = str(self._url.password or "")
        return line.replace(password, "***") if password else line
