"""A real saccade for a test: the whole process tree on a free port, in a folder of its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import httpx

from saccade.cli.main import main
from tests.support import waiting

SACCADE = [sys.executable, "-m", "saccade"]


def free_port() -> int:
    """Return a port nobody uses right now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def until(holds: Callable[[], Any], within_s: float, what: str = "") -> Any:
    """Return the first true answer of `holds`; each look may be a request, so there are fewer."""
    return waiting.until(holds, within_s, why=what or repr(holds), look_s=0.03)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without settings of saccade."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("SACCADE_")}
    return {**plain, "NO_COLOR": "1", **(extra or {})}


def run_cli(
    *args: str, cwd: Path, env: Mapping[str, str] | None = None, within_s: float = 60.0
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [*SACCADE, *args],
        cwd=cwd,
        env=environment(env),
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
        stdin=subprocess.DEVNULL,
    )


class Tree:
    """A running tree."""

    def __init__(self, folder: Path, command: list[str], *, port: int, data: Path) -> None:
        self.folder, self.port, self.data = folder, port, data
        self.url = f"http://127.0.0.1:{port}"
        self.began_at = time.monotonic()
        self._out = (folder / "out.txt").open("w")
        self.process = subprocess.Popen(
            [*SACCADE, *command],
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.client = httpx.Client(base_url=self.url, timeout=20.0, trust_env=False)

    # ------------------------------------------------------------ what it says

    @property
    def output(self) -> str:
        """Return what it printed."""
        return (self.folder / "out.txt").read_text()

    def log(self, name: str) -> str:
        """Return a process's log."""
        path = self.data / "logs" / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def get(self, path: str, **kwargs: Any) -> httpx.Response:
        """GET from the API."""
        return self.client.get(path, **kwargs)

    def post(self, path: str, **kwargs: Any) -> httpx.Response:
        """POST to the API."""
        return self.client.post(path, **kwargs)

    def state(self) -> dict[str, Any]:
        """Return /api/state."""
        answer: dict[str, Any] = self.get("/api/state").raise_for_status().json()
        return answer

    def camera(self, name: str) -> dict[str, Any]:
        """Return one camera's state; empty while it is not there."""
        found: dict[str, Any] = self.state()["cameras"].get(name, {})
        return found

    def pid(self, process: str) -> int:
        """Return the pid of one process; 0 while it is not there."""
        found: int = self.state()["processes"].get(process, {}).get("pid", 0)
        return found

    def pids(self) -> dict[str, int]:
        """Return the pid of each process."""
        return {name: p["pid"] for name, p in self.state()["processes"].items() if p["pid"]}

    def events(self, **query: Any) -> list[dict[str, Any]]:
        """Return the newest events."""
        found: list[dict[str, Any]] = self.get("/api/events", params=query).json()["events"]
        return found

    # ------------------------------------------------------------ what happens to it

    def answers(self) -> bool:
        """Say whether the door answers."""
        if self.process.poll() is not None:
            raise AssertionError(f"saccade ended ({self.process.returncode}):\n{self.output}")
        try:
            return self.get("/livez").status_code == 200
        except httpx.HTTPError:
            return False

    def wait_ready(self, within_s: float = 60.0) -> Tree:
        """Wait until a model has proved itself."""

        def is_ready() -> bool:
            return self.answers() and self.get("/readyz").status_code == 200

        try:
            until(is_ready, within_s, "ready")
        except AssertionError as error:
            logs = "\n".join(
                f"== {p.name}\n{p.read_text()[-1500:]}" for p in (self.data / "logs").glob("*.log")
            )
            raise AssertionError(f"{error}\n{self.output}\n{logs}") from None
        return self

    def wait_served(self, camera: str, count: int, within_s: float = 30.0) -> None:
        """Wait until a camera has had that many answers."""
        until(
            lambda: self.camera(camera).get("served", 0) >= count,
            within_s,
            f"{camera} served {count}",
        )

    def kill(self, process: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to one process; return its pid."""
        pid = self.pid(process)
        assert pid, f"{process} does not run"
        os.kill(pid, number)
        return pid

    def stop(self, number: int = signal.SIGTERM, within_s: float = 15.0) -> int:
        """Stop the tree; return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(within_s)
        finally:
            self.close()

    def close(self) -> None:
        """Leave nothing behind, whatever happened."""
        self.client.close()
        self._out.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


def is_alive(pid: int) -> bool:
    """Say whether a process is there and not a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return False
    return fields[0] != "Z"


@contextlib.contextmanager
def running(
    folder: Path,
    settings: Mapping[str, Any] | None = None,
    *,
    command: str = "up",
    data: Path | None = None,
    ready: bool = True,
) -> Iterator[Tree]:
    """Run a tree for the length of the block."""
    port = free_port()
    data = data or folder / "data"
    args = [command, "--port", str(port), "--data", str(data)]
    if settings is not None:  # JSON is YAML
        (folder / "saccade.yaml").write_text(json.dumps(settings))
        args += ["--config", str(folder / "saccade.yaml")]
    tree = Tree(folder, args, port=port, data=data)
    try:
        if ready:
            tree.wait_ready()
        yield tree
    finally:
        if tree.process.poll() is None:
            tree.stop()
        tree.close()


def call_cli(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run one command in this process: the same code as `run_cli`, imported once for many."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    before = sys.argv
    sys.argv = ["saccade", *args]
    try:
        with contextlib.chdir(cwd), redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.argv = before
    return subprocess.CompletedProcess(args, status, out.getvalue(), err.getvalue())
