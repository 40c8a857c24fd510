"""The database's door: transactions, isolation, the change token, and errors that teach."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from tests.storage.crowd import CROWD

from saccade.errors import (
    DatabaseBusy,
    DataFolderUnusable,
    DiskFull,
    ExtraMissing,
    SaccadeError,
    SettingsInvalid,
)
from saccade.storage import Database
from saccade.storage.tables import cameras, outbox

Python = Callable[..., subprocess.Popen[str]]


def put(db: Database, name: str) -> None:
    with db.write() as conn:
        conn.execute(insert(cameras).values(id=name, spec={}, created_wall=0.0, updated_wall=0.0))


def names(db: Database) -> list[str]:
    with db.read() as conn:
        return sorted(conn.execute(select(cameras.c.id)).scalars())


def put_and_fail(db: Database, name: str) -> None:
    with db.write() as conn:
        conn.execute(insert(cameras).values(id=name, spec={}, created_wall=0, updated_wall=0))
        raise RuntimeError


def test_a_write_is_there_after_its_block_and_gone_after_an_exception(db: Database) -> None:
    put(db, "kept")
    with pytest.raises(RuntimeError):
        put_and_fail(db, "lost")
    assert names(db) == ["kept"]


def test_a_read_cannot_write(db: Database) -> None:
    with pytest.raises((DBAPIError, SaccadeError)), db.read() as conn:
        conn.execute(insert(cameras).values(id="x", spec={}, created_wall=0, updated_wall=0))
    assert names(db) == []


def test_a_read_sees_one_unmoving_picture_while_others_commit(db: Database) -> None:
    put(db, "first")
    with db.read() as conn:
        before = conn.execute(select(func.count()).select_from(cameras)).scalar()
        put(db, "second")
        after = conn.execute(select(func.count()).select_from(cameras)).scalar()
    assert (before, after) == (1, 1)
    assert names(db) == ["first", "second"]


def test_a_read_does_not_wait_for_a_write_that_takes_long(db: Database, url: str) -> None:
    put(db, "committed")
    other = Database(url, busy_seconds=0.05)
    with db.write() as conn:
        conn.execute(insert(cameras).values(id="open", spec={}, created_wall=0, updated_wall=0))
        assert names(other) == ["committed"]
        assert names(db) == ["committed"]
    assert names(other) == ["committed", "open"]
    other.close()


def test_a_second_writer_of_sqlite_is_told_who_is_busy_after_its_patience(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path}/x.db")
    other = Database(f"sqlite:///{tmp_path}/x.db", busy_seconds=0.05)
    with db.write():
        with pytest.raises(DatabaseBusy, match=r"locked for 0\.05 s"), other.write():
            pass
        with (
            pytest.raises(DatabaseBusy),
            Database(f"sqlite:///{tmp_path}/x.db", busy_seconds=0.0).write(),
        ):
            pass
    with other.write():
        pass
    db.close()
    other.close()


def test_eight_threads_of_one_process_write_without_a_locked_database(db: Database) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(10):
                put(db, f"{number}-{turn}")
        except BaseException as error:  # noqa: BLE001 (handed to the test)
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(names(db)) == 80


WRITERS = """
from sqlalchemy import insert
from saccade.storage import Database
from saccade.storage.tables import cameras

def work(me):
    db = Database(sys.argv[1])
    for turn in range(40):
        row = dict(id=f"{me}-{turn}", spec={}, created_wall=0.0, updated_wall=0.0)
        with db.write() as conn:
            conn.execute(insert(cameras).values(row))
    db.close()

crowd(8, work)
"""


def test_eight_processes_write_without_a_locked_database(
    db: Database, url: str, python: Python
) -> None:
    assert python(CROWD + WRITERS, url).communicate("go\n", timeout=60)[1] == ""
    assert len(names(db)) == 320


OPENERS = """
from sqlalchemy import text
from saccade.storage import Database

def work(me):
    for number in range(20):
        db = Database(f"sqlite:///{sys.argv[1]}/{number}.db")
        db.change_token()
        with db.write() as conn:
            conn.execute(text("CREATE TABLE IF NOT EXISTS t (x INTEGER)"))
            conn.execute(text("INSERT INTO t VALUES (1)"))
        with db.read() as conn:
            conn.execute(text("SELECT * FROM t"))
        db.close()

