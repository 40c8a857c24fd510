"""A host in a thread with real sockets, adapters that do what a test says, and clients to lend."""

from __future__ import annotations

import contextlib
import gc
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tests.support.waiting import until

from saccade.desired import HostSpec, ModelSpec
from saccade.engine import wire
from saccade.engine.client import HostClient
from saccade.engine.host import Host
from saccade.models.adapter import ModelAdapter, open_adapter
from saccade.telemetry.board import Board, ModelWord, Page, Word, model_base
from saccade.types import HostName, ModelKind, ModelName, ModelStatus
from saccade.vision.detections import Detections
from saccade.vision.letterbox import InputSpec

HOST = HostName("main")
Frames = NDArray[np.uint8]
Infer = Callable[[Frames], Sequence[Detections]]


def found(value: int) -> Detections:
    """Return one detection whose first coordinate says a value."""
    return Detections(
        np.array([[value, 0, 1, 1]], np.float32),
        np.array([0.5], np.float32),
        np.array([0], np.int32),
    )


def value_of(answer: wire.Answer) -> int:
    """Return the value that `found` put into an answer."""
    return int(Detections.unpack(answer.detections).boxes_px[0, 0])


def mark(frames: Frames) -> list[Detections]:
    """Answer each frame with the value of its first pixel."""
    return [found(int(frame[0, 0, 0])) for frame in frames]


class ScriptedAdapter:
    """A model that does what a test wants, and remembers the batches it saw."""

    def __init__(
        self,
        infer: Infer = mark,
        *,
        side: int = 32,
        max_batch: int = 8,
        load: Callable[[], None] = lambda: None,
        gate: threading.Event | None = None,
    ) -> None:
        self.input = InputSpec(side, side)
        self.labels = ("thing",)
        self.max_batch = max_batch
        self.family = "scripted"
        self.batches: list[int] = []
        self.unloaded = threading.Event()
        self.entered = threading.Semaphore(0)
        self._infer, self._load, self.gate = infer, load, gate

    def load(self) -> None:
        self._load()

    def infer(self, frames: Frames) -> Sequence[Detections]:
        assert frames.shape[1:] == (self.input.height, self.input.width, 3)
        assert 1 <= len(frames) <= self.max_batch
        self.batches.append(len(frames))
        if self.gate is not None and len(self.batches) > 1:  # the first is the probe
            self.entered.release()
            assert self.gate.wait(10)
        return self._infer(frames)

    def unload(self) -> None:
        self.unloaded.set()


def model(name: str = "m", *, max_batch: int = 8, path: str = "/scripted") -> ModelSpec:
    return ModelSpec(
        name=ModelName(name),
        kind=ModelKind.DETECTOR,
        path=path,
        sha256="",
        host=HOST,
        max_batch=max_batch,
    )


class Lender:
    """A client as a camera is one, with a test's patience."""

    def __init__(self, run_dir: Path, name: str = "m", *, slots: int = 3) -> None:
        self.client = HostClient(
            str(run_dir), host=HOST, model=ModelName(name), name="test", slots=slots, frame_bytes=0
        )
        self.seq = 0
        self.arrivals: list[object] = []

    def connect(self) -> Lender:
        assert self.client.connect()
        return self

    def pump(self, timeout_s: float = 0.0) -> list[object]:
        """Take what has arrived; a slot that came back is free again."""
        if not self.client.is_connected:
            return []
        select.select([self.client.fileno()], [], [], timeout_s)
        new: list[object] = []
        for arrival in self.client.on_readable():
            if isinstance(arrival, wire.Answer | wire.Refusal):
                self.client.give_back(arrival.slot)
            new.append(arrival)
        self.arrivals += new
        return new

    def until_ready(self, within_s: float = 5.0) -> Lender:
        until(
            lambda: self.pump(0.01) is not None and self.client.is_ready,
            within_s,
            why="the client is ready",
        )
        return self

    def lend(self, value: int = 0, *, deadline_s: float = 60.0, admitted: int = 1) -> bool:
        """Lend one slot filled with a value; say whether the host's queue took it."""
        ring = self.client.ring
        assert ring is not None
        slot = ring.take()
        assert slot is not None
        spec = self.client.input
        ring.input(slot, spec.height, spec.width)[:] = value
        self.seq += 1
        sent = self.client.submit(
            slot, seq=self.seq, admitted=admitted, deadline_s=time.monotonic() + deadline_s
        )
        if not sent:
            self.client.give_back(slot)
        return sent

    def next(self, within_s: float = 5.0) -> wire.Answer | wire.Refusal:
        """Return the next end of a loan."""
        return self.take(1, within_s)[0]

    def take(self, count: int, within_s: float = 5.0) -> list[wire.Answer | wire.Refusal]:
        """Return the next `count` ends of loans."""
        ends: list[wire.Answer | wire.Refusal] = []

        def taken() -> bool:
            ends.extend(a for a in self.pump(0.01) if isinstance(a, wire.Answer | wire.Refusal))
            return len(ends) >= count

        until(taken, within_s, why=f"{count} loans ended")
        assert len(ends) == count
        return ends

    def ask(self, value: int = 0, **how: float) -> wire.Answer | wire.Refusal:
        assert self.lend(value, **how)  # type: ignore[arg-type]
        return self.next()


