"""How soon answers come again after a host was killed, over the cold start of the same host.

Both under the same load, two live cameras, in turns. The cold start is a fresh interpreter that
loads the same model through the same adapter and proves it with one inference: what no restart can
be faster than. The gap is from `kill -9` to the first frame answered by the new host.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.harness import Figure, Plan, Target, interleave
from benchmarks.material import demo_detector, real_detector
from benchmarks.trees import Tree, running_tree
from saccade.demo.clips import render_clip
from saccade.desired import ModelSpec

#: Answers must come again within this, or the benchmark fails, seconds.
WITHIN_S: Final = 20.0
LOOK_S: Final = 0.01
COLD: Final = """
import sys
import msgspec
from saccade.desired import ModelSpec
from saccade.engine.readiness import PROBE_SEED, probe_frames, prove_ready
from saccade.models.adapter import open_adapter
spec = msgspec.json.decode(sys.argv[1], type=ModelSpec)
adapter = open_adapter(spec, ("CPUExecutionProvider",), 1)
adapter.load()
prove_ready(adapter, probe_frames(adapter.input.height, adapter.input.width, seed=PROBE_SEED))
"""


def run(plan: Plan) -> list[Figure]:
    """Measure with the demo's detector, and with a real one where there is one."""
    figures = []
    with tempfile.TemporaryDirectory(prefix="saccade-bench-") as name:
        clip = Path(name) / "clip.mp4"
        render_clip(clip, seed=70_010, seconds=6.0)
        for spec in (demo_detector(), real_detector()):
            if spec is not None:
                folder = Path(name) / spec.name
                folder.mkdir()
                figures.append(_figure(plan, spec, folder, clip))
    return figures


def _figure(plan: Plan, spec: ModelSpec, folder: Path, clip: Path) -> Figure:
    cameras = {n: {"source": str(clip), "loop": True} for n in ("one", "two")}
    with running_tree(folder, spec, cameras=cameras) as tree:
        _wait(tree, _served(tree) + 10)
        samples = interleave(
            {"gap after kill -9": lambda: _gap_s(tree), "bare cold start": lambda: _cold_s(spec)},
            max(3, plan.rounds),
            warm=not plan.quick,
        )
    cold = samples.median("bare cold start")
    return samples.figure(
        "restart",
        f"first answer after a host's death, {spec.name}",
        ours="gap after kill -9",
        base="bare cold start",
        unit="s",
        # The target is the cold start and half a second, so its ratio depends on the first.
        target=Target(round(1 + 0.5 / cold, 2), at_most=True, source="cold start + 0.5 s"),
        note="Two cameras at 5 FPS: up to 0.2 s of the gap is the wait for the next due frame.",
    )


def _gap_s(tree: Tree) -> float:
    host = tree.named()["host-default"]
    os.kill(host, signal.SIGKILL)
    began_at = time.monotonic()
    while not _has_answered(_state(tree), but_not=host):
        if time.monotonic() - began_at > WITHIN_S:
            raise RuntimeError(f"no answer of a new host within {WITHIN_S} s")
        time.sleep(LOOK_S)  # noqa: TID251 - a look each 10 ms, not a hope
    return time.monotonic() - began_at


def _has_answered(state: dict[str, Any], *, but_not: int) -> bool:
    """Say whether a host other than the killed one has run a batch: its model counts from 0."""
    (model,) = state["models"].values()
    pid = state["processes"]["host-default"]["pid"]
    return (
        pid not in {0, but_not} and model["ready"] and model["metrics"]["last_infer_ms"] is not None
    )


def _cold_s(spec: ModelSpec) -> float:
    began_at = time.monotonic()
    subprocess.run([sys.executable, "-c", COLD, msgspec.json.encode(spec).decode()], check=True)
    return time.monotonic() - began_at


def _state(tree: Tree) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{tree.port}/api/state", timeout=5) as answer:
        state: dict[str, Any] = json.loads(answer.read())
    return state


def _served(tree: Tree) -> int:
    return sum(camera["served"] for camera in _state(tree)["cameras"].values())


def _wait(tree: Tree, served: int) -> None:
    deadline = time.monotonic() + WITHIN_S
    while _served(tree) < served:
        if time.monotonic() > deadline:
            raise RuntimeError(f"no answers within {WITHIN_S} s")
        time.sleep(LOOK_S)  # noqa: TID251 - a look each 10 ms, not a hope
