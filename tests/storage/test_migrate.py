"""Migrations: what they end in, and what a kill or a second process in the middle does."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import MetaData, inspect, text

from saccade.errors import SchemaMismatch
from saccade.storage import Database, metadata
from saccade.storage.migrate import check, differences, revisions, upgrade

Python = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def empty(empty_url: str) -> Database:
    return Database(empty_url)


def tables(db: Database) -> set[str]:
    with db.read() as conn:
        return set(inspect(conn).get_table_names())


def test_a_fresh_upgrade_makes_exactly_the_tables_of_the_metadata(empty: Database) -> None:
    upgrade(empty, metadata)
    check(empty, metadata)
    with empty.read() as conn:
        assert differences(conn, metadata) == []
    assert tables(empty) == {*metadata.tables, "alembic_version"}
    empty.close()


def described(db: Database) -> dict[str, object]:
    """Every column, key and index of our tables, as the database itself tells them."""

    def indexes(look: sa.Inspector, table: str) -> Sequence[object]:
        return sorted(
            (i["name"], i["unique"], i["column_names"],
             {option: str(value) for option, value in i.get("dialect_options", {}).items()})
            for i in look.get_indexes(table)
        )  # fmt: skip

    with db.read() as conn:
        look = inspect(conn)
        return {
            name: (
                [
                    {option: str(value) for option, value in column.items()}
                    for column in look.get_columns(name)
                ],
                look.get_pk_constraint(name),
                look.get_foreign_keys(name),
                look.get_unique_constraints(name),
                indexes(look, name),
            )
            for name in metadata.tables
        }


def test_the_schema_made_by_migrations_is_the_one_made_from_the_metadata(empty: Database) -> None:
    """The comparison of Alembic does not see everything: names of keys, conditions of indexes."""
    upgrade(empty, metadata)
    migrated = described(empty)
    with empty.write() as conn:
        metadata.drop_all(conn)
        metadata.create_all(conn)
    assert migrated == described(empty)
    empty.close()


def test_ids_are_never_given_twice_in_a_migrated_sqlite(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path}/x.db")
    upgrade(db, metadata)
    with db.read() as conn:
        rows = conn.execute(text("SELECT name, sql FROM sqlite_master"))
        made = {row.name: row.sql for row in rows}
    numbered = [table.name for table in metadata.sorted_tables if "id" in table.c]
    assert [name for name in numbered if "AUTOINCREMENT" not in made[name]] == ["cameras"]
    db.close()


def test_upgrading_twice_changes_nothing(empty: Database) -> None:
    upgrade(empty, metadata)
    with empty.write() as conn:
        conn.execute(text("INSERT INTO cameras VALUES ('cam', '{}', 0, 0)"))
    upgrade(empty, metadata)
    with empty.read() as conn:
        assert conn.execute(text("SELECT id FROM cameras")).scalar_one() == "cam"
    empty.close()


def test_check_says_which_revision_an_empty_database_lacks(empty: Database) -> None:
    with pytest.raises(SchemaMismatch, match=r"revision none.*saccade db upgrade"):
        check(empty, metadata)
    empty.close()


def test_a_database_of_a_newer_version_is_left_alone(empty: Database) -> None:
    upgrade(empty, metadata)
    with empty.write() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = 'ffff'"))
    for use in (upgrade, check):
        with pytest.raises(SchemaMismatch, match="ffff, unknown to this version"):
            use(empty, metadata)
    empty.close()


def test_a_database_changed_by_hand_is_told_by_what(empty: Database) -> None:
    upgrade(empty, metadata)
    with empty.write() as conn:
        conn.execute(text("ALTER TABLE cameras ADD COLUMN hand INTEGER"))
    with pytest.raises(SchemaMismatch, match="hand"):
        check(empty, metadata)
    empty.close()


def test_a_table_without_a_revision_stops_the_upgrade_and_leaves_the_database_as_it_was(
    empty: Database,
) -> None:
    grown = MetaData(naming_convention=metadata.naming_convention)
    for table in metadata.sorted_tables:
        table.to_metadata(grown)
    sa.Table("attendance", grown, sa.Column("id", sa.Integer, primary_key=True))
    with pytest.raises(SchemaMismatch, match=r"attendance.*needs a revision"):
        upgrade(empty, grown)
    assert tables(empty) == set()
    empty.close()


def test_tables_of_others_in_the_same_database_are_none_of_our_business(empty: Database) -> None:
    with empty.write() as conn:
        conn.execute(text("CREATE TABLE theirs (id INTEGER)"))
    upgrade(empty, metadata)
    check(empty, metadata)
    assert "theirs" in tables(empty)
    empty.close()


KILLED = """
import os, signal, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from saccade.storage import Database, metadata
from saccade.storage.migrate import upgrade
left = int(sys.argv[2])
@event.listens_for(Engine, "after_cursor_execute")
def die(conn, cursor, statement, parameters, context, executemany):
    global left
    if statement.lstrip().startswith(("CREATE", "INSERT INTO alembic_version")):
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
upgrade(Database(sys.argv[1]), metadata)
"""


@pytest.mark.faults
@pytest.mark.parametrize("statement", [1, 2, 14])
def test_an_upgrade_killed_in_the_middle_happened_not_at_all_and_can_be_repeated(
    empty: Database, empty_url: str, python: Python, statement: int
) -> None:
    victim = python(KILLED, empty_url, str(statement))
    victim.communicate(timeout=60)
    assert victim.returncode == -signal.SIGKILL
    assert tables(empty) == set()
    upgrade(empty, metadata)
    check(empty, metadata)
    empty.close()


UPGRADE = """
import sys
from saccade.storage import Database, metadata
from saccade.storage.migrate import check, upgrade
db = Database(sys.argv[1])
sys.stdin.readline()
upgrade(db, metadata)
check(db, metadata)
db.close()
"""


def test_processes_that_upgrade_together_all_succeed(
    empty: Database, empty_url: str, python: Python
) -> None:
    upgraders = [python(UPGRADE, empty_url) for _ in range(3)]
    for upgrader in upgraders:
        assert upgrader.stdin is not None
        upgrader.stdin.write("\n")
        upgrader.stdin.flush()
    assert [upgrader.communicate(timeout=90)[1] for upgrader in upgraders] == [""] * 3
    with empty.read() as conn:
        assert revisions(conn) == ("0001",)
    empty.close()


def test_rebuilding_a_table_while_migrating_keeps_the_rows_that_point_to_it(
    empty: Database,
) -> None:
    upgrade(empty, metadata)
    with empty.write() as conn:
        conn.execute(text("INSERT INTO api_keys VALUES (1, 'a', 'sk_a', 'x', '[]', 0, NULL)"))
        conn.execute(text("INSERT INTO sessions VALUES ('t', 1, 0, 9)"))
    with empty.migrating() as conn:
        operations = Operations(MigrationContext.configure(conn))
        with operations.batch_alter_table("api_keys", recreate="auto") as batch:
            batch.alter_column("name", nullable=True)
    with empty.read() as conn:
        assert conn.execute(text("SELECT key_id FROM sessions")).scalars().all() == [1]
    empty.close()
