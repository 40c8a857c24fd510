"""Pictures for people: cameras connect here and send JPEGs of the sizes that somebody watches."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import msgspec

from saccade.cameras.links import FRAME_HEADER
from saccade.engine import wire

log = logging.getLogger(__name__)

#: A picture larger than this is not one of ours, bytes.
TILE_BYTES = 8 * 1024 * 1024
_TILE = msgspec.msgpack.Decoder(wire.Tile)


@dataclass(frozen=True, slots=True)
class Shown:
    """One picture with its header."""

    tile: wire.Tile
    jpeg: bytes


class Watcher:
    """One viewer: the newest picture of each camera and size it watches, and nothing older."""

    def __init__(self) -> None:
        self.wanted: frozenset[tuple[str, str]] = frozenset()
        self._fresh: dict[tuple[str, str], Shown] = {}
        self._arrived = asyncio.Event()
        self._closed = False

    def put(self, shown: Shown) -> None:
        """Leave a picture; it replaces an older one that was not taken."""
        self._fresh[shown.tile.camera, shown.tile.size] = shown
        self._arrived.set()

    def close(self) -> None:
        """End the watch; `pictures` returns."""
        self._closed = True
        self._arrived.set()

    async def pictures(self) -> AsyncIterator[Shown]:
        """Yield pictures as they come, until closed."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            if self._closed:
                return
            fresh, self._fresh = self._fresh, {}
            for shown in fresh.values():
                yield shown


class ViewHub:
    """All cameras' view connections and all watchers."""

    def __init__(self) -> None:
        self._cameras: dict[str, asyncio.StreamWriter] = {}
        self._watchers: set[Watcher] = set()
        self._told: dict[str, tuple[str, ...]] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hear one camera until it goes."""
        camera = ""
        try:
            name_size, _ = FRAME_HEADER.unpack(await reader.readexactly(FRAME_HEADER.size))
            if name_size > 256:
                return
            camera = (await reader.readexactly(name_size)).decode()
            self._cameras[camera] = writer
            self._told.pop(camera, None)
            self._tell_cameras()
            while True:
                header_size, jpeg_size = FRAME_HEADER.unpack(
                    await reader.readexactly(FRAME_HEADER.size)
                )
                if header_size + jpeg_size > TILE_BYTES:
                    log.error("a picture that is too large", extra={"camera": camera})
                    return
                tile = _TILE.decode(await reader.readexactly(header_size))
                self._show(Shown(tile, await reader.readexactly(jpeg_size)))
        except (asyncio.IncompleteReadError, ConnectionError, msgspec.MsgspecError, UnicodeError):
            log.debug("a camera's view ended", extra={"camera": camera})
        finally:
            if self._cameras.get(camera) is writer:
                del self._cameras[camera]
            writer.close()

    @contextlib.contextmanager
    def watch(self) -> Iterator[Watcher]:
        """Add a watcher for the length of the block."""
        watcher = Watcher()
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)
            self._tell_cameras()

    def want(self, watcher: Watcher, wanted: frozenset[tuple[str, str]]) -> None:
        """Say what a watcher wants: pairs of camera and size."""
        watcher.wanted = wanted
        self._tell_cameras()

    def close(self) -> None:
        """End every watch: the server stops."""
        for watcher in list(self._watchers):
            watcher.close()

    def _show(self, shown: Shown) -> None:
        key = (shown.tile.camera, shown.tile.size)
        for watcher in self._watchers:
            if key in watcher.wanted:
                watcher.put(shown)

    def _tell_cameras(self) -> None:
        """Tell each camera which of its sizes are watched, when that changed."""
        for camera, writer in list(self._cameras.items()):
            sizes = tuple(
                sorted({size for w in self._watchers for (c, size) in w.wanted if c == camera})
            )
            if self._told.get(camera) == sizes or writer.is_closing():
                continue
            self._told[camera] = sizes
            message = wire.encode(wire.Watch(sizes))
            writer.write(struct.pack(">I", len(message)) + message)
