"""Objects with a row each, whose and how old: so that retention and erasure reach files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import BinaryIO, Final

from sqlalchemy import Connection, MetaData, delete, select, update

from saccade.errors import Conflict
from saccade.storage.database import Database
from saccade.storage.dialects import conflict_insert
from saccade.storage.objects import ObjectInfo, ObjectStore, check_key
from saccade.storage.registry import prefixes
from saccade.storage.retention import RetentionPolicy
from saccade.storage.tables import objects as table

#: Files per transaction of a deletion.
CHUNK_OBJECTS: Final = 100


class ObjectIndex:
    """The only way for the rest of the house to write objects.

    The row comes first and goes last: a process that is killed in between leaves a row without a
    file, which reads as not found and is purged, but never a file that nobody knows of.

    Args:
        db: where the rows are.
        store: where the files are.
        metadata: where the prefixes are declared.
    """

    def __init__(self, db: Database, store: ObjectStore, metadata: MetaData) -> None:
        self._db = db
        self._store = store
        self._metadata = metadata

    def put(
        self, key: str, data: bytes | BinaryIO, *, now_wall: float, subject: str | None = None
    ) -> ObjectInfo:
        """Store an object, replacing one of the same key.

        Args:
            key: begins with a declared prefix.
            data: the bytes, or a stream of them.
            now_wall: wall seconds its age counts from.
            subject: whom it is about, for erasure.

        Raises:
            BadInput: the key is not safe.
            ValueError: no module declared the key's prefix: a mistake of ours.
            DiskFull: there is no space; nothing partial is left.
            Conflict: it was erased while it was being written.
        """
        check_key(key)
        prefix = self.prefix_of(key)
        values = {"prefix": prefix, "subject": subject, "created_wall": now_wall}
        with self._db.write() as conn:
            conn.execute(
                conflict_insert(conn, table)
                .values(key=key, **values)
                .on_conflict_do_update(index_elements=["key"], set_=values)
            )
        info = self._store.put(key, data)
        with self._db.write() as conn:
            known = conn.execute(
                update(table)
                .where(table.c.key == key)
                .values(size_bytes=info.size_bytes, sha256=info.sha256)
            ).rowcount
        if not known:
            self._store.delete(key)
            raise Conflict(
                f"the object {key!r} was erased while it was being written",
                fix="do not store data of a subject whose erasure is under way",
            )
        return info

    def get(self, key: str) -> bytes:
        """Return an object's bytes. Raises NotFound, BadInput."""
        return self._store.get(key)

    def open(self, key: str) -> BinaryIO:
        """Return an object as a stream that the caller closes. Raises NotFound, BadInput."""
        return self._store.open(key)

    def delete(self, key: str) -> bool:
        """Remove an object's file, then its row; False when there was no row."""
        self.drop_files([key])
        with self._db.write() as conn:
            return bool(self.drop_rows(conn, [key]))

    def drop_files(self, keys: Sequence[str]) -> None:
        """Remove objects' files; their rows stay until `drop_rows`."""
        for key in keys:
            self._store.delete(key)

    def drop_rows(self, conn: Connection, keys: Sequence[str]) -> dict[str, int]:
        """Remove the rows of objects whose files are gone; return how many, by prefix."""
        statement = delete(table).where(table.c.key.in_(keys)).returning(table.c.prefix)
        return dict(Counter(conn.execute(statement).scalars()))

    def of_subject(self, subject: str, *, limit: int = CHUNK_OBJECTS) -> list[str]:
        """Return keys of objects about a subject, in order."""
        query = select(table.c.key).where(table.c.subject == subject)
        with self._db.read() as conn:
            return list(conn.execute(query.order_by(table.c.key).limit(limit)).scalars())

    def purge(
        self, policy: RetentionPolicy, *, now_wall: float, limit: int = 1_000
    ) -> dict[str, int]:
        """Remove objects that are older than the policy keeps their prefix, the oldest first.

        Args:
            policy: days by class, or by prefix.
            now_wall: wall seconds.
            limit: most objects per prefix in this call.

        Returns:
            Objects removed, by prefix, for prefixes that lost any.
        """
        removed: dict[str, int] = {}
        for prefix, kind in prefixes(self._metadata).items():
            cutoff_wall = policy.cutoff_wall(prefix, kind, now_wall)
            if cutoff_wall is None:
                continue
            done = self._purge_prefix(prefix, cutoff_wall, limit)
            if done:
                removed[prefix] = done
        return removed

    def _purge_prefix(self, prefix: str, cutoff_wall: float, limit: int) -> int:
        query = (
            select(table.c.key)
            .where(table.c.prefix == prefix, table.c.created_wall < cutoff_wall)
            .order_by(table.c.created_wall)
        )
        done = 0
        while done < limit:
            with self._db.read() as conn:
                keys = list(conn.execute(query.limit(min(CHUNK_OBJECTS, limit - done))).scalars())
            if not keys:
                break
            self.drop_files(keys)
            with self._db.write() as conn:
                self.drop_rows(conn, keys)
            done += len(keys)
        return done

    def prefix_of(self, key: str) -> str:
        """Return the longest declared prefix of a key.

        Raises:
            ValueError: there is none.
        """
        fitting = [prefix for prefix in prefixes(self._metadata) if key.startswith(prefix)]
        if not fitting:
            raise ValueError(f"no module declared a prefix of the object key {key!r}")
        return max(fitting, key=len)
