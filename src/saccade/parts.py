"""One part of the process tree as the supervisor keeps it: what it is, how it lives, what it may know."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from saccade.desired import CameraSpec, Desired, HostSpec
from saccade.engine import wire
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


#: Until its first heartbeat a process imports and connects; on a busy machine that takes seconds.
START_S: Final = 30.0


class PartState(StrEnum):
    """Where a part is in its life."""

    WAITING = "backoff"  # starts at `start_at`
    STARTING = "starting"
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
    page: int = -1
    child: Child | None = None
    state: PartState = PartState.WAITING
    reason: str = ""
    start_at: float = 0.0
    started_at: float = 0.0
    restarts: Restarts = field(default_factory=Restarts)
    is_leaving: bool = False
    successor: CameraSpec | None = None
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

    def started(self, now: float, page: Page) -> None:
        """Record a start."""
        self.state, self.started_at, self.is_leaving = PartState.RUNNING, now, False
        self.reason = self._restart_reason
        self._silent_ticks = self._late_ticks = 0
        page.set(Word.HEARTBEAT, 0)  # the last one's is no sign of life of this one
        self._beat = 0

    def leave(self, now: float) -> None:
        """Record that it was told to stop."""
        self.is_leaving, self.start_at = True, now

    def died(self, page: Page) -> None:
        """Record a death and close its accounts."""
        self.child = None
        self.state = PartState.STOPPED
        if self.camera is not None:
            book_dead_camera(page)
        for index in range(MODELS_PER_HOST if self.host is not None else 0):
            page.set(model_base(index) + ModelWord.BUSY_UNTIL_NS, 0)

    def plan_restart(self, policy: RestartPolicy, now: float, reason: str) -> None:
        """Decide when it starts again, or that it does not."""
        self.restarts, wait_s = self.restarts.died(policy)
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
        self._silent_ticks = 0 if beat != self._beat else self._silent_ticks + 1
        self._beat = beat
        late = self.host is not None and any(
            0 < page.get(model_base(i) + ModelWord.BUSY_UNTIL_NS) < now * 1e9
            for i in range(MODELS_PER_HOST)
        )
        self._late_ticks = self._late_ticks + 1 if late else 0
        patience_s = hang_s if beat else max(hang_s, START_S)
        return self._silent_ticks * tick_s > patience_s or self._late_ticks >= 2

    def report(self) -> wire.ProcessState:
        """Return what the state that is pushed says of it."""
        return wire.ProcessState(
            name=self.name, role=self.role, state=self.state, page=self.page,
            pid=self.child.pid if self.child is not None else 0, restarts=self.restarts.total,
            started_at=self.started_at, reason=self.reason,
        )


class PageBook:
    """Which part writes which page of the board."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}

    def take(self, name: str, board: Board) -> int:
        """Return the part's page: a clean one, or None is left and it raises."""
        if name in self._used:
            return self._used[name]
        taken = set(self._used.values())
        index = next(i for i in range(PAGES) if i not in taken)
        board.page(index).clear(0, PAGE_WORDS)
        self._used[name] = index
        return index

    def free(self, name: str) -> None:
        """Let a removed part's page be used again."""
        self._used.pop(name, None)


def without_secrets(desired: Desired, role: str) -> Desired:
    """Return what a role may know: a camera sees no database and no other camera's password."""
    if role in {"server", "router", "worker"}:
        return desired
    storage = msgspec.structs.replace(desired.storage, url="")
    return msgspec.structs.replace(desired, storage=storage, cameras=(), webhooks=(), settings=b"")


def trim_log(path: Path, most_bytes: int) -> None:
    """Keep a log below its limit: its older half goes to `<name>.1`.

    The child appends (O_APPEND), so the file can be cut under it.
    """
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size <= most_bytes:
            return
        data = path.read_bytes()
        path.with_suffix(".log.1").write_bytes(data)
        os.truncate(path, 0)


def uptime_s(started_at: float) -> float:
    """Return the seconds since a start."""
    return time.monotonic() - started_at
