"""Events: stored with what is owed for them, listed without a gap."""

from __future__ import annotations

import threading

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from saccade.errors import BadInput
from saccade.storage import Database, EventStore, NewEvent, Outbox, OutboxState, Sink, StoredEvent
from saccade.storage.tables import events as events_table
from saccade.storage.tables import outbox
from saccade.types import CameraId, ModelName, Severity


def event(kind: str = "camera.live", **values: object) -> NewEvent:
    return msgspec.convert(
        {"kind": kind, "at_wall": 1_700_000_000.5, "message": "it is live", **values}, NewEvent
    )


def append(db: Database, *events: NewEvent, sinks: tuple[Sink, ...] = ()) -> list[StoredEvent]:
    with db.write() as conn:
        return EventStore(db).append(conn, events, sinks)


def ids(events: list[StoredEvent]) -> list[int]:
    return [event.id for event in events]


def test_what_was_appended_is_listed_as_it_was(db: Database) -> None:
    given_event = NewEvent(
        kind="model.error",
        at_wall=1_700_000_000.123456,
        message="façade 🙂 \\u0000 'quoted' %s",
        severity=Severity.ERROR,
        camera=CameraId("door"),
        model=ModelName("yolo"),
        subject="ann",
        data={"box": [1, 2.5, None, True], "deep": {"a": {"b": "c"}}, "big": 2**60},
        dedupe_key="k",
    )
    (stored,) = append(db, given_event)
    assert EventStore(db).list() == [stored]
    assert msgspec.structs.asdict(stored) == {
        "id": stored.id,
        **msgspec.structs.asdict(given_event),
    }
    assert isinstance(EventStore(db).list()[0].severity, Severity)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8)
    | st.floats(-(2.0**53), 2.0**53, width=32),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
STORABLE = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(message=STORABLE, data=st.dictionaries(st.text(max_size=4), JSON, max_size=3))
def test_any_text_and_json_comes_back_as_it_went_in(
    db: Database, message: str, data: dict[str, object]
) -> None:
    # Keys and texts of the JSON may hold NUL here: those are the only thing that changes.
    (stored,) = append(db, event(message=message, data=data))
    (found,) = EventStore(db).list(limit=1)
    assert found.message == message
    if "\\u0000" not in msgspec.json.encode(data).decode():
        assert found.data == data
    assert found.id == stored.id


def test_text_that_postgres_could_not_store_does_not_stop_a_batch(db: Database) -> None:
    stored = append(
        db,
        event(message="a\0b \ud800", data={"k\0": ["v\0", float("nan"), float("inf")]}),
        event(message="fine"),
        sinks=(Sink("hook"),),
    )
    assert len(stored) == 2
    older, newer = reversed(EventStore(db).list())
    assert (older.message, newer.message) == ("a\ufffdb \ufffd", "fine")
    assert older.data == {"k\ufffd": ["v\ufffd", None, None]}


def test_nothing_is_stored_or_owed_when_the_transaction_fails(db: Database) -> None:
    def append_and_fail() -> None:
        with db.write() as conn:
            EventStore(db).append(conn, [event()], [Sink("hook")])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        append_and_fail()
    assert EventStore(db).list() == []
    assert sum(Outbox(db).counts().values()) == 0


def test_each_sink_is_owed_the_kinds_it_wants_and_no_other(db: Database) -> None:
    everything, some = Sink("all"), Sink("some", frozenset({"b"}))
    first, second = append(db, event("a"), event("b"), sinks=(everything, some))
    with db.read() as conn:
        owed = conn.execute(select(outbox.c.event_id, outbox.c.sink).order_by(outbox.c.id)).all()
    assert [tuple(row) for row in owed] == [
        (first.id, "all"), (second.id, "all"), (second.id, "some"),
    ]  # fmt: skip
    assert Outbox(db).counts()[OutboxState.PENDING] == 3


