"""Where the tree is reached: the address of its HTTP door, bound before any process starts."""

from __future__ import annotations

import os
import socket

from saccade.desired import Desired
from saccade.errors import PortInUse


def url(desired: Desired) -> str:
    """Return where a person's browser finds the server."""
    host = desired.server.host
    shown = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - not a bind
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{desired.server.port}"


def bind_http(host: str, port: int) -> socket.socket:
    """Bind the door.

    Raises:
        PortInUse: somebody else listens there, or the address is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise PortInUse(
            f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}",
            fix="stop what uses it, or choose another with --port or server.port",
        ) from None
    sock.listen(512)
    sock.setblocking(False)
    return sock
