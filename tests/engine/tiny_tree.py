"""A real supervisor with tiny children, and the test's end of it."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil
from tests.engine.tiny_child import SIZE
from tests.support.waiting import until

from saccade.desired import CameraSpec, Desired, HostSpec, ServerSpec, StorageSpec, SupervisorSpec
from saccade.engine import wire
from saccade.types import CameraId, CameraState, HostName, SourceKind


def camera(name: str, manner: str = "", revision: str = "1", **more: object) -> CameraSpec:
    """Return a camera that behaves as `manner` says, see tiny_child."""
    fields: dict[str, object] = {
        "id": CameraId(name),
        "name": name,
        "kind": SourceKind.FILE,
        "url": manner,
        "display_url": manner,
        "model": None,
        "revision": revision,
    }
    return CameraSpec(**{**fields, **more})  # type: ignore[arg-type]


class Tree:
    """A running supervisor."""

    def __init__(self, folder: Path, desired: Desired) -> None:
        self.folder, self.desired = folder, desired
        path = folder / "desired"
        path.write_bytes(msgspec.msgpack.encode(desired))
        with (folder / "supervisor.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.engine.tiny_tree", str(path)],
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self.supervisor = psutil.Process(self.process.pid)
        self._sock: socket.socket | None = None
        self.state = wire.TreeState(version=0, processes=(), models=(), cameras=())

    def hear(self) -> wire.TreeState:
        """Take all states that have arrived; return the newest."""
        if self._sock is None:
            with contextlib.suppress(OSError):
                self._sock = wire.connect(self.desired.run_dir, "server.sock", socket.SOCK_STREAM)
        while self._sock is not None:
            self._sock.setblocking(False)
            try:
                head = self._sock.recv(SIZE.size)
            except BlockingIOError:
                break
            if len(head) < SIZE.size:
                self._sock.close()
                self._sock = None
                break
            self._sock.setblocking(True)
            word = wire.to_child(self._sock.recv(SIZE.unpack(head)[0], socket.MSG_WAITALL))
            if isinstance(word, wire.TreeState):
                self.state = word
        return self.state

    def want(self, *cameras: CameraSpec, models: tuple[object, ...] = ()) -> None:
        """Say, as the server, which cameras shall run."""
        until(lambda: self.hear().version, why="the server is there")
        assert self._sock is not None
        word = wire.encode(wire.Wanted(cameras, models))  # type: ignore[arg-type]
        self._sock.setblocking(True)
        self._sock.sendall(SIZE.pack(len(word)) + word)

    def part(self, name: str) -> wire.ProcessState | None:
        return next((p for p in self.hear().processes if p.name == name), None)

    def pid(self, name: str, *, not_: int = 0) -> int:
        """Return the pid of a running part, once it is not `not_`."""

        def running() -> int:
            part = self.part(name)
            return part.pid if part and part.state == "running" and part.pid != not_ else 0

        return until(running, 8, why=f"{name} runs")

    def camera(self, name: str) -> wire.CameraStatus | None:
        return next((c for c in self.hear().cameras if c.id == name), None)

    def until_camera(self, name: str, state: CameraState) -> None:
        until(
            lambda: (c := self.camera(name)) is not None and c.state is state,
            8,
            why=f"{name} is {state}",
        )

    def log(self, name: str) -> str:
        path = self.folder / "data" / "logs" / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def close(self) -> None:
        children = []
        with contextlib.suppress(psutil.NoSuchProcess):
            children = self.supervisor.children()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        if self._sock is not None:
            self._sock.close()
        assert self.process.stdout is not None
        self.process.stdout.close()
        _gone, alive = psutil.wait_procs(children, timeout=5)
        assert not alive, f"left behind: {alive}"


@contextmanager
def tree(
    folder: Path, *cameras: CameraSpec, hosts: tuple[str, ...] = (), **policy: float
) -> Iterator[Tree]:
    """Run a supervisor with tiny children; nothing of it is left afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    desired = Desired(
        data_dir=str(folder / "data"),
        run_dir=str(folder / "run"),
        server=ServerSpec(port=port),
        storage=StorageSpec(url="sqlite:////nowhere"),
        supervisor=SupervisorSpec(**policy),  # type: ignore[arg-type]
        hosts=tuple(HostSpec(name=HostName(name)) for name in hosts),
        models=(),
        cameras=cameras,
        pages=False,
    )
    made = Tree(folder, desired)
    try:
        yield made
    finally:
        made.close()


def main(argv: list[str]) -> int:
    """Run the supervisor of one test."""
    from saccade.supervisor import Supervisor

    desired = msgspec.msgpack.decode(Path(argv[1]).read_bytes(), type=Desired)
    child = Path(__file__).with_name("tiny_child.py")
    return Supervisor(desired, program=(sys.executable, str(child))).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
