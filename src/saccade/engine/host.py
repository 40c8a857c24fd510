"""A host: the process that holds loaded models. One thread for each model, one batch loop each.

The main thread accepts clients, reads their hello and hands the connection to the model's thread;
from then on that thread alone receives, runs and replies. Orders come from the supervisor, facts go
back to it; a crash here touches no other host.

The main thread never waits for a model: one that is told to go ends its batch first, and only then
are its clients and its place given to the next load. A batch that never ends is the supervisor's to
judge, by the deadline in our page.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from saccade.desired import HostSpec, ModelSpec
from saccade.engine import wire
from saccade.engine.outgoing import Outgoing
from saccade.engine.worker import MESSAGES_AT_ONCE, ModelWorker
from saccade.errors import ErrorInfo
from saccade.models.adapter import ModelAdapter, open_adapter
from saccade.telemetry.board import MODELS_PER_HOST, Page, Word
from saccade.types import ModelName, ModelStatus

log = logging.getLogger(__name__)

#: How often the main thread shows that it lives, seconds.
HEARTBEAT_S: Final = 0.5
#: How long all models together may take to end their batch when the host stops, seconds.
LEAVE_S: Final = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """A client whose model is not loaded here, or not any more, or not yet."""

    client: str
    model: ModelName
    sock: socket.socket


class Host:
    """The main thread's side.

    Args:
        spec: what this host is.
        listener: bound by the supervisor, so that clients can connect while we are away.
        control: the supervisor's end of our life.
        page: our counters.
        open_adapter: makes the adapter of a model.
    """

    def __init__(
        self,
        spec: HostSpec,
        *,
        listener: socket.socket,
        control: socket.socket,
        page: Page,
        open_adapter: Callable[..., ModelAdapter] = open_adapter,
    ) -> None:
        self._spec, self._listener, self._control, self._page = spec, listener, control, page
        self._open_adapter = open_adapter
        self._outgoing = Outgoing(control)
        self._workers: dict[ModelName, ModelWorker] = {}
        self._leaving: dict[ModelName, ModelWorker] = {}
        self._next: dict[ModelName, ModelSpec] = {}  # to load once the load before has ended
        self._strangers: dict[int, socket.socket] = {}  # connected, no hello yet
        self._waiting: dict[int, Waiting] = {}
        self._loads = 0
        self._poll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stop = False

    def run(self) -> None:
        """Serve until the supervisor says stop or is gone."""
        for readable in (self._listener.fileno(), self._control.fileno(), self._wake):
            self._poll.register(readable, select.EPOLLIN)
        while not self._stop:
            for fd, _mask in self._poll.poll(HEARTBEAT_S):
                self._attend(fd)
            self._outgoing.flush()
            self._page.add(Word.HEARTBEAT)
        self._leave()

    def _attend(self, fd: int) -> None:
        if fd == self._listener.fileno():
            self._accept()
        elif fd == self._control.fileno():
            self._obey()
        elif fd == self._wake:
            os.eventfd_read(fd)
            self._take_over()
        elif fd in self._strangers:
            self._greet(fd)
        elif fd in self._waiting:
            self._hear_waiting(fd)

    def _leave(self) -> None:
        everybody = [*self._workers.values(), *self._leaving.values()]
        for worker in everybody:
            worker.stop()
        end = time.monotonic() + LEAVE_S
        for worker in everybody:
            worker.join(timeout_s=max(0.0, end - time.monotonic()))
        self._outgoing.flush()
        left = [sock for worker in everybody if worker.is_over for _, sock in worker.orphans()]
        for sock in (*left, *self._strangers.values(), *(w.sock for w in self._waiting.values())):
            sock.close()  # their clients hear the end now, not when the process is gone
        self._poll.close()

    # ------------------------------------------------------------ clients

    def _accept(self) -> None:
        try:
            client, _address = self._listener.accept()
        except BlockingIOError:
            return
        client.setblocking(False)
        self._strangers[client.fileno()] = client
        self._poll.register(client, select.EPOLLIN)

    def _greet(self, fd: int) -> None:
        """Read a stranger's hello and give the connection to its model's thread."""
        client = self._strangers[fd]
        try:
            packet = wire.hear(client)
        except BlockingIOError:
            return
        del self._strangers[fd]
        self._poll.unregister(fd)
        try:
            hello = wire.host_bound(packet) if packet else None
        except msgspec.MsgspecError:
            hello = None
        if not isinstance(hello, wire.Hello):
            log.warning("a client without a hello")
            client.close()
            return
        worker = self._workers.get(hello.model)
        if worker is not None:
            worker.adopt(hello.client, client)
        else:
            self._let_wait(Waiting(hello.client, hello.model, client))

    def _let_wait(self, waiting: Waiting) -> None:
        """Keep a client until its model is loaded, and tell it so."""
        self._waiting[waiting.sock.fileno()] = waiting
        self._poll.register(waiting.sock, select.EPOLLIN)
        info = wire.ModelInfo(waiting.model, ModelStatus.CREATED, "not loaded on this host")
        self._send(waiting, info)

    def _hear_waiting(self, fd: int) -> None:
        """Return the loans a waiting client made before it knew; notice when it leaves."""
        waiting = self._waiting[fd]
        for _ in range(MESSAGES_AT_ONCE):
            try:
                packet = wire.hear(waiting.sock)
            except BlockingIOError:
                return
            try:
                message = wire.host_bound(packet) if packet else None
            except msgspec.MsgspecError:
                log.exception("a bad message", extra={"client": waiting.client})
                message = None
            if isinstance(message, wire.Submit):
                error = ErrorInfo(
                    "model_not_ready",
                    f"model {waiting.model} is not loaded here",
                    "it was unloaded, or is being loaded anew",
                )
                if not self._send(
                    waiting, wire.Refusal(message.slot, message.generation, message.seq, error)
                ):
                    return
            elif not isinstance(message, wire.Lend):  # a ring is lent again to the next load
                self._forget_waiting(fd)
                return

    def _send(self, waiting: Waiting, message: wire.ClientBound) -> bool:
        try:
            wire.send(waiting.sock, wire.encode(message))
        except OSError:
            log.debug("a client left before it was told")
            self._forget_waiting(waiting.sock.fileno())
            return False
        return True

    def _forget_waiting(self, fd: int) -> None:
        waiting = self._waiting.pop(fd)
        self._poll.unregister(fd)
        waiting.sock.close()

    # ------------------------------------------------------------ orders

    def _obey(self) -> None:
        while not self._stop:
            try:
                packet = wire.hear(self._control)
            except BlockingIOError:
                return
            order = wire.to_child(packet) if packet else wire.Stop("the supervisor is gone")
            if isinstance(order, wire.Stop):
                self._stop = True
            elif isinstance(order, wire.Load):
                self._load(order.spec)
            elif isinstance(order, wire.Unload):
                self._unload(order.name)

    def _load(self, spec: ModelSpec) -> None:
        self._unload(spec.name)
        if spec.name in self._leaving:
            self._next[spec.name] = spec
        else:
            self._start(spec)

    def _unload(self, name: ModelName) -> None:
        self._next.pop(name, None)
        worker = self._workers.pop(name, None)
        if worker is not None:
            self._leaving[name] = worker
            worker.stop()

    def _start(self, spec: ModelSpec) -> None:
        taken = {w.index for w in (*self._workers.values(), *self._leaving.values())}
        index = next((i for i in range(MODELS_PER_HOST) if i not in taken), None)
        if index is None and self._leaving:  # one of them makes room
            self._next[spec.name] = spec
            return
        if index is None:
            self._report_too_many(spec)
            return
        self._loads += 1
        worker = ModelWorker(
            spec,
            self._spec,
            page=self._page,
            index=index,
            load=self._loads,
            report=self._outgoing.say,
            ended=lambda: os.eventfd_write(self._wake, 1),
            open_adapter=self._open_adapter,
        )
        self._workers[spec.name] = worker
        worker.start()
        for fd, waiting in list(self._waiting.items()):
            if waiting.model == spec.name:
                del self._waiting[fd]
                self._poll.unregister(fd)
                worker.adopt(waiting.client, waiting.sock)

    def _report_too_many(self, spec: ModelSpec) -> None:
        error = ErrorInfo(
            "model_load_failed",
            f"this host holds {MODELS_PER_HOST} models already",
            "put it on another host: models.<name>.host",
        )
        for status in (ModelStatus.LOADING, ModelStatus.ERROR):
            self._outgoing.say(
                wire.ModelFact(
                    name=spec.name,
                    status=status,
                    reason=error.what,
                    error=error if status is ModelStatus.ERROR else None,
                )
            )

    def _take_over(self) -> None:
        """Take the clients of the threads that have ended, and start what waits for their place."""
        for book in (self._leaving, self._workers):  # the second: a thread that failed by itself
            for name, worker in list(book.items()):
                if not worker.is_over:
                    continue
                del book[name]
                for client, sock in worker.orphans():
                    self._let_wait(Waiting(client, name, sock))
        for name in [n for n in self._next if n not in self._leaving]:
            self._start(self._next.pop(name))
