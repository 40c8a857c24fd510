"""The role `pages`: the dashboard's process under the supervisor."""

from __future__ import annotations

import select
import socket
import threading
from pathlib import Path
from typing import Final

from saccade.desired import Desired
from saccade.engine import wire
from saccade.pages.app import serve
from saccade.pages.settings import PagesSettings
from saccade.telemetry.board import Page, Word

#: Seconds between two heartbeats.
HEARTBEAT_S: Final = 0.5


def serve_pages(
    desired: Desired, *, listener: socket.socket, control: socket.socket, page: Page
) -> None:
    """Serve the dashboard until the supervisor says stop or is gone."""
    stop = threading.Event()
    threading.Thread(target=_obey, args=(control, page, stop), daemon=True).start()
    settings = PagesSettings(auth_required=desired.server.auth_required)
    control.send(wire.encode(wire.Good()))
    serve(listener, str(Path(desired.run_dir) / "server.sock"), settings, stop)


def _obey(control: socket.socket, page: Page, stop: threading.Event) -> None:
    poll = select.epoll()
    poll.register(control, select.EPOLLIN)
    while not stop.is_set():
        if poll.poll(HEARTBEAT_S):
            try:
                packet, _fds = wire.receive(control)
            except BlockingIOError:
                continue
            if not packet or isinstance(wire.to_child(packet), wire.Stop):
                stop.set()
        page.add(Word.HEARTBEAT)
