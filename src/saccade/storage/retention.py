"""The purge: deletes what is older than the policy keeps it, in short transactions."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import MetaData, Select, Table, and_, delete, not_, select, tuple_

from saccade.storage.database import Database
from saccade.storage.registry import Retention, RetentionClass, retention_of

DAY_S: Final = 86_400.0
#: Rows per transaction: a purge of a million rows must let the router commit in between.
CHUNK_ROWS: Final = 500
#: Between two of them. SQLite's waiting writers look for the lock at 1, 3, 8, 18 ms and ever more
#: rarely: without a gap they found it only when the purge was over (184 ms for 40,000 rows).
PAUSE_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """How many days each class is kept; None is for ever.

    Args:
        days: by class; a class that is missing is kept for ever.
        overrides: by table name or object prefix, before the class.
    """

    days: Mapping[RetentionClass, float | None] = field(
        default_factory=lambda: {
            RetentionClass.EVENT: 30.0,
            RetentionClass.OUTBOX: 7.0,
            RetentionClass.SESSION: 0.0,
            RetentionClass.OBJECT: 30.0,
        }
    )
    overrides: Mapping[str, float | None] = field(default_factory=dict)

    def cutoff_wall(self, name: str, kind: RetentionClass, now_wall: float) -> float | None:
        """Return the wall time before which `name` is purged; None when it is kept for ever."""
        days = self.overrides[name] if name in self.overrides else self.days.get(kind)
        return None if days is None else now_wall - days * DAY_S


def purge(
    db: Database,
    metadata: MetaData,
    policy: RetentionPolicy,
    *,
    now_wall: float,
    limit: int = 10_000,
    stop: threading.Event | None = None,
) -> dict[str, int]:
    """Delete rows that are older than the policy keeps them, oldest first, in short transactions.

    Children go before the tables they point to. Objects have files: `ObjectIndex.purge`.

    Args:
        db: the database.
        metadata: the tables, with what they declare.
        policy: days by class, or by table.
        now_wall: wall seconds. A clock that is wrong by years ages everything by years: call this
            only on a host whose clock is set.
        limit: most rows per table in this call; a table that reached it has more to give.
        stop: ends the call between two transactions when it is set.

    Returns:
        Rows deleted, by table, for tables that lost any.

    Raises:
        DatabaseBusy: another writer held the database; what was deleted before stays deleted.
    """
    stop = threading.Event() if stop is None else stop
    deleted: dict[str, int] = {}
    for table in reversed(metadata.sorted_tables):
        retention = retention_of(table)
        if retention is None or retention.age is None:
            continue
        cutoff_wall = policy.cutoff_wall(table.name, retention.kind, now_wall)
        if cutoff_wall is None:
            continue
        old = _old_rows(table, retention, cutoff_wall)
        rows = _purge_rows(db, old, table, limit, stop)
        if rows:
            deleted[table.name] = rows
    return deleted


def _purge_rows(
    db: Database, old: Select[Any], table: Table, limit: int, stop: threading.Event
) -> int:
    done = 0
    while done < limit and not stop.is_set():
        chunk = min(CHUNK_ROWS, limit - done)
        with db.write() as conn:
            key = tuple_(*table.primary_key)
            rows = conn.execute(delete(table).where(key.in_(old.limit(chunk)))).rowcount
        done += rows
        if rows < chunk:
            break
        stop.wait(PAUSE_S)
    return done


def _old_rows(table: Table, retention: Retention, cutoff_wall: float) -> Select[Any]:
    age = table.c[retention.age or ""]
    wanted = age < cutoff_wall
    if retention.keep is not None:
        wanted = and_(wanted, not_(retention.keep()))
    return select(*table.primary_key).where(wanted).order_by(age)
