"""One process that has frames looked at, as fast as it can, in windows of time its parent asks for.

`python -m benchmarks.frame_loop FD` reads a `Job` from descriptor FD. With a host it is a camera
without a decoder: it copies a frame into a slot, letterboxes it there, lends the slot, waits for
the answer, one frame under way at a time. Without one it is the bare loop: letterbox, inference and
decoding of the answer in this process, nothing else.
"""

from __future__ import annotations

import mmap
import os
import select
import socket
import sys
import time
from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.material import HEIGHT, HOST, WIDTH
from saccade.desired import ModelSpec
from saccade.engine import wire
from saccade.engine.client import HostClient
from saccade.engine.ring import i420_bytes
from saccade.models.adapter import open_adapter
from saccade.spawn import die_with_parent, read_memfd
from saccade.vision.detections import Detections
from saccade.vision.letterbox import Letterbox
from saccade.vision.pixels import i420_into_input

FRAME_BYTES = i420_bytes(WIDTH, HEIGHT)
#: As a camera asks for.
SLOTS = 3
DEADLINE_S = 10.0


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What the process is."""

    parent_pid: int
    control_fd: int
    frames_fd: int  # a memfd of whole I420 frames of WIDTH x HEIGHT
    model: ModelSpec
    run_dir: str = ""  # of the host; empty: the bare loop
    first: int = 0  # frame to start with


class Window(msgspec.Struct, frozen=True):
    """When to work, monotonic seconds."""

    start_at: float
    end_at: float


class Done(msgspec.Struct, frozen=True):
    """What was done in a window."""

    frames: int
    found: int
    seconds: float
    cpu_s: float


def main(argv: list[str]) -> None:
    """Work in windows until the parent closes the control socket."""
    job = msgspec.msgpack.decode(read_memfd(int(argv[1])), type=Job)
    die_with_parent(job.parent_pid)
    control = socket.socket(fileno=job.control_fd)
    frames = _frames(job.frames_fd)
    once = _camera(job) if job.run_dir else _bare(job)
    once(frames[0])
    control.send(b"ready")
    at = job.first
    while packet := control.recv(4096):
        window = msgspec.msgpack.decode(packet, type=Window)
        select.select([], [], [], max(0.0, window.start_at - time.monotonic()))
        count = found = 0
        began, cpu = time.monotonic(), time.process_time()
        while (now := time.monotonic()) < window.end_at:
            found += len(once(frames[at % len(frames)]))
            at += 1
            count += 1
        done = Done(count, found, now - began, time.process_time() - cpu)
        control.send(msgspec.msgpack.encode(done))


def _frames(fd: int) -> list[NDArray[np.uint8]]:
    memory = mmap.mmap(fd, os.fstat(fd).st_size, prot=mmap.PROT_READ)
    return list(np.frombuffer(memory, np.uint8).reshape(-1, HEIGHT * 3 // 2, WIDTH))


def _bare(job: Job) -> Callable[[NDArray[np.uint8]], Detections]:
    adapter = open_adapter(job.model, ["CPUExecutionProvider"], 1)
    adapter.load()
    spec = adapter.input
    inputs = np.empty((1, spec.height, spec.width, 3), np.uint8)

    def once(frame: NDArray[np.uint8]) -> Detections:
        box = i420_into_input(frame, WIDTH, HEIGHT, spec, inputs[0])
        return box.to_native(adapter.infer(inputs)[0])

    return once


def _camera(job: Job) -> Callable[[NDArray[np.uint8]], Detections]:
    client = HostClient(
        job.run_dir,
        host=HOST,
        model=job.model.name,
        name=f"bench-{job.first}",
        slots=SLOTS,
        frame_bytes=FRAME_BYTES,
    )
    client.connect()
    poll = select.epoll()
    poll.register(client.fileno(), select.EPOLLIN)
    while not client.is_ready:
        poll.poll(1.0)
        list(client.on_readable())
    seq = 0

    def once(frame: NDArray[np.uint8]) -> Detections:
        nonlocal seq
        ring, spec = client.ring, client.input
        assert ring is not None
        slot = ring.take()
        assert slot is not None
        pixels = ring.frame(slot, WIDTH, HEIGHT)
        pixels[:] = frame
        target = ring.input(slot, spec.height, spec.width)
        box = i420_into_input(pixels, WIDTH, HEIGHT, spec, target)
        seq += 1
        if not client.submit(slot, seq=seq, admitted=1, deadline_s=time.monotonic() + DEADLINE_S):
            raise RuntimeError("the host did not take a frame")
        return _await(client, poll, box)

    return once


def _await(client: HostClient, poll: select.epoll, box: Letterbox) -> Detections:
    found: Detections | None = None
    while found is None:
        poll.poll()
        for arrival in client.on_readable():
            if not isinstance(arrival, wire.Answer):
                raise RuntimeError(f"no answer but {arrival}")
            found = box.to_native(Detections.unpack(arrival.detections))
            client.give_back(arrival.slot)
    return found


if __name__ == "__main__":
    main(sys.argv)
