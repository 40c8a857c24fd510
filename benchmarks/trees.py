"""Starts a real saccade for a benchmark: the whole tree, on a free port, in a folder of its own.

It ends with the block or with this process, whichever comes first.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from benchmarks.processes import family
from saccade.desired import ModelSpec

READY_WITHIN_S: Final = 60.0
STOP_WITHIN_S: Final = 10.0
#: Seconds between two looks whether it answers.
LOOK_S: Final = 0.005
_PR_SET_PDEATHSIG: Final = 1
_LIBC: Final = ctypes.CDLL(None)


class Tree:
    """A running tree."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, output: Path) -> None:
        self.process, self.port, self._output = process, port, output
        self.began_at = time.monotonic()

    @property
    def pids(self) -> list[int]:
        """Return the supervisor and all it started."""
        return family(self.process.pid)

    def named(self) -> dict[str, int]:
        """Return the pid of each process by the name the tree gives it."""
        state = json.loads(self._get("/api/state")[1])
        pids = {name: p["pid"] for name, p in state["processes"].items() if p["pid"]}
        return {"supervisor": self.process.pid, **pids}

    def wait_ready(self) -> None:
        """Wait until a model has proved itself.

        Raises:
            RuntimeError: it ended, or was not ready in time; with what it printed.
        """
        while time.monotonic() - self.began_at < READY_WITHIN_S:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                if self._get("/readyz")[0] == 200:
                    return
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(LOOK_S)
        raise RuntimeError(f"saccade did not start: {self._output.read_text()[-2000:]}")

    def _get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


@contextlib.contextmanager
def running_tree(
    folder: Path,
    model: ModelSpec,
    *,
    pages: bool = False,
    wait: bool = True,
    cameras: Mapping[str, Mapping[str, object]] | None = None,
) -> Iterator[Tree]:
    """Run a tree with one model for the length of the block.

    Args:
        folder: an empty folder for its settings and data.
        model: what it loads, on one CPU thread.
        pages: with the dashboard's process.
        wait: until it is ready.
        cameras: id -> settings; none without.
    """
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    settings = {  # JSON is YAML
        "data": str(folder / "data"),
        "server": {"port": port, "pages": pages},
        "inference": {"threads": 1, "providers": ["cpu"]},
        "models": {model.name: {"path": model.path, "max_batch": 1}},
        "cameras": cameras or {},
    }
    (folder / "saccade.yaml").write_text(json.dumps(settings))
    output = folder / "output.txt"
    with output.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "saccade", "up", "--config", str(folder / "saccade.yaml")],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            cwd=folder,
            env=_environment(),
            preexec_fn=_die_with_us,  # noqa: PLW1509 - one call, no lock
        )
    tree = Tree(process, port, output)
    try:
        if wait:
            tree.wait_ready()
        yield tree
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment() -> dict[str, str]:
    """Return ours without settings of saccade."""
    return {k: v for k, v in os.environ.items() if not k.startswith("SACCADE_")}


def _die_with_us() -> None:
    """Runs in the child before it becomes saccade: not even a `kill -9` of ours leaves a tree."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