def test_a_payload_is_the_stored_event_as_json(db: Database) -> None:
    (stored,) = append(db, event(data={"a": 1}), sinks=(Sink("hook"),))
    (delivery,) = Outbox(db).claim(now_wall=0.0, limit=1, lease_s=1)
    assert msgspec.json.decode(delivery.payload, type=StoredEvent) == stored


def test_a_fact_with_a_key_is_stored_once_and_told_once(db: Database) -> None:
    fact = event(dedupe_key="absence-7")
    first = append(db, fact, sinks=(Sink("hook"),))
    again = append(db, fact, event(dedupe_key="absence-8"), fact, sinks=(Sink("hook"),))
    assert [len(first), len(again)] == [1, 1]
    assert len(EventStore(db).list()) == 2
    assert Outbox(db).counts()[OutboxState.PENDING] == 2


def test_the_newest_come_first_and_pages_join_without_gap_or_overlap(db: Database) -> None:
    stored = ids(append(db, *(event() for _ in range(7))))
    store, seen, before = EventStore(db), [], None
    while page := store.list(before_id=before, limit=3):
        seen += ids(page)
        before = seen[-1]
    assert seen == stored[::-1]


def test_a_follower_gets_the_oldest_first_from_where_it_was(db: Database) -> None:
    stored = ids(append(db, *(event() for _ in range(5))))
    store = EventStore(db)
    assert ids(store.list(after_id=stored[1], limit=2)) == stored[2:4]
    assert ids(store.list(after_id=stored[0], before_id=stored[3])) == stored[1:3]
    assert store.list(after_id=store.latest_id()) == []


def test_filters_hold_alone_and_together(db: Database) -> None:
    a = append(db, event("x", camera="door", model="m1"))[0]
    b = append(db, event("y", camera="door", model="m2"))[0]
    c = append(db, event("x", camera="yard"))[0]
    store = EventStore(db)
    assert store.list(kind="x") == [c, a]
    assert store.list(camera=CameraId("door")) == [b, a]
    assert store.list(model=ModelName("m2")) == [b]
    assert store.list(kind="x", camera=CameraId("door")) == [a]
    assert store.list(kind="z") == []


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_limit_out_of_range_is_bad_input(db: Database, limit: int) -> None:
    with pytest.raises(BadInput, match=f"limit is {limit}"):
        EventStore(db).list(limit=limit)


def test_an_id_is_never_given_twice_even_when_the_newest_event_was_purged(db: Database) -> None:
    store = EventStore(db)
    assert store.latest_id() == 0
    (last,) = append(db, event())
    with db.write() as conn:
        conn.execute(delete(events_table))
    (next_one,) = append(db, event())
    assert next_one.id > last.id == 1


@pytest.mark.services
def test_a_follower_never_misses_an_event_whose_transaction_commits_late(
    request: pytest.FixtureRequest,
) -> None:
    """Sequences give ids before commits: an early id must not become visible after a later one."""
    server = request.getfixturevalue("postgres_with_tables")
    with server.database(template="saccade_template") as url:
        db = Database(url)
        appended, told, listed = (threading.Event() for _ in range(3))

        def late() -> None:
            with db.write() as conn:
                EventStore(db).append(conn, [event("early-id")])
                appended.set()
                listed.wait(10)

        def quick() -> None:
            append(db, event("late-id"))
            told.set()

        threads = [threading.Thread(target=late), threading.Thread(target=quick)]
        threads[0].start()
        appended.wait(10)
        threads[1].start()
        told.wait(0.5)  # it must not be told: it waits for the commit that holds the lower id
        before = EventStore(db).list(after_id=0)
        listed.set()
        for thread in threads:
            thread.join(10)
        after = EventStore(db).list(after_id=0)
        assert [found.kind for found in after] == ["early-id", "late-id"]
        # What a follower saw before is the beginning of what there is now: nothing came in between.
        assert before == after[: len(before)]
        db.close()
