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
from saccade.errors import SaccadeError
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
#: Longest wait for another writer of the database, seconds. Far below the patience of the
#: supervisor: a router that waits shows no heartbeat, and its death would lose what it keeps.
BUSY_S: Final = 2.0
#: Observations of one camera that are read in one turn, so that none keeps the others waiting.
OBSERVATIONS_AT_ONCE: Final = 64
#: Rows one purge may delete at once, so that no other writer waits long.
PURGE_ROWS: Final = 500
#: Of the usual time between two observations of a camera: silence shorter than that is none.
PERIODS_OF_SILENCE: Final = 2.5
#: Longest time between two observations that counts as usual, seconds.
LONGEST_PERIOD_S: Final = 60.0


@dataclass(slots=True)
class Scene:
    """What the router keeps of one camera."""

    episodes: Episodes
    model: ModelName
    at_wall_offset: float = 0.0  # wall minus monotonic, from its last observation
    lag_s: float = 0.0  # from capture to here, of its last observation
    last_at: float | None = None
    gaps_s: deque[float] = field(default_factory=lambda: deque(maxlen=5))

    def hear(self, observation: wire.Observation, now: float) -> list[Episode]:
        """Take an observation that arrives at `now`; return what it means."""
        at, episodes = observation.at, self.episodes
        if self.last_at is not None:
            self.gaps_s.append(min(max(0.0, at - self.last_at), LONGEST_PERIOD_S))
        self.last_at, self.lag_s = at, max(0.0, now - at)
        self.model, self.at_wall_offset = observation.model, observation.at_wall - at
        # A camera that is looked at every two seconds, or whose model takes that long, says nothing
        # for longer than `leave_seconds` while its object stands there.
        usual_s = sorted(self.gaps_s)[len(self.gaps_s) // 2] if self.gaps_s else 0.0
        episodes.leave_seconds = max(observation.leave_seconds, PERIODS_OF_SILENCE * usual_s)
        episodes.appear_frames = observation.appear_frames  # the camera may have been edited
        seen: dict[str, tuple[int, float]] = {}
        for thing in observation.seen:
            count, best = seen.get(thing.label, (0, 0.0))
            seen[thing.label] = (count + 1, max(best, thing.confidence))
        return episodes.observe(at, seen)

    def pass_time(self, now: float) -> list[Episode]:
        """End what has been silent too long; what is on its way here is not silence yet."""
        return self.episodes.pass_time(now - self.lag_s)

    def next_end(self) -> float:
        """Return when `pass_time` has something to say at the earliest."""
        return self.episodes.next_end() + self.lag_s


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
        self._database = Database(desired.storage.url, busy_seconds=BUSY_S)
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
        ends = [scene.next_end() for scene in self._scenes.values()]
        soonest = min([now + 0.5, *ends, *([self._commit_at] if self._commit_at else [])])
        return max(0.0, soonest - now)

    def _tell(self, word: wire.Good) -> None:
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
        for _ in range(OBSERVATIONS_AT_ONCE):
            try:
                packet = wire.hear(client)
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
                packet = wire.hear(self._control)
            except BlockingIOError:
                return
            word = wire.to_child(packet) if packet else wire.Stop("the supervisor is gone")
            if isinstance(word, wire.Stop):
                self._stop = True
                return
            if isinstance(word, wire.Happened):
                self._keep(
                    NewEvent(
                        kind=word.kind,
                        severity=Severity(word.severity),
                        camera=word.camera,
                        model=word.model,
                        at_wall=time.time(),
                        message=word.message,
                        data={**word.data},
                    )
                )

    def _observe(self, observation: wire.Observation) -> None:
        self._page.add(RouterWord.OBSERVATIONS)
        scene = self._scenes.get(observation.camera)
        if scene is None:
            scene = Scene(
                Episodes(observation.appear_frames, observation.leave_seconds), observation.model
            )
            self._scenes[observation.camera] = scene
        for fact in scene.hear(observation, time.monotonic()):
            self._keep(_event(observation.camera, scene, fact))

    def _end_episodes(self) -> None:
        now = time.monotonic()
        for camera, scene in self._scenes.items():
            for fact in scene.pass_time(now):
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
            self._store_all(events)
        except SaccadeError as error:  # busy, full, away: it comes back
            log.warning(
                "events could not be committed",
                extra={"waiting": len(events), "code": error.code, "what": error.what},
            )
            self._page.add(RouterWord.FAILED_COMMITS)
            self._commit_at = time.monotonic() + RETRY_S
        except Exception:
            log.exception("events could not be committed together")
            self._page.add(RouterWord.FAILED_COMMITS)
            self._commit_singly()

    def _store_all(self, events: list[NewEvent]) -> None:
        with self._database.write() as connection:
            self._store.append(connection, events, sinks=self._sinks())
        for _ in events:
            self._backlog.popleft()
        self._page.add(RouterWord.COMMITS)
        self._page.add(RouterWord.EVENTS, len(events))

    def _commit_singly(self) -> None:
        """Commit what can be: one event that no database takes must not hold back all others."""
        while self._backlog:
            try:
                self._store_all([self._backlog[0]])
            except SaccadeError:
                self._commit_at = time.monotonic() + RETRY_S
                return
            except Exception:
                lost = self._backlog.popleft()
                log.exception("an event is lost: it cannot be stored", extra={"kind": lost.kind})

    def _sinks(self) -> list[Sink]:
        return [Sink(hook.name, frozenset(hook.kinds)) for hook in self._desired.webhooks]

    def _purge(self) -> None:
        storage = self._desired.storage
        self._purge_at = time.monotonic() + storage.purge_seconds
        if abs(time.time() - time.monotonic() - self._clock_offset) > CLOCK_JUMP_S:
            log.error("the clock has jumped; nothing is purged until the next start")
            return
        policy = RetentionPolicy(
            {
                RetentionClass.EVENT: storage.event_days,
                RetentionClass.OUTBOX: storage.outbox_days,
                RetentionClass.SESSION: 0.0,
            }
        )
        try:
            gone = purge(self._database, metadata, policy, now_wall=time.time(), limit=PURGE_ROWS)
        except Exception:  # tried again at the next turn
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
        kind=fact.kind,
        severity=Severity.INFO,
        camera=camera,
        model=scene.model,
        at_wall=fact.at + scene.at_wall_offset,
        message=message,
        data={
            "label": fact.label,
            "most": fact.most,
            "confidence": round(fact.confidence, 4),
            "seconds": round(fact.seconds, 3),
            "frames": fact.frames,
        },
    )
