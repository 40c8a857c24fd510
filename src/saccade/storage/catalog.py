"""Cameras and models that were made at run time: named specs, opaque here, checked at the door."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import Column, delete, select, update

from saccade.errors import Conflict, NotFound
from saccade.storage.database import Database
from saccade.storage.dialects import conflict_insert
from saccade.storage.tables import cameras, models


class Shelf(Enum):
    """Which specs a catalog holds."""

    CAMERAS = "camera"
    MODELS = "model"


class PutMode(Enum):
    """What `put` does about a spec that is there, or is not."""

    CREATE = "create"  # Conflict when the name is taken
    REPLACE = "replace"  # NotFound when there is nothing to replace
    UPSERT = "upsert"


@dataclass(frozen=True, slots=True)
class SpecRow:
    """One stored spec."""

    name: str
    spec: Mapping[str, object]
    created_wall: float
    updated_wall: float


class Catalog:
    """The specs of one shelf, by name.

    Specs may hold passwords (a camera's URL): never log one.
    """

    def __init__(self, db: Database, shelf: Shelf) -> None:
        self._db = db
        self._noun = shelf.value
        self._table = cameras if shelf is Shelf.CAMERAS else models
        self._name: Column[Any] = next(iter(self._table.primary_key))

    def put(
        self, name: str, spec: Mapping[str, object], *, now_wall: float, mode: PutMode
    ) -> SpecRow:
        """Store a spec and return it as stored.

        Args:
            name: its id.
            spec: JSON values only.
            now_wall: wall seconds, for `created` or `updated`.
            mode: what to do about a name that is taken, or is not.

        Raises:
            Conflict: CREATE, and the name is taken.
            NotFound: REPLACE, and nothing has the name.
        """
        table = self._table
        changed = {"spec": dict(spec), "updated_wall": now_wall}
        fresh = {self._name.name: name, "created_wall": now_wall, **changed}
        with self._db.write() as conn:
            if mode is PutMode.REPLACE:
                statement = update(table).where(self._name == name).values(changed)
                row = conn.execute(statement.returning(table)).one_or_none()
                if row is None:
                    raise self._missing(name)
            elif mode is PutMode.CREATE:
                attempt = conflict_insert(conn, table).values(fresh).on_conflict_do_nothing()
                row = conn.execute(attempt.returning(table)).one_or_none()
                if row is None:
                    raise Conflict(
                        f"a {self._noun} named {name!r} exists",
                        fix="choose another name, or change the one that exists",
                    )
            else:
                upsert = conflict_insert(conn, table).values(fresh)
                upsert = upsert.on_conflict_do_update(index_elements=[self._name], set_=changed)
                row = conn.execute(upsert.returning(table)).one()
            return self._row(row._mapping)

    def get(self, name: str) -> SpecRow:
        """Return one spec.

        Raises:
            NotFound: nothing has the name.
        """
        with self._db.read() as conn:
            row = conn.execute(select(self._table).where(self._name == name)).one_or_none()
        if row is None:
            raise self._missing(name)
        return self._row(row._mapping)

    def list(self) -> list[SpecRow]:
        """Return every spec, by name."""
        with self._db.read() as conn:
            rows = conn.execute(select(self._table)).all()
        return sorted((self._row(row._mapping) for row in rows), key=lambda row: row.name)

    def delete(self, name: str) -> None:
        """Remove one spec.

        Raises:
            NotFound: nothing has the name.
        """
        with self._db.write() as conn:
            if not conn.execute(delete(self._table).where(self._name == name)).rowcount:
                raise self._missing(name)

    def _missing(self, name: str) -> NotFound:
        return NotFound(
            f"no {self._noun} named {name!r} was made at run time",
            fix=f"list the {self._noun}s to see the names there are",
        )

    def _row(self, row: Mapping[Any, Any]) -> SpecRow:
        return SpecRow(row[self._name.name], row["spec"], row["created_wall"], row["updated_wall"])
