"""The way of a slot to a host and of its answer back, against the barest thing that could do it."""

from __future__ import annotations

import contextlib
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import material
from benchmarks.harness import Figure, Plan, Samples, Target, percentile
from benchmarks.hosts import RunningHost, running_host
from benchmarks.processes import cpu_s
from saccade.desired import ModelSpec
from saccade.engine import wire
from saccade.engine.client import HostClient

TOPIC = "handoff"
#: Bytes of a Submit and of an Answer with four detections, as the bare ends exchange them.
ASK_BYTES, ANSWER_BYTES = 32, 128
HOST, BARE, BARE_MODEL = "host", "bare ping-pong", "bare ping-pong with the model"


@dataclass(frozen=True, slots=True)
class End:
    """A far end: how to go there and back once, and which process it is."""

    round_trip: Callable[[], None]
    pid: int


def run(plan: Plan) -> list[Figure]:
    """Measure single round trips, one under way at a time, p50 and p99."""
    count = 200 if plan.quick else 1500
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="saccade-bench-")))
        model = material.tiny_detector(folder)
        host = stack.enter_context(running_host(folder, model))
        ends = {
            HOST: stack.enter_context(_to_host(host)),
            BARE: stack.enter_context(_to_bare(None)),
            BARE_MODEL: stack.enter_context(_to_bare(model)),
        }
        p50, p99, cpu = _measure(ends, plan.rounds, count)
    return [
        p50.figure(TOPIC, "round trip, p50, tiny model", ours=HOST, base=BARE_MODEL, unit="us",
                   target=Target(2.0, at_most=True)),
        p99.figure(TOPIC, "round trip, p99, tiny model", ours=HOST, base=BARE_MODEL, unit="us"),
        cpu.figure(TOPIC, "CPU of the far end per round trip, tiny model", ours=HOST,
                   base=BARE_MODEL, unit="us", target=Target(2.0, at_most=True)),
        p50.figure(TOPIC, "round trip, p50, over nothing", ours=HOST, base=BARE, unit="us",
                   note="Over nothing: the bare far end runs no model; the host's does, a tiny "
                        "detector with its decoding, so that share is not the way's."),
        p99.figure(TOPIC, "round trip, p99, over nothing", ours=HOST, base=BARE, unit="us"),
    ]


def _measure(ends: dict[str, End], rounds: int, count: int) -> tuple[Samples, Samples, Samples]:
    """Return the p50, p99 and far CPU of each end, in microseconds, round by round."""
    p50, p99, cpu = (Samples({name: [] for name in ends}) for _ in range(3))
    for number in range(rounds + 1):
        for name, end in ends.items():
            times, cpu_before = [], cpu_s([end.pid])
            for _ in range(count):
                began = time.perf_counter_ns()
                end.round_trip()
                times.append((time.perf_counter_ns() - began) / 1e3)
            if number:  # the first round warms up
                p50.of[name].append(percentile(times, 0.50))
                p99.of[name].append(percentile(times, 0.99))
                cpu.of[name].append((cpu_s([end.pid]) - cpu_before) / count * 1e6)
    return p50, p99, cpu


@contextlib.contextmanager
def _to_host(host: RunningHost) -> Iterator[End]:
    client = connected(host, "handoff", slots=1)
    poll = select.epoll()
    poll.register(client.fileno(), select.EPOLLIN)
    assert client.ring is not None
    size = client.input
    for slot in range(client.ring.slots):
        client.ring.input(slot, size.height, size.width)[:] = 255
    seq = 0

    def round_trip() -> None:
        nonlocal seq
        seq += 1
        slot = client.ring.take() if client.ring else None
        assert slot is not None
        if not client.submit(slot, seq=seq, admitted=1, deadline_s=time.monotonic() + 10):
            raise RuntimeError("the host did not take a slot")
        while client.on_loan:
            poll.poll()
            for arrival in client.on_readable():
                if not isinstance(arrival, wire.Answer):
                    raise RuntimeError(f"no answer but {arrival}")
                client.give_back(arrival.slot)

    try:
        yield End(round_trip, host.pid)
    finally:
        poll.close()
        client.close()


def connected(host: RunningHost, name: str, *, slots: int, frame_bytes: int = 0) -> HostClient:
    """Return a client whose ring is lent and whose model is ready."""
    client = HostClient(host.run_dir, host=material.HOST, model=host.model.name, name=name,
                        slots=slots, frame_bytes=frame_bytes)
    if not client.connect():
        raise RuntimeError("the host cannot be reached")
    deadline = time.monotonic() + 10
    while not client.is_ready:
        if time.monotonic() > deadline:
            raise TimeoutError("the host said nothing of its model in 10 s")
        select.select([client.fileno()], [], [], 0.1)
        list(client.on_readable())
    return client


@contextlib.contextmanager
def _to_bare(model: ModelSpec | None) -> Iterator[End]:
    """Give round trips to `benchmarks.pingpong`, which ends when our end is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "benchmarks.pingpong", str(theirs.fileno()),
               str(ANSWER_BYTES), *([model.path] if model else [])]
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], start_new_session=True)
    theirs.close()
    ask = bytes(ASK_BYTES)

    def round_trip() -> None:
        ours.send(ask)
        ours.recv(4096)

    try:
        ours.settimeout(30)
        if ours.recv(16) != b"ready":
            raise RuntimeError("the bare end did not start")
        ours.settimeout(None)
        yield End(round_trip, process.pid)
    finally:
        ours.close()
        try:
            process.wait(2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


__all__ = ["connected", "run"]
