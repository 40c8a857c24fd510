"""Erasure: what a subject leaves behind, which is a receipt without its name."""

from __future__ import annotations

import io
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Column, MetaData, Table, insert, select

from saccade.errors import BadInput, Conflict, NotFound
from saccade.storage import (
    BigId,
    Database,
    EraseAction,
    EraseRule,
    EventStore,
    LocalObjects,
    NewEvent,
    ObjectIndex,
    Outbox,
    PortableText,
    ReceiptState,
    RetentionClass,
    Sink,
    declare_prefix,
    erase,
    kept,
    metadata,
    receipts_of,
)
from saccade.storage.tables import NAMING, receipts

Python = Callable[..., subprocess.Popen[str]]
NOW = 1_700_000_000.0
ANN = "ann-the-subject-of-this-test"


def application() -> MetaData:
    """The core's tables and those of an application with two ways to forget."""
    registry = MetaData(naming_convention=NAMING)
    for table in metadata.sorted_tables:
        table.to_metadata(registry)
    Table(
        "visits", registry,
        Column("id", BigId, primary_key=True), Column("person", PortableText),
        Column("minutes", BigId), Column("note", PortableText),
        info=kept(
            RetentionClass.EVENT,
            erase=EraseRule("person", EraseAction.PSEUDONYMISE, replace={"note": None}),
        ),
    )  # fmt: skip
    Table(
        "faces", registry,
        Column("id", BigId, primary_key=True), Column("subject", PortableText),
        info=kept(RetentionClass.CONFIG, erase=EraseRule()),
    )  # fmt: skip
    declare_prefix(registry, "captures/", RetentionClass.OBJECT)
    declare_prefix(registry, "faces/", RetentionClass.OBJECT)
    return registry


@pytest.fixture
def registry(db: Database) -> MetaData:
    registry = application()
    with db.write() as conn:
        registry.create_all(conn)
    return registry


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
def index(db: Database, registry: MetaData, folder: Path) -> ObjectIndex:
    return ObjectIndex(db, LocalObjects(folder), registry)


def fill(db: Database, registry: MetaData, index: ObjectIndex, *subjects: str) -> None:
    visits, faces = registry.tables["visits"], registry.tables["faces"]
    for subject in subjects:
        with db.write() as conn:
            EventStore(db).append(
                conn,
                [NewEvent(kind="seen", at_wall=NOW, message=f"{subject} came", subject=subject,
                          data={"who": subject})] * 2,
                [Sink("hook")],
            )  # fmt: skip
            row = {"person": subject, "minutes": 5, "note": f"{subject} was late"}
            conn.execute(insert(visits), [row, row])
            conn.execute(insert(faces).values(subject=subject))
        index.put(f"captures/{subject}.jpg", b"picture", now_wall=NOW, subject=subject)
        index.put(f"faces/{subject}/1.jpg", b"picture", now_wall=NOW, subject=subject)


def everything(db: Database, registry: MetaData) -> str:
    """All that all tables hold, as text."""
    with db.read() as conn:
        return "\n".join(str(conn.execute(select(table)).all()) for table in registry.sorted_tables)


def test_a_subject_is_gone_from_every_table_and_file_and_counted(
    db: Database, registry: MetaData, index: ObjectIndex, folder: Path
) -> None:
    fill(db, registry, index, ANN, "bob")
    receipt = erase(db, index, registry, ANN, "asked for it", now_wall=NOW + 1)
    assert receipt.rows == {"events": 2, "outbox": 2, "visits": 2, "faces": 1}
    assert receipt.objects == {"captures/": 1, "faces/": 1}
    assert (receipt.state, receipt.reason) == (ReceiptState.DONE, "asked for it")
    assert (receipt.created_wall, receipt.finished_wall) == (NOW + 1, NOW + 1)
    assert ANN not in everything(db, registry)
    assert ANN not in "".join(str(path) for path in folder.rglob("*"))
    with pytest.raises(NotFound):
        index.get(f"captures/{ANN}.jpg")


def test_others_are_not_touched(
    db: Database, registry: MetaData, index: ObjectIndex, folder: Path
) -> None:
    fill(db, registry, index, ANN, "bob")
    erase(db, index, registry, ANN, "r", now_wall=NOW)
    assert index.get("faces/bob/1.jpg") == b"picture"
    left = everything(db, registry)
    assert left.count("bob was late") == 2
    assert left.count("'bob came'") == 2
    assert len(Outbox(db).claim(now_wall=NOW, limit=9, lease_s=1)) == 2


def test_pseudonymised_rows_keep_their_sums_under_a_name_that_leads_nowhere(
    db: Database, registry: MetaData, index: ObjectIndex
) -> None:
    fill(db, registry, index, ANN)
    receipt = erase(db, index, registry, ANN, "r", now_wall=NOW)
    visits = registry.tables["visits"]
    with db.read() as conn:
        rows = conn.execute(select(visits.c.person, visits.c.minutes, visits.c.note)).all()
    assert [tuple(row) for row in rows] == [(f"erased-{receipt.id}", 5, None)] * 2


