"""What is still to be said to a peer that does not read right now: in order, bounded, not lost."""

from __future__ import annotations

import logging
import socket
import threading
from collections import deque
from typing import Final

import msgspec

from saccade.engine import wire

log = logging.getLogger(__name__)

#: Messages that may wait. A peer that leaves this many unread is stopped or stuck, and will be
#: replaced; more would only fill memory.
WAITING_MOST: Final = 4096


class Outgoing:
    """Messages on their way to one peer; any thread may say something.

    An order that the socket does not take now must not be forgotten: a `Load` that is lost is a
    model that never comes up. Whoever owns the peer's loop calls `flush` on every turn.

    Args:
        sock: non-blocking; stays the caller's.
        most: messages that may wait.
    """

    def __init__(self, sock: socket.socket, *, most: int = WAITING_MOST) -> None:
        self._sock, self._most = sock, most
        self._waiting: deque[bytes] = deque()
        self._lock = threading.Lock()

    @property
    def is_idle(self) -> bool:
        """Say whether nothing waits."""
        return not self._waiting

    def say(self, message: msgspec.Struct) -> bool:
        """Send a message, now or as soon as the peer reads; False when too many wait already."""
        with self._lock:
            if len(self._waiting) >= self._most:
                log.error(
                    "a peer reads nothing, a message is lost",
                    extra={"message_type": type(message).__name__},
                )
                return False
            self._waiting.append(wire.encode(message))
            self._push()
        return True

    def flush(self) -> None:
        """Send what waits, as far as the peer takes it."""
        if self._waiting:
            with self._lock:
                self._push()

    def _push(self) -> None:
        while self._waiting:
            try:
                wire.send(self._sock, self._waiting[0])
            except BlockingIOError:
                return
            except OSError as error:
                # The peer is gone, or this one message cannot be sent by anybody.
                log.warning("a message was not taken", extra={"errno": error.errno})
            self._waiting.popleft()
