"""A small HTTP/1.1 client that keeps its connections and sends when the last answer is in."""

from __future__ import annotations

import asyncio
import time
from typing import Final, cast

import uvloop

#: How long after its time an answer is waited for.
PATIENCE_S: Final = 15.0


def post_request(path: str, body: bytes, content_type: str = "application/octet-stream") -> bytes:
    """Return the bytes of a POST."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def exchange(port: int, request: bytes, *, clients: int, seconds: float) -> list[float]:
    """Send a request over and over on `clients` connections; return each answer's milliseconds.

    Raises:
        RuntimeError: an answer was not 200, or a connection ended.
        TimeoutError: an answer did not come.
    """
    return uvloop.run(_exchange(port, request, clients, seconds))


async def _exchange(port: int, request: bytes, clients: int, seconds: float) -> list[float]:
    loop = asyncio.get_running_loop()
    end_at = time.monotonic() + seconds
    ends = []
    for _ in range(clients):
        _transport, end = await loop.create_connection(
            lambda: _Client(request, end_at), "127.0.0.1", port
        )
        ends.append(end)
    async with asyncio.timeout(seconds + PATIENCE_S):
        await asyncio.gather(*(end.done for end in ends))
    return [took for end in ends for took in end.took_ms]


class _Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, request: bytes, end_at: float) -> None:
        self._request, self._end_at = request, end_at
        self._answer, self._wanted = b"", 0
        self._sent_ns = 0
        self.took_ms: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not its subclass
        self._send()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not self._wanted:
            head, found, _rest = self._answer.partition(b"\r\n\r\n")
            if not found:
                return
            if not head.startswith(b"HTTP/1.1 200"):
                self._fail(self._answer[:500].decode(errors="replace"))
                return
            lines = head.lower().split(b"\r\n")
            length = next(line for line in lines if line.startswith(b"content-length:"))
            self._wanted = len(head) + 4 + int(length.partition(b":")[2])
        if len(self._answer) >= self._wanted:
            self.took_ms.append((time.perf_counter_ns() - self._sent_ns) / 1e6)
            self._answer, self._wanted = b"", 0
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the connection ended: {exc}")

    def _send(self) -> None:
        if time.monotonic() >= self._end_at:
            if not self.done.done():
                self.done.set_result(None)
            self._transport.close()
            return
        self._sent_ns = time.perf_counter_ns()
        self._transport.write(self._request)

    def _fail(self, what: str) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(what))
        self._transport.close()
