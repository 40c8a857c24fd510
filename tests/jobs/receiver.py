"""A receiver of webhooks on a real socket: it takes, refuses, hangs, drips or dies as told."""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class Got:
    """One request as it arrived."""

    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Receiver:
    """One receiver. `manner` may change at any time: ok, refuse, gone, hang, endless."""

    manner: str = "ok"
    got: list[Got] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)
    port: int = 0
    _server: ThreadingHTTPServer | None = None
    _thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        return [got.headers["webhook-id"] for got in self.got]

    def start(self) -> Receiver:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.append(Got({k.lower(): v for k, v in self.headers.items()}, body))
                receiver.answer(self)

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        if self.manner == "hang":
            self.release.wait(20)
        status = {"refuse": 500, "gone": 410}.get(self.manner, 200)
        handler.send_response(status)
        if self.manner == "endless":
            handler.send_header("content-length", str(10**12))
            handler.end_headers()
            try:
                while not self.release.is_set():
                    handler.wfile.write(b"x" * 65536)
            except OSError:
                return
            return
        handler.send_header("content-length", "0")
        try:
            handler.end_headers()
        except OSError:  # the sender has given up
            return

    def stop(self) -> None:
        """Die: nobody listens on the port any more."""
        self.release.set()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
