"""The root of the process tree: binds listeners, starts children, watches, restarts, stops them.

One thread, one epoll. It knows what should run (`Desired`), what runs (`Part`) and what the hosts
and cameras say of themselves; it imports msgspec and nothing heavier, so it stays small and has
little that can break. When it dies the kernel ends its children.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from saccade import parts
from saccade.desired import CameraSpec, Desired
from saccade.engine import wire
from saccade.engine.restarts import RestartPolicy
from saccade.errors import PortInUse, SaccadeError
from saccade.engine.owner import ModelsOwner
from saccade.parts import Part, PartState
from saccade.spawn import Boot, read_memfd, start_child
from saccade.telemetry.board import Board
from saccade.types import CameraId, CameraState

#: Seconds between two looks at the heartbeats.
TICK_S: Final = 0.5
#: A process that has lived this long is good even if nobody asked it anything, seconds.
GOOD_AFTER_S: Final = 30.0


class Supervisor:
    """The whole tree.

    Args:
        desired: what should run.
    """

    def __init__(self, desired: Desired) -> None:
        self._desired = desired
        self._run_dir, self._log_dir = Path(desired.run_dir), Path(desired.data_dir) / "logs"
        self._poll = select.epoll()
        self._board = Board.create()
        self._pages = parts.PageBook()
        self._parts: dict[str, Part] = {}
        self._by_fd: dict[int, tuple[Part, str]] = {}
        self._listeners: dict[str, socket.socket] = {}
        self._cameras: dict[CameraId, tuple[CameraState, str, float]] = {}
        self._models = ModelsOwner(desired.models, tell=self._happened)
        self._news: list[wire.Happened] = []  # for the router, oldest first
        self._version, self._dirty = 0, True
        self._stopping_at: float | None = None
        self._next_tick = 0.0
        self._signals: list[int] = []
        self._announced = False

    # ------------------------------------------------------------ life

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; return the exit status."""
        wake = self._own_signals()
        try:
            self._bind()
            self._plan()
            while self._parts or self._stopping_at is None:
                for fd, _mask in self._poll.poll(self._timeout()):
                    if fd == wake:
                        os.read(wake, 64)
                    else:
                        self._attend(fd)
                self._take_signals()
                self._advance()
        finally:
            self._clean_up()
        return 0

    def _own_signals(self) -> int:
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda n, _frame: self._signals.append(n))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._poll.register(reader, select.EPOLLIN)
        return reader

    def _bind(self) -> None:
        self._run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._log_dir.mkdir(parents=True, exist_ok=True)
        self._listeners["http"] = bind_http(self._desired.server.host, self._desired.server.port)
        stream = socket.SOCK_STREAM
        self._listeners["admin"] = wire.listen(self._run_dir, "server.sock", stream)
        self._listeners["view"] = wire.listen(self._run_dir, "view.sock", stream)
        self._listeners["pages"] = wire.listen(self._run_dir, "pages.sock", stream)
        self._listeners["router"] = wire.listen(self._run_dir, "router.sock")
        for host in self._desired.hosts:
            self._listeners[f"host-{host.name}"] = wire.listen(
                self._run_dir, f"host-{host.name}.sock"
            )

    def _plan(self) -> None:
        """Say which processes there are; `_advance` starts them, in this order."""
        for host in self._desired.hosts:
            self._add(Part(f"host-{host.name}", "host", host=host, listeners={
                "host": f"host-{host.name}"}))
        self._add(Part("router", "router", listeners={"router": "router"}))
        self._add(Part("server", "server", listeners={
            "http": "http", "admin": "admin", "view": "view"}))
        if self._desired.pages:
            self._add(Part("pages", "pages", listeners={"pages": "pages"}))
        if self._desired.webhooks:
            self._add(Part("worker", "worker"))
        for camera in self._desired.cameras:
            self._add_camera(camera)

    def _add(self, part: Part) -> None:
        part.page = self._pages.take(part.name, self._board)
        self._parts[part.name] = part

    def _add_camera(self, spec: CameraSpec) -> None:
        self._cameras[spec.id] = (CameraState.CONNECTING, "starting", time.time())
        self._add(Part(f"camera-{spec.id}", "camera", camera=spec))

    # ------------------------------------------------------------ each turn

    def _timeout(self) -> float:
        now = time.monotonic()
        soonest = min([self._next_tick, *(p.start_at for p in self._parts.values() if p.is_due)])
        return max(0.0, min(TICK_S, soonest - now))

    def _advance(self) -> None:
        now = time.monotonic()
        if now >= self._next_tick:
            self._next_tick = now + TICK_S
            self._tick(now)
        for part in list(self._parts.values()):
            if part.is_due and part.start_at <= now and self._stopping_at is None:
                self._start(part)
        if self._stopping_at is not None:
            self._stop_in_order(now)
        self._tell_router()
        self._publish()

    def _tick(self, now: float) -> None:
        for part in self._parts.values():
            if part.child is None:
                continue
            if part.is_hung(self._board.page(part.page), TICK_S, self._hang_s(part), now):
                part.reason = "hung: no heartbeat"
                self._happened("process_hung", "error", f"{part.name} hung and was ended")
                part.child.kill()
            elif not part.restarts.has_been_good and now - part.started_at > GOOD_AFTER_S:
                part.restarts = part.restarts.good()
            parts.trim_log(self._log_dir / f"{part.name}.log",
                           self._desired.supervisor.log_max_bytes)
        self._dirty = True

    def _hang_s(self, part: Part) -> float:
        return self._desired.supervisor.hang_seconds if part.host is None else max(
            self._desired.supervisor.hang_seconds, 5.0
        )

    def _start(self, part: Part) -> None:
        page = self._board.page(part.page)
        boot = Boot(
            role=part.role, name=part.title, supervisor_pid=os.getpid(), control_fd=-1,
            board_fd=self._board.fd, page=part.page,
            listeners={k: self._listeners[v].fileno() for k, v in part.listeners.items()},
            desired=parts.without_secrets(self._desired, part.role), host=part.host,
            camera=part.camera,
        )
        part.child = start_child(boot, log_path=self._log_dir / f"{part.name}.log")
        part.started(time.monotonic(), page)
        for fd, what in ((part.child.pidfd, "death"), (part.child.control.fileno(), "word")):
            self._by_fd[fd] = (part, what)
            self._poll.register(fd, select.EPOLLIN)
        if part.host is not None:
            for spec in self._models.of_host(part.host.name):
                self._order(part, wire.Load(spec))
        self._dirty = True

    def _attend(self, fd: int) -> None:
        known = self._by_fd.get(fd)
        if known is None:
            return
        part, what = known
        self._hear(part)  # last words come before the death
        if what == "death":
            self._bury(part)

    # ------------------------------------------------------------ death

    def _bury(self, part: Part) -> None:
        child = part.child
        assert child is not None
        for fd in (child.pidfd, child.control.fileno()):
            self._poll.unregister(fd)
            del self._by_fd[fd]
        status = child.reap()
        part.died(self._board.page(part.page))
        self._dirty = True
        if part.host is not None:
            self._models.host_died(part.host.name, f"host {part.host.name} ended ({status})")
        if part.is_leaving or self._stopping_at is not None:
            self._remove(part)
            return
        policy = self._desired.supervisor
        part.plan_restart(
            RestartPolicy(policy.backoff_initial_seconds, policy.backoff_max_seconds,
                          policy.restart_budget),
            time.monotonic(), f"ended with status {status}",
        )
        if part.camera is not None:
            gone = part.state is PartState.ERROR
            self._set_camera(
                part.camera.id, CameraState.ERROR if gone else CameraState.RECONNECTING,
                "its process keeps dying" if gone else "its process is starting again",
            )
        self._happened("process_died", "warning", f"{part.name} ended with status {status}",
                       data={"status": status, "restarts": part.restarts.total})
        if part.state is PartState.ERROR:
            self._happened("process_given_up", "error",
                           f"{part.name} died {policy.restart_budget} times without one good "
                           "answer and is not started again")

    def _remove(self, part: Part) -> None:
        del self._parts[part.name]
        self._pages.free(part.name)
        if part.camera is not None:
            self._cameras.pop(part.camera.id, None)
        if part.successor is not None and self._stopping_at is None:
            self._add_camera(part.successor)

    # ------------------------------------------------------------ words

    def _hear(self, part: Part) -> None:
        child = part.child
        while child is not None and child.control.fileno() >= 0:
            try:
                packet, _fds = wire.receive(child.control)
            except BlockingIOError:
                return
            if not packet:
                return  # the pidfd says it next
            self._take_word(part, wire.from_child(packet))
            self._dirty = True

    def _take_word(self, part: Part, word: wire.FromChild) -> None:
        if isinstance(word, wire.Good):
            part.restarts = part.restarts.good()
        elif isinstance(word, wire.ModelFact):
            self._models.take(word, page=part.page)
        elif isinstance(word, wire.CameraFact):
            self._set_camera(word.id, word.state, word.reason)
        elif isinstance(word, wire.Wanted):
            self._reconcile(word)
        elif word.role == "worker" and "worker" not in self._parts:
            self._add(Part("worker", "worker"))
        self._announce()

    def _set_camera(self, camera: CameraId, state: CameraState, reason: str) -> None:
        before = self._cameras.get(camera)
        if before is None or before[:2] == (state, reason):
            return
        self._cameras[camera] = (state, reason, time.time())
        if before[0] is not state:
            is_bad = state in {CameraState.STALLED, CameraState.ERROR, CameraState.RECONNECTING}
            self._happened(
                "camera_status_change", "warning" if is_bad else "info",
                f"camera {camera} is {state}: {reason}", camera=camera,
                data={"from": before[0], "to": state, "reason": reason},
            )

    def _reconcile(self, wanted: wire.Wanted) -> None:
        """Start, replace and stop what the new wish differs in; leave the rest alone."""
        if self._stopping_at is not None:
            return
        self._desired = msgspec.structs.replace(
            self._desired, cameras=wanted.cameras, models=wanted.models
        )
        for host, order in self._models.reconcile(wanted.models):
            part = self._parts.get(f"host-{host}")
            if part is not None:
                self._order(part, order)
        specs = {spec.id: spec for spec in wanted.cameras}
        for part in [p for p in self._parts.values() if p.camera is not None]:
            assert part.camera is not None
            spec = specs.pop(part.camera.id, None)
            if spec is None or spec.revision != part.camera.revision:
                self._retire(part, spec)
        for spec in specs.values():
            self._add_camera(spec)

    def _retire(self, part: Part, successor: CameraSpec | None) -> None:
        part.successor = successor
        if part.child is None:
            self._remove(part)
            return
        part.leave(time.monotonic())
        self._order(part, wire.Stop("the camera was changed" if successor else "removed"))

    def _order(self, part: Part, order: wire.ToChild) -> bool:
        if part.child is None:
            return False
        try:
            part.child.control.send(wire.encode(order))
        except OSError:
            return False
        return True

    def _happened(
        self, kind: str, severity: str, message: str, *, camera: str | None = None,
        model: str | None = None, data: dict[str, str | int | float | None] | None = None,
    ) -> None:
        self._news.append(wire.Happened(kind=kind, severity=severity, message=message,
                                        camera=camera, model=model, data=data or {}))
        self._dirty = True

    def _tell_router(self) -> None:
        router = self._parts.get("router")
        while self._news and router is not None and self._order(router, self._news[0]):
            del self._news[0]

    def _publish(self) -> None:
        server = self._parts.get("server")
        if not self._dirty or server is None:
            return
        self._version += 1
        state = wire.TreeState(
            version=self._version,
            processes=tuple(p.report() for p in self._parts.values()),
            models=self._models.report(),
            cameras=tuple(
                wire.CameraStatus(id=p.camera.id, state=s[0], reason=s[1], since_wall=s[2],
                                  spec=p.camera, page=p.page)
                for p in self._parts.values()
                if p.camera is not None and (s := self._cameras.get(p.camera.id)) is not None
            ),
        )
        if self._order(server, state):
            self._dirty = False

    def _announce(self) -> None:
        server = self._parts.get("server")
        if self._announced or server is None or not server.restarts.has_been_good:
            return
        self._announced = True
        sys.stdout.write(f"saccade is on {url(self._desired)}  (Ctrl-C stops it)\n")
        sys.stdout.flush()

    # ------------------------------------------------------------ stop

    def _take_signals(self) -> None:
        if not self._signals:
            return
        again = self._stopping_at is not None or len(self._signals) > 1
        self._signals.clear()
        if self._stopping_at is None:
            self._stopping_at = time.monotonic()
        if again:  # a second Ctrl-C: somebody is in a hurry
            self._stopping_at = time.monotonic() - self._desired.supervisor.stop_seconds

    def _stop_in_order(self, now: float) -> None:
        """Doors and cameras first, then what they talk to, each with its share of the time."""
        assert self._stopping_at is not None
        first = [p for p in self._parts.values() if p.role not in {"router", "host"}]
        second = [p for p in self._parts.values() if p.role in {"router", "host"}]
        limit = self._desired.supervisor.stop_seconds
        for group, share in ((first, 0.8), (second, 1.0)):
            for part in group:
                if part.child is None:
                    self._remove(part)
                elif not part.is_leaving:
                    part.leave(now)
                    self._order(part, wire.Stop("the server stops"))
                elif now - self._stopping_at > limit * share:
                    part.child.kill()
            if group:
                self._next_tick = min(self._next_tick, now + 0.1)
                return

    def _clean_up(self) -> None:
        for part in self._parts.values():
            if part.child is not None:
                part.child.kill()
        for listener in self._listeners.values():
            listener.close()
        for path in self._run_dir.glob("*.sock"):
            with contextlib.suppress(OSError):
                path.unlink()
        if self._desired.remove_data_on_exit:
            shutil.rmtree(self._desired.data_dir, ignore_errors=True)


def url(desired: Desired) -> str:
    """Return where a person's browser finds the server."""
    host = desired.server.host
    shown = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - not a bind
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{desired.server.port}"


def bind_http(host: str, port: int) -> socket.socket:
    """Bind the door.

    Raises:
        PortInUse: somebody else listens there, or the address is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise PortInUse(
            f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}",
            fix="stop what uses it, or choose another with --port or server.port",
        ) from None
    sock.listen(512)
    sock.setblocking(False)
    return sock


def main(argv: list[str]) -> int:
    """Run the supervisor that `saccade up` has prepared in descriptor `argv[1]`."""
    import setproctitle  # noqa: PLC0415 - after the exec, before anything else can fail

    setproctitle.setproctitle("saccade: supervisor")
    desired = msgspec.msgpack.decode(read_memfd(int(argv[1])), type=Desired)
    try:
        return Supervisor(desired).run()
    except SaccadeError as error:
        sys.stderr.write(f"saccade: {error.what}: {error.fix}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv))
