"""A camera's frame account: every decoded frame is served, dropped with a reason, or in flight."""

from __future__ import annotations

import threading

from saccade.telemetry.board import DROP_WORDS, CameraWord, Page
from saccade.types import DropReason


class FrameBook:
    """The account, kept in the camera's page. Two threads write it: the decoder and the loop."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._lock = threading.Lock()
        self._seq = page.get(CameraWord.PRODUCED)

    def produced(self, now: float, width: int, height: int) -> int:
        """Book a decoded frame; return its number."""
        with self._lock:
            self._seq += 1
            self._page.set(CameraWord.WIDTH, width)
            self._page.set(CameraWord.HEIGHT, height)
            self._page.set(CameraWord.LAST_FRAME_NS, int(now * 1e9))
            self._page.add(CameraWord.IN_FLIGHT)
            self._page.add(CameraWord.PRODUCED)
            return self._seq

    def dropped(self, reason: DropReason) -> None:
        """Book a frame that will have no answer."""
        with self._lock:
            self._page.add(DROP_WORDS[reason])
            self._page.add(CameraWord.IN_FLIGHT, -1)

    def served(self, now: float, captured_at: float) -> None:
        """Book a frame that a model answered."""
        with self._lock:
            self._page.add(CameraWord.SERVED)
            self._page.add(CameraWord.IN_FLIGHT, -1)
            self._page.add(CameraWord.ANSWER_SUM_NS, int((now - captured_at) * 1e9))
            self._page.set(CameraWord.LAST_ANSWER_NS, int(now * 1e9))

    def reconnected(self) -> None:
        """Book a try to open the source again."""
        self._page.add(CameraWord.RECONNECTS)

    def stalled(self) -> None:
        """Book a stall."""
        self._page.add(CameraWord.STALLS)

    def frozen(self) -> None:
        """Book a frozen picture."""
        self._page.add(CameraWord.FROZEN)
