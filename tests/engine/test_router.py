"""The router: observations become events, whatever the cameras and the database do meanwhile."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.support.waiting import until

from saccade.cameras.episodes import EpisodeKind, Episodes
from saccade.cameras.links import RouterLink
from saccade.desired import Desired, ServerSpec, StorageSpec, SupervisorSpec, WebhookSpec
from saccade.engine import wire
from saccade.router import Router, Scene
from saccade.storage import migrate
from saccade.storage.database import Database
from saccade.storage.events import EventStore, StoredEvent
from saccade.storage.outbox import Outbox
from saccade.storage.tables import OutboxState, metadata
from saccade.telemetry.board import Board, RouterWord, Word
from saccade.types import CameraId, ModelName

M = ModelName("m")


def observation(camera: str, seq: int, at: float, *labels: str, **more: float) -> wire.Observation:
    said = wire.Observation(
        camera=CameraId(camera),
        model=M,
        seq=seq,
        at=at,
        at_wall=at + 1000.0,
        width=64,
        height=48,
        seen=tuple(wire.Seen(label, 0.5, (0, 0, 1, 1)) for label in labels),
        appear_frames=2,
        leave_seconds=1.5,
    )
    return msgspec.structs.replace(said, **more)


@pytest.mark.parametrize("period_s", [0.2, 2.0, 10.0])
@pytest.mark.parametrize("lag_s", [0.0, 3.0])
def test_an_object_that_stands_still_appears_once_however_slow_camera_and_model_are(
    period_s: float, lag_s: float
) -> None:
    scene, facts = Scene(Episodes(2, 1.5), M), []
    for n in range(30):
        at = 100 + n * period_s
        facts += scene.hear(observation("a", n, at, "cat"), at + lag_s)
        for step in range(4):  # the router looks again and again until the next one comes
            facts += scene.pass_time(at + lag_s + period_s * step / 4)
    assert [fact.kind for fact in facts] == [EpisodeKind.APPEARED]
    last_at = 100 + 29 * period_s
    assert scene.next_end() >= last_at + lag_s
    (left,) = scene.pass_time(scene.next_end() + 0.001)
    assert (left.kind, left.at) == (EpisodeKind.LEFT, last_at)


def test_what_was_edited_of_a_camera_counts_from_its_next_observation_on() -> None:
    scene = Scene(Episodes(2, 1.5), M)
    assert scene.hear(observation("a", 1, 1.0, "cat", appear_frames=1), 1.0) != []
    assert scene.episodes.leave_seconds == 1.5
    scene.hear(observation("a", 2, 1.2, "cat", leave_seconds=9.0), 1.2)
    assert scene.episodes.leave_seconds == 9.0


class Running:
    """A router in a thread, and the supervisor's end."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.url = folder, f"sqlite:///{folder}/saccade.db"
        self.database = Database(self.url)
        migrate.upgrade(self.database, metadata)
        self.page = Board.create().page(0)
        self.control, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._theirs.setblocking(False)
        self._listener = wire.listen(folder, "router.sock")
        desired = Desired(
            data_dir=str(folder),
            run_dir=str(folder),
            server=ServerSpec(),
            hosts=(),
            models=(),
            cameras=(),
            supervisor=SupervisorSpec(),
            storage=StorageSpec(url=self.url, commit_ms=20),
            webhooks=(WebhookSpec(name="hook", url="", kinds=("object_left",)),),
        )
        self.router = Router(desired, listener=self._listener, control=self._theirs, page=self.page)
        self.thread = threading.Thread(target=self.router.run)
        self.thread.start()

    def events(self, kind: str | None = None) -> list[StoredEvent]:
        return EventStore(self.database).list(after_id=0, limit=1000, kind=kind)

    def happened(self, kind: str, **data: int) -> None:
        self.control.send(
            wire.encode(wire.Happened(kind=kind, severity="info", message=kind, data={**data}))
        )

    def beats(self) -> int:
        return self.page.get(Word.HEARTBEAT)

    def close(self) -> None:
        self.control.close()
        self.thread.join(10)
        assert not self.thread.is_alive()
        for sock in self.router._clients.values():
            sock.close()
        self._theirs.close()
        self._listener.close()
        self.database.close()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path)
    yield made
    made.close()


