"""The worker delivers the outbox: signed, in order, at least once, each receiver for itself."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.jobs.receiver import Receiver, free_port
from tests.support.waiting import until

from saccade.desired import Desired, ServerSpec, StorageSpec, SupervisorSpec, WebhookSpec
from saccade.engine import wire
from saccade.jobs.webhook import Attempt, Outcome, event_kind, post
from saccade.jobs.worker import Worker
from saccade.spawn import Boot, Child, start_child
from saccade.storage import migrate
from saccade.storage.database import Database
from saccade.storage.events import EventStore, NewEvent, Sink
from saccade.storage.outbox import Delivery, Outbox
from saccade.storage.tables import OutboxState, metadata
from saccade.telemetry.board import Board, WorkerWord

SECRET = "whsec_" + base64.b64encode(b"a secret of 24 bytes    ").decode()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver().start()
    yield made
    made.stop()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path}/saccade.db")
    migrate.upgrade(made, metadata)
    yield made
    made.close()


def owe(database: Database, *sinks: str, events: int = 1) -> None:
    """Store events that are owed to the sinks."""
    with database.write() as connection:
        EventStore(database).append(
            connection,
            [
                NewEvent(kind="object_appeared", at_wall=1.0, message=f"event {n}", data={"n": n})
                for n in range(events)
            ],
            [Sink(name) for name in sinks],
        )


def counts(database: Database) -> dict[OutboxState, int]:
    return {state: n for state, n in Outbox(database).counts().items() if n}


def desired(tmp_path: Path, *hooks: WebhookSpec) -> Desired:
    return Desired(
        data_dir=str(tmp_path),
        run_dir=str(tmp_path),
        server=ServerSpec(),
        storage=StorageSpec(url=f"sqlite:///{tmp_path}/saccade.db"),
        hosts=(),
        models=(),
        cameras=(),
        supervisor=SupervisorSpec(),
        webhooks=hooks,
    )


class Running:
    """A worker in a thread, and the supervisor's end."""

    def __init__(self, tmp_path: Path, *hooks: WebhookSpec) -> None:
        self.board = Board.create()
        self.page = self.board.page(0)
        self.control, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._theirs.setblocking(False)
        self.worker = Worker(desired(tmp_path, *hooks), control=self._theirs, page=self.page)
        self.thread = threading.Thread(target=self.worker.run)
        self.thread.start()

    def stop(self) -> float:
        """Stop it as the supervisor does; return how long that took, in seconds."""
        began_at = time.monotonic()
        self.control.send(wire.encode(wire.Stop()))
        self.thread.join(10)
        assert not self.thread.is_alive()
        self.control.close()
        self._theirs.close()
        return time.monotonic() - began_at


def signed_as(secret: bytes, headers: dict[str, str], body: bytes) -> str:
    """Return the signature by the words of the specification alone."""
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret, content, hashlib.sha256).digest()).decode()


def test_every_event_arrives_once_in_order_and_signed(
    tmp_path: Path, database: Database, receiver: Receiver
) -> None:
    owe(database, "hook", events=20)
    running = Running(tmp_path, WebhookSpec(name="hook", url=receiver.url, secret=SECRET))
    until(lambda: len(receiver.got) == 20, why="all arrived")
    until(lambda: counts(database) == {OutboxState.DELIVERED: 20}, why="and that is known")
    running.stop()
    assert [json.loads(got.body)["data"]["n"] for got in receiver.got] == list(range(20))
    assert len(set(receiver.ids)) == 20
    for got in receiver.got:
        expected = signed_as(b"a secret of 24 bytes    ", got.headers, got.body)
        assert got.headers["webhook-signature"] == expected
        assert abs(int(got.headers["webhook-timestamp"]) - time.time()) < 60
    assert running.page.get(WorkerWord.DELIVERED) == 20


def test_a_dead_a_hanging_and_an_endless_sink_delay_no_other_and_no_stop(
    tmp_path: Path, database: Database, receiver: Receiver
) -> None:
    hangs, endless = Receiver("hang").start(), Receiver("endless").start()
    hooks = {
        "hangs": hangs.url,
        "dead": f"http://127.0.0.1:{free_port()}/",
        "good": receiver.url,
        "endless": endless.url,
        "nonsense": "http://[::1",
        "unknown": "http://127.0.0.1:99999/",
    }
    owe(database, *hooks, events=10)
    running = Running(tmp_path, *(WebhookSpec(name=n, url=u) for n, u in hooks.items()))
    until(lambda: len(receiver.got) == 10, why="the good one has all")
    until(lambda: len(endless.got) == 10, why="a body without an end is not read")
    until(lambda: running.page.get(WorkerWord.FAILED) >= 12, why="the others are tried")
    assert running.stop() < 3.0
    assert len(hangs.got) == 1
    hangs.stop()
    endless.stop()
    assert counts(database)[OutboxState.DELIVERED] >= 20
    assert sum(counts(database).values()) == 60