crowd(8, work)
"""


def test_processes_that_open_a_fresh_sqlite_file_together_all_get_in(
    tmp_path: Path, python: Python
) -> None:
    assert python(CROWD + OPENERS, str(tmp_path)).communicate("go\n", timeout=60)[1] == ""
    for path in tmp_path.glob("*.db"):
        db = Database(f"sqlite:///{path}")
        with db.read() as conn:
            assert conn.execute(text("SELECT count(*) FROM t")).scalar() == 8
        db.close()


def test_the_change_token_moves_with_every_commit_of_anybody_and_not_with_reads(
    db: Database, url: str
) -> None:
    other = Database(url)
    token = db.change_token()
    names(other)
    names(db)
    assert db.change_token() == token
    put(other, "theirs")
    after_theirs = db.change_token()
    assert after_theirs != token
    put(db, "ours")
    after_ours = db.change_token()
    assert after_ours not in {token, after_theirs}
    assert db.change_token() == after_ours
    other.close()


def test_the_change_token_of_sqlite_does_not_move_for_what_was_rolled_back(
    sqlite_db: Database,
) -> None:
    """PostgreSQL's does: a snapshot tells which transactions ended, not how."""
    token = sqlite_db.change_token()
    with pytest.raises(RuntimeError):
        put_and_fail(sqlite_db, "lost")
    assert sqlite_db.change_token() == token


def test_a_closed_database_connects_again(db: Database) -> None:
    put(db, "a")
    db.change_token()
    db.close()
    assert names(db) == ["a"]
    db.change_token()


@pytest.mark.services
def test_a_postgres_that_ended_our_connections_costs_a_reconnect_only(
    request: pytest.FixtureRequest,
) -> None:
    server = request.getfixturevalue("postgres_with_tables")
    with server.database(template="saccade_template") as url:
        db = Database(url)
        put(db, "a")
        db.change_token()
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'saccade'"
        )
        db.change_token()
        assert names(db) == ["a"]
        db.close()


def test_a_sqlite_file_is_for_its_owner_only_and_in_wal_mode(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path}/x.db")
    with db.write() as conn:
        assert conn.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert conn.execute(text("PRAGMA foreign_keys")).scalar() == 1
        assert conn.execute(text("PRAGMA synchronous")).scalar() == 1
        conn.execute(text("CREATE TABLE t (x INTEGER)"))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("x.db", "x.db-wal", "x.db-shm"), 0o600)
    db.close()


def test_foreign_keys_are_enforced(db: Database) -> None:
    with pytest.raises(IntegrityError), db.write() as conn:
        conn.execute(
            insert(outbox).values(
                event_id=99, sink="s", payload="{}", state="pending", attempts=0,
                next_at_wall=0.0, created_wall=0.0,
            )
        )  # fmt: skip


