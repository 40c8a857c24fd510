"""Events: facts stored in the caller's transaction, together with what the outbox owes for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, func, insert, select

from saccade.errors import BadInput
from saccade.storage.columns import storable_json
from saccade.storage.database import Database
from saccade.storage.dialects import conflict_insert
from saccade.storage.outbox import NewDelivery, enqueue
from saccade.storage.tables import events as table
from saccade.types import CameraId, ModelName, Severity

MAX_LIST: Final = 1000  # rows in one answer


class NewEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A fact that is not stored yet.

    Args:
        kind: stable, words joined by _, `camera_status_change`.
        at_wall: when it happened, wall seconds.
        message: one line for people.
        subject: the person or thing that erasure knows, if it is about one.
        data: what belongs to this kind, JSON values only.
        dedupe_key: at most one stored event has it; a second append of the same fact is no event.
    """

    kind: str
    at_wall: float
    message: str
    severity: Severity = Severity.INFO
    camera: CameraId | None = None
    model: ModelName | None = None
    subject: str | None = None
    data: dict[str, object] = {}
    dedupe_key: str | None = None


class StoredEvent(NewEvent, frozen=True, kw_only=True):
    """A fact with its id; ids grow in the order in which events become visible."""

    id: int


@dataclass(frozen=True, slots=True)
class Sink:
    """A receiver of events.

    Args:
        name: what the outbox knows it by.
        kinds: the kinds it wants; empty: every kind.
    """

    name: str
    kinds: frozenset[str] = frozenset()

    def wants(self, kind: str) -> bool:
        """Return whether events of this kind are owed to it."""
        return not self.kinds or kind in self.kinds


class EventStore:
    """The stored events."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def append(
        self, conn: Connection, events: Iterable[NewEvent], sinks: Sequence[Sink] = ()
    ) -> list[StoredEvent]:
        """Store events, and outbox rows for the sinks that want them, in the caller's transaction.

        Args:
            conn: a connection of `Database.write()`; nothing is visible before it commits.
            events: in the order their ids shall have.
            sinks: who is to be told.

        Returns:
            What was stored, in order. An event whose `dedupe_key` is stored already is not in it:
            nobody is told twice.
        """
        # A sequence hands out ids before commits: without this, a follower that has seen event 8
        # would never see an event 7 that commits later.
        self._db.serialize(conn, "events")
        plain = insert(table).returning(table.c.id)
        once = (
            conflict_insert(conn, table)
            .on_conflict_do_nothing(index_elements=["dedupe_key"])
            .returning(table.c.id)
        )
        stored = []
        for event in events:
            # What is pushed and owed is what is stored, to the letter.
            values = {
                name: storable_json(value) for name, value in msgspec.structs.asdict(event).items()
            }
            statement = plain if event.dedupe_key is None else once
            event_id = conn.execute(statement, values).scalar()
            if event_id is not None:
                stored.append(msgspec.convert({**values, "id": event_id}, StoredEvent))
        enqueue(conn, [owed for event in stored for owed in _owed(event, sinks)])
        return stored

    def list(
        self,
        *,
        before_id: int | None = None,
        after_id: int | None = None,
        limit: int = 100,
        kind: str | None = None,
        camera: CameraId | None = None,
        model: ModelName | None = None,
    ) -> list[StoredEvent]:
        """Return events: the newest first, or from `after_id` on the oldest first.

        Args:
            before_id: only ids below; the last id of a page leads to the next, older page.
            after_id: only ids above, in ascending order: a follower misses none.
            limit: most events to return, 1 to 1000.
            kind: only of this kind.
            camera: only of this camera.
            model: only of this model.

        Raises:
            BadInput: `limit` is out of range.
        """
        if not 1 <= limit <= MAX_LIST:
            raise BadInput(f"limit is {limit}", fix=f"ask for 1 to {MAX_LIST} events")
        query = select(table).limit(limit)
        if before_id is not None:
            query = query.where(table.c.id < before_id)
        if after_id is not None:
            query = query.where(table.c.id > after_id)
        for column, wanted in (("kind", kind), ("camera", camera), ("model", model)):
            if wanted is not None:
                query = query.where(table.c[column] == wanted)
        query = query.order_by(table.c.id if after_id is not None else table.c.id.desc())
        with self._db.read() as conn:
            return [_stored(row) for row in conn.execute(query)]

    def latest_id(self) -> int:
        """Return the highest id there is, 0 when there is no event."""
        with self._db.read() as conn:
            return conn.execute(select(func.max(table.c.id))).scalar() or 0


def _owed(event: StoredEvent, sinks: Sequence[Sink]) -> Iterator[NewDelivery]:
    wanting = [sink for sink in sinks if sink.wants(event.kind)]
    payload = msgspec.json.encode(event).decode() if wanting else ""
    for sink in wanting:
        yield NewDelivery(
            sink=sink.name,
            payload=payload,
            created_wall=event.at_wall,
            event_id=event.id,
            subject=event.subject,
        )


def _stored(row: Row[Any]) -> StoredEvent:
    return msgspec.convert(row._mapping, StoredEvent, from_attributes=False)
