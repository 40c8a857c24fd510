"""Pictures on their way to the server, and the newest frame on its way to the loop."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from saccade.cameras.links import FRAME_HEADER, ViewLink
from saccade.cameras.reader import Captured, Mailbox
from saccade.cameras.sources import Picture
from saccade.engine import wire
from saccade.types import CameraId

TILE = wire.Tile(
    camera=CameraId("cam"), size="full", seq=1, width=2, height=2, at=0.0, at_wall=0.0, objects=0
)


def connected(folder: Path) -> tuple[ViewLink, socket.socket, socket.socket]:
    listener = wire.listen(folder, "view.sock", socket.SOCK_STREAM)
    link = ViewLink(str(folder), "cam")
    assert link.connect()
    server, _address = listener.accept()
    server.setblocking(False)
    return link, server, listener


def read_all(server: socket.socket, push: Callable[[], None]) -> bytes:
    data = b""
    while True:
        push()
        try:
            part = server.recv(100_000)
        except BlockingIOError:
            return data
        if not part:
            return data
        data += part


def test_a_picture_larger_than_the_socket_takes_arrives_whole(tmp_path: Path) -> None:
    link, server, listener = connected(tmp_path)
    jpeg = np.random.default_rng(1).bytes(3_000_000)
    link.send(TILE, jpeg)
    assert not link.is_idle  # no new picture is made until this one is out
    data = read_all(server, link.flush)
    assert link.is_idle
    size, _none = FRAME_HEADER.unpack_from(data)
    assert data[8 : 8 + size] == b"cam"
    data = data[8 + size :]
    head, body = FRAME_HEADER.unpack_from(data)
    assert wire.encode(TILE) == data[8 : 8 + head]
    assert (body, data[8 + head :]) == (len(jpeg), jpeg)
    for sock in (server, listener):
        sock.close()
    link.close()


def test_sizes_to_watch_are_understood_however_the_bytes_arrive(tmp_path: Path) -> None:
    link, server, listener = connected(tmp_path)

    def message(*sizes: str) -> bytes:
        body = wire.encode(wire.Watch(sizes))
        return struct.pack(">I", len(body)) + body

    for byte in message("tile") + struct.pack(">I", 2) + b"\xc1\xc1" + message("tile", "full"):
        server.send(bytes([byte]))
        link.on_readable()
    assert link.sizes == ("tile", "full")
    server.close()
    link.on_readable()
    assert not link.is_connected
    assert link.sizes == ()  # nobody watches any more
    listener.close()


def test_a_server_that_ends_in_the_middle_of_a_picture_is_connected_to_anew(tmp_path: Path) -> None:
    link, server, listener = connected(tmp_path)
    link.send(TILE, bytes(3_000_000))
    server.close()
    link.flush()
    assert not link.is_connected
    assert link.is_idle
    with pytest.raises(ValueError, match="not connected"):
        link.fileno()
    assert link.connect()
    again, _address = listener.accept()
    again.setblocking(False)
    assert read_all(again, link.flush) == FRAME_HEADER.pack(3, 0) + b"cam"
    for sock in (again, listener):
        sock.close()
    link.close()


def frame(seq: int) -> Captured:
    picture = Picture(2, 2, 2, 2, None, lambda _out: None, lambda: 0)
    return Captured(picture, seq, 0.0, 0.0)


def test_the_newest_frame_replaces_the_one_that_waits_and_says_so() -> None:
    mailbox = Mailbox()
    assert mailbox.put(frame(1)) is None
    replaced = mailbox.put(frame(2))
    assert replaced is not None
    assert replaced.seq == 1
    assert os.eventfd_read(mailbox.wake) == 2
    assert not mailbox.wait_empty(0.0)
    taken = mailbox.take()
    assert taken is not None
    assert taken.seq == 2
    assert mailbox.take() is None
    assert mailbox.wait_empty(0.0)
    os.close(mailbox.wake)
