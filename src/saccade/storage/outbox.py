"""The durable outbox: what is owed to whom, claimed under a lease, delivered at least once."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import Connection, func, insert, or_, select, update

from saccade.storage.database import Database
from saccade.storage.tables import OutboxState, is_owed
from saccade.storage.tables import outbox as table

MAX_LEASE_S: Final = 3_600.0
MAX_RETRY_S: Final = 86_400.0
MAX_ERROR_CHARS: Final = 500
#: A new row is due whatever the clock says, before and after a jump.
_AT_ONCE: Final = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDelivery:
    """What is to be owed."""

    sink: str  # to whom
    payload: str  # JSON text
    created_wall: float  # wall seconds its age counts from
    event_id: int | None = None  # the event it tells of
    subject: str | None = None  # whom it is about, for erasure


@dataclass(frozen=True, slots=True)
class Delivery:
    """One claimed row: whoever holds it may try, until its lease ends."""

    id: int
    event_id: int | None
    sink: str
    payload: str  # JSON, the same bytes at every attempt
    attempts: int  # this one included
    created_wall: float
    lease_until_wall: float
    lease_token: str


def backoff_s(attempts: int, *, base_s: float, cap_s: float, jitter: float) -> float:
    """Return how long to wait after the failed attempt number `attempts`.

    Doubles from `base_s` up to `cap_s`; half of it is fixed and half is spread, so that receivers
    that come back do not get everybody at once and nobody retries at once.

    Args:
        attempts: attempts so far, from 1.
        base_s: the wait after the first, in seconds.
        cap_s: the longest wait, in seconds.
        jitter: from the caller's random source, 0 to 1.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 (its "equal
    jitter").
    """
    # 2**60 s is past every cap; a bigger exponent would only overflow.
    whole_s = min(cap_s, base_s * 2.0 ** min(max(attempts, 1) - 1, 60))
    return whole_s / 2 + whole_s / 2 * jitter


def enqueue(conn: Connection, deliveries: Sequence[NewDelivery]) -> None:
    """Owe deliveries, in the caller's transaction.

    Args:
        conn: a connection of `Database.write()`.
        deliveries: in the order in which they shall be tried.
    """
    if deliveries:
        fresh = {"state": OutboxState.PENDING, "attempts": 0, "next_at_wall": _AT_ONCE}
        conn.execute(insert(table), [{**asdict(delivery), **fresh} for delivery in deliveries])


class Outbox:
    """The worker's view of what is owed.

    At least once: a worker that dies between the receiver's yes and `delivered` makes the next one
    deliver again, with the same payload. Every change after `claim` is fenced by the lease token:
    a worker that was thought dead changes nothing any more, and is told so by False.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    def claim(
        self, *, now_wall: float, limit: int, lease_s: float, sink: str | None = None
    ) -> list[Delivery]:
        """Lease due rows, longest due first; new ones before retries.

        A row is also due when its time lies further ahead than any lease or retry may: then the
        clock was set back since.

        Args:
            now_wall: wall seconds.
            limit: most rows.
            lease_s: how long the caller may take for all of them, at most one hour. Longer delays
                the next try after a crash; shorter makes a slow worker deliver twice.
            sink: only what is owed to this one.

        Raises:
            DatabaseBusy: another writer held the database for too long.
        """
        if not 0 < lease_s <= MAX_LEASE_S:
            raise ValueError(f"a lease is up to {MAX_LEASE_S:g} s, not {lease_s:g}")
        due = or_(
            table.c.next_at_wall <= now_wall,
            table.c.next_at_wall > now_wall + MAX_RETRY_S,
            (table.c.state == OutboxState.LEASED) & (table.c.next_at_wall > now_wall + MAX_LEASE_S),
        )
        query = select(table.c.id).where(is_owed(), due)
        if sink is not None:
            query = query.where(table.c.sink == sink)
        query = query.order_by(table.c.next_at_wall, table.c.id).limit(limit)
        with self._db.write() as conn:
            # On SQLite the write transaction is the lock and SQLAlchemy leaves the words out.
            ids = conn.execute(query.with_for_update(skip_locked=True)).scalars().all()
            if not ids:
                return []
            claimed = conn.execute(
                update(table)
                .where(table.c.id.in_(ids))
                .values(
                    state=OutboxState.LEASED,
                    attempts=table.c.attempts + 1,
                    next_at_wall=now_wall + lease_s,
                    lease_token=secrets.token_hex(8),
                )
                .returning(table)
            ).all()
        by_id = {row.id: row for row in claimed}
        return [_delivery(by_id[row_id]._mapping) for row_id in ids]

    def delivered(self, delivery: Delivery, *, now_wall: float) -> bool:
        """Record that the receiver took it; False when the lease is no longer the caller's."""
        return self._end(delivery, state=OutboxState.DELIVERED, delivered_wall=now_wall)

    def failed(self, delivery: Delivery, error: str, *, retry_at_wall: float) -> bool:
        """Put it back until `retry_at_wall`, at most a day ahead; False when the lease is gone.

        Args:
            delivery: what was tried.
            error: why it failed, without secrets; cut to 500 characters.
            retry_at_wall: wall seconds before which nobody tries again.
        """
        return self._end(
            delivery,
            state=OutboxState.PENDING,
            next_at_wall=retry_at_wall,
            last_error=error[:MAX_ERROR_CHARS],
        )

    def dead(self, delivery: Delivery, error: str) -> bool:
        """Give it up for good; False when the lease is no longer the caller's."""
        return self._end(delivery, state=OutboxState.DEAD, last_error=error[:MAX_ERROR_CHARS])

    def counts(self) -> dict[OutboxState, int]:
        """Return how many rows there are in each state, zeros included."""
        query = select(table.c.state, func.count()).group_by(table.c.state)
        with self._db.read() as conn:
            found = {OutboxState(state): int(rows) for state, rows in conn.execute(query)}
        return {state: found.get(state, 0) for state in OutboxState}

    def _end(self, delivery: Delivery, **values: object) -> bool:
        with self._db.write() as conn:
            changed = conn.execute(
                update(table)
                .where(
                    table.c.id == delivery.id,
                    table.c.state == OutboxState.LEASED,
                    table.c.lease_token == delivery.lease_token,
                )
                .values(lease_token=None, **values)
            ).rowcount
        return changed == 1


def _delivery(row: Mapping[Any, Any]) -> Delivery:
    return Delivery(
        id=row["id"],
        event_id=row["event_id"],
        sink=row["sink"],
        payload=row["payload"],
        attempts=row["attempts"],
        created_wall=row["created_wall"],
        lease_until_wall=row["next_at_wall"],
        lease_token=row["lease_token"],
    )
