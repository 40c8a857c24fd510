"""One database per test, on SQLite and on a real PostgreSQL: the same tests hold for both."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.services.postgres import PostgresServer, postgres_server

from saccade.storage import Database, metadata

BOTH = ["sqlite", pytest.param("postgres", marks=pytest.mark.services)]
TEMPLATE = "saccade_template"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The one server of the test run."""
    yield from postgres_server()


@pytest.fixture(scope="session")
def postgres_with_tables(postgres: PostgresServer) -> PostgresServer:
    """The server, with a template database that has the core's tables."""
    postgres.execute(f'CREATE DATABASE "{TEMPLATE}"')
    db = Database(postgres.url(TEMPLATE))
    with db.write() as conn:
        metadata.create_all(conn)
    db.close()
    return postgres


@pytest.fixture(params=BOTH)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    with server.database() as url:
        yield url


@contextmanager
def sqlite_url(folder: Path) -> Iterator[str]:
    """Make a SQLite database with the core's tables."""
    url = f"sqlite:///{folder / 'saccade.db'}"
    db = Database(url)
    with db.write() as conn:
        metadata.create_all(conn)
    db.close()
    yield url


@pytest.fixture(params=BOTH)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database with the core's tables and no rows."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            yield stack.enter_context(sqlite_url(tmp_path))
        else:
            server: PostgresServer = request.getfixturevalue("postgres_with_tables")
            yield stack.enter_context(server.database(template=TEMPLATE))


@pytest.fixture
def sqlite_db(tmp_path: Path) -> Iterator[Database]:
    """For what is SQLite's own: a database with the core's tables and no rows."""
    with sqlite_url(tmp_path) as url:
        db = Database(url)
        yield db
        db.close()


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    """A database with the core's tables and no rows."""
    db = Database(url)
    yield db
    db.close()


@pytest.fixture
def python() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a Python script in a process of its own; whatever still runs is killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(script: str, *args: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", script, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