class Rig:
    """A host in a thread, and the supervisor's end of its life."""

    def __init__(
        self, run_dir: Path, adapters: dict[str, ScriptedAdapter] | None, **host: float
    ) -> None:
        self.run_dir, self.adapters = run_dir, adapters
        self.board = Board.create()
        self.page: Page = self.board.page(0)
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self.control, theirs):
            end.setblocking(False)
        self.facts: list[wire.FromChild] = []
        self._lenders: list[Lender] = []
        self._theirs, self._listener = theirs, wire.listen(run_dir, f"host-{HOST}.sock")
        spec = HostSpec(name=HOST, **host)  # type: ignore[arg-type]
        self.host = Host(
            spec, listener=self._listener, control=theirs, page=self.page, open_adapter=self._open
        )
        self.thread = threading.Thread(target=self.host.run, daemon=True)
        self.thread.start()

    def _open(self, spec: ModelSpec, **how: object) -> ModelAdapter:
        if self.adapters is None:
            return open_adapter(spec, **how)  # type: ignore[arg-type]
        return self.adapters[spec.path if spec.path in self.adapters else spec.name]

    def order(self, *orders: wire.Load | wire.Unload) -> None:
        for order in orders:
            self.control.send(wire.encode(order))

    def hear(self) -> list[wire.FromChild]:
        while True:
            try:
                packet = wire.hear(self.control)
            except BlockingIOError:
                return self.facts
            if not packet:
                return self.facts
            self.facts.append(wire.from_child(packet))

    def status(self, name: str = "m") -> ModelStatus | None:
        told = [f.status for f in self.hear() if isinstance(f, wire.ModelFact) and f.name == name]
        return told[-1] if told else None

    def until_status(self, status: ModelStatus, name: str = "m", within_s: float = 5.0) -> None:
        until(lambda: self.status(name) is status, within_s, why=f"{name} is {status}")

    def lender(self, name: str = "m", *, slots: int = 3) -> Lender:
        lender = Lender(self.run_dir, name, slots=slots).connect()
        self._lenders.append(lender)
        return lender

    def word(self, word: ModelWord, index: int = 0) -> int:
        return self.page.get(model_base(index) + word)

    def sum_closes(self, index: int = 0) -> bool:
        """Say whether every request that was made has ended in one way."""
        ends = (ModelWord.ANSWERED, ModelWord.REFUSED, ModelWord.GONE)
        return self.word(ModelWord.REQUESTS, index) == sum(self.word(w, index) for w in ends)

    def beats(self) -> int:
        return self.page.get(Word.HEARTBEAT)

    def close(self) -> None:
        for adapter in (self.adapters or {}).values():
            if adapter.gate is not None:
                adapter.gate.set()
        for lender in self._lenders:
            lender.client.close()
        self.control.close()  # the supervisor is gone
        self.thread.join(10)
        assert not self.thread.is_alive()
        self._theirs.close()
        self._listener.close()


@contextmanager
def running(
    run_dir: Path, adapters: dict[str, ScriptedAdapter] | None = None, **host: float
) -> Iterator[Rig]:
    """Run a host with scripted adapters, by a model's path or name; None: the real ones."""
    rig = Rig(run_dir, adapters, **host)
    try:
        yield rig
    finally:
        rig.close()


def descriptors() -> int:
    """Return how many sockets, memfds, epolls and eventfds this process has.

    Files do not count: ONNX Runtime has some of its own that come and go.
    """
    gc.collect()  # what earlier tests have left would go at any moment
    count = 0
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            kind = os.readlink(f"/proc/self/fd/{fd}")
            count += kind.startswith(("socket:", "/memfd:", "anon_inode:", "pipe:"))
    return count
