"""The end of the live path: observations become events in the database. No network I/O here.

One thread: it hears cameras over one socket and the supervisor over another, and writes what has
gathered every `commit_ms` in one transaction, so that one writer costs one fsync and not hundreds.
What cannot be committed (disk full, database away) is kept, bounded, and tried again.
"""

from __future__ import annotations

import logging
import select
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Final

import msgspec

from saccade.cameras.episodes import Episode, EpisodeKind, Episodes
from saccade.desired import Desired
from saccade.engine import wire
from saccade.storage.database import Database
from saccade.storage.events import EventStore, NewEvent, Sink
from saccade.storage.registry import RetentionClass
from saccade.storage.retention import RetentionPolicy, purge
from saccade.storage.tables import metadata
from saccade.telemetry.board import Page, RouterWord, Word
from saccade.types import CameraId, ModelName, Severity

log = logging.getLogger(__name__)

#: Events kept while the database does not take them; the oldest go first, counted and logged.
BACKLOG_MOST: Final = 10_000
#: Seconds between two tries when a commit fails.
RETRY_S: Final = 1.0
#: A wall clock that moved this far would make everything seem old, seconds.
CLOCK_JUMP_S: Final = 86_400.0
#: Rows one purge may delete at once, so that no other writer waits long.
PURGE_ROWS: Final = 500


@dataclass(slots=True)
class Scene:
    """What the router keeps of one camera."""

    episodes: Episodes
    model: ModelName
    at_wall_offset: float = 0.0  # wall minus monotonic, from its last observation
    seen: dict[str, tuple[int, float]] = field(default_factory=dict)


