"""One part of the process tree as the supervisor keeps it: its life, and what it may know."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from saccade.desired import CameraSpec, Desired, HostSpec
from saccade.engine import wire
from saccade.engine.outgoing import Outgoing
from saccade.engine.restarts import RestartPolicy, Restarts
from saccade.spawn import Child
from saccade.telemetry.board import (
    MODELS_PER_HOST,
    PAGE_WORDS,
    PAGES,
    Board,
    ModelWord,
    Page,
    Word,
    book_dead_camera,
    model_base,
)
from saccade.types import CameraState, HostName

#: How long a process may take from its start to its first heartbeat, seconds: imports and the cold
#: disk of a small machine that starts ten of them at once.
START_S: Final = 60.0
#: What is copied at once when a log is trimmed.
COPY_BYTES: Final = 256 * 1024


class PartState(StrEnum):
    """Where a part is in its life."""

    WAITING = "backoff"  # starts at `start_at`
    STARTING = "starting"  # no heartbeat yet
    RUNNING = "running"
    ERROR = "error"  # its restart budget is spent
    STOPPED = "stopped"


@dataclass(slots=True, eq=False)
class Part:
    """A process that should run."""

    name: str
    role: str
    host: HostSpec | None = None
    camera: CameraSpec | None = None
    listeners: dict[str, str] = field(default_factory=dict)
    model_host: HostName | None = None  # where a camera's model was when the camera started
    page: int = -1
    child: Child | None = None
    outgoing: Outgoing | None = None  # what is still to be said to the child
    state: PartState = PartState.WAITING
    reason: str = ""
    start_at: float = 0.0
    started_at: float = 0.0
    good_at: float = 0.0  # of its first good answer since the start
    restarts: Restarts = field(default_factory=Restarts)
    is_leaving: bool = False
    successor: CameraSpec | None = None
    is_condemned: bool = False  # it was killed and is not dead yet
    _beat: int = 0
    _silent_ticks: int = 0
    _late_ticks: int = 0
    _restart_reason: str = ""

    @property
    def title(self) -> str:
        """Return what the process calls itself."""
        if self.host is not None:
            return self.host.name
        return self.camera.id if self.camera is not None else self.role

    @property
    def is_due(self) -> bool:
        """Say whether it waits for its start."""
        return self.child is None and self.state is PartState.WAITING

    def started(self, child: Child, now: float, page: Page) -> None:
        """Record a start."""
        self.child, self.outgoing = child, Outgoing(child.control)
        self.state, self.started_at = PartState.STARTING, now
        self.is_leaving = self.is_condemned = False
        self.reason = self._restart_reason
        self._silent_ticks = self._late_ticks = 0
        page.set(Word.HEARTBEAT, 0)  # the last one's is no sign of life of this one
        self._beat = 0

    def leave(self, now: float) -> None:
        """Record that it was told to stop; `start_at` says since when."""
        if not self.is_leaving:
            self.is_leaving, self.start_at = True, now

    def kill(self) -> None:
        """End its process; its death is heard later."""
        if self.child is not None:
            self.is_condemned = True
            self.child.kill()

    def died(self, page: Page) -> None:
        """Record a death and close its accounts."""
        self.child = self.outgoing = None
        self.state = PartState.STOPPED
        if self.camera is not None:
            book_dead_camera(page)
        for index in range(MODELS_PER_HOST if self.host is not None else 0):
            page.set(model_base(index) + ModelWord.BUSY_UNTIL_NS, 0)

    def was_good(self, now: float) -> None:
        """Record that it has done its work."""
        if not self.restarts.has_been_good:
            self.good_at = now
        self.restarts = self.restarts.good()

    def plan_restart(self, policy: RestartPolicy, now: float, reason: str) -> None:
        """Decide when it starts again, or that it does not."""
        self.restarts, wait_s = self.restarts.died(policy, good_for_s=now - self.good_at)
        self.reason = self._restart_reason = reason
        if wait_s is None:
            self.state = PartState.ERROR
            return
        self.state, self.start_at = PartState.WAITING, now + wait_s

    def is_hung(self, page: Page, tick_s: float, hang_s: float, now: float) -> bool:
        """Say whether it has stopped turning. Called once a tick.

        Ticks are counted, not time: when the whole machine or the supervisor itself is stopped for
        an hour, nobody is blamed for it.
        """
        beat = page.get(Word.HEARTBEAT)
        if beat != self._beat and self.state is PartState.STARTING:
            self.state = PartState.RUNNING
        busy = [
            until
            for i in range(MODELS_PER_HOST if self.host is not None else 0)
            if (until := page.get(model_base(i) + ModelWord.BUSY_UNTIL_NS))
        ]
        # A library that loads or runs a model may keep the interpreter's lock: the deadline of that
        # work says when it hangs, not the silence of the other thread.
        is_silent = beat == self._beat and not any(until >= now * 1e9 for until in busy)
        self._silent_ticks = self._silent_ticks + 1 if is_silent else 0
        self._beat = beat
        is_late = any(until < now * 1e9 for until in busy)
        self._late_ticks = self._late_ticks + 1 if is_late else 0
        patience_s = max(hang_s, START_S) if self.state is PartState.STARTING else hang_s
        return self._silent_ticks * tick_s > patience_s or self._late_ticks >= 2

    def camera_report(
        self, state: CameraState, reason: str, since_wall: float
    ) -> wire.CameraStatus:
        """Return what the state that is pushed says of its camera."""
        assert self.camera is not None
        return wire.CameraStatus(
            id=self.camera.id,
            state=state,
            reason=reason,
            since_wall=since_wall,
            spec=self.camera,
            page=self.page,
        )

    def report(self) -> wire.ProcessState:
        """Return what the state that is pushed says of it."""
        return wire.ProcessState(
            name=self.name,
            role=self.role,
            state=self.state,
            page=self.page,
            pid=self.child.pid if self.child is not None else 0,
            restarts=self.restarts.total,
            started_at=self.started_at,
            reason=self.reason,
        )


class PageBook:
    """Which part writes which page of the board."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}

    def take(self, name: str, board: Board) -> int | None:
        """Return the part's page, a clean one; None when every page is taken."""
        if name in self._used:
            return self._used[name]
        taken = set(self._used.values())
        index = next((i for i in range(PAGES) if i not in taken), None)
        if index is not None:
            board.page(index).clear(0, PAGE_WORDS)
            self._used[name] = index
        return index

    def free(self, name: str) -> None:
        """Let a removed part's page be used again."""
        self._used.pop(name, None)