def test_erasing_again_changes_nothing_and_returns_the_same_receipt(
    db: Database, registry: MetaData, index: ObjectIndex
) -> None:
    fill(db, registry, index, ANN)
    first = erase(db, index, registry, ANN, "r", now_wall=NOW)
    assert erase(db, index, registry, ANN, "again", now_wall=NOW + 9) == first
    assert receipts_of(db, ANN) == [first]


def test_what_came_after_an_erasure_is_erased_by_the_next_with_a_receipt_of_its_own(
    db: Database, registry: MetaData, index: ObjectIndex
) -> None:
    fill(db, registry, index, ANN)
    first = erase(db, index, registry, ANN, "r", now_wall=NOW)
    index.put("captures/late.jpg", b"x", now_wall=NOW, subject=ANN)
    second = erase(db, index, registry, ANN, "r", now_wall=NOW)
    assert (second.rows, second.objects) == ({}, {"captures/": 1})
    assert receipts_of(db, ANN) == [first, second]


def test_a_subject_nobody_knows_gets_a_receipt_of_zeros(
    db: Database, registry: MetaData, index: ObjectIndex
) -> None:
    receipt = erase(db, index, registry, "nobody", "r", now_wall=NOW)
    assert (receipt.rows, receipt.objects, receipt.state) == ({}, {}, ReceiptState.DONE)


def test_an_empty_subject_is_refused(db: Database, registry: MetaData, index: ObjectIndex) -> None:
    with pytest.raises(BadInput, match="empty"):
        erase(db, index, registry, "", "r", now_wall=NOW)


def test_a_receipt_does_not_hold_the_name(
    db: Database, registry: MetaData, index: ObjectIndex
) -> None:
    erase(db, index, registry, ANN, "r", now_wall=NOW)
    with db.read() as conn:
        assert ANN not in str(conn.execute(select(receipts)).all())


def test_sqlites_own_files_hold_no_byte_of_the_subject_any_more(
    sqlite_db: Database, folder: Path
) -> None:
    """On PostgreSQL this is vacuum's business."""
    db, registry = sqlite_db, application()
    with db.write() as conn:
        registry.create_all(conn)
    index = ObjectIndex(db, LocalObjects(folder), registry)
    fill(db, registry, index, ANN)
    place = Path(db.display_url.removeprefix("sqlite:///"))

    def bytes_on_disk() -> bytes:
        return b"".join(path.read_bytes() for path in place.parent.glob(f"{place.name}*"))

    assert ANN.encode() in bytes_on_disk()
    erase(db, index, registry, ANN, "r", now_wall=NOW)
    assert ANN.encode() not in bytes_on_disk()


def test_an_object_erased_while_it_is_being_written_does_not_come_back(
    db: Database, registry: MetaData, index: ObjectIndex, folder: Path
) -> None:
    class ErasedMeanwhile(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            erase(db, index, registry, ANN, "r", now_wall=NOW)
            return super().read(size)

    with pytest.raises(Conflict, match="erased while"):
        index.put("captures/1.jpg", ErasedMeanwhile(b"picture"), now_wall=NOW, subject=ANN)
    assert list(LocalObjects(folder).list()) == []
    assert index.of_subject(ANN) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from saccade.storage import Database, LocalObjects, ObjectIndex, erase
from tests.storage.test_erasure import ANN, NOW, application

class Dying(LocalObjects):
    left = int(sys.argv[3])
    def delete(self, key):
        Dying.left -= 1
        if not Dying.left:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().delete(key)

db, registry = Database(sys.argv[1]), application()
index = ObjectIndex(db, Dying(Path(sys.argv[2])), registry)
erase(db, index, registry, ANN, "r", now_wall=NOW)
"""


@pytest.mark.faults
@pytest.mark.parametrize("file", [1, 2])
def test_an_erasure_killed_between_files_is_completed_by_the_next_on_the_same_receipt(
    db: Database,
    url: str,
    registry: MetaData,
    index: ObjectIndex,
    folder: Path,
    python: Python,
    file: int,
) -> None:
    fill(db, registry, index, ANN)
    victim = python(KILLED, url, str(folder), str(file))
    victim.communicate(timeout=60)
    assert victim.returncode == -signal.SIGKILL
    (open_receipt,) = receipts_of(db, ANN)
    assert open_receipt.state is ReceiptState.OPEN
    receipt = erase(db, index, registry, ANN, "r", now_wall=NOW + 60)
    assert receipt.id == open_receipt.id
    assert receipt.rows == {"events": 2, "outbox": 2, "visits": 2, "faces": 1}
    assert receipt.objects == {"captures/": 1, "faces/": 1}
    assert ANN not in everything(db, registry)
    assert list(LocalObjects(folder).list()) == []