class Router:
    """The router's loop.

    Args:
        desired: settings of storage and webhooks.
        listener: where cameras connect, bound by the supervisor.
        control: the supervisor.
        page: its counters.
    """

    def __init__(
        self, desired: Desired, *, listener: socket.socket, control: socket.socket, page: Page
    ) -> None:
        self._desired, self._listener, self._control, self._page = desired, listener, control, page
        self._database = Database(desired.storage.url)
        self._store = EventStore(self._database)
        self._clients: dict[int, socket.socket] = {}
        self._scenes: dict[CameraId, Scene] = {}
        self._backlog: deque[NewEvent] = deque()
        self._commit_at: float | None = None
        self._purge_at = time.monotonic() + 5.0
        self._clock_offset = time.time() - time.monotonic()
        self._stop = False
        self._poll = select.epoll()

    def run(self) -> None:
        """Run until the supervisor says stop or is gone."""
        self._poll.register(self._listener, select.EPOLLIN)
        self._poll.register(self._control, select.EPOLLIN)
        self._tell(wire.Good())
        while not self._stop:
            for fd, _mask in self._poll.poll(self._timeout_s()):
                if fd == self._listener.fileno():
                    self._accept()
                elif fd == self._control.fileno():
                    self._hear_supervisor()
                else:
                    self._hear_camera(fd)
            self._end_episodes()
            if self._commit_at is not None and time.monotonic() >= self._commit_at:
                self._commit()
            if time.monotonic() >= self._purge_at:
                self._purge()
            self._page.add(Word.HEARTBEAT)
        self._commit()
        self._database.close()

    def _timeout_s(self) -> float:
        now = time.monotonic()
        ends = [scene.episodes.next_end() for scene in self._scenes.values()]
        soonest = min([now + 0.5, *ends, *([self._commit_at] if self._commit_at else [])])
        return max(0.0, soonest - now)

    def _tell(self, word: wire.Good | wire.Need) -> None:
        try:
            self._control.send(wire.encode(word))
        except OSError:
            log.warning("the supervisor did not take a word")

    # ------------------------------------------------------------ what comes in

    def _accept(self) -> None:
        try:
            client, _address = self._listener.accept()
        except BlockingIOError:
            return
        client.setblocking(False)
        self._clients[client.fileno()] = client
        self._poll.register(client, select.EPOLLIN)

    def _hear_camera(self, fd: int) -> None:
        client = self._clients[fd]
        while True:
            try:
                packet, _fds = wire.receive(client)
            except BlockingIOError:
                return
            try:
                observation = wire.observation(packet) if packet else None
            except msgspec.MsgspecError:
                log.exception("a packet that is no observation")
                observation = None
            if observation is None:
                self._poll.unregister(fd)
                del self._clients[fd]
                client.close()
                return
            self._observe(observation)

    def _hear_supervisor(self) -> None:
        while True:
            try:
                packet, _fds = wire.receive(self._control)
            except BlockingIOError:
                return
            word = wire.to_child(packet) if packet else wire.Stop("the supervisor is gone")
            if isinstance(word, wire.Stop):
                self._stop = True
                return
            if isinstance(word, wire.Happened):
                self._keep(NewEvent(
                    kind=word.kind, severity=Severity(word.severity),
                    camera=None if word.camera is None else CameraId(word.camera),
                    model=None if word.model is None else ModelName(word.model),
                    at_wall=time.time(), message=word.message, data=dict(word.data),
                ))

    def _observe(self, observation: wire.Observation) -> None:
        self._page.add(RouterWord.OBSERVATIONS)
        scene = self._scenes.get(observation.camera)
        if scene is None:
            scene = Scene(Episodes(observation.appear_frames, observation.leave_seconds),
                          observation.model)
            self._scenes[observation.camera] = scene
        scene.model = observation.model
        scene.at_wall_offset = observation.at_wall - observation.at
        seen: dict[str, tuple[int, float]] = {}
        for thing in observation.seen:
            count, best = seen.get(thing.label, (0, 0.0))
            seen[thing.label] = (count + 1, max(best, thing.confidence))
        for fact in scene.episodes.observe(observation.at, seen):
            self._keep(_event(observation.camera, scene, fact))

    def _end_episodes(self) -> None:
        now = time.monotonic()
        for camera, scene in self._scenes.items():
            for fact in scene.episodes.pass_time(now):
                self._keep(_event(camera, scene, fact))

    # ------------------------------------------------------------ what is kept

    def _keep(self, event: NewEvent) -> None:
        if len(self._backlog) >= BACKLOG_MOST:
            lost = self._backlog.popleft()
            log.error("an event is lost: the database takes none", extra={"kind": lost.kind})
        self._backlog.append(event)
        if self._commit_at is None:
            self._commit_at = time.monotonic() + self._desired.storage.commit_ms / 1000

    def _commit(self) -> None:
        self._commit_at = None
        if not self._backlog:
            return
        events = list(self._backlog)
        try:
            with self._database.write() as connection:
                self._store.append(connection, events, sinks=self._sinks())
        except Exception:  # noqa: BLE001 - whatever the database's driver raises
            log.exception("events could not be committed", extra={"waiting": len(events)})
            self._page.add(RouterWord.FAILED_COMMITS)
            self._commit_at = time.monotonic() + RETRY_S
            return
        for _ in events:
            self._backlog.popleft()
        self._page.add(RouterWord.COMMITS)
        self._page.add(RouterWord.EVENTS, len(events))

    def _sinks(self) -> list[Sink]:
        return [Sink(hook.name, frozenset(hook.kinds)) for hook in self._desired.webhooks]

    def _purge(self) -> None:
        storage = self._desired.storage
        self._purge_at = time.monotonic() + storage.purge_seconds
        if abs(time.time() - time.monotonic() - self._clock_offset) > CLOCK_JUMP_S:
            log.error("the clock has jumped; nothing is purged until the next start")
            return
        policy = RetentionPolicy({
            RetentionClass.EVENT: storage.event_days, RetentionClass.OUTBOX: storage.outbox_days,
            RetentionClass.SESSION: 0.0,
        })
        try:
            gone = purge(self._database, metadata, policy, now_wall=time.time(), limit=PURGE_ROWS)
        except Exception:  # noqa: BLE001 - tried again at the next turn
            log.exception("the purge failed")
            return
        if gone:
            log.info("purged", extra=gone)
            if max(gone.values()) >= PURGE_ROWS:  # there is more
                self._purge_at = time.monotonic() + 1.0


def _event(camera: CameraId, scene: Scene, fact: Episode) -> NewEvent:
    if fact.kind is EpisodeKind.APPEARED:
        message = f"{fact.label} appeared on {camera}"
    else:
        message = f"{fact.label} left {camera} after {fact.seconds:.1f} s"
    return NewEvent(
        kind=fact.kind, severity=Severity.INFO, camera=camera, model=scene.model,
        at_wall=fact.at + scene.at_wall_offset, message=message,
        data={"label": fact.label, "most": fact.most,
              "confidence": round(fact.confidence, 4), "seconds": round(fact.seconds, 3)},
    )