def test_an_appearance_and_its_end_are_stored_and_owed_to_who_wants_them(running: Running) -> None:
    link = RouterLink(str(running.folder))
    now = time.monotonic()
    for n in range(3):
        assert link.send(observation("a", n, now + n / 10 - 2, "cat", "cat"))
    until(lambda: len(running.events()) == 2, why="it appeared and left")
    appeared, left = running.events()
    assert (appeared.kind, left.kind) == ("object_appeared", "object_left")
    assert appeared.camera == "a"
    assert appeared.data["most"] == 2
    assert Outbox(running.database).counts()[OutboxState.PENDING] == 1
    link.close()


def test_a_locked_database_stops_no_heartbeat_and_loses_no_event(running: Running) -> None:
    other = Database(running.url)
    with other.write() as connection:
        connection.exec_driver_sql("SELECT 1")
        for n in range(5):
            running.happened("fact", n=n)
        until(lambda: running.page.get(RouterWord.FAILED_COMMITS), why="a commit failed")
        beats = running.beats()
        until(lambda: running.beats() > beats, 4, why="its heart beats")
    until(lambda: len(running.events("fact")) == 5, why="the events are stored")
    other.close()
    assert sorted(int(str(e.data["n"])) for e in running.events("fact")) == list(range(5))


def test_an_event_that_no_database_takes_does_not_hold_back_the_others(running: Running) -> None:
    link, now = RouterLink(str(running.folder)), time.monotonic()
    running.happened("before")
    for n in range(2):  # its wall time is no number: the row is refused
        link.send(observation("bad", n, now + n / 10, "cat", at_wall=math.nan))
    for n in range(2):
        link.send(observation("good", n, now + n / 10, "cat"))
    running.happened("after")
    until(
        lambda: {"before", "after", "object_appeared"} <= {e.kind for e in running.events()},
        why="the others are stored",
    )
    assert {e.camera for e in running.events("object_appeared")} == {"good"}
    link.close()


def test_a_camera_that_sends_without_end_keeps_nobody_waiting(running: Running) -> None:
    stop, sent = threading.Event(), threading.Event()

    def flood() -> None:
        link, n = RouterLink(str(running.folder)), 0
        while not stop.is_set():
            n += 1
            link.send(observation("flood", n, time.monotonic()))
            sent.set()
        link.close()

    thread = threading.Thread(target=flood)
    thread.start()
    assert sent.wait(5)
    try:
        link, now = RouterLink(str(running.folder)), time.monotonic()
        for n in range(2):
            until(
                lambda n=n: link.send(observation("calm", n, now + n / 10, "cat")),  # type: ignore[misc]
                why="it is taken",
            )
        until(
            lambda: [e for e in running.events("object_appeared") if e.camera == "calm"],
            why="the calm one is heard",
        )
        beats = running.beats()
        until(lambda: running.beats() > beats + 10, why="its heart beats")
        link.close()
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize(
    "packet",
    [b"\xc1", bytes(range(64)), b"\x91" * 50_000, wire.IN_MEMFD],
    ids=["rubbish", "numbers", "deep", "no memfd"],
)
def test_a_camera_that_sends_rubbish_is_dropped_alone(running: Running, packet: bytes) -> None:
    with wire.connect(str(running.folder), "router.sock") as sock:
        sock.send(packet)

        def dropped() -> bool:
            try:
                return wire.hear(sock) == b""
            except BlockingIOError:
                return False

        until(dropped, why="it is dropped")
    link = RouterLink(str(running.folder))
    assert link.send(observation("a", 1, time.monotonic()))
    until(lambda: running.page.get(RouterWord.OBSERVATIONS) == 1, why="another is heard")
    link.close()


def test_a_link_to_a_router_that_comes_late_and_is_replaced_connects_by_itself(
    tmp_path: Path,
) -> None:
    link = RouterLink(str(tmp_path))
    assert not link.send(observation("a", 1, 1.0))
    for _ in range(2):
        listener = wire.listen(tmp_path, "router.sock")
        until(lambda: link.send(observation("a", 2, 1.0)), why="it is connected")
        client, _address = listener.accept()
        assert wire.observation(wire.hear(client)).seq == 2
        client.close()
        listener.close()
        assert not link.send(observation("a", 3, 1.0))  # said, so that it is counted
    link.close()
