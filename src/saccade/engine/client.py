"""The client of a host: owns a ring, lends slots, gets answers. Cameras and the server are one.

It has no thread and never blocks: the owner waits on `fileno()` in whatever loop it has (a selector
in a camera, asyncio in the server) and calls `on_readable()`.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from saccade.engine import wire
from saccade.engine.ring import Layout, Ring
from saccade.errors import ErrorInfo
from saccade.types import HostName, ModelName, ModelStatus
from saccade.vision.letterbox import ColorOrder, InputSpec, Pad

log = logging.getLogger(__name__)

HOST_LOST: Final = ErrorInfo(
    "host_lost", "the host ended while it had the frame", "it restarts by itself; try again"
)


@dataclass(frozen=True, slots=True)
class Loan:
    """One slot with the host."""

    slot: int
    generation: int
    seq: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection ended; these loans came back without an answer."""

    loans: tuple[Loan, ...]


Arrival = wire.Answer | wire.Refusal | wire.ModelInfo | Lost


class HostClient:
    """One connection to one model of one host.

    Args:
        run_dir: the folder with the hosts' sockets.
        host: which host.
        model: which of its models.
        name: who we are, for the host's log.
        slots: how many slots to ask for.
        frame_bytes: room for the frame as decoded, in each slot.
    """

    def __init__(
        self,
        run_dir: str,
        *,
        host: HostName,
        model: ModelName,
        name: str,
        slots: int,
        frame_bytes: int,
    ) -> None:
        self._run_dir, self._host, self._model, self._name = run_dir, host, model, name
        self._slots, self._frame_bytes = slots, frame_bytes
        self._sock: socket.socket | None = None
        self._loans: dict[int, Loan] = {}
        self._ring_load = 0  # the load of the model that the ring was lent to
        self.ring: Ring | None = None
        self.info: wire.ModelInfo | None = None

    @property
    def is_connected(self) -> bool:
        """Say whether there is a connection, whatever the model's state."""
        return self._sock is not None

    @property
    def is_ready(self) -> bool:
        """Say whether the model has proved itself and slots are lent."""
        return (
            self.ring is not None
            and self.info is not None
            and self.info.load == self._ring_load
            and self.info.status is ModelStatus.READY
        )

    @property
    def input(self) -> InputSpec:
        """Return what the model wants to see; only when `is_ready`."""
        info = self.info
        if info is None or info.width == 0:
            raise ValueError("the host has not said what its model takes")
        return InputSpec(
            info.width, info.height, ColorOrder(info.color), Pad(info.pad), info.pad_value
        )

    @property
    def on_loan(self) -> int:
        """Return how many slots the host has."""
        return len(self._loans)

    def fileno(self) -> int:
        """Return the connection's descriptor, to wait on."""
        if self._sock is None:
            raise ValueError("not connected")
        return self._sock.fileno()

    def connect(self) -> bool:
        """Try to connect; say whether it worked. A host that is away queues us at its listener."""
        if self._sock is not None:
            return True
        try:
            self._sock = wire.connect(self._run_dir, f"host-{self._host}.sock")
            wire.send(self._sock, wire.encode(wire.Hello(self._name, self._model)))
        except OSError as error:
            log.debug("host not reached", extra={"host": self._host, "errno": error.errno})
            self.close()
            return False
        return True

    def submit(self, slot: int, *, seq: int, admitted: int, deadline_s: float) -> bool:
        """Lend a slot; False when the host's queue does not take it (the slot stays ours).

        Args:
            slot: taken from `ring` and filled.
            seq: the frame's number, returned with the answer.
            admitted: how many requests of this client are under way, this one included.
            deadline_s: monotonic seconds after which an answer is of no use.
        """
        if self._sock is None or self.ring is None or not self.is_ready:
            return False  # a ring of the load before would be read in the wrong size
        loan = Loan(slot, self.ring.generations[slot], seq)
        message = wire.Submit(slot, loan.generation, seq, admitted, int(deadline_s * 1e9))
        try:
            self._sock.send(wire.encode(message))
        except OSError:  # full (EAGAIN), or gone: then on_readable() says Lost
            return False
        self._loans[slot] = loan
        return True

    def on_readable(self) -> Iterator[Arrival]:
        """Yield everything that has arrived.

        The slot of an answer or refusal is the caller's again: it may read the frame in it, and
        must `give_back` it before taking the next arrival.
        """
        while self._sock is not None:
            try:
                packet = wire.hear(self._sock)
            except BlockingIOError:
                return
            if not packet:
                yield self.drop_connection()
                return
            try:
                message = wire.client_bound(packet)
            except msgspec.MsgspecError:
                log.exception("a packet from the host that is no message")
                yield self.drop_connection()
                return
            if isinstance(message, wire.ModelInfo):
                self.info = message
                self._renew_ring()
                yield message
            elif self._end_loan(message):
                yield message

    def give_back(self, slot: int) -> None:
        """Make an answered slot free for the next frame."""
        if self.ring is not None:
            self.ring.give_back(slot)
            self._renew_ring()

    def drop_connection(self) -> Lost:
        """End the connection; every loan returns and the ring goes."""
        lost = Lost(tuple(self._loans.values()))
        self._loans.clear()
        self.close()
        return lost

    def close(self) -> None:
        """Free the socket and the ring."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        if self.ring is not None:
            self.ring.close()
            self.ring = None
        self.info = None
        self._loans.clear()

    def _end_loan(self, message: wire.Answer | wire.Refusal) -> bool:
        loan = self._loans.get(message.slot)
        if loan is None or loan.generation != message.generation:
            log.warning("an answer to no loan", extra={"host": self._host, "seq": message.seq})
            return False
        del self._loans[message.slot]
        return True

    def _renew_ring(self) -> None:
        """Lend a ring to the model's load: the first one, or once nobody holds a slot of the old.

        Raises:
            OutOfSlots: not one slot fits.
        """
        info = self.info
        if self._sock is None or info is None or info.width == 0:
            return
        layout = Layout(self._frame_bytes, info.width * info.height * 3)
        if self.ring is not None:
            if self._ring_load == info.load or self.ring.free < self.ring.slots:
                return
            if self.ring.layout != layout:
                self.ring.close()
                self.ring = None
        if self.ring is None:
            self.ring = Ring(self._slots, layout)
        self._ring_load = info.load
        lend = wire.Lend(self.ring.slots, layout.slot_bytes, layout.input_offset, info.load)
        try:
            socket.send_fds(self._sock, [wire.encode(lend)], [self.ring.fd])
        except OSError:
            log.debug("the host went away before the ring was lent", extra={"host": self._host})
            self._ring_load = 0
