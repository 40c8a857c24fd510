"""Slots of shared memory that one process owns and lends to a host by message.

The owner writes a slot only while it holds it; while it is on loan only the host reads it. No lock
and no word of shared memory decides that: the loan is a message, and the end of the connection
returns every loan. The generation of a slot grows with each use; it names the loan, so that an
answer to an earlier one cannot be taken for this one's.

A slot is `[frame | input]`: the frame as the decoder gave it (I420), then the model's input made
from it. Memory is a sealed-size memfd that is reserved at once (`posix_fallocate`): a full machine
says so here, and never with SIGBUS in the middle of a frame.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from saccade.errors import OutOfSlots

log = logging.getLogger(__name__)

ALIGN: Final = 4096
#: A ring can neither shrink nor grow once it is made: a host that reads it never meets SIGBUS.
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def i420_bytes(width: int, height: int) -> int:
    """Return the size of one I420 picture. Width and height are even."""
    return width * height * 3 // 2


def _aligned(size: int) -> int:
    return -(-size // ALIGN) * ALIGN


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are in a slot, in bytes."""

    frame_bytes: int
    input_bytes: int

    @property
    def input_offset(self) -> int:
        """Return where the model's input starts."""
        return _aligned(self.frame_bytes)

    @property
    def slot_bytes(self) -> int:
        """Return the size of one slot."""
        return self.input_offset + _aligned(self.input_bytes)


class Ring:
    """The owner's side: slots that are free, held or on loan.

    Args:
        slots: how many to ask for; fewer are taken, with a warning, when memory is short.
        layout: what one slot holds.

    Raises:
        OutOfSlots: not one slot fits.
    """

    def __init__(self, slots: int, layout: Layout) -> None:
        if slots < 1:
            raise ValueError(f"slots is {slots}, must be at least 1")
        self.layout = layout
        self.fd, self.slots = _reserve(slots, layout.slot_bytes)
        self._map = mmap.mmap(self.fd, self.slots * layout.slot_bytes)
        self._bytes = np.frombuffer(self._map, np.uint8)
        self.generations = [0] * self.slots
        self._free = list(range(self.slots))

    @property
    def free(self) -> int:
        """Return how many slots nobody holds."""
        return len(self._free)

    def take(self) -> int | None:
        """Take a free slot and start its next generation; None when all are in use."""
        if not self._free:
            return None
        slot = self._free.pop()
        self.generations[slot] += 1
        return slot

    def give_back(self, slot: int) -> None:
        """Make a slot free again.

        Raises:
            ValueError: it is free already (a loan was returned twice), or there is no such slot.
        """
        if not 0 <= slot < self.slots:
            raise ValueError(f"slot {slot} of {self.slots}")
        if slot in self._free:
            raise ValueError(f"slot {slot} is free already")
        self._free.append(slot)

    def frame(self, slot: int, width: int, height: int) -> NDArray[np.uint8]:
        """Return the slot's I420 frame as a (height * 3 / 2, width) view."""
        start, size = slot * self.layout.slot_bytes, i420_bytes(width, height)
        if size > self.layout.frame_bytes:
            raise ValueError(f"a frame of {size} bytes; the slot holds {self.layout.frame_bytes}")
        return self._bytes[start : start + size].reshape(height * 3 // 2, width)

    def input(self, slot: int, height: int, width: int) -> NDArray[np.uint8]:
        """Return the slot's model input as a (height, width, 3) view."""
        start = slot * self.layout.slot_bytes + self.layout.input_offset
        size = height * width * 3
        if size > self.layout.input_bytes:
            raise ValueError(f"an input of {size} bytes; the slot holds {self.layout.input_bytes}")
        return self._bytes[start : start + size].reshape(height, width, 3)

    def close(self) -> None:
        """Return the memory. Views that still exist keep it until they are gone."""
        if self.fd < 0:
            return
        os.close(self.fd)
        self.fd = -1
        self._bytes = np.empty(0, np.uint8)
        try:
            self._map.close()
        except BufferError:  # a picture is still being drawn from it; freed with the last view
            log.debug("ring closed while a view of it is in use")


class RingView:
    """The host's side of a ring: read-only views of the inputs in it.

    Args:
        fd: the ring's memfd; the caller's to close, the map keeps the memory.
        slots: how many slots the owner says it has.
        slot_bytes: the size of one.
        input_offset: where an input starts in its slot.

    Raises:
        ValueError: the memory is smaller than the owner says, or its owner could still shrink it.
        OSError: it is no memory that can be mapped.
    """

    def __init__(self, fd: int, *, slots: int, slot_bytes: int, input_offset: int) -> None:
        size = os.fstat(fd).st_size
        if slots < 1 or slot_bytes < 1 or not 0 <= input_offset < slot_bytes:
            raise ValueError(f"{slots} slots of {slot_bytes} bytes, input at {input_offset}")
        if size < slots * slot_bytes:
            raise ValueError(f"{size} bytes of memory for {slots} slots of {slot_bytes}")
        if not fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK:
            raise ValueError("the ring's memory is not sealed: it could shrink while it is read")
        self._slots, self._slot_bytes, self._input_offset = slots, slot_bytes, input_offset
        self._map = mmap.mmap(fd, slots * slot_bytes, prot=mmap.PROT_READ)
        self._bytes = np.frombuffer(self._map, np.uint8)

    def input(self, slot: int, height: int, width: int) -> NDArray[np.uint8]:
        """Return one input as a read-only (height, width, 3) view.

        Raises:
            ValueError: the slot does not exist or does not hold that much.
        """
        size = height * width * 3
        if not 0 <= slot < self._slots or size > self._slot_bytes - self._input_offset:
            raise ValueError(f"slot {slot} of {self._slots}, input {width}x{height}")
        start = slot * self._slot_bytes + self._input_offset
        return self._bytes[start : start + size].reshape(height, width, 3)

    def close(self) -> None:
        """Return the memory once the last view is gone."""
        self._bytes = np.empty(0, np.uint8)
        try:
            self._map.close()
        except BufferError:
            log.debug("ring view closed while a batch still reads it")


def _reserve(slots: int, slot_bytes: int) -> tuple[int, int]:
    for fitting in range(slots, 0, -1):
        fd = os.memfd_create("saccade-ring", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.posix_fallocate(fd, 0, fitting * slot_bytes)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        except OSError:
            os.close(fd)
            continue
        if fitting < slots:
            log.warning("fewer slots than asked for", extra={"asked": slots, "slots": fitting})
        return fd, fitting
    raise OutOfSlots(
        f"not one slot of {slot_bytes} bytes fits in memory",
        fix="free memory, or lower camera.max_frame_width and max_frame_height",
    )
