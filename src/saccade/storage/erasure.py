"""Erasure of one subject everywhere: declared tables, objects with their files, and a receipt."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, MetaData, Table, delete, insert, select, update

from saccade.errors import BadInput
from saccade.storage.database import Database
from saccade.storage.object_index import ObjectIndex
from saccade.storage.registry import EraseAction, EraseRule, erase_rule_of
from saccade.storage.tables import objects as objects_table
from saccade.storage.tables import receipts


class ReceiptState(StrEnum):
    """How far an erasure is."""

    OPEN = "open"  # rows are gone, objects are going
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Receipt:
    """Proof of an erasure. It holds a digest of the subject, not the subject."""

    id: int
    subject_sha256: str
    reason: str
    state: ReceiptState
    rows: Mapping[str, int]  # by table, deleted or pseudonymised
    objects: Mapping[str, int]  # by prefix
    created_wall: float
    finished_wall: float | None


def erase(
    db: Database,
    objects: ObjectIndex,
    metadata: MetaData,
    subject: str,
    reason: str,
    *,
    now_wall: float,
) -> Receipt:
    """Erase a subject from every declared table and every object, and keep a receipt.

    Rows go in one transaction together with the receipt that counts them; files follow. Killed in
    between, the next call for the subject goes on and completes the same receipt. A call that finds
    nothing new returns the last receipt, so repeating is harmless.

    Args:
        db: the database.
        objects: the objects' index.
        metadata: the tables, with their EraseRules.
        subject: as the rows hold it.
        reason: why, for the receipt; without personal data.
        now_wall: wall seconds.

    Raises:
        BadInput: the subject is empty.
        DatabaseBusy, DataFolderUnusable: call again; what was done stays done.
    """
    if not subject:
        raise BadInput("the subject to erase is empty", fix="name the subject as events hold it")
    digest = _digest(subject)
    with db.write() as conn:
        db.serialize(conn, "erase")
        last = _last(conn, digest)
        if last is not None and last.state is ReceiptState.OPEN:
            receipt_id = last.id
        elif last is not None and not _has_rows(conn, metadata, subject):
            # Nothing came since: the proof there is stands, and no second one is made.
            return last
        else:
            receipt_id = _open(conn, digest, reason, now_wall)
        _count(conn, receipt_id, "erased_rows", _erase_rows(conn, metadata, subject, receipt_id))
    while keys := objects.of_subject(subject):
        objects.drop_files(keys)
        with db.write() as conn:
            _count(conn, receipt_id, "erased_objects", objects.drop_rows(conn, keys))
    with db.write() as conn:
        receipt = _finish(conn, receipt_id, now_wall)
    db.scrub()
    return receipt


def receipts_of(db: Database, subject: str) -> list[Receipt]:
    """Return the receipts of a subject, the oldest first."""
    query = select(receipts).where(receipts.c.subject_sha256 == _digest(subject))
    with db.read() as conn:
        return [_receipt(row._mapping) for row in conn.execute(query.order_by(receipts.c.id))]


def _digest(subject: str) -> str:
    return hashlib.sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()


def _last(conn: Connection, digest: str) -> Receipt | None:
    query = select(receipts).where(receipts.c.subject_sha256 == digest)
    row = conn.execute(query.order_by(receipts.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else _receipt(row._mapping)


def _open(conn: Connection, digest: str, reason: str, now_wall: float) -> int:
    statement = insert(receipts).values(
        subject_sha256=digest,
        reason=reason,
        state=ReceiptState.OPEN,
        erased_rows={},
        erased_objects={},
        created_wall=now_wall,
    )
    return int(conn.execute(statement.returning(receipts.c.id)).scalar_one())


def _rules(metadata: MetaData) -> Iterator[tuple[Table, EraseRule]]:
    """Yield the tables that hold subjects, those that point to others first."""
    for table in reversed(metadata.sorted_tables):
        rule = erase_rule_of(table)
        if rule is not None:
            yield table, rule


def _has_rows(conn: Connection, metadata: MetaData, subject: str) -> bool:
    columns = [table.c[rule.subject_column] for table, rule in _rules(metadata)]
    return any(
        conn.execute(select(column).where(column == subject).limit(1)).first() is not None
        for column in (*columns, objects_table.c.subject)
    )


def _erase_rows(
    conn: Connection, metadata: MetaData, subject: str, receipt_id: int
) -> dict[str, int]:
    counts = {}
    for table, rule in _rules(metadata):
        about = table.c[rule.subject_column] == subject
        if rule.action is EraseAction.DELETE:
            rows = conn.execute(delete(table).where(about)).rowcount
        else:
            # Of the receipt, not of the subject: nobody can compute it back from a name.
            pseudonym = {rule.subject_column: f"erased-{receipt_id}"}
            rows = conn.execute(
                update(table).where(about).values({**rule.replace, **pseudonym})
            ).rowcount
        if rows:
            counts[table.name] = rows
    return counts


def _count(conn: Connection, receipt_id: int, column: str, more: Mapping[str, int]) -> None:
    """Add to a receipt's counts, in the transaction that did what is counted."""
    if not more:
        return
    counted = receipts.c[column]
    query = select(counted).where(receipts.c.id == receipt_id).with_for_update()
    so_far: dict[str, int] = conn.execute(query).scalar_one()
    total = {name: so_far.get(name, 0) + more.get(name, 0) for name in (*so_far, *more)}
    conn.execute(update(receipts).where(receipts.c.id == receipt_id).values({column: total}))


def _finish(conn: Connection, receipt_id: int, now_wall: float) -> Receipt:
    statement = (
        update(receipts)
        .where(receipts.c.id == receipt_id)
        .values(state=ReceiptState.DONE, finished_wall=now_wall)
    )
    return _receipt(conn.execute(statement.returning(receipts)).one()._mapping)


def _receipt(row: Mapping[Any, Any]) -> Receipt:
    return Receipt(
        id=row["id"],
        subject_sha256=row["subject_sha256"],
        reason=row["reason"],
        state=ReceiptState(row["state"]),
        rows=row["erased_rows"],
        objects=row["erased_objects"],
        created_wall=row["created_wall"],
        finished_wall=row["finished_wall"],
    )
