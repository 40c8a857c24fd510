"""Frames a second of several cameras through a real host, against a bare loop with its model."""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from benchmarks import material
from benchmarks.frame_loop import Done, Job, Window
from benchmarks.harness import Figure, Plan, Samples, Target
from benchmarks.hosts import RunningHost, running_host
from benchmarks.processes import cpu_s
from saccade.desired import ModelSpec
from saccade.spawn import memfd_with

TOPIC = "cameras"
CAMERAS = (1, 4, 8)
NOTE = (
    "CPU per frame counts the host and all cameras. A camera copies its frame into a slot and "
    "letterboxes it while the model looks at another's; the bare loop does one after the other."
)
BARE = "bare loop"
#: What `material.real_detector` calls itself.
REAL = "yolo11n"
TARGET = Target(0.85, at_most=False)
#: Of the plan's seconds: enough for hundreds of frames of the demo's model.
WINDOW = 0.6
START_WITHIN_S = 60.0
#: Between the order to work and the work, so that all processes start together.
LEAD_S = 0.02


def run(plan: Plan, models: Sequence[ModelSpec] | None = None) -> list[Figure]:
    """Measure each model there is.

    Args:
        plan: how long.
        models: instead of the demo's and the real one.
    """
    if models is None:
        # The real one is slow, and only here to show that a slow model hides the way to it.
        real = None if plan.quick else material.real_detector()
        models = [m for m in (material.demo_detector(), real) if m]
    figures = []
    with tempfile.TemporaryDirectory(prefix="saccade-bench-") as folder:
        for model in models or [material.tiny_detector(Path(folder))]:
            place = Path(folder) / f"host-{model.name}"
            place.mkdir()
            figures += _of_model(place, model, plan)
    return figures


def _of_model(folder: Path, model: ModelSpec, plan: Plan) -> list[Figure]:
    counts: tuple[int, ...] = CAMERAS[1:2] if plan.quick else CAMERAS
    rounds = plan.rounds
    if model.name == REAL:
        counts, rounds = CAMERAS[1:], max(2, plan.rounds // 2)
    frames_fd = _frames_fd(4)
    try:
        with contextlib.ExitStack() as stack:
            host = stack.enter_context(running_host(folder, model))
            bare = stack.enter_context(loop(model, frames_fd))
            cameras = [
                stack.enter_context(loop(model, frames_fd, host=host, first=i))
                for i in range(max(counts))
            ]
            rates, costs = _measure(host, bare, cameras, counts, rounds, plan.seconds * WINDOW)
    finally:
        os.close(frames_fd)
    figures = []
    for count in counts:
        limit = TARGET if count > 1 else None
        figures.append(
            rates.figure(
                TOPIC,
                f"{model.name}: frames/s, {_cameras(count)}",
                ours=_arm(count),
                base=BARE,
                unit="1/s",
                target=limit,
            )
        )
    return figures + [
        costs.figure(
            TOPIC,
            f"{model.name}: CPU per frame, {_cameras(count)}",
            ours=_arm(count),
            base=BARE,
            unit="ms",
            note=NOTE,
        )
        for count in counts
    ]


def _measure(
    host: RunningHost,
    bare: Loop,
    cameras: Sequence[Loop],
    counts: Sequence[int],
    rounds: int,
    seconds: float,
) -> tuple[Samples, Samples]:
    """Return frames a second and CPU milliseconds per frame of each arm, round by round."""
    arms: dict[str, Sequence[Loop]] = {BARE: [bare], **{_arm(n): cameras[:n] for n in counts}}
    rates, costs = Samples({name: [] for name in arms}), Samples({name: [] for name in arms})
    for number in range(rounds + 1):
        for name, loops in arms.items():
            host_before = cpu_s([host.pid])
            done = work(loops, seconds if number else min(0.3, seconds))
            host_s = cpu_s([host.pid]) - host_before if name != BARE else 0.0
            frames = sum(d.frames for d in done)
            if number:  # the first round warms up
                rates.of[name].append(frames / statistics.mean(d.seconds for d in done))
                costs.of[name].append((sum(d.cpu_s for d in done) + host_s) / frames * 1e3)
    return rates, costs


def _cameras(count: int) -> str:
    return f"{count} camera{'s' if count > 1 else ''}"


def _arm(count: int) -> str:
    return f"{_cameras(count)} and a host"


class Loop:
    """A running `benchmarks.frame_loop`."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        control.settimeout(START_WITHIN_S)
        if control.recv(16) != b"ready":
            raise RuntimeError("a frame loop did not start")

    def order(self, window: Window) -> None:
        """Tell it when to work."""
        self._control.send(msgspec.msgpack.encode(window))

    def collect(self) -> Done:
        """Wait for what it did."""
        return msgspec.msgpack.decode(self._control.recv(4096), type=Done)


def work(loops: Sequence[Loop], seconds: float) -> list[Done]:
    """Let loops work at the same time."""
    start = time.monotonic() + LEAD_S
    for each in loops:
        each.order(Window(start, start + seconds))
    return [each.collect() for each in loops]


@contextlib.contextmanager
def loop(
    model: ModelSpec, frames_fd: int, *, host: RunningHost | None = None, first: int = 0
) -> Iterator[Loop]:
    """Run a frame loop; it ends with the block, or with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    job = Job(
        parent_pid=os.getpid(),
        control_fd=theirs.fileno(),
        frames_fd=frames_fd,
        model=model,
        run_dir=host.run_dir if host else "",
        first=first,
    )
    job_fd = memfd_with(msgspec.msgpack.encode(job), "saccade-bench")
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.frame_loop", str(job_fd)],
        pass_fds=[job_fd, theirs.fileno(), frames_fd],
        start_new_session=True,
    )
    os.close(job_fd)
    theirs.close()
    try:
        yield Loop(ours)
    finally:
        ours.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _frames_fd(count: int) -> int:
    frames = material.i420_frames(count)
    return memfd_with(b"".join(frame.tobytes() for frame in frames), "saccade-bench-frames")
