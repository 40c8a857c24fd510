"""One model in a host: a thread that loads it, proves it, and runs its batches.

The thread owns the model's connections. It receives, stacks, runs and replies, so that no second
Python thread is busy beside `infer` (one costs it up to 5 ms of waiting for the interpreter).
"""

from __future__ import annotations

import logging
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable

import msgspec

from saccade.desired import HostSpec, ModelSpec
from saccade.engine import wire
from saccade.engine.batching import BatchPolicy, FairQueue
from saccade.engine.readiness import PROBE_SEED, probe_frames, prove_ready
from saccade.engine.record import ModelRecord
from saccade.engine.requests import Connection, Request, infer_each
from saccade.engine.ring import RingView
from saccade.errors import ErrorInfo, SaccadeError
from saccade.models.adapter import ModelAdapter
from saccade.telemetry.board import ModelWord, Page, model_base
from saccade.types import ModelStatus
from saccade.vision.detections import Detections

log = logging.getLogger(__name__)

#: Messages of one client that are read in one turn, so that none can keep the thread for itself.
MESSAGES_AT_ONCE = 64

OpenAdapter = Callable[..., ModelAdapter]
Report = Callable[[wire.ModelFact | wire.Good], object]


class ModelWorker:
    """The thread of one model; the public methods are for the main thread.

    Args:
        spec: the model.
        host: how this host runs models.
        page: the host's counters.
        index: which of the page's models this is.
        load: the number of this load; it grows with each on this host.
        report: takes facts for the supervisor.
        ended: called from the thread as the last thing it does.
        open_adapter: makes the adapter.
    """

    def __init__(
        self,
        spec: ModelSpec,
        host: HostSpec,
        *,
        page: Page,
        index: int,
        load: int,
        report: Report,
        ended: Callable[[], None],
        open_adapter: OpenAdapter,
    ) -> None:
        self.spec, self.index = spec, index
        self._host, self._page, self._report, self._ended = host, page, report, ended
        self._base, self._load = model_base(index), load
        self._open_adapter = open_adapter
        self._adapter: ModelAdapter | None = None
        self._status, self._reason = ModelStatus.CREATED, ""
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._adopted: deque[tuple[str, socket.socket]] = deque()
        self._connections: dict[int, Connection] = {}
        self._queue: FairQueue[Request] = FairQueue(host.queue_limit)
        self._policy = BatchPolicy(spec.max_batch, host.batch_wait_ms / 1000)
        self._last_size = 1
        self._record = ModelRecord(page, index)
        self._stop = threading.Event()
        self._is_over = False
        self._poll = select.epoll()
        self._thread = threading.Thread(target=self._run, name=f"model {spec.name}", daemon=True)

    # ------------------------------------------------------------ for the main thread

    @property
    def is_over(self) -> bool:
        """Say whether the thread is at its end; until then its connections are its own."""
        return self._is_over

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def adopt(self, client: str, sock: socket.socket) -> None:
        """Give the thread a connection whose hello was read."""
        self._adopted.append((client, sock))
        os.eventfd_write(self._wake, 1)

    def stop(self) -> None:
        """Ask the thread to finish its batch, refuse what waits, and leave."""
        self._stop.set()
        os.eventfd_write(self._wake, 1)

    def join(self, *, timeout_s: float) -> None:
        """Wait for the thread."""
        self._thread.join(timeout_s)

    def orphans(self) -> list[tuple[str, socket.socket]]:
        """Return the connections that are left, for the model's next load, and free the rest.

        Called once, after the thread has ended: it owns them until then.
        """
        left = list(self._adopted)
        for connection in self._connections.values():
            if connection.view is not None:
                connection.view.close()
            left.append((connection.client, connection.sock))
        self._connections.clear()
        self._adopted.clear()
        self._poll.close()
        os.close(self._wake)
        return left

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        self._poll.register(self._wake, select.EPOLLIN)
        self._page.clear(self._base, self._base + len(ModelWord))
        try:
            self._live()
        except Exception:  # the outermost loop of this thread
            log.exception("the model's thread ended", extra={"model": self.spec.name})
        finally:
            self._refuse_queue("the model is unloaded")
            self._page.set(self._base + ModelWord.CLIENTS, 0)
            if self._adapter is not None:
                self._adapter.unload()
            self._is_over = True
            self._ended()

    def _live(self) -> None:
        try:
            if self._bring_up():
                self._serve()
        except Exception:  # an adapter may raise anything; its clients are told
            log.exception("the model's thread failed", extra={"model": self.spec.name})
            self._record.end()
            if self._adapter is not None:
                self._adapter.unload()
            error = ErrorInfo("internal", "the model's thread failed", "see the host's log")
            self._move(ModelStatus.ERROR, "the model's thread failed", error=error)
        self._refuse_queue("see the model's last error")
        while not self._stop.is_set():  # nothing can be served: every request is told so
            self._receive(timeout_s=None)

    def _bring_up(self) -> bool:
        """Load and prove the model; say whether it is ready."""
        started_at = time.monotonic()
        self._move(ModelStatus.LOADING, "asked to load")
        self._record.begin(self._host.hang_seconds)
        try:
            adapter = self._open_adapter(
                self.spec, providers=self._host.providers, threads=self._host.threads
            )
            self._adapter = adapter  # it is unloaded with us whatever happens next
            adapter.load()
            self._policy = BatchPolicy(
                min(self.spec.max_batch, adapter.max_batch), self._host.batch_wait_ms / 1000
            )
            load_ms = (time.monotonic() - started_at) * 1000
            self._move(ModelStatus.LOADED, "weights are on the device", load_ms=load_ms)
            self._move(ModelStatus.WARMING_UP, "proving it with a real inference")
            probe = probe_frames(adapter.input.height, adapter.input.width, seed=PROBE_SEED)
            warmup_s = prove_ready(adapter, probe)
            self._move(
                ModelStatus.READY,
                "proved by an inference",
                load_ms=load_ms,
                warmup_ms=warmup_s * 1000,
            )
        except SaccadeError as error:
            if self._adapter is not None:  # a model in error holds no memory of the device
                self._adapter.unload()
            self._move(ModelStatus.ERROR, error.what, error=error.info())
            return False
        finally:
            self._record.end()
        return True

    def _serve(self) -> None:
        while not self._stop.is_set():
            self._receive(timeout_s=None if not len(self._queue) else 0.0)
            if len(self._queue):
                self._fill()
                self._run_batch(self._queue.take(self._policy.max_batch))

    def _fill(self) -> None:
        """Wait, at most the policy's wait, for what the clients say is on its way."""
        began_at = time.monotonic()
        while True:
            admitted = sum(c.admitted for c in self._connections.values())
            waited_s = time.monotonic() - began_at
            if self._stop.is_set() or self._policy.is_full_enough(
                size=len(self._queue), last=self._last_size, admitted=admitted, waited_s=waited_s
            ):
                return
            self._receive(timeout_s=self._policy.wait_s - waited_s)

    def _receive(self, *, timeout_s: float | None) -> None:
        for fd, _mask in self._poll.poll(timeout_s):
            if fd == self._wake:
                os.eventfd_read(self._wake)
                self._take_in()
            elif (connection := self._connections.get(fd)) is not None:
                self._drain(connection)

    def _take_in(self) -> None:
        while self._adopted:
            client, sock = self._adopted.popleft()
            connection = Connection(client, sock)
            self._connections[sock.fileno()] = connection
            self._poll.register(sock, select.EPOLLIN)
            self._send(connection, self._info())
        self._page.set(self._base + ModelWord.CLIENTS, len(self._connections))

    def _drain(self, connection: Connection) -> None:
        for _ in range(MESSAGES_AT_ONCE):
            if not connection.is_open:
                return
            try:
                packet, fds = wire.receive(connection.sock)
            except BlockingIOError:
                return
            if not packet:
                self._part(connection)
                return
            try:
                self._take_message(connection, wire.host_bound(packet), fds)
            except (msgspec.MsgspecError, ValueError, OSError):
                log.exception("a bad message", extra={"client": connection.client})
                self._part(connection)
            finally:
                for fd in fds:
                    os.close(fd)

    def _take_message(
        self, connection: Connection, message: wire.HostBound, fds: list[int]
    ) -> None:
        if isinstance(message, wire.Lend):
            self._take_ring(connection, message, fds)
        elif isinstance(message, wire.Submit):
            self._admit(connection, message)
        else:
            raise ValueError("a second hello")

    def _take_ring(self, connection: Connection, lend: wire.Lend, fds: list[int]) -> None:
        if not fds:
            raise ValueError("a ring without its memory")
        if connection.view is not None:
            connection.view.close()
            connection.view = None
        if lend.load != self._load:
            return  # made for another load's input; the client lends again when it hears of ours
        connection.view = RingView(
            fds[0], slots=lend.slots, slot_bytes=lend.slot_bytes, input_offset=lend.input_offset
        )

    def _admit(self, connection: Connection, submit: wire.Submit) -> None:
        self._page.add(self._base + ModelWord.REQUESTS)
        connection.admitted = submit.admitted
        if self._status is not ModelStatus.READY:
            self._refuse(
                connection,
                submit,
                "model_not_ready",
                f"model {self.spec.name} is {self._status}",
                self._reason,
            )
        elif connection.view is None:
            self._refuse(
                connection,
                submit,
                "model_not_ready",
                f"model {self.spec.name} was loaded anew",
                "lend the ring again, then the frame",
            )
        elif not self._queue.put(connection.sock.fileno(), Request(connection, submit)):
            self._refuse(
                connection,
                submit,
                "overloaded",
                f"{self._queue.limit} requests wait already",
                "come back later",
            )
        self._page.set(self._base + ModelWord.QUEUED, len(self._queue))

    def _refuse_queue(self, fix: str) -> None:
        """Return every loan that waits: nobody will run it."""
        for request in self._queue.take(len(self._queue)):
            self._refuse(
                request.connection,
                request.submit,
                "model_not_ready",
                f"model {self.spec.name} is no longer served",
                fix,
            )
        self._page.set(self._base + ModelWord.QUEUED, 0)

    def _part(self, connection: Connection) -> None:
        if not connection.is_open:
            return
        fd = connection.sock.fileno()
        self._poll.unregister(fd)
        self._gone(self._queue.forget(fd))
        del self._connections[fd]
        connection.sock.close()
        if connection.view is not None:
            connection.view.close()
        self._page.set(self._base + ModelWord.CLIENTS, len(self._connections))

    def _gone(self, requests: int) -> None:
        """Book requests that nobody is left to answer."""
        self._page.add(self._base + ModelWord.GONE, requests)

    # ------------------------------------------------------------ batches

    def _run_batch(self, requests: list[Request]) -> None:
        requests = [r for r in requests if self._is_wanted(r)]
        if not requests:
            return
        began_at = time.monotonic_ns()
        self._record.begin(self._host.hang_seconds)
        outcomes = self._look(requests)
        self._record.end()
        took_ns = time.monotonic_ns() - began_at
        for request, outcome in zip(requests, outcomes, strict=True):
            self._reply(request, outcome, took_ns, len(requests))
        self._last_size = len(requests)
        self._page.set(self._base + ModelWord.QUEUED, len(self._queue))
        if self._record.batch(took_ns, (r.at for r in requests)) == 1:
            self._report(wire.Good())

    def _look(self, requests: list[Request]) -> list[Detections | ErrorInfo]:
        assert self._adapter is not None
        return infer_each(self._adapter, requests)

    def _is_wanted(self, request: Request) -> bool:
        if not request.connection.is_open:
            self._gone(1)
            return False
        if time.monotonic_ns() <= request.submit.deadline_ns:
            return True
        waited_ms = (time.monotonic() - request.at) * 1000
        self._refuse(
            request.connection,
            request.submit,
            "stale",
            f"the frame waited {waited_ms:.0f} ms for the model",
            "lower camera.process_fps",
        )
        return False

    def _reply(
        self, request: Request, outcome: Detections | ErrorInfo, took_ns: int, batch: int
    ) -> None:
        submit = request.submit
        if isinstance(outcome, ErrorInfo):
            self._page.add(self._base + ModelWord.FAILED)
            self._refuse(request.connection, submit, outcome.code, outcome.what, outcome.fix)
            return
        answer = wire.Answer(
            submit.slot, submit.generation, submit.seq, outcome.pack(), took_ns, batch
        )
        self._end(request.connection, answer, ModelWord.ANSWERED)

    def _refuse(
        self, connection: Connection, submit: wire.Submit, code: str, what: str, fix: str
    ) -> None:
        error = ErrorInfo(code, what, fix)
        refusal = wire.Refusal(submit.slot, submit.generation, submit.seq, error)
        self._end(connection, refusal, ModelWord.REFUSED)

    def _end(
        self, connection: Connection, message: wire.Answer | wire.Refusal, word: ModelWord
    ) -> None:
        """End one loan, and book how."""
        connection.admitted = max(0, connection.admitted - 1)
        if self._send(connection, message):
            self._page.add(self._base + word)
        else:
            self._gone(1)

    def _send(self, connection: Connection, message: wire.ClientBound) -> bool:
        """Send, or end the connection: a client that does not read its answers keeps no loan."""
        if not connection.is_open:
            return False
        try:
            wire.send(connection.sock, wire.encode(message))
        except OSError as error:
            log.warning(
                "a client does not read, or is gone",
                extra={"client": connection.client, "errno": error.errno},
            )
            self._part(connection)
            return False
        return True

    # ------------------------------------------------------------ facts

    def _info(self) -> wire.ModelInfo:
        adapter = self._adapter
        if adapter is None:
            return wire.ModelInfo(
                self.spec.name, self._status, self._reason, demo=self.spec.demo, load=self._load
            )
        spec = adapter.input
        return wire.ModelInfo(
            self.spec.name,
            self._status,
            self._reason,
            spec.width,
            spec.height,
            spec.color,
            spec.pad,
            spec.pad_value,
            self._policy.max_batch,
            tuple(adapter.labels),
            self.spec.demo,
            self._load,
        )

    def _move(
        self,
        status: ModelStatus,
        reason: str,
        *,
        load_ms: float | None = None,
        warmup_ms: float | None = None,
        error: ErrorInfo | None = None,
    ) -> None:
        """Tell the supervisor and every client what became of the model."""
        self._status, self._reason = status, reason
        adapter = self._adapter
        self._report(
            wire.ModelFact(
                name=self.spec.name,
                status=status,
                reason=reason,
                index=self.index,
                device=self._host.providers[0] if adapter else "",
                family=adapter.family if adapter else "",
                width=adapter.input.width if adapter else 0,
                height=adapter.input.height if adapter else 0,
                labels=len(adapter.labels) if adapter else 0,
                load_ms=load_ms,
                warmup_ms=warmup_ms,
                error=error,
            )
        )
        info = self._info()
        for connection in list(self._connections.values()):
            self._send(connection, info)
