"""The one door to the database: a URL in, read and write transactions out."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from sqlalchemy import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from saccade.errors import DatabaseBusy, SettingsInvalid
from saccade.storage.dialects import ChangeSignal, Dialect, PostgresDialect, SqliteDialect

#: How long a writer waits for another one. Batches commit within milliseconds, purges in chunks, so
#: whoever waits this long waits for a process that is stopped.
BUSY_SECONDS: Final = 15.0


class Database:
    """A SQLite file or a PostgreSQL database; safe to use from many threads, not across a fork.

    Args:
        url: `sqlite:////absolute/path.db` or `postgresql://user:password@host:port/database`.
        busy_seconds: longest wait for another writer, or for a connection of the pool, in seconds;
            more hides a stopped writer for longer, less fails in a burst.

    Raises:
        SettingsInvalid: the URL is none of the two.
        ExtraMissing: it is PostgreSQL and the driver is not installed.
    """

    def __init__(self, url: str, *, busy_seconds: float = BUSY_SECONDS) -> None:
        parsed = _parse(url)
        self._dialect: Dialect = (
            SqliteDialect(parsed, busy_s=busy_seconds)
            if parsed.get_backend_name() == "sqlite"
            else PostgresDialect(parsed, busy_s=busy_seconds)
        )
        self._signal: ChangeSignal | None = None
        self._signal_lock = threading.Lock()

    @property
    def display_url(self) -> str:
        """Where the data is, without user, password or query: fit for logs, errors and pages."""
        return self._dialect.display

    def __repr__(self) -> str:
        return f"Database({self.display_url})"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a read-only transaction: one unmoving picture that never waits for a writer.

        Raises:
            DataFolderUnusable: the database cannot be reached or read.
            DatabaseBusy: every connection of the pool is in use.
        """
        with self._transaction(self._dialect.reader) as conn:
            yield conn

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that commits at the end of the block, or not at all.

        Keep it short and free of other waiting: on SQLite it is the only one that may write. Do not
        open one inside another.

        Raises:
            DataFolderUnusable: the database cannot be reached or written.
            DatabaseBusy: another writer held it for longer than `busy_seconds`.
            DiskFull: there is no space left; nothing was written.
        """
        with self._transaction(self._dialect.writer) as conn:
            yield conn

    @contextmanager
    def migrating(self) -> Iterator[Connection]:
        """Open a transaction in which the schema may change; a second process waits for its end.

        Foreign keys are not enforced on SQLite meanwhile, so that a table can be rebuilt.

        Raises:
            DataFolderUnusable, DatabaseBusy, DiskFull: as `write()`.
        """
        engine = self._dialect.migrator()
        try:
            with self._transaction(engine) as conn:
                yield conn
        finally:
            engine.dispose()

    def change_token(self) -> int:
        """Return a number that differs from the last one if any process committed in between.

        It may also differ when nothing changed. Compare for equality, and only numbers of one
        `Database` object. Take it before reading: what is committed later shows in the next one.

        Raises:
            DataFolderUnusable: the database cannot be reached or read.
        """
        with self._signal_lock, self._explained():
            if self._signal is None:
                self._signal = self._dialect.watch()
                return self._signal.read()
            try:
                return self._signal.read()
            except (DBAPIError, sqlite3.Error):  # the kept connection ended: once more, afresh
                self._forget_signal()
                self._signal = self._dialect.watch()
                return self._signal.read()

    def _forget_signal(self) -> None:
        if self._signal is not None:
            signal, self._signal = self._signal, None
            with suppress(DBAPIError, sqlite3.Error):
                signal.close()

    def serialize(self, conn: Connection, name: str) -> None:
        """Let one transaction at a time pass here, until it commits or rolls back.

        Args:
            conn: a connection of `write()`.
            name: what is being serialized; different names do not wait for each other.
        """
        self._dialect.serialize(conn, name)

    def scrub(self) -> None:
        """Take deleted content out of the database's side files, where there are any.

        A reader that is still open may hold some of it back until the next call.
        """
        with self._explained():
            self._dialect.scrub()

    def close(self) -> None:
        """Close all connections. The object can be used again: it reconnects."""
        with self._signal_lock:
            self._forget_signal()
        self._dialect.reader.dispose()
        self._dialect.writer.dispose()

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Connection]:
        with self._explained(), engine.begin() as conn:
            yield conn

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:
            meaning = self._dialect.explain(error)
            if meaning is None:
                raise
            # The driver's text may quote the URL or a row: only our own words go on.
            raise meaning from None
        except PoolTimeout:
            raise DatabaseBusy(
                f"no connection to {self.display_url} became free",
                fix="fewer requests at once, or look for a transaction that does not end",
            ) from None


def _parse(url: str) -> URL:
    """Split a database URL; an error names its scheme only, the rest may be a password."""
    scheme = url.split(":", 1)[0] if ":" in url else ""
    try:
        parsed = make_url(url.replace("postgres://", "postgresql://", 1))
    except (ArgumentError, ValueError):
        raise SettingsInvalid(
            f"the database URL ({scheme or 'no scheme'}://...) cannot be read",
            fix="write sqlite:////path/to/file.db or postgresql://user:password@host:5432/name, "
            "with special characters of the password percent-encoded",
        ) from None
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database in {None, "", ":memory:"}:
        raise SettingsInvalid(
            "the database URL names no file", fix="write sqlite:////path/to/file.db"
        )
    if backend not in {"sqlite", "postgresql"}:
        raise SettingsInvalid(
            f"{backend} is not a database saccade knows", fix="use sqlite or postgresql"
        )
    return parsed
