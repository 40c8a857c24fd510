"""A host: the process that holds loaded models. One thread for each model, one batch loop each.

The main thread accepts clients, reads their hello and hands the connection to the model's thread;
from then on that thread alone receives, runs and replies. Orders come from the supervisor, facts go
back to it; a crash here touches no other host.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import threading
from collections.abc import Callable

import msgspec

from saccade.desired import HostSpec, ModelSpec
from saccade.engine import wire
from saccade.engine.worker import ModelWorker
from saccade.models.adapter import open_adapter
from saccade.telemetry.board import MODELS_PER_HOST, Page, Word
from saccade.types import ModelName, ModelStatus

log = logging.getLogger(__name__)

#: How often the main thread shows that it lives, seconds.
HEARTBEAT_S = 0.5


class Host:
    """The main thread's side.

    Args:
        spec: what this host is.
        listener: bound by the supervisor, so that clients can connect while we are away.
        control: the supervisor's end of our life.
        page: our counters.
    """

    def __init__(
        self, spec: HostSpec, *, listener: socket.socket, control: socket.socket, page: Page
    ) -> None:
        self._spec, self._listener, self._control, self._page = spec, listener, control, page
        self._workers: dict[ModelName, ModelWorker] = {}
        self._indexes: dict[ModelName, int] = {}
        self._strangers: dict[int, socket.socket] = {}  # connected, no hello yet
        self._waiting: dict[ModelName, list[tuple[str, socket.socket]]] = {}
        self._control_lock = threading.Lock()
        self._stop = False

    def run(self) -> None:
        """Serve until the supervisor says stop or is gone."""
        poll = select.epoll()
        poll.register(self._listener, select.EPOLLIN)
        poll.register(self._control, select.EPOLLIN)
        while not self._stop:
            for fd, _mask in poll.poll(HEARTBEAT_S):
                if fd == self._listener.fileno():
                    self._accept(poll)
                elif fd == self._control.fileno():
                    self._obey()
                else:
                    self._greet(poll, fd)
            self._page.add(Word.HEARTBEAT)
        for worker in self._workers.values():
            worker.stop()
        for worker in self._workers.values():
            worker.join(timeout_s=2.0)

    def _accept(self, poll: select.epoll) -> None:
        try:
            client, _address = self._listener.accept()
        except BlockingIOError:
            return
        client.setblocking(False)
        self._strangers[client.fileno()] = client
        poll.register(client, select.EPOLLIN)

    def _greet(self, poll: select.epoll, fd: int) -> None:
        """Read a stranger's hello and give the connection to its model's thread."""
        client = self._strangers.get(fd)
        if client is None:
            return
        try:
            packet, fds = wire.receive(client)
        except BlockingIOError:
            return
        del self._strangers[fd]
        poll.unregister(fd)
        for extra in fds:
            os.close(extra)
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
            return
        self._tell_absent(client, hello.model)
        self._waiting.setdefault(hello.model, []).append((hello.client, client))

    def _tell_absent(self, client: socket.socket, model: ModelName) -> None:
        info = wire.ModelInfo(model, ModelStatus.CREATED, "not loaded on this host")
        try:
            client.send(wire.encode(info))
        except OSError:
            log.debug("a client left before it was told")

    def _obey(self) -> None:
        while True:
            try:
                packet, _fds = wire.receive(self._control)
            except BlockingIOError:
                return
            order = wire.to_child(packet) if packet else wire.Stop("the supervisor is gone")
            if isinstance(order, wire.Stop):
                self._stop = True
                return
            if isinstance(order, wire.Load):
                self._load(order.spec)
            elif isinstance(order, wire.Unload):
                self._unload(order.name)

    def _load(self, spec: ModelSpec) -> None:
        self._unload(spec.name)
        index = self._indexes.setdefault(spec.name, len(self._indexes))
        if index >= MODELS_PER_HOST:
            log.error("too many models on one host", extra={"model": spec.name})
            return
        worker = ModelWorker(
            spec, self._spec, page=self._page, index=index, report=self._reporter(),
            open_adapter=open_adapter,
        )
        self._workers[spec.name] = worker
        worker.start()
        for client, connection in self._waiting.pop(spec.name, []):
            worker.adopt(client, connection)

    def _unload(self, name: ModelName) -> None:
        worker = self._workers.pop(name, None)
        if worker is None:
            return
        worker.stop()
        worker.join(timeout_s=10.0)
        for client, connection in worker.orphans():
            self._tell_absent(connection, name)
            self._waiting.setdefault(name, []).append((client, connection))

    def _reporter(self) -> Callable[[wire.ModelFact | wire.Good], None]:
        def report(fact: wire.ModelFact | wire.Good) -> None:
            with self._control_lock:
                try:
                    self._control.send(wire.encode(fact))
                except OSError:
                    log.warning("the supervisor did not take a fact")

        return report
