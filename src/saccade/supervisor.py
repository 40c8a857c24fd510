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
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from saccade import parts
from saccade.desired import CameraSpec, Desired
from saccade.engine import wire
from saccade.engine.outgoing import Outgoing
from saccade.engine.owner import ModelsOwner
from saccade.engine.restarts import RestartPolicy
from saccade.errors import SaccadeError
from saccade.listeners import bind_http, url
from saccade.news import News
from saccade.parts import Part, PartState
from saccade.spawn import PROGRAM, Boot, read_memfd, start_child
from saccade.telemetry.board import PAGES, Board
from saccade.types import CameraId, CameraState, HostName

#: Seconds between two looks at the heartbeats.
TICK_S: Final = 0.5
#: A process that has lived this long is good even if nobody asked it anything, seconds.
GOOD_AFTER_S: Final = 30.0
#: Words of one child that are heard in one turn: one that never stops talking keeps nobody waiting.
WORDS_AT_ONCE: Final = 64


class Supervisor:
    """The whole tree.

    Args:
        desired: what should run.
        program: what a child runs, see `spawn.start_child`.
    """

    def __init__(self, desired: Desired, *, program: Sequence[str] = PROGRAM) -> None:
        self._desired, self._program = desired, program
        self._run_dir, self._log_dir = Path(desired.run_dir), Path(desired.data_dir) / "logs"
        self._poll = select.epoll()
        self._board = Board.create()
        self._pages = parts.PageBook()
        self._parts: dict[str, Part] = {}
        self._by_fd: dict[int, tuple[Part, str]] = {}
        self._listeners: dict[str, socket.socket] = {}
        self._cameras: dict[CameraId, tuple[CameraState, str, float]] = {}
        self._models = ModelsOwner(desired.models, tell=self._happened)
        self._news = News()
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
            self._add(
                Part(
                    f"host-{host.name}", "host", host=host, listeners={"host": f"host-{host.name}"}
                )
            )
        self._add(Part("router", "router", listeners={"router": "router"}))
        self._add(
            Part("server", "server", listeners={"http": "http", "admin": "admin", "view": "view"})
        )
        if self._desired.pages:
            self._add(Part("pages", "pages", listeners={"pages": "pages"}))
        if self._desired.webhooks:
            self._add(Part("worker", "worker"))
        for camera in self._desired.cameras:
            self._add_camera(camera)

    def _add(self, part: Part) -> bool:
        page = self._pages.take(part.name, self._board)
        if page is None:
            self._happened(
                "process_refused",
                "error",
                f"{part.name} is not started: {PAGES} processes is the most there can be",
                data={"most": PAGES},
            )
            return False
        part.page = page
        self._parts[part.name] = part
        return True

    def _add_camera(self, spec: CameraSpec) -> None:
        if self._add(Part(f"camera-{spec.id}", "camera", camera=spec)):
            self._cameras[spec.id] = (CameraState.CONNECTING, "starting", time.time())

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
        for part in self._parts.values():
            if part.outgoing is not None:
                part.outgoing.flush()
        self._tell_router()
        self._publish()

    def _tick(self, now: float) -> None:
        for part in self._parts.values():
            parts.trim_log(
                self._log_dir / f"{part.name}.log", self._desired.supervisor.log_max_bytes
            )
            if part.child is not None and not part.is_condemned:
                self._judge(part, now)
        self._dirty = True

    def _judge(self, part: Part, now: float) -> None:
        policy = self._desired.supervisor
        if part.is_leaving:  # it has a deadline, and beats no more once it tidies up
            if now - part.start_at > policy.stop_seconds:
                part.kill()
        elif part.is_hung(self._board.page(part.page), TICK_S, policy.hang_seconds, now):
            part.reason = "hung: no heartbeat"
            self._happened("process_hung", "error", f"{part.name} hung and was ended")
            part.kill()
        elif part.state is PartState.RUNNING and now - part.started_at > GOOD_AFTER_S:
            part.was_good(now)

    def _start(self, part: Part) -> None:
        page = self._board.page(part.page)
        if part.camera is not None:
            part.model_host = self._host_of(part.camera)
        boot = Boot(
            role=part.role,
            name=part.title,
            supervisor_pid=os.getpid(),
            control_fd=-1,
            board_fd=self._board.fd,
            page=part.page,
            listeners={k: self._listeners[v].fileno() for k, v in part.listeners.items()},
            desired=parts.without_secrets(self._desired, part.role),
            host=part.host,
            camera=part.camera,
        )
        try:
            child = start_child(
                boot, log_path=self._log_dir / f"{part.name}.log", program=self._program
            )
        except OSError as error:  # no memory, descriptor, process or disk left: not its fault
            part.reason = f"cannot be started: {os.strerror(error.errno or 0)}"
            part.start_at = time.monotonic() + self._desired.supervisor.backoff_max_seconds
            self._happened("process_not_started", "error", f"{part.name} {part.reason}")
            return
        part.started(child, time.monotonic(), page)
        for fd, what in ((child.pidfd, "death"), (child.control.fileno(), "word")):
            self._by_fd[fd] = (part, what)
            self._poll.register(fd, select.EPOLLIN)
        if part.host is not None:
            for spec in self._models.of_host(part.host.name):
                self._order(part, wire.Load(spec))
        self._dirty = True

    def _host_of(self, camera: CameraSpec) -> HostName | None:
        return next((m.host for m in self._desired.models if m.name == camera.model), None)

    def _attend(self, fd: int) -> None:
        known = self._by_fd.get(fd)
        if known is None:  # it was closed earlier in this turn
            return
        part, what = known
        if what == "death":
            self._hear(part, most=None)  # last words come before the death, all of them
            self._bury(part)
        else:
            self._hear(part, most=WORDS_AT_ONCE)

    # ------------------------------------------------------------ death

    def _bury(self, part: Part) -> None:
        child = part.child
        assert child is not None
        self._forget(child.pidfd)
        self._forget(child.control.fileno())
        status = child.reap()
        part.died(self._board.page(part.page))
        self._dirty = True
        if part.host is not None:
            self._models.host_died(part.host.name, f"host {part.host.name} ended ({status})")
        if part.is_leaving or self._stopping_at is not None:
            self._remove(part)
            return
        self._restart_later(part, status)

    def _forget(self, fd: int) -> None:
        if self._by_fd.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def _restart_later(self, part: Part, status: int) -> None:
        policy, reason = self._desired.supervisor, f"ended with status {status}"
        part.plan_restart(
            RestartPolicy(
                policy.backoff_initial_seconds, policy.backoff_max_seconds, policy.restart_budget
            ),
            time.monotonic(),
            reason,
        )
        is_given_up = part.state is PartState.ERROR
        if part.camera is not None:
            self._set_camera(
                part.camera.id,
                CameraState.ERROR if is_given_up else CameraState.RECONNECTING,
                "its process keeps dying" if is_given_up else "its process is starting again",
            )
        self._happened(
            "process_died",
            "warning",
            f"{part.name} {reason}",
            data={"status": status, "restarts": part.restarts.total},
        )
        if is_given_up:
            self._happened(
                "process_given_up",
                "error",
                f"{part.name} died {policy.restart_budget} times without one good "
                "answer and is not started again",
            )

    def _remove(self, part: Part) -> None:
        del self._parts[part.name]
        self._pages.free(part.name)
        if part.camera is not None:
            self._cameras.pop(part.camera.id, None)
        if part.successor is not None and self._stopping_at is None:
            self._add_camera(part.successor)

    # ------------------------------------------------------------ words

    def _hear(self, part: Part, *, most: int | None) -> None:
        """Hear what a child says, at most `most` words of it."""
        child, heard = part.child, 0
        while child is not None and (most is None or heard < most):
            try:
                packet = wire.hear(child.control)
            except BlockingIOError:
                return
            if not packet:  # the pidfd says it next; until then this end is readable for ever
                self._forget(child.control.fileno())
                return
            heard += 1
            try:
                word = wire.from_child(packet)
            except msgspec.MsgspecError as error:
                self._happened(
                    "process_fault",
                    "error",
                    f"{part.name} said what is no message and is ended: {error}",
                )
                part.kill()
                return
            self._take_word(part, word)
            self._dirty = True

    def _take_word(self, part: Part, word: wire.FromChild) -> None:
        if part.state is PartState.STARTING:
            part.state = PartState.RUNNING
        if isinstance(word, wire.Good):
            part.was_good(time.monotonic())
        elif isinstance(word, wire.ModelFact):
            self._models.take(word, page=part.page)
        elif isinstance(word, wire.CameraFact):
            self._set_camera(word.id, word.state, word.reason)
        else:
            self._reconcile(word)
        self._announce()

    def _set_camera(self, camera: CameraId, state: CameraState, reason: str) -> None:
        before = self._cameras.get(camera)
        if before is None or before[:2] == (state, reason):
            return
        self._cameras[camera] = (state, reason, time.time())
        if before[0] is not state:
            is_bad = state in {CameraState.STALLED, CameraState.ERROR, CameraState.RECONNECTING}
            self._happened(
                "camera_status_change",
                "warning" if is_bad else "info",
                f"camera {camera} is {state}: {reason}",
                camera=camera,
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
            if part.is_leaving:  # it cannot stay any more, whatever it is: only who follows changes
                part.successor = spec
            elif spec is None or self._is_other(part, spec):
                self._retire(part, spec)
        for spec in specs.values():
            self._add_camera(spec)

    def _is_other(self, part: Part, spec: CameraSpec) -> bool:
        """Say whether a camera's process must be replaced to be what is wanted."""
        if part.camera is None or spec.revision != part.camera.revision:
            return True
        host = self._host_of(spec)  # a model that is away for a while moves nobody
        return part.child is not None and host is not None and host != part.model_host

    def _retire(self, part: Part, successor: CameraSpec | None) -> None:
        part.successor = successor
        if part.child is None:
            self._remove(part)
            return
        part.leave(time.monotonic())
        self._order(part, wire.Stop("the camera was changed" if successor else "removed"))

    def _order(self, part: Part, order: wire.ToChild) -> bool:
        return part.outgoing is not None and part.outgoing.say(order)

    def _happened(self, *fact: str, **about: Any) -> None:
        self._news.add(*fact, **about)
        self._dirty = True

    def _tell_router(self) -> None:
        outgoing = self._outgoing_of("router")
        if outgoing is not None:
            self._news.tell(outgoing)

    def _outgoing_of(self, name: str) -> Outgoing | None:
        part = self._parts.get(name)
        return None if part is None else part.outgoing

    def _publish(self) -> None:
        outgoing = self._outgoing_of("server")
        if not self._dirty or outgoing is None or not outgoing.is_idle:
            return  # what it does not read now is old when it does: it gets the newest then
        self._version += 1
        state = wire.TreeState(
            version=self._version,
            processes=tuple(p.report() for p in self._parts.values()),
            models=self._models.report(),
            cameras=tuple(
                p.camera_report(*said)
                for p in self._parts.values()
                if p.camera is not None and (said := self._cameras.get(p.camera.id)) is not None
            ),
        )
        self._dirty = not outgoing.say(state)

    def _announce(self) -> None:
        server = self._parts.get("server")
        if self._announced or server is None or not server.restarts.has_been_good:
            return
        self._announced = True
        with contextlib.suppress(OSError):  # who has started us may not listen any more
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
                    part.kill()
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
