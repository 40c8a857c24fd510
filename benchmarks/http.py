"""What the HTTP door costs for an image: CPU of all server processes, and latency at one client."""

from __future__ import annotations

import contextlib
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import material
from benchmarks.harness import Figure, Plan, Samples, Target
from benchmarks.http_client import exchange, post_request
from benchmarks.other_servers import running_server
from benchmarks.processes import cpu_s
from benchmarks.trees import running_tree

TOPIC = "http"
OURS, NAIVE, BARE = "saccade", "naive FastAPI", "bare drain"
CLIENTS = 8
RAW = "raw 150 KB"
#: Of the plan's seconds: there are many windows here, and a request is short.
WINDOW = 0.35
#: 224x224 pixels with a header: about 150 KB that cost next to nothing to decode.
RAW_SIDE = 224
JPEG_BYTES = 150_000
#: FastAPI 323 us, a hot path below 120 us of server CPU for this request.
CPU_GOAL = Target(0.37, at_most=True)


@dataclass(frozen=True, slots=True)
class Door:
    """A server under measurement."""

    port: int
    pids: Callable[[], Sequence[int]]


def run(plan: Plan) -> list[Figure]:
    """Measure one body after another at all three servers."""
    picture = material.pictures(1)[0]
    bodies = {RAW: material.bmp(picture[:RAW_SIDE, :RAW_SIDE])}
    if not plan.quick:
        bodies["JPEG 150 KB 1280x720"] = material.jpeg_of_size(picture, JPEG_BYTES)
    figures = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="saccade-bench-")))
        model = material.tiny_detector(folder)
        tree = stack.enter_context(running_tree(folder, model))
        naive = stack.enter_context(running_server("naive", model))
        bare = stack.enter_context(running_server("bare"))
        doors = {
            OURS: Door(tree.port, lambda: tree.pids),
            NAIVE: Door(naive.port, lambda: [naive.pid]),
            BARE: Door(bare.port, lambda: [bare.pid]),
        }
        for name, body in bodies.items():
            request = post_request("/api/detect", body)
            # The raw body is what a target stands on; the other shows what people send.
            rounds = plan.rounds if name == RAW else max(2, plan.rounds // 2)
            figures += _of_body(name, request, doors, plan, rounds)
    return figures


def _of_body(
    name: str, request: bytes, doors: dict[str, Door], plan: Plan, rounds: int
) -> list[Figure]:
    cpu, p50 = Samples({d: [] for d in doors}), Samples({d: [] for d in doors})
    window = plan.seconds * WINDOW
    for number in range(rounds + 1):
        for door_name, door in doors.items():
            before = cpu_s(door.pids())
            answers = exchange(door.port, request, clients=CLIENTS, seconds=window)
            spent = cpu_s(door.pids()) - before
            alone = exchange(door.port, request, clients=1, seconds=window)
            if number:  # the first round warms up
                cpu.of[door_name].append(spent / len(answers) * 1e6)
                p50.of[door_name].append(statistics.median(alone))
    added = [a - b for a, b in zip(p50.of[OURS], p50.of[BARE], strict=True)]
    others = [a - b for a, b in zip(p50.of[NAIVE], p50.of[BARE], strict=True)]
    latency = (
        f"{name}: p50 added over the bare drain: saccade {statistics.median(added):.2f} ms "
        f"({min(added):.2f}-{max(added):.2f}), naive {statistics.median(others):.2f} ms."
    )
    return [
        cpu.figure(
            TOPIC,
            f"{name}: server CPU per request",
            ours=OURS,
            base=NAIVE,
            unit="us",
            target=CPU_GOAL if name == RAW else None,
        ),
        cpu.figure(TOPIC, f"{name}: server CPU per request", ours=OURS, base=BARE, unit="us"),
        p50.figure(
            TOPIC,
            f"{name}: p50 at one client",
            ours=OURS,
            base=NAIVE,
            unit="ms",
            target=Target(1.0, at_most=True) if name == RAW else None,
            note=latency,
        ),
    ]