def test_a_sink_that_fails_is_tried_again_with_the_same_id_until_it_takes_it(
    tmp_path: Path, database: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saccade.jobs.worker.RETRY_FIRST_S", 0.05)
    receiver.manner = "refuse"
    owe(database, "hook")
    running = Running(tmp_path, WebhookSpec(name="hook", url=receiver.url))
    until(lambda: len(receiver.got) >= 2, why="it is tried again")
    receiver.manner = "ok"
    until(lambda: counts(database) == {OutboxState.DELIVERED: 1}, why="it is taken")
    running.stop()
    assert len(set(receiver.ids)) == 1
    assert len({got.body for got in receiver.got}) == 1


def test_a_receiver_that_is_gone_for_good_is_given_up(
    tmp_path: Path, database: Database, receiver: Receiver
) -> None:
    receiver.manner = "gone"
    owe(database, "hook")
    running = Running(tmp_path, WebhookSpec(name="hook", url=receiver.url))
    until(lambda: counts(database) == {OutboxState.DEAD: 1}, why="it is given up")
    running.stop()
    assert len(receiver.got) == 1


def test_what_was_claimed_and_not_tried_at_a_stop_is_due_at_once(
    tmp_path: Path, database: Database
) -> None:
    hangs = Receiver("hang").start()
    owe(database, "hook", events=6)
    running = Running(tmp_path, WebhookSpec(name="hook", url=hangs.url, timeout_seconds=0.5))
    until(lambda: hangs.got, why="the first is tried")
    running.stop()
    hangs.stop()
    again = Outbox(database).claim(now_wall=time.time(), limit=10, lease_s=5.0)
    assert len(again) == 5  # all but the one that was tried and is waiting for its retry


def start(tmp_path: Path, board: Board, hook: WebhookSpec) -> Child:
    boot = Boot(
        role="worker",
        name="worker",
        supervisor_pid=os.getpid(),
        control_fd=-1,
        board_fd=board.fd,
        page=0,
        desired=desired(tmp_path, hook),
    )
    return start_child(boot, log_path=tmp_path / "worker.log")


@pytest.mark.faults
def test_nothing_is_lost_when_the_worker_is_killed_in_the_middle(
    tmp_path: Path, database: Database, receiver: Receiver
) -> None:
    board, hook = Board.create(), WebhookSpec(name="hook", url=receiver.url, timeout_seconds=0.2)
    owe(database, "hook", events=400)
    child = start(tmp_path, board, hook)
    until(lambda: len(receiver.got) >= 20, 10, why="it delivers")
    child.kill()
    assert child.reap() == -signal.SIGKILL
    assert len(set(receiver.ids)) < 400
    child = start(tmp_path, board, hook)
    # What the dead one had claimed waits for its lease: some seconds for so short a timeout.
    until(lambda: len(set(receiver.ids)) == 400, 15, why="every event arrived")
    until(lambda: counts(database) == {OutboxState.DELIVERED: 400}, why="and that is known")
    child.control.send(wire.encode(wire.Stop()))
    assert child.reap() == 0
    assert len(receiver.got) <= 404  # at most what was under way is delivered twice


def test_no_secret_of_a_url_gets_into_an_error() -> None:
    delivery = Delivery(
        id=1,
        event_id=1,
        sink="h",
        payload="{}",
        attempts=1,
        created_wall=0.0,
        lease_until_wall=0.0,
        lease_token="t",
    )
    with httpx.Client() as client:
        for url in (f"http://user:geheim@127.0.0.1:{free_port()}/", "http://geheim[", "geheim"):
            attempt = post(client, WebhookSpec(name="h", url=url), delivery, at_wall=0.0)
            assert attempt.outcome is Outcome.RETRY
            assert "geheim" not in attempt.error
        bad = WebhookSpec(name="h", url="http://127.0.0.1/", secret="whsec_%%%")
        assert post(client, bad, delivery, at_wall=0.0) == Attempt(Outcome.RETRY, "Error")


@pytest.mark.parametrize(
    ("payload", "kind"), [('{"kind": "a"}', "a"), ("[]", ""), ("no json", ""), ("{}", "")]
)
def test_the_kind_of_an_event_is_read_from_whatever_is_stored(payload: str, kind: str) -> None:
    stored = Delivery(
        id=1,
        event_id=1,
        sink="h",
        payload=payload,
        attempts=1,
        created_wall=0.0,
        lease_until_wall=0.0,
        lease_token="t",
    )
    assert event_kind(stored) == kind


def test_the_worker_ends_when_its_supervisor_is_gone(tmp_path: Path, database: Database) -> None:
    running = Running(tmp_path)
    running.control.shutdown(socket.SHUT_RDWR)
    running.thread.join(5)
    assert not running.thread.is_alive()
    running.control.close()
    running._theirs.close()
