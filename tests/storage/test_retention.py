"""Retention: everything declares how long it is kept, and the purge does that and no more."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, Table, event, func, insert, select
from sqlalchemy.engine import Engine

from saccade.storage import (
    BigId,
    Database,
    EraseRule,
    EventStore,
    KeyStore,
    LocalObjects,
    NewEvent,
    ObjectIndex,
    Outbox,
    OutboxState,
    PortableText,
    RetentionClass,
    RetentionPolicy,
    Sink,
    WallSeconds,
    declare_prefix,
    kept,
    metadata,
    purge,
    undeclared,
)
from saccade.storage.retention import CHUNK_ROWS, DAY_S
from saccade.storage.tables import events, objects

NOW = 1_700_000_000.0


def count(db: Database, table: Table) -> int:
    with db.read() as conn:
        return conn.execute(select(func.count()).select_from(table)).scalar_one()


def happened(db: Database, *days_ago: float, sinks: tuple[Sink, ...] = ()) -> None:
    with db.write() as conn:
        EventStore(db).append(
            conn,
            [NewEvent(kind="k", at_wall=NOW - days * DAY_S, message="m") for days in days_ago],
            sinks,
        )


def test_every_table_of_the_core_declares_its_retention_and_its_erasure() -> None:
    assert undeclared(metadata) == []


@pytest.mark.parametrize(
    ("info", "complaint"),
    [
        ({}, "declares no retention class"),
        (kept(RetentionClass.EVENT, age="when"), "has no column when to tell its age"),
        (kept(RetentionClass.CONFIG), "has a subject and no EraseRule"),
        (kept(RetentionClass.CONFIG, erase=EraseRule("who")), "has no column who to erase"),
        (
            kept(RetentionClass.CONFIG, erase=EraseRule(replace={"note": ""})),
            "has no column note to erase",
        ),
    ],
)
def test_a_table_that_declares_too_little_is_told(
    info: dict[object, object], complaint: str
) -> None:
    registry = MetaData()
    Table(
        "visits", registry,
        Column("id", Integer, primary_key=True), Column("subject", PortableText), info=info,
    )  # fmt: skip
    assert any(complaint in wrong for wrong in undeclared(registry))


@pytest.mark.parametrize("prefix", ["", "faces", "/", "/faces/"])
def test_a_prefix_that_is_no_folder_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="object prefix"):
        declare_prefix(MetaData(), prefix, RetentionClass.OBJECT)


def test_a_prefix_has_one_class() -> None:
    registry = MetaData()
    assert declare_prefix(registry, "faces/", RetentionClass.OBJECT) == "faces/"
    declare_prefix(registry, "faces/", RetentionClass.OBJECT)
    with pytest.raises(ValueError, match="declared already"):
        declare_prefix(registry, "faces/", RetentionClass.AUDIT)


def test_what_is_older_than_its_class_goes_and_the_rest_stays(db: Database) -> None:
    happened(db, 0, 29.9, 30, 30.1, 400)
    assert purge(db, metadata, RetentionPolicy(), now_wall=NOW) == {"events": 2}
    assert count(db, events) == 3
    assert purge(db, metadata, RetentionPolicy(), now_wall=NOW) == {}


def test_a_class_without_days_is_kept_for_ever(db: Database) -> None:
    happened(db, 10_000)
    policy = RetentionPolicy({RetentionClass.EVENT: None})
    assert purge(db, metadata, policy, now_wall=NOW) == {}
    assert purge(db, metadata, RetentionPolicy({}), now_wall=NOW) == {}


def test_an_override_by_name_comes_before_the_class(db: Database) -> None:
    happened(db, 2, 40)
    policy = RetentionPolicy(overrides={"events": None})
    assert purge(db, metadata, policy, now_wall=NOW) == {}
    policy = RetentionPolicy(overrides={"events": 1.0})
    assert purge(db, metadata, policy, now_wall=NOW) == {"events": 2}


def test_what_is_still_owed_stays_whatever_its_age_and_keeps_its_event(db: Database) -> None:
    happened(db, 100, sinks=(Sink("hook"),))
    outbox = Outbox(db)
    assert purge(db, metadata, RetentionPolicy(), now_wall=NOW) == {}
    (delivery,) = outbox.claim(now_wall=NOW, limit=1, lease_s=1)
    assert purge(db, metadata, RetentionPolicy(), now_wall=NOW) == {}
    outbox.delivered(delivery, now_wall=NOW)
    assert purge(db, metadata, RetentionPolicy(), now_wall=NOW) == {"outbox": 1, "events": 1}


def test_dead_deliveries_go_with_age_too(db: Database) -> None:
    happened(db, 10, sinks=(Sink("hook"),))
    (delivery,) = Outbox(db).claim(now_wall=NOW, limit=1, lease_s=1)
    Outbox(db).dead(delivery, "gone")
    assert purge(db, metadata, RetentionPolicy(), now_wall=NOW) == {"outbox": 1}
    assert Outbox(db).counts()[OutboxState.DEAD] == 0
    assert count(db, events) == 1


def test_expired_sessions_go_and_keys_stay(db: Database) -> None:
    keys = KeyStore(db)
    key, secret = keys.create("door", now_wall=NOW - 1e6)
    keys.open_session(key, hours=1, now_wall=NOW - 3601)
    token = keys.open_session(key, hours=1, now_wall=NOW - 3599)
    assert purge(db, metadata, RetentionPolicy(), now_wall=NOW) == {"sessions": 1}
    assert keys.session(token, now_wall=NOW) == key
    assert keys.verify(secret) == key


def test_a_call_deletes_at_most_its_limit_the_oldest_first(db: Database) -> None:
    happened(db, *range(100, 110))
    assert purge(db, metadata, RetentionPolicy(), now_wall=NOW, limit=4) == {"events": 4}
    with db.read() as conn:
        oldest = conn.execute(select(func.min(events.c.at_wall))).scalar_one()
    assert oldest == NOW - 105 * DAY_S


def test_a_purge_is_many_short_transactions(db: Database) -> None:
    rows = 2 * CHUNK_ROWS + 1
    with db.write() as conn:
        conn.execute(
            insert(events),
            [{"kind": "k", "severity": "info", "at_wall": 0.0, "message": "m", "data": {}}] * rows,
        )
    before = db.change_token()
    seen: list[int] = []

    def committed(_: object) -> None:
        seen.append(1)

    event.listen(Engine, "commit", committed)
    try:
        assert purge(db, metadata, RetentionPolicy(), now_wall=NOW) == {"events": rows}
    finally:
        event.remove(Engine, "commit", committed)
    assert len(seen) >= 3
    assert db.change_token() != before


def test_a_purge_that_is_stopped_ends_between_two_transactions(db: Database) -> None:
    happened(db, 100)
    stop = threading.Event()
    stop.set()
    assert purge(db, metadata, RetentionPolicy(), now_wall=NOW, stop=stop) == {}


def test_a_table_with_a_key_of_several_columns_is_purged_too(db: Database) -> None:
    registry = MetaData()
    visits = Table(
        "visits", registry,
        Column("place", PortableText, primary_key=True), Column("day", BigId, primary_key=True),
        Column("at_wall", WallSeconds), info=kept(RetentionClass.EVENT, age="at_wall"),
    )  # fmt: skip
    with db.write() as conn:
        registry.create_all(conn)
        rows = [("a", 1, 0.0), ("a", 2, NOW), ("b", 1, NOW), ("b", 2, 0.0)]
        conn.execute(insert(visits), [dict(zip(("place", "day", "at_wall"), r)) for r in rows])  # noqa: B905
    assert purge(db, registry, RetentionPolicy(), now_wall=NOW) == {"visits": 2}
    with db.read() as conn:
        left = conn.execute(select(visits.c.place, visits.c.day).order_by(visits.c.place)).all()
    assert [tuple(row) for row in left] == [("a", 2), ("b", 1)]


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    ages=st.lists(st.integers(0, 6), max_size=12),
    days=st.integers(0, 6),
    limit=st.integers(1, 12),
)
def test_a_purge_takes_exactly_the_oldest_that_are_due(
    db: Database, ages: list[int], days: int, limit: int
) -> None:
    with db.write() as conn:
        conn.execute(events.delete())
    happened(db, *ages)
    policy = RetentionPolicy({RetentionClass.EVENT: float(days)})
    gone = purge(db, metadata, policy, now_wall=NOW, limit=limit).get("events", 0)
    due = sorted((age for age in ages if age > days), reverse=True)
    assert gone == min(len(due), limit)
    with db.read() as conn:
        left = sorted(
            round((NOW - wall) / DAY_S) for wall in conn.execute(select(events.c.at_wall)).scalars()
        )
    assert left == sorted([age for age in ages if age <= days] + due[limit:])


class TestObjects:
    """Objects are purged by their prefix's class, with their files."""

    @pytest.fixture
    def registry(self) -> MetaData:
        registry = MetaData()
        declare_prefix(registry, "captures/", RetentionClass.OBJECT)
        declare_prefix(registry, "captures/kept/", RetentionClass.CONFIG)
        declare_prefix(registry, "proofs/", RetentionClass.AUDIT)
        return registry

    @pytest.fixture
    def index(self, db: Database, registry: MetaData, tmp_path: Path) -> ObjectIndex:
        return ObjectIndex(db, LocalObjects(tmp_path / "objects"), registry)

    def test_a_key_without_a_declared_prefix_is_our_mistake(self, index: ObjectIndex) -> None:
        with pytest.raises(ValueError, match="no module declared"):
            index.put("strange/1.jpg", b"x", now_wall=NOW)

    def test_an_object_has_a_row_that_tells_its_size_digest_and_prefix(
        self, index: ObjectIndex, db: Database
    ) -> None:
        info = index.put("captures/kept/1.jpg", b"abc", now_wall=NOW, subject="ann")
        with db.read() as conn:
            row = conn.execute(select(objects)).one()
        assert tuple(row) == (
            "captures/kept/1.jpg", "captures/kept/", 3, info.sha256, "ann", NOW,
        )  # fmt: skip
        assert index.get("captures/kept/1.jpg") == b"abc"

    def test_old_objects_go_with_their_files_by_class_or_override(
        self, index: ObjectIndex, tmp_path: Path, db: Database
    ) -> None:
        for key in ("captures/a", "captures/b/c", "captures/kept/d", "proofs/e"):
            index.put(key, b"x", now_wall=NOW - 31 * DAY_S)
        index.put("captures/new", b"x", now_wall=NOW - 29 * DAY_S)
        assert index.purge(RetentionPolicy(), now_wall=NOW) == {"captures/": 2}
        left = ["captures/kept/d", "captures/new", "proofs/e"]
        assert list(LocalObjects(tmp_path / "objects").list()) == left
        with db.read() as conn:
            assert sorted(conn.execute(select(objects.c.key)).scalars()) == left
        policy = RetentionPolicy(overrides={"proofs/": 1.0})
        assert index.purge(policy, now_wall=NOW) == {"proofs/": 1}
        assert "proofs/e" not in list(LocalObjects(tmp_path / "objects").list())

    def test_a_purge_of_objects_takes_at_most_its_limit_the_oldest_first(
        self, index: ObjectIndex, tmp_path: Path
    ) -> None:
        for day in (50, 70, 60):
            index.put(f"captures/{day}", b"x", now_wall=NOW - day * DAY_S)
        assert index.purge(RetentionPolicy(), now_wall=NOW, limit=2) == {"captures/": 2}
        assert list(LocalObjects(tmp_path / "objects").list()) == ["captures/50"]

    def test_a_row_whose_file_never_came_is_purged_like_any_other(
        self, index: ObjectIndex, db: Database
    ) -> None:
        """What a process that was killed between row and file leaves."""
        with db.write() as conn:
            conn.execute(
                insert(objects).values(key="captures/x", prefix="captures/", created_wall=0.0)
            )
        assert index.purge(RetentionPolicy(), now_wall=NOW) == {"captures/": 1}
        assert count(db, objects) == 0

    def test_a_deleted_object_is_gone_with_its_row(self, index: ObjectIndex, db: Database) -> None:
        index.put("captures/a", b"x", now_wall=NOW)
        assert index.delete("captures/a") is True
        assert index.delete("captures/a") is False
        assert count(db, objects) == 0
