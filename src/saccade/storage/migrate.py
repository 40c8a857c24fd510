"""Bring a database's schema to this version's, or say what is wrong with it. Imports Alembic."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData

from saccade.errors import SchemaMismatch
from saccade.storage.database import Database

FOLDER: Final = Path(__file__).parent / "migrations"


def upgrade(db: Database, metadata: MetaData) -> None:
    """Run the migrations that are missing, all in one transaction.

    Killed in the middle, nothing of it happened. Two processes that upgrade together do it one
    after the other, and the second finds nothing to do.

    Args:
        db: the database.
        metadata: every table this version uses, the applications' too.

    Raises:
        SchemaMismatch: the database is from a newer version; or its tables differ from `metadata`
            after the upgrade, and it was left as it was.
        DataFolderUnusable, DatabaseBusy, DiskFull: see `Database.write`.
    """
    script = _script()
    with db.migrating() as conn:
        _refuse_newer(script, conn, db)

        def steps(revision: Any, _: MigrationContext) -> Iterable[Any]:
            return script._upgrade_revs("head", revision)

        with EnvironmentContext(Config(), script, fn=steps) as environment:
            environment.configure(
                connection=conn, target_metadata=metadata, transaction_per_migration=False
            )
            environment.run_migrations()
        _refuse_difference(conn, metadata, db)


def check(db: Database, metadata: MetaData) -> None:
    """Return quietly when the database's schema is this version's.

    Raises:
        SchemaMismatch: it is older, newer or different; says in what.
        DataFolderUnusable, DatabaseBusy: see `Database.read`.
    """
    script = _script()
    with db.read() as conn:
        _refuse_newer(script, conn, db)
        found, head = revisions(conn), script.get_heads()
        if found != tuple(head):
            raise SchemaMismatch(
                f"{db.display_url} is at revision {', '.join(found) or 'none'}, "
                f"this version needs {', '.join(head)}",
                fix="run: saccade db upgrade",
            )
        _refuse_difference(conn, metadata, db)


def revisions(conn: Connection) -> tuple[str, ...]:
    """Return the revisions a database is at; none for an empty one."""
    return tuple(MigrationContext.configure(conn).get_current_heads())


def differences(conn: Connection, metadata: MetaData) -> list[str]:
    """Return what differs between a database and `metadata`, one line each."""
    context = MigrationContext.configure(
        conn, opts={"compare_type": True, "include_name": _is_ours(metadata)}
    )
    return [str(difference) for difference in compare_metadata(context, metadata)]


def _is_ours(metadata: MetaData) -> Any:
    # A PostgreSQL database may be shared with other tables, which are none of our business; but a
    # table of ours that this version lost must show.
    def include(name: str | None, kind: str, _: Any) -> bool:
        return kind != "table" or name in metadata.tables

    return include


def _script() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    return ScriptDirectory.from_config(config)


def _refuse_newer(script: ScriptDirectory, conn: Connection, db: Database) -> None:
    known = {revision.revision for revision in script.walk_revisions()}
    unknown = [revision for revision in revisions(conn) if revision not in known]
    if unknown:
        raise SchemaMismatch(
            f"{db.display_url} is at revision {', '.join(unknown)}, unknown to this version",
            fix="it was used by a newer saccade: install that version again, or restore a backup",
        )


def _refuse_difference(conn: Connection, metadata: MetaData, db: Database) -> None:
    found = differences(conn, metadata)
    if found:
        raise SchemaMismatch(
            f"{db.display_url} differs from this version's tables: {'; '.join(found)[:800]}",
            fix="a table that was added or changed needs a revision in migrations/versions; "
            "a database that was changed by hand needs that change undone",
        )