def without_secrets(desired: Desired, role: str) -> Desired:
    """Return what a role may know: a camera sees no database and no other camera's password."""
    if role == "server":  # it adds and changes cameras, so it knows them all
        return desired
    known = msgspec.structs.replace(desired, cameras=(), settings=b"")
    if role == "worker":
        return known
    hooks = tuple(msgspec.structs.replace(hook, url="", secret="") for hook in desired.webhooks)
    if role == "router":  # to whom an event is owed, not where that is
        return msgspec.structs.replace(known, webhooks=hooks)
    storage = msgspec.structs.replace(desired.storage, url="")
    return msgspec.structs.replace(known, storage=storage, webhooks=())


def trim_log(path: Path, most_bytes: int) -> None:
    """Keep a log below its limit: its newest `most_bytes` go to `<name>.1`, and it starts anew.

    The child appends (O_APPEND), so the file can be cut under it. On a full disk the old lines are
    given up: a log must never be what ends the tree.
    """
    with contextlib.suppress(OSError):
        size = path.stat().st_size
        if size <= most_bytes:
            return
        kept = path.with_suffix(".log.1")
        try:
            with path.open("rb") as old, kept.open("wb") as new:
                old.seek(size - most_bytes)
                shutil.copyfileobj(old, new, COPY_BYTES)
        except OSError:
            kept.unlink(missing_ok=True)
        os.truncate(path, 0)
