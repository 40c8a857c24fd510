"""A camera's connections to the router (observations) and to the server (pictures for people).

Both are non-blocking and may be away: an observation that is not taken is counted, a picture that
nobody fetches in time is replaced by the next.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Final

import msgspec

from saccade.engine import wire

#: Before each message on the view stream: length of the header, length of the picture.
FRAME_HEADER: Final = struct.Struct(">II")
_WATCH = msgspec.msgpack.Decoder(wire.Watch)


class RouterLink:
    """Sends observations, one packet each."""

    def __init__(self, run_dir: str) -> None:
        self._run_dir = run_dir
        self._sock: socket.socket | None = None

    def send(self, observation: wire.Observation) -> bool:
        """Send one; False when the router is away or its queue is full."""
        if self._sock is None:
            try:
                self._sock = wire.connect(self._run_dir, "router.sock")
            except OSError:
                return False
        try:
            self._sock.send(wire.encode(observation))
        except BlockingIOError:
            return False
        except OSError:
            self.close()
            return False
        return True

    def close(self) -> None:
        """End the connection."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None


class ViewLink:
    """Sends pictures over a stream, and hears which sizes somebody watches."""

    def __init__(self, run_dir: str, camera: str) -> None:
        self._run_dir, self._camera = run_dir, camera
        self._sock: socket.socket | None = None
        self._unsent = b""
        self._heard = b""
        self.sizes: tuple[str, ...] = ()

    @property
    def is_connected(self) -> bool:
        """Say whether the server is there."""
        return self._sock is not None

    @property
    def is_idle(self) -> bool:
        """Say whether the last picture is out, so that a new one may be made."""
        return not self._unsent

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        if self._sock is None:
            raise ValueError("not connected")
        return self._sock.fileno()

    def connect(self) -> bool:
        """Try to connect and say who we are."""
        try:
            self._sock = wire.connect(self._run_dir, "view.sock", socket.SOCK_STREAM)
        except OSError:
            return False
        self._unsent, self._heard, self.sizes = b"", b"", ()
        name = self._camera.encode()
        self._push(FRAME_HEADER.pack(len(name), 0) + name)
        return self._sock is not None

    def on_readable(self) -> None:
        """Take what the server says."""
        if self._sock is None:
            return
        try:
            data = self._sock.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._heard += data
        while len(self._heard) >= 4:
            (size,) = struct.unpack_from(">I", self._heard)
            if len(self._heard) < 4 + size:
                return
            with contextlib.suppress(msgspec.MsgspecError):
                self.sizes = _WATCH.decode(self._heard[4 : 4 + size]).sizes
            self._heard = self._heard[4 + size :]

    def send(self, tile: wire.Tile, jpeg: bytes) -> None:
        """Send one picture; only when `is_idle`."""
        header = wire.encode(tile)
        self._push(FRAME_HEADER.pack(len(header), len(jpeg)) + header + jpeg)

    def flush(self) -> None:
        """Send what did not fit before."""
        if self._unsent:
            self._push(b"")

    def close(self) -> None:
        """End the connection."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        self._unsent, self.sizes = b"", ()

    def _push(self, data: bytes) -> None:
        self._unsent += data
        if self._sock is None:
            return
        try:
            sent = self._sock.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        self._unsent = self._unsent[sent:]
