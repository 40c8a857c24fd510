"""Starts a real host as the supervisor does: a process of its own, told over its control socket."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.material import HOST
from saccade.desired import (
    Desired,
    HostSpec,
    ModelSpec,
    ServerSpec,
    StorageSpec,
    SupervisorSpec,
)
from saccade.engine import wire
from saccade.spawn import Boot, Child, start_child
from saccade.telemetry.board import Board
from saccade.types import ModelStatus

READY_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class RunningHost:
    """A host process whose model has proved itself."""

    pid: int
    run_dir: str
    model: ModelSpec


@contextlib.contextmanager
def running_host(folder: Path, model: ModelSpec, *, queue_limit: int = 64) -> Iterator[RunningHost]:
    """Run a host with one model for the length of the block; it dies with this process.

    Args:
        folder: an empty folder for its socket and log.
        model: the model; run on one CPU thread.
        queue_limit: requests that may wait.
    """
    spec = HostSpec(name=HOST, threads=1, queue_limit=queue_limit)
    desired = Desired(
        data_dir=str(folder),
        run_dir=str(folder),
        server=ServerSpec(),
        storage=StorageSpec(url=""),
        supervisor=SupervisorSpec(),
        hosts=(spec,),
        models=(model,),
        cameras=(),
    )
    board = Board.create()
    listener = wire.listen(folder, f"host-{HOST}.sock")
    boot = Boot(
        role="host",
        name=HOST,
        supervisor_pid=os.getpid(),
        control_fd=-1,
        board_fd=board.fd,
        page=0,
        listeners={"host": listener.fileno()},
        desired=desired,
        host=spec,
    )
    child = start_child(boot, log_path=folder / "host.log")
    try:
        child.control.send(wire.encode(wire.Load(model)))
        _wait_ready(child, folder)
        yield RunningHost(child.pid, str(folder), model)
    finally:
        with contextlib.suppress(OSError):
            child.control.send(wire.encode(wire.Stop("the benchmark is over")))
        select.select([child.pidfd], [], [], 2.0)
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
        child.reap()
        listener.close()
        os.close(board.fd)


def _wait_ready(child: Child, folder: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not select.select([child.control], [], [], left_s)[0]:
            raise TimeoutError(f"the host was not ready in {READY_WITHIN_S:g} s")
        packet, _fds = wire.receive(child.control)
        fact = wire.from_child(packet) if packet else None
        if fact is None or (isinstance(fact, wire.ModelFact) and fact.status is ModelStatus.ERROR):
            raise RuntimeError(f"the host failed: {(folder / 'host.log').read_text()[-2000:]}")
        if isinstance(fact, wire.ModelFact) and fact.status is ModelStatus.READY:
            return
