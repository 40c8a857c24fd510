"""The outbox: leases, fences, back-off, and workers that are killed in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, select, text
from sqlalchemy.engine import Engine
from tests.storage.crowd import CROWD

from saccade.storage import Database, Delivery, NewDelivery, Outbox, OutboxState, backoff_s, enqueue
from saccade.storage.outbox import MAX_LEASE_S, MAX_RETRY_S
from saccade.storage.tables import outbox as table

Python = Callable[..., subprocess.Popen[str]]
NOW = 1_700_000_000.0


def owe(db: Database, number: int, sink: str = "hook") -> None:
    with db.write() as conn:
        enqueue(
            conn,
            [
                NewDelivery(sink=sink, payload=f'{{"n":{turn}}}', created_wall=NOW)
                for turn in range(number)
            ],
        )


def claim(db: Database, now: float = NOW, limit: int = 10, lease: float = 30.0) -> list[Delivery]:
    return Outbox(db).claim(now_wall=now, limit=limit, lease_s=lease)


def test_what_is_owed_is_claimed_once_in_order(db: Database) -> None:
    owe(db, 5)
    first, second = claim(db, limit=3), claim(db, limit=3)
    assert [delivery.payload for delivery in first + second] == [f'{{"n":{n}}}' for n in range(5)]
    assert claim(db) == []
    assert {delivery.attempts for delivery in first} == {1}


def test_one_sink_can_be_served_alone(db: Database) -> None:
    owe(db, 2, "a")
    owe(db, 1, "b")
    assert [d.sink for d in Outbox(db).claim(now_wall=NOW, limit=9, lease_s=9, sink="b")] == ["b"]


def test_a_delivered_row_is_never_claimed_again(db: Database) -> None:
    owe(db, 1)
    (delivery,) = claim(db)
    assert Outbox(db).delivered(delivery, now_wall=NOW + 1)
    assert claim(db, NOW + 10 * MAX_RETRY_S) == []
    assert Outbox(db).counts() == {
        OutboxState.PENDING: 0, OutboxState.LEASED: 0,
        OutboxState.DELIVERED: 1, OutboxState.DEAD: 0,
    }  # fmt: skip


def test_a_failed_row_comes_back_when_its_time_is_come_and_not_before(db: Database) -> None:
    owe(db, 1)
    (delivery,) = claim(db)
    assert Outbox(db).failed(delivery, "503 from the receiver", retry_at_wall=NOW + 5)
    assert claim(db, NOW + 4.9) == []
    (again,) = claim(db, NOW + 5)
    assert (again.attempts, again.payload) == (2, delivery.payload)


def test_a_dead_row_stays_dead_and_keeps_its_reason(db: Database) -> None:
    owe(db, 1)
    (delivery,) = claim(db)
    assert Outbox(db).dead(delivery, "gone: 410 " + "x" * 1000)
    assert claim(db, NOW + 10 * MAX_RETRY_S) == []
    with db.read() as conn:
        error = conn.execute(select(table.c.last_error)).scalar_one()
    assert error is not None
    assert error.startswith("gone: 410") and len(error) == 500  # noqa: PT018


def test_the_lease_of_a_worker_that_died_ends_and_another_takes_over(db: Database) -> None:
    owe(db, 1)
    (lost,) = claim(db, lease=30)
    assert claim(db, NOW + 29.9) == []
    (taken,) = claim(db, NOW + 30)
    assert (taken.id, taken.attempts) == (lost.id, 2)
    assert taken.lease_token != lost.lease_token


def test_a_worker_that_was_thought_dead_changes_nothing_and_is_told(db: Database) -> None:
    owe(db, 1)
    (stale,) = claim(db, lease=1)
    (current,) = claim(db, NOW + 2)
    outbox = Outbox(db)
    assert not outbox.delivered(stale, now_wall=NOW)
    assert not outbox.failed(stale, "late", retry_at_wall=NOW)
    assert not outbox.dead(stale, "late")
    assert outbox.counts()[OutboxState.LEASED] == 1
    assert outbox.delivered(current, now_wall=NOW + 3)
    assert not outbox.failed(current, "again", retry_at_wall=NOW)
    assert outbox.counts()[OutboxState.DELIVERED] == 1


def test_a_lease_that_ended_unnoticed_is_still_the_workers_own(db: Database) -> None:
    owe(db, 1)
    (delivery,) = claim(db, lease=1)
    assert Outbox(db).delivered(delivery, now_wall=NOW + 100)


@pytest.mark.parametrize("jump_s", [-10 * MAX_RETRY_S, 10 * MAX_RETRY_S])
def test_a_clock_that_jumps_by_days_delays_nothing(db: Database, jump_s: float) -> None:
    owe(db, 3)
    _leased, failed = claim(db, limit=2)
    Outbox(db).failed(failed, "503", retry_at_wall=NOW + 60)
    assert len(claim(db, NOW + jump_s)) == 3


def test_a_clock_set_back_by_hours_frees_leases_and_new_rows(db: Database) -> None:
    owe(db, 1)
    claim(db, limit=1, lease=MAX_LEASE_S)
    owe(db, 1)
    assert len(claim(db, NOW - 2 * MAX_LEASE_S)) == 2


@pytest.mark.parametrize("lease_s", [0.0, -1.0, MAX_LEASE_S + 1])
def test_a_lease_out_of_range_is_refused(db: Database, lease_s: float) -> None:
    with pytest.raises(ValueError, match="a lease is up to"):
        claim(db, lease=lease_s)


def test_a_claim_reads_the_index_of_what_is_owed_and_not_the_history(
    sqlite_db: Database,
) -> None:
    """PostgreSQL's planner rightly scans a table this small."""
    seen: list[tuple[str, tuple[object, ...]]] = []

    def note(*args: Any) -> None:
        seen.append((args[2], args[3]))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        claim(sqlite_db)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    statement, parameters = next(one for one in seen if one[0].startswith("SELECT outbox.id"))
    with sqlite_db.read() as conn:
        plan = conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
    assert "ix_outbox_open" in str(plan)


