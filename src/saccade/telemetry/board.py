"""Counters and heartbeats in shared memory that outlive the process that writes them.

The supervisor owns one memfd, cut into pages of 4 KiB; each child writes one page of it and nobody
else's. After a `kill -9` the page still says how many frames the dead process had taken and not
answered, so that the supervisor can book the remainder and the sums of invariant 1 close.

A page is 512 aligned 64-bit words with one writer, so a word is never torn on x86-64 or AArch64.
"""

from __future__ import annotations

import mmap
import os
from enum import IntEnum
from typing import Final

from saccade.types import DropReason

PAGE_BYTES: Final = 4096
PAGE_WORDS: Final = PAGE_BYTES // 8
#: Processes that may live over one run of the supervisor; a removed camera's page is used again.
PAGES: Final = 256
_MASK: Final = (1 << 64) - 1


class Word(IntEnum):
    """Words every page has."""

    PID = 0
    HEARTBEAT = 1  # grows while the process's loop turns


class CameraWord(IntEnum):
    """Words of a camera's page."""

    PRODUCED = 16  # frames the decoder gave
    SERVED = 17  # frames a model answered
    OBSERVED = 18  # observations handed to the router
    UNHEARD = 19  # observations the router's socket did not take
    TILES = 20  # pictures drawn and encoded for people
    RECONNECTS = 21
    STALLS = 22
    FROZEN = 23
    LAST_FRAME_NS = 24  # monotonic capture time of the newest decoded frame
    LAST_ANSWER_NS = 25
    WIDTH = 26  # native pixels
    HEIGHT = 27
    IN_FLIGHT = 28  # frames taken and neither answered nor dropped yet
    ANSWER_SUM_NS = 29  # capture to answer, summed over served frames
    DROPPED = 32  # the first of one word per DropReason


class RouterWord(IntEnum):
    """Words of the router's page."""

    OBSERVATIONS = 16
    EVENTS = 17
    COMMITS = 18
    FAILED_COMMITS = 19


class ServerWord(IntEnum):
    """Words of the server's page."""

    REQUESTS = 16
    ERRORS = 17
    WS_CLIENTS = 18
    WS_DROPPED = 19
    STREAMS = 20


class WorkerWord(IntEnum):
    """Words of the worker's page."""

    DELIVERED = 16
    FAILED = 17
    DEAD = 18


class ModelWord(IntEnum):
    """Words of one model inside a host's page, counted from `model_base`."""

    REQUESTS = 0
    ANSWERED = 1
    FAILED = 2  # of the refused: the model raised on it
    REFUSED = 3
    BATCHES = 4
    BUSY_NS = 5  # time spent in infer(), summed
    LAST_NS = 6
    P50_NS = 7
    P95_NS = 8
    P99_NS = 9
    QUEUED = 10
    CLIENTS = 11
    BUSY_UNTIL_NS = 12  # monotonic deadline of what it is doing; 0: idle. A hang counts from here
    GONE = 13  # requests whose client left before it was told: requests = answered + refused + gone


MODEL_WORDS: Final = 16
MODEL_FIRST: Final = 64
#: Models one host can hold: what fits in its page.
MODELS_PER_HOST: Final = (PAGE_WORDS - MODEL_FIRST) // MODEL_WORDS

DROP_WORDS: Final[dict[DropReason, int]] = {
    reason: CameraWord.DROPPED + index for index, reason in enumerate(DropReason)
}


def model_base(index: int) -> int:
    """Return the first word of the host's `index`-th model."""
    if not 0 <= index < MODELS_PER_HOST:
        raise ValueError(f"model index {index} is not in 0..{MODELS_PER_HOST - 1}")
    return MODEL_FIRST + index * MODEL_WORDS


class Page:
    """512 counters of one process. Single writer; anyone may read."""

    __slots__ = ("_words",)

    def __init__(self, words: memoryview) -> None:
        self._words = words

    def get(self, word: int) -> int:
        """Return one word."""
        value: int = self._words[word]
        return value

    def set(self, word: int, value: int) -> None:
        """Write one word."""
        self._words[word] = value & _MASK

    def add(self, word: int, amount: int = 1) -> None:
        """Add to one word; only the page's own process may call this."""
        self._words[word] = (self._words[word] + amount) & _MASK

    def clear(self, first: int = 0, last: int = PAGE_WORDS) -> None:
        """Zero the words from `first` up to `last`."""
        for word in range(first, last):
            self._words[word] = 0

    def release(self) -> None:
        """Let go of the memory, so that the board can be closed."""
        self._words.release()


class Board:
    """All pages. The supervisor creates it; children attach to its descriptor."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, PAGES * PAGE_BYTES)
        self._words = memoryview(self._map).cast("Q")

    @classmethod
    def create(cls) -> Board:
        """Reserve the memory now, so that no later write can fail.

        Raises:
            OSError: there is not 1 MiB of memory left.
        """
        fd = os.memfd_create("saccade-board", os.MFD_CLOEXEC)
        os.posix_fallocate(fd, 0, PAGES * PAGE_BYTES)
        return cls(fd)

    def page(self, index: int) -> Page:
        """Return one page."""
        if not 0 <= index < PAGES:
            raise ValueError(f"page {index} is not in 0..{PAGES - 1}")
        return Page(self._words[index * PAGE_WORDS : (index + 1) * PAGE_WORDS])


class FrameCounts:
    """The frame account of one camera, read from its page.

    `produced == served + dropped + in_flight` holds whenever the camera is between two steps and
    after the supervisor has booked a dead one.
    """

    __slots__ = ("dropped", "in_flight", "produced", "served")

    def __init__(self, page: Page) -> None:
        self.produced = page.get(CameraWord.PRODUCED)
        self.served = page.get(CameraWord.SERVED)
        self.in_flight = page.get(CameraWord.IN_FLIGHT)
        self.dropped = {reason: page.get(word) for reason, word in DROP_WORDS.items()}

    @property
    def missing(self) -> int:
        """Return the frames that are neither served, dropped nor in flight."""
        return self.produced - self.served - sum(self.dropped.values()) - self.in_flight


def book_dead_camera(page: Page) -> int:
    """Book what a dead camera held as dropped(died); return how many frames that were.

    Called by the supervisor after the camera's process is gone, so the page has no other writer.
    """
    page.set(CameraWord.IN_FLIGHT, 0)
    lost = max(0, FrameCounts(page).missing)
    page.add(DROP_WORDS[DropReason.DIED], lost)
    return lost
