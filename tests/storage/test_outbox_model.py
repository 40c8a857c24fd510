"""The outbox against a model of it: any order of claims, ends, crashes, and clocks that move."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from tests.services.postgres import PostgresServer

from saccade.storage import Database, Delivery, NewDelivery, Outbox, OutboxState, enqueue, metadata
from saccade.storage.tables import outbox as table

SECONDS = st.integers(0, 6).map(float)  # small and whole, so that boundaries are hit


@dataclass
class Row:
    """What the outbox must believe about one row."""

    state: OutboxState = OutboxState.PENDING
    due_at: float = 0.0
    attempts: int = 0
    holder: str | None = None


class OutboxMachine(RuleBasedStateMachine):
    """Runs against `url`, which holds the tables; a run begins with no rows."""

    url: str
    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.db = Database(self.url)
        with self.db.write() as conn:
            conn.execute(table.delete())
        self.outbox = Outbox(self.db)
        self.now = 1_000.0
        self.model: dict[int, Row] = {}
        self.payloads = itertools.count()

    def teardown(self) -> None:
        self.db.close()

    @rule(number=st.integers(1, 3))
    def owe(self, number: int) -> None:
        for _ in range(number):
            with self.db.write() as conn:
                payload = str(next(self.payloads))
                enqueue(conn, [NewDelivery(sink="s", payload=payload, created_wall=self.now)])
                newest = conn.execute(table.select().order_by(table.c.id.desc())).first()
            assert newest is not None
            self.model[newest.id] = Row()

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=held, limit=st.integers(1, 3), lease_s=st.integers(1, 4).map(float))
    def claim(self, limit: int, lease_s: float):  # type: ignore[no-untyped-def]
        due = sorted(
            (row.due_at, key)
            for key, row in self.model.items()
            if row.state in {OutboxState.PENDING, OutboxState.LEASED} and row.due_at <= self.now
        )
        got = self.outbox.claim(now_wall=self.now, limit=limit, lease_s=lease_s)
        assert [delivery.id for delivery in got] == [key for _, key in due[:limit]]
        for delivery in got:
            row = self.model[delivery.id]
            row.state, row.due_at = OutboxState.LEASED, self.now + lease_s
            row.attempts += 1
            row.holder = delivery.lease_token
            assert delivery.attempts == row.attempts
        # A delivery that is never used again is a worker that crashed.
        return multiple(*got)

    def holds(self, delivery: Delivery) -> bool:
        row = self.model[delivery.id]
        return row.state is OutboxState.LEASED and row.holder == delivery.lease_token

    @rule(delivery=held)
    def deliver(self, delivery: Delivery) -> None:
        expected = self.holds(delivery)
        assert self.outbox.delivered(delivery, now_wall=self.now) == expected
        if expected:
            self.model[delivery.id].state = OutboxState.DELIVERED

    @rule(delivery=held, wait_s=SECONDS)
    def fail(self, delivery: Delivery, wait_s: float) -> None:
        expected = self.holds(delivery)
        done = self.outbox.failed(delivery, "no", retry_at_wall=self.now + wait_s)
        assert done == expected
        if expected:
            row = self.model[delivery.id]
            row.state, row.due_at = OutboxState.PENDING, self.now + wait_s

    @rule(delivery=held)
    def give_up(self, delivery: Delivery) -> None:
        expected = self.holds(delivery)
        assert self.outbox.dead(delivery, "never") == expected
        if expected:
            self.model[delivery.id].state = OutboxState.DEAD

    @invariant()
    def every_row_is_in_exactly_one_state_and_none_is_lost(self) -> None:
        counts = self.outbox.counts()
        assert sum(counts.values()) == len(self.model)
        for state in OutboxState:
            assert counts[state] == sum(row.state is state for row in self.model.values())


@pytest.fixture
def sqlite_with_tables() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'model.db'}"
        db = Database(url)
        with db.write() as conn:
            metadata.create_all(conn)
        db.close()
        yield url


def run(url: str, examples: int) -> None:
    machine = type("Machine", (OutboxMachine,), {"url": url})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=30, deadline=None)
    )


def test_the_outbox_does_what_its_model_does_on_sqlite(sqlite_with_tables: str) -> None:
    run(sqlite_with_tables, 40)


@pytest.mark.services
def test_the_outbox_does_what_its_model_does_on_postgres(
    postgres_with_tables: PostgresServer,
) -> None:
    with postgres_with_tables.database(template="saccade_template") as url:
        run(url, 10)
