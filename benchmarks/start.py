"""From nothing to the first correct answer; what the tree costs while nobody asks; its memory."""

from __future__ import annotations

import contextlib
import json
import select
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from benchmarks import material
from benchmarks.bytecode import compiled_into
from benchmarks.harness import Figure, Plan, Samples, Target
from benchmarks.other_servers import running_server
from benchmarks.processes import cpu_s, family, pss_mib
from benchmarks.trees import running_tree
from saccade.desired import ModelSpec
from saccade.models.adapter import open_adapter
from saccade.models.detect import detect_image

TOPIC = "start"
PLAIN, PAGES, NAIVE = "saccade", "saccade with pages", "naive FastAPI"
ONE_CORE = "one core"
#: Between two tries to get an answer, seconds.
RETRY_S: Final = 0.005
ANSWER_WITHIN_S: Final = 60.0
#: What processes still do after their first answer (a first garbage collection, late imports).
SETTLE_S: Final = 1.0
#: How far a box may be from the one found in this process, pixels.
CLOSE_PX: Final = 0.1


class Measured:
    """What the rounds gave: three tables of samples."""

    def __init__(self) -> None:
        self.started_s, self.idle_cores, self.memory_mib = Samples(), Samples(), Samples()

    def add(self, table: Samples, arm: str, value: float) -> None:
        """Add one sample."""
        table.of.setdefault(arm, []).append(value)


def run(plan: Plan) -> list[Figure]:
    """Start each kind of server in turns, and watch it doing nothing."""
    rounds = 1 if plan.seconds < 0.5 else 1 if plan.quick else 3
    idle_s = min(2.0, plan.seconds * 1.4)
    arms = (PLAIN, NAIVE) if plan.quick else (PLAIN, PAGES, NAIVE)
    measured = Measured()
    with tempfile.TemporaryDirectory(prefix="saccade-bench-") as folder:
        place = Path(folder)
        model = material.demo_detector() or material.tiny_detector(place)
        picture = cv2.imencode(".jpg", material.pictures(1)[0])[1].tobytes()
        expected = _expected(model, picture)
        with compiled_into(place / "bytecode"):
            for number in range(rounds + 1):
                # The first round compiles, and is not measured.
                table = measured if number else Measured()
                for arm in arms:
                    inside = place / f"{number}-{arm.replace(' ', '-')}"
                    inside.mkdir()
                    _one(arm, inside, model, picture, expected, idle_s if number else 0.1, table)
    return [*_figures(measured), *_memory_figures(measured)]


def _one(
    arm: str,
    folder: Path,
    model: ModelSpec,
    picture: bytes,
    expected: list[list[float]],
    idle_s: float,
    measured: Measured,
) -> None:
    began = time.monotonic()
    with _server(arm, folder, model) as (port, root):
        _wait_answer(port, picture, expected)
        measured.add(measured.started_s, arm, time.monotonic() - began)
        select.select([], [], [], SETTLE_S)
        pids = family(root)
        before, at = cpu_s(pids), time.monotonic()
        select.select([], [], [], idle_s)
        spent, passed = cpu_s(pids) - before, time.monotonic() - at
        # A process that does nothing at all would make a ratio of zero: one tick at least.
        measured.add(measured.idle_cores, arm, max(spent / passed, 1e-5))
        measured.add(measured.idle_cores, _core(arm), 1.0)
        for pid in pids:
            name = _name(pid, root) if arm != NAIVE else NAIVE
            measured.add(measured.memory_mib, f"{arm}: {name}", pss_mib(pid))
        measured.add(measured.memory_mib, arm, sum(pss_mib(pid) for pid in pids))


@contextlib.contextmanager
def _server(arm: str, folder: Path, model: ModelSpec) -> Iterator[tuple[int, int]]:
    """Yield the port and the pid of the first process."""
    if arm == NAIVE:
        with running_server("naive", model) as server:
            yield server.port, server.pid
        return
    with running_tree(folder, model, pages=arm == PAGES, wait=False) as tree:
        yield tree.port, tree.process.pid


def _figures(measured: Measured) -> list[Figure]:
    figures = [
        measured.started_s.figure(
            TOPIC,
            f"start to first correct answer, {arm}",
            ours=arm,
            base=NAIVE,
            unit="s",
            # The goal was 0.6 s where the naive server took 0.7 to 0.9 s.
            target=Target(0.75, at_most=True) if arm == PLAIN else None,
        )
        for arm in (PLAIN, PAGES)
        if arm in measured.started_s.of
    ]
    figures += [
        measured.idle_cores.figure(
            TOPIC,
            f"CPU while nobody asks, {arm}",
            ours=arm,
            base=_core(arm),
            unit="cores",
            target=Target(0.005, at_most=True) if arm == PLAIN else None,
        )
        for arm in (PLAIN, PAGES, NAIVE)
        if arm in measured.idle_cores.of
    ]
    return figures


def _core(arm: str) -> str:
    return f"{ONE_CORE} ({arm})"


def _memory_figures(measured: Measured) -> list[Figure]:
    note = (
        "PSS counts a shared page in part; the naive server is one process with the same "
        "model. Every process of the tree stands beside it."
    )
    figures = [
        measured.memory_mib.figure(
            TOPIC,
            f"memory (PSS), {arm}, all processes",
            ours=arm,
            base=NAIVE,
            unit="MiB",
            # The goal was 70 MB where the naive server took 81.
            target=Target(0.86, at_most=True) if arm == PLAIN else None,
            note=note,
        )
        for arm in (PLAIN, PAGES)
        if arm in measured.started_s.of
    ]
    names = [n for n in measured.memory_mib.of if n.startswith((f"{PLAIN}: ", f"{PAGES}: pages"))]
    figures += [
        measured.memory_mib.figure(
            TOPIC, f"memory (PSS), {name.partition(': ')[2]}", ours=name, base=NAIVE, unit="MiB"
        )
        for name in names
    ]
    return figures


def _name(pid: int, root: int) -> str:
    if pid == root:
        return "supervisor"
    title = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
    return title.removeprefix("saccade: ").strip()


def _expected(model: ModelSpec, picture: bytes) -> list[list[float]]:
    """Return the boxes that are right: what the model finds in this process."""
    adapter = open_adapter(model, ["CPUExecutionProvider"], 1)
    adapter.load()
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    found = detect_image(adapter, np.asarray(pixels, np.uint8))
    if not len(found):
        raise ValueError("the model finds nothing on the picture, so no answer can be wrong")
    boxes: list[list[float]] = found.boxes_px.tolist()
    return boxes


def _wait_answer(port: int, picture: bytes, expected: list[list[float]]) -> None:
    """Ask until the right answer comes.

    Raises:
        ValueError: the answer is a wrong one.
        TimeoutError: none came.
    """
    deadline = time.monotonic() + ANSWER_WITHIN_S
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/detect",
        data=picture,
        method="POST",
        headers={"Content-Type": "image/jpeg"},
    )
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_WITHIN_S) as answer:
                boxes = [found["bbox"] for found in json.loads(answer.read())["detections"]]
        except (urllib.error.HTTPError, OSError):  # not there yet, or not ready yet
            select.select([], [], [], RETRY_S)
            continue
        if np.shape(boxes) != np.shape(expected) or not np.allclose(boxes, expected, atol=CLOSE_PX):
            raise ValueError(f"the answer is {boxes}, right is {expected}")
        return
    raise TimeoutError(f"no answer in {ANSWER_WITHIN_S:g} s")