class TestUnusable:
    """What is said when the database cannot be used."""

    def test_a_missing_folder_is_named(self, tmp_path: Path) -> None:
        db = Database(f"sqlite:///{tmp_path}/no/such/x.db")
        with pytest.raises(DataFolderUnusable, match=r"no/such/x\.db"), db.write():
            pass
        with pytest.raises(DataFolderUnusable, match=r"no/such/x\.db"):
            db.change_token()

    def test_a_folder_in_the_files_place_is_named(self, tmp_path: Path) -> None:
        db = Database(f"sqlite:///{tmp_path}")
        with pytest.raises(DataFolderUnusable, match=str(tmp_path)), db.read():
            pass

    def test_a_file_that_is_no_database_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "x.db").write_text("this was never a database, " * 100)
        db = Database(f"sqlite:///{tmp_path}/x.db")
        with pytest.raises(DataFolderUnusable, match=r"x\.db.*not a database"), db.read():
            pass

    def test_a_file_system_that_takes_no_files_is_named(self) -> None:
        db = Database("sqlite:////proc/saccade.db")
        with pytest.raises(DataFolderUnusable, match=r"/proc/saccade\.db"), db.write():
            pass

    def test_a_read_only_file_is_named(self) -> None:
        # Root may write anything, so the process that tries is somebody else.
        script = (
            "import os, sys\n"
            "from saccade.storage import Database\n"
            "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
            "try:\n"
            "    with Database('sqlite:///' + sys.argv[1]).write(): pass\n"
            "except Exception as error: sys.exit(f'{type(error).__name__}: {error}')\n"
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x.db"
            db = Database(f"sqlite:///{path}")
            with db.write() as conn:
                conn.execute(text("CREATE TABLE t (x INTEGER)"))
            db.close()
            path.chmod(0o444)
            Path(folder).chmod(0o555)
            done = subprocess.run(
                [sys.executable, "-c", script, str(path)],
                check=False,
                capture_output=True,
                text=True,
            )
            Path(folder).chmod(0o755)
        assert done.stderr.startswith("DataFolderUnusable:"), done.stderr
        assert str(path) in done.stderr

    def test_a_full_disk_is_one_clear_error_and_nothing_is_written(self, tmp_path: Path) -> None:
        db = Database(f"sqlite:///{tmp_path}/x.db")
        with db.write() as conn:
            conn.execute(text("CREATE TABLE t (x TEXT)"))
            pages = conn.execute(text("PRAGMA page_count")).scalar_one()
            conn.execute(text(f"PRAGMA max_page_count={pages + 2}"))
        rows = [{"x": "x" * 2000}] * 100
        with pytest.raises(DiskFull, match=r"x\.db"), db.write() as conn:
            conn.execute(text("INSERT INTO t VALUES (:x)"), rows)
        with db.read() as conn:
            assert conn.execute(text("SELECT count(*) FROM t")).scalar() == 0
        db.close()

    @pytest.mark.services
    def test_a_postgres_that_does_not_answer_is_named_without_its_password(self) -> None:
        pytest.importorskip("psycopg")
        db = Database("postgresql://ann:hunter2-secret@127.0.0.1:1/house?password=hunter3-secret")
        with pytest.raises(DataFolderUnusable) as caught, db.read():
            pass
        assert "127.0.0.1:1/house" in str(caught.value)
        assert caught.value.__suppress_context__
        for shown in (str(caught.value), repr(db), db.display_url):
            assert "hunter" not in shown

    @pytest.mark.services
    def test_a_database_that_postgres_has_not_is_named(
        self, request: pytest.FixtureRequest
    ) -> None:
        server = request.getfixturevalue("postgres")
        with (
            pytest.raises(DataFolderUnusable, match="nowhere"),
            Database(server.url("nowhere")).read(),
        ):
            pass


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hunter2",
        "sqlite://",
        "sqlite:///:memory:",
        "mysql://ann:hunter2@host/db",
        "postgresql://ann:hunter2:hunter2@host:port/db",
        "://hunter2",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_showing_its_password(url: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        Database(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.services
@pytest.mark.parametrize(
    "password", ["hunter2", "hunter2/x", "12/hunter2", "a:hunter2", "%2Fhunter2"]
)
def test_no_part_of_a_password_is_displayed(password: str) -> None:
    pytest.importorskip("psycopg")
    db = Database(f"postgresql://ann:{password}@host:5432/house?sslpassword=hunter2")
    assert db.display_url == "postgresql://host:5432/house"
    assert "hunter2" not in repr(db)


def test_errors_of_a_statement_do_not_show_its_values(db: Database) -> None:
    put(db, "x")
    with pytest.raises(IntegrityError) as caught, db.write() as conn:
        conn.execute(
            insert(cameras).values(
                id="x", spec={"url": "rtsp://ann:hunter2@cam"}, created_wall=0, updated_wall=0
            )
        )
    assert "hunter2" not in str(caught.value)


def test_importing_storage_brings_no_door_and_no_heavy_part(python: Python) -> None:
    script = (
        "import sys, saccade.storage\n"
        "heavy = {'fastapi', 'starlette', 'nicegui', 'cv2', 'numpy', 'alembic', 'psycopg',\n"
        "         'pydantic', 'onnxruntime', 'av'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    assert python(script).communicate(timeout=60) == ("[]\n", "")


def test_without_the_driver_the_answer_is_the_install_command(python: Python) -> None:
    script = (
        "import sys\n"
        "sys.modules['psycopg'] = None\n"
        "from saccade.storage import Database\n"
        "from saccade.errors import ExtraMissing\n"
        "try: Database('postgresql://ann:hunter2@host/db')\n"
        "except ExtraMissing as error: print(error)\n"
    )
    out, err = python(script).communicate(timeout=60)
    assert "saccade[postgres]" in out
    assert "hunter2" not in out + err
    assert ExtraMissing.code == "extra_missing"


def test_sqlite_is_new_enough_for_returning() -> None:
    assert sqlite3.sqlite_version_info >= (3, 35)