@given(
    attempts=st.integers(-1, 5000),
    base_s=st.floats(0.001, 100),
    cap_s=st.floats(0.001, 1e6),
    jitter=st.floats(0, 1),
)
def test_a_back_off_is_between_half_and_the_whole_of_its_step_and_under_its_cap(
    attempts: int, base_s: float, cap_s: float, jitter: float
) -> None:
    wait_s = backoff_s(attempts, base_s=base_s, cap_s=cap_s, jitter=jitter)
    assert min(base_s, cap_s) / 2 <= wait_s <= cap_s
    assert wait_s <= backoff_s(attempts + 1, base_s=base_s, cap_s=cap_s, jitter=jitter)


@pytest.mark.parametrize(
    ("attempts", "jitter", "wait_s"),
    [(1, 0.0, 1.0), (1, 1.0, 2.0), (2, 1.0, 4.0), (3, 0.5, 6.0), (6, 1.0, 60.0), (500, 0.0, 30.0)],
)
def test_a_back_off_doubles_from_its_base_to_its_cap(
    attempts: int, jitter: float, wait_s: float
) -> None:
    assert backoff_s(attempts, base_s=2.0, cap_s=60.0, jitter=jitter) == wait_s


# A worker logs "<id> <token>" to its own file before it confirms: what a receiver would have seen.
# With "wait" it stays when all is done, so that there is somebody to kill.
WORKERS = """
from saccade.storage import Database, Outbox
url, folder, now = sys.argv[1], sys.argv[2], float(sys.argv[3])

def work(me):
    db = Database(url)
    outbox = Outbox(db)
    with open(f"{folder}/{sys.argv[4]}-{me}", "a") as log:
        while found := outbox.claim(now_wall=now, limit=7, lease_s=30):
            for delivery in found:
                log.write(f"{delivery.id} {delivery.lease_token}\\n")
                log.flush()
                assert outbox.delivered(delivery, now_wall=now)
    if sys.argv[6] == "wait":
        signal.pause()
    db.close()

crowd(int(sys.argv[5]), work)
"""


def received(folder: os.PathLike[str]) -> Counter[int]:
    """How often each row reached the receiver, by the workers' own logs."""
    counts: Counter[int] = Counter()
    for name in os.listdir(folder):
        with open(os.path.join(folder, name)) as log:
            # A kill may cut the last line; a line without its end was not received.
            counts.update(int(line.split()[0]) for line in log if line.endswith("\n"))
    return counts


@pytest.mark.faults
def test_workers_killed_in_the_middle_lose_nothing_and_repeat_nothing_that_was_confirmed(
    db: Database, url: str, python: Python, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = 240
    owe(db, rows)
    logs = tmp_path_factory.mktemp("received")
    now = NOW
    for generation in range(3):
        crowd = python(CROWD + WORKERS, url, str(logs), str(now), f"g{generation}", "4", "wait")
        assert crowd.stdin is not None
        assert crowd.stdout is not None
        victims = [int(pid) for pid in crowd.stdout.readline().split()]
        crowd.stdin.write("go\n")
        crowd.stdin.flush()
        # Wait until work is under way, then kill all four wherever they are.
        goal = (generation + 1) * 40
        while Outbox(db).counts()[OutboxState.DELIVERED] < goal:
            assert crowd.poll() is None
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        crowd.wait(30)
        now += 31  # the leases of the dead end
    confirmed_before = done_ids(db)
    seen_before = received(logs)
    last = python(CROWD + WORKERS, url, str(logs), str(now), "last", "3", "end")
    assert last.communicate("go\n", timeout=60)[1] == ""
    assert Outbox(db).counts()[OutboxState.DELIVERED] == rows
    seen = received(logs)
    assert set(seen) == done_ids(db)
    assert len(seen) == rows  # at least once: none is missing
    assert all(seen[row] == seen_before[row] for row in confirmed_before)
    # Twice only where a worker died between the receiver's yes and its own: at most one each.
    assert sum(seen.values()) - rows <= 3 * 4


def done_ids(db: Database) -> set[int]:
    with db.read() as conn:
        query = select(table.c.id).where(table.c.state == OutboxState.DELIVERED)
        return set(conn.execute(query).scalars())


def test_claimers_at_the_same_time_never_share_a_row(
    db: Database, url: str, python: Python, tmp_path_factory: pytest.TempPathFactory
) -> None:
    owe(db, 200)
    logs = tmp_path_factory.mktemp("received")
    crowd = python(CROWD + WORKERS, url, str(logs), str(NOW), "one", "4", "end")
    assert crowd.communicate("go\n", timeout=60)[1] == ""
    assert received(logs) == Counter(sorted(done_ids(db)))
    assert len(done_ids(db)) == 200


@pytest.mark.services
def test_a_claim_on_postgres_skips_what_another_is_claiming(
    request: pytest.FixtureRequest,
) -> None:
    server = request.getfixturevalue("postgres_with_tables")
    with server.database(template="saccade_template") as url:
        db = Database(url)
        owe(db, 2)
        with db.write() as conn:
            conn.execute(text("SELECT id FROM outbox ORDER BY id LIMIT 1 FOR UPDATE"))
            assert [delivery.payload for delivery in claim(db)] == ['{"n":1}']
        db.close()
