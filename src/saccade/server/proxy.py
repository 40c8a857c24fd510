"""Passes the dashboard through: one address for people, the pages in a process of their own.

The browser sees one origin, so one cookie and one port do; the pages' work stays out of this
process. HTTP goes through httpx, WebSockets through `websockets`, both to the pages' Unix socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Final

import httpx
import websockets
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from saccade.errors import ErrorInfo, TooLarge
from saccade.web import problems

log = logging.getLogger(__name__)

#: Headers that belong to one connection and are not passed on. Source: RFC 9110, section 7.6.1.
_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "host",
        "content-length",
    }
)
#: What only this server may tell the pages.
_OURS: Final = frozenset({"x-saccade-user", "x-forwarded-prefix"})
#: A page's answer may take this long, seconds: adding a camera opens its source first.
TIMEOUT_S: Final = 30.0
#: The pages take small forms only, bytes.
BODY_BYTES: Final = 1024 * 1024
#: The largest message of the dashboard's own WebSocket, bytes.
MESSAGE_BYTES: Final = 8 * 1024 * 1024


class PagesProxy:
    """The way to the pages."""

    def __init__(self, run_dir: str) -> None:
        self._socket = str(Path(run_dir) / "pages.sock")
        self._client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=self._socket),
            base_url="http://pages",
            timeout=TIMEOUT_S,
            follow_redirects=False,
            trust_env=False,
        )

    async def http(self, request: Request) -> Response:
        """Pass a request on and stream its answer back."""
        headers = [(k, v) for k, v in request.headers.items() if k not in _HOP | _OURS]
        headers.append(("host", request.headers.get("host", "localhost")))
        headers.append(("x-saccade-user", str(request.state.user)))
        outgoing = self._client.build_request(
            request.method,
            httpx.URL(path=request.url.path, query=request.url.query.encode()),
            headers=headers,
            content=await _body(request),
        )
        try:
            answer = await self._client.send(outgoing, stream=True)
        except httpx.HTTPError as error:
            log.warning("the pages are away", extra={"why": type(error).__name__})
            info = ErrorInfo(
                "pages_away",
                "the dashboard's process is not there",
                "it restarts by itself; reload in a moment",
            )
            return problems.problem(503, info, headers={"Retry-After": "1"})
        response = StreamingResponse(
            answer.aiter_raw(), answer.status_code, background=BackgroundTask(answer.aclose)
        )
        response.raw_headers = [
            (k, v)
            for k, v in answer.headers.raw
            if k.lower().decode() not in _HOP - {"content-length"}
        ]
        return response

    async def websocket(self, websocket: WebSocket) -> None:
        """Pass a WebSocket on, both ways, until one side ends it."""
        query = f"?{websocket.url.query}" if websocket.url.query else ""
        passed = [
            (k, v)
            for k, v in websocket.headers.items()
            if k in {"cookie", "origin", "user-agent", "accept-language"}
        ]
        try:
            upstream = await websockets.unix_connect(
                self._socket,
                f"ws://{websocket.headers.get('host', 'localhost')}{websocket.url.path}{query}",
                additional_headers=passed,
                max_size=MESSAGE_BYTES,
                compression=None,
            )
        except (OSError, websockets.WebSocketException):
            await websocket.close(1013)
            return
        await websocket.accept()
        ways = {
            asyncio.create_task(_up(websocket, upstream)),
            asyncio.create_task(_down(websocket, upstream)),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            await upstream.close()
            if websocket.application_state is WebSocketState.CONNECTED:
                with contextlib.suppress(RuntimeError, OSError):
                    await websocket.close(1001)

    async def close(self) -> None:
        """Let the connections go."""
        await self._client.aclose()


async def _body(request: Request) -> bytes:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > BODY_BYTES:
            raise TooLarge(f"the body is over {BODY_BYTES} bytes", fix="see /docs for the API")
    return bytes(data)


async def _up(websocket: WebSocket, upstream: websockets.ClientConnection) -> None:
    with contextlib.suppress(WebSocketDisconnect, websockets.ConnectionClosed):
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            data = message.get("text")
            await upstream.send(data if data is not None else message.get("bytes") or b"")


async def _down(websocket: WebSocket, upstream: websockets.ClientConnection) -> None:
    with contextlib.suppress(
        WebSocketDisconnect, websockets.ConnectionClosed, RuntimeError, OSError
    ):
        async for message in upstream:
            if isinstance(message, str):
                await websocket.send_text(message)
            else:
                await websocket.send_bytes(message)
