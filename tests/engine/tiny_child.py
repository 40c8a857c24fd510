"""A child of the supervisor for tests: small, quick to start, and it behaves as its name says.

It takes its place by the same boot message as the real ones. The `server` relays: what the
supervisor tells it goes to whoever connects to its admin socket, and what they send goes back.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
import sys

import msgspec

from saccade.engine import wire
from saccade.spawn import Boot, die_with_parent, read_memfd
from saccade.telemetry.board import Board, CameraWord, Page, Word
from saccade.types import CameraState

BEAT_S = 0.1
SIZE = struct.Struct(">I")


def main(argv: list[str]) -> None:
    """Live the life that the boot message names."""
    boot = msgspec.msgpack.decode(read_memfd(int(argv[1])), type=Boot)
    die_with_parent(boot.supervisor_pid)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    page = Board(boot.board_fd).page(boot.page)
    control = socket.socket(fileno=boot.control_fd)
    manner = boot.camera.url if boot.camera is not None else ""
    sys.stderr.write(f"{boot.role} {boot.name} {manner}\n")
    sys.stderr.flush()
    if boot.role == "server":
        relay(control, page, socket.socket(fileno=boot.listeners["admin"]))
    elif manner == "die at once":
        os._exit(3)
    elif manner == "rubbish":
        control.send(b"\xc1")
        beat(control, page)
    elif manner == "flood":
        flood(control, page)
    elif manner == "deaf":
        beat(control, page, obeys=False)
    elif manner == "hang up":
        control.close()
        while True:
            page.add(Word.HEARTBEAT)
            select.select([], [], [], BEAT_S)
    else:
        if boot.camera is not None:
            work(control, page, boot)
        beat(control, page)


def beat(control: socket.socket, page: Page, *, obeys: bool = True) -> None:
    """Show life until told to stop."""
    control.setblocking(False)
    while True:
        page.add(Word.HEARTBEAT)
        select.select([control] if obeys else [], [], [], BEAT_S)
        try:
            packet = wire.hear(control) if obeys else None
        except BlockingIOError:
            continue
        if obeys and (not packet or isinstance(wire.to_child(packet), wire.Stop)):
            return


def work(control: socket.socket, page: Page, boot: Boot) -> None:
    """Do what a camera does once: take frames, and say that it is live and good."""
    assert boot.camera is not None
    page.add(CameraWord.PRODUCED, 5)
    page.add(CameraWord.SERVED, 3)
    page.set(CameraWord.IN_FLIGHT, 2)
    control.send(wire.encode(wire.CameraFact(id=boot.camera.id, state=CameraState.LIVE)))
    if boot.camera.url != "never good":
        control.send(wire.encode(wire.Good()))


def flood(control: socket.socket, page: Page) -> None:
    """Talk as fast as the supervisor hears, for ever."""
    word = wire.encode(wire.Good())
    while True:
        page.add(Word.HEARTBEAT)
        control.send(word)


def relay(control: socket.socket, page: Page, admin: socket.socket) -> None:
    """Pass on what the supervisor says to the one who listens, and back."""
    control.setblocking(False)
    control.send(wire.encode(wire.Good()))
    listener: socket.socket | None = None
    newest = b""
    while True:
        page.add(Word.HEARTBEAT)
        waiting = [control, admin, *([listener] if listener else [])]
        for ready in select.select(waiting, [], [], BEAT_S)[0]:
            if ready is admin:
                listener, _address = admin.accept()
                listener.setblocking(True)
                if newest:
                    listener.sendall(SIZE.pack(len(newest)) + newest)
            elif ready is control:
                packet = wire.hear(control)
                if not packet or isinstance(wire.to_child(packet), wire.Stop):
                    return
                newest = packet
                if listener is not None:
                    try:
                        listener.sendall(SIZE.pack(len(packet)) + packet)
                    except OSError:
                        listener = None
            elif listener is not None:
                head = listener.recv(SIZE.size, socket.MSG_WAITALL)
                if len(head) < SIZE.size:
                    listener = None
                    continue
                body = listener.recv(SIZE.unpack(head)[0], socket.MSG_WAITALL)
                wire.send(control, body)


if __name__ == "__main__":
    main(sys.argv)
    os._exit(0)
