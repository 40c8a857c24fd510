"""What stays open: MJPEG streams, the WebSocket of states and events, the WebSocket of tiles."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec
from fastapi import APIRouter
from starlette.responses import Response, StreamingResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from saccade.cameras.tiles import FULL, TILE
from saccade.errors import NotFound
from saccade.server.context import Context, Parts, context_of
from saccade.server.view import Shown, Watcher
from saccade.telemetry.board import ServerWord

router = APIRouter(tags=["live"])

BOUNDARY: Final = "saccadeframe"
#: A client that takes nothing for this long is let go, seconds.
SEND_LIMIT_S: Final = 20.0
#: Pictures one tile socket may watch.
WATCH_MOST: Final = 64


class _Pair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    camera: str
    size: str = TILE


class _WatchOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    watch: list[_Pair]


#: What sending raises when the client has left, is too slow, or is not welcome any more.
_GONE: Final = (WebSocketDisconnect, OSError, RuntimeError)
_ORDER = msgspec.json.Decoder(_WatchOrder)


@router.get(
    "/stream/{camera_id}",
    summary="Live picture with boxes, as MJPEG",
    responses={200: {"content": {f"multipart/x-mixed-replace; boundary={BOUNDARY}": {}}}},
)
async def stream(camera_id: str, parts: Parts, size: str = FULL) -> Response:
    """Stream a camera until the client leaves, at about `server.stream_fps`."""
    if parts.tree.camera(camera_id) is None:
        raise NotFound(f"no camera is named {camera_id!r}", fix="GET /api/cameras lists them")
    return StreamingResponse(
        _jpegs(parts, camera_id, TILE if size == TILE else FULL),
        media_type=f"multipart/x-mixed-replace; boundary={BOUNDARY}",
        headers={"Cache-Control": "no-store"},
    )


async def _jpegs(parts: Context, camera_id: str, size: str) -> AsyncIterator[bytes]:
    period, next_at = 1.0 / parts.desired.server.stream_fps, 0.0
    with parts.view.watch() as watcher:
        parts.view.want(watcher, frozenset({(camera_id, size)}))
        parts.page.add(ServerWord.STREAMS)
        async for shown in watcher.pictures():
            now = time.monotonic()
            if now < next_at - period / 4:
                continue
            next_at = now + period
            yield (
                (
                    f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\n"
                    f"Content-Length: {len(shown.jpeg)}\r\n\r\n"
                ).encode()
                + shown.jpeg
                + b"\r\n"
            )
    yield f"--{BOUNDARY}--\r\n".encode()


@router.websocket("/ws")
async def states(websocket: WebSocket) -> None:
    """Push `state_update` and `event` messages."""
    parts = context_of(websocket)
    await websocket.accept()
    with parts.hub.join() as client:
        leaving = asyncio.create_task(_until_gone(websocket, client.close))
        try:
            while messages := await client.take():
                for message in messages:
                    await asyncio.wait_for(websocket.send_text(message), SEND_LIMIT_S)
        except _GONE:
            pass
        finally:
            leaving.cancel()
    await _close(websocket)


@router.websocket("/ws/tiles")
async def tiles(websocket: WebSocket) -> None:
    """Push pictures of the cameras the client asks for; latest wins."""
    parts = context_of(websocket)
    await websocket.accept()
    with parts.view.watch() as watcher:
        listening = asyncio.create_task(_take_orders(websocket, parts, watcher))
        try:
            async for shown in watcher.pictures():
                await asyncio.wait_for(websocket.send_bytes(tile_message(shown)), SEND_LIMIT_S)
        except _GONE:
            pass
        finally:
            listening.cancel()
    await _close(websocket)


def tile_message(shown: Shown) -> bytes:
    """Return `header length (4 bytes, big endian), JSON header, JPEG`."""
    tile = shown.tile
    header = msgspec.json.encode(
        {
            "camera": tile.camera,
            "size": tile.size,
            "seq": tile.seq,
            "width": tile.width,
            "height": tile.height,
            "at": tile.at_wall,
            "objects": tile.objects,
        }
    )
    return struct.pack(">I", len(header)) + header + shown.jpeg


async def _take_orders(websocket: WebSocket, parts: Context, watcher: Watcher) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        while True:
            try:
                order = _ORDER.decode(await websocket.receive_text())
            except (msgspec.MsgspecError, KeyError):
                await websocket.close(1003, 'send {"watch": [{"camera": …, "size": …}]}')
                break
            pairs = frozenset((p.camera, p.size) for p in order.watch[:WATCH_MOST])
            parts.view.want(watcher, pairs)
    watcher.close()


async def _until_gone(websocket: WebSocket, gone: Callable[[], None]) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                break
    gone()


async def _close(websocket: WebSocket) -> None:
    with contextlib.suppress(*_GONE):
        await websocket.close(1001)
