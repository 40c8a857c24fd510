"""The decoding thread of a camera: opens the source, reads it, opens it again when it ends.

A read of a dead network stream may not return for seconds, and no thread can be ended from outside.
So a reader can be abandoned: the camera starts another, and what the old one still says is ignored.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from saccade.cameras.counts import FrameBook
from saccade.cameras.pacing import Pacer
from saccade.cameras.sources import Picture, Source, open_source
from saccade.cameras.state import Backoff, FrozenCheck
from saccade.desired import CameraSpec
from saccade.errors import SaccadeError, SourceFailed
from saccade.types import CameraState, DropReason, SourceKind

log = logging.getLogger(__name__)

LIVE_KINDS = frozenset({SourceKind.RTSP, SourceKind.HTTP, SourceKind.WEBCAM})
#: A file that cannot be read is tried again this often, seconds: it may be copied right now.
FILE_RETRY_S = 5.0


def waits_for_model(spec: CameraSpec) -> bool:
    """Say whether a source is read only as fast as its model answers: a file, on demand."""
    return spec.kind not in LIVE_KINDS and not spec.realtime


@dataclass(frozen=True, slots=True)
class Captured:
    """A frame that is due, waiting for the camera's loop."""

    picture: Picture
    seq: int
    at: float  # monotonic seconds
    at_wall: float


class Mailbox:
    """One place for the newest frame; latest wins. `wake` is an eventfd for the camera's loop."""

    def __init__(self) -> None:
        self.wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Condition()
        self._frame: Captured | None = None

    def put(self, frame: Captured) -> Captured | None:
        """Leave a frame; return the one it replaced."""
        with self._lock:
            before, self._frame = self._frame, frame
        os.eventfd_write(self.wake, 1)
        return before

    def take(self) -> Captured | None:
        """Take the frame, if there is one."""
        with self._lock:
            frame, self._frame = self._frame, None
            self._lock.notify()
        return frame

    def wait_empty(self, timeout_s: float) -> bool:
        """Wait until the frame is taken; False when it was not in time."""
        with self._lock:
            return self._lock.wait_for(lambda: self._frame is None, timeout_s)


class Reader:
    """One decoding thread.

    Args:
        spec: the camera.
        mailbox: where due frames go.
        book: the camera's frame account.
        tell: called with (state, reason) from this thread.
        backoff: shared with the readers before and after this one.
    """

    def __init__(
        self,
        spec: CameraSpec,
        *,
        mailbox: Mailbox,
        book: FrameBook,
        tell: Callable[[CameraState, str], None],
        backoff: Backoff,
    ) -> None:
        self._spec, self._mailbox, self._book, self._backoff = spec, mailbox, book, backoff
        self._report = tell
        self._quit = threading.Event()
        self._pacer = Pacer(spec.process_fps, spec.frame_skip)
        self._frozen = FrozenCheck(spec.frozen_seconds if spec.kind in LIVE_KINDS else 0.0)
        self.newest_at = time.monotonic()  # of the last sign of life: a frame, or a try to connect
        self._thread = threading.Thread(target=self._run, name="decoder", daemon=True)

    def start(self) -> None:
        """Start reading."""
        self._thread.start()

    def abandon(self) -> None:
        """Let it end by itself when its read returns; what it says until then does not count."""
        self._quit.set()

    @property
    def is_alive(self) -> bool:
        """Say whether the thread is still there."""
        return self._thread.is_alive()

    def _tell(self, state: CameraState, reason: str) -> None:
        if not self._quit.is_set():
            self._report(state, reason)

    def _run(self) -> None:
        while not self._quit.is_set():
            source: Source | None = None
            try:
                self.newest_at = time.monotonic()
                source = open_source(self._spec)
                pictures = self._read(source)
                if self._quit.is_set():
                    return
                if not pictures:
                    raise SourceFailed(
                        f"{self._spec.display_url} holds no pictures",
                        fix="check that it is a whole video, or a stream that is switched on",
                    )
                if self._spec.kind not in LIVE_KINDS:
                    if self._spec.loop:
                        continue
                    self._tell(CameraState.ENDED, "the file ended")
                    return
                reason = f"{self._spec.display_url} ended the stream"
                self._tell(CameraState.RECONNECTING, reason)
            except SaccadeError as error:
                self._fail(error)
            except Exception:  # the outermost loop of this thread
                log.exception("the decoder failed")
                self._fail(SourceFailed("the decoder failed", fix="see the camera's log"))
            finally:
                if source is not None:
                    source.close()
            if not self._quit.is_set():
                self._book.reconnected()
                self._wait()

    def _fail(self, error: SaccadeError) -> None:
        log.info("the source failed", extra={"what": error.what})
        is_live = self._spec.kind in LIVE_KINDS
        self._tell(CameraState.RECONNECTING if is_live else CameraState.ERROR, error.what)

    def _wait(self) -> None:
        self.newest_at = time.monotonic()
        is_live = self._spec.kind in LIVE_KINDS
        pause_s = self._backoff.next_s(random.random())  # noqa: S311 - jitter, not a secret
        end = time.monotonic() + (pause_s if is_live else max(pause_s, FILE_RETRY_S))
        while not self._quit.is_set() and (left := end - time.monotonic()) > 0:
            self._quit.wait(min(left, 0.5))
            self.newest_at = time.monotonic()

    def _read(self, source: Source) -> int:
        """Read a source to its end; return how many pictures it gave."""
        began_at, first_media_s = time.monotonic(), None
        self._frozen.forget()
        self._pacer.restart()
        pictures = 0
        for picture in source.pictures():
            if picture.media_s is not None:
                if first_media_s is None:
                    first_media_s = picture.media_s
                self._keep_time(began_at + picture.media_s - first_media_s)
            if self._quit.is_set():
                return pictures
            now = self.newest_at = time.monotonic()
            pictures += 1
            if pictures == 1:
                self._backoff.reset()
                self._tell(CameraState.LIVE, "pictures arrive")
            self._offer(picture, now)
        return pictures

    def _keep_time(self, due_at: float) -> None:
        """Wait for a file's next picture as its clock says, unless it is read on demand."""
        if not self._spec.realtime:
            return
        while not self._quit.is_set() and (left := due_at - time.monotonic()) > 0:
            self._quit.wait(min(left, 0.5))
            self.newest_at = time.monotonic()

    def _offer(self, picture: Picture, now: float) -> None:
        seq = self._book.produced(now, picture.native_width, picture.native_height)
        waits = waits_for_model(self._spec)
        media_s = picture.media_s if waits else None
        dropped = self._pacer.judge(now if media_s is None else media_s)
        if dropped is not None:
            self._book.dropped(dropped)
            return
        if self._frozen.limit_s > 0 and self._frozen.is_frozen(picture.signature(), now):
            self._book.frozen()
            self._book.dropped(DropReason.STALE)
            raise SourceFailed(
                f"the picture has not changed for {self._spec.frozen_seconds:.0f} s",
                fix="check the camera; frozen_seconds sets the limit, 0 switches the check off",
            )
        if waits:
            while not self._quit.is_set() and not self._mailbox.wait_empty(0.5):
                self.newest_at = time.monotonic()  # the model is slow, the file is not stalled
        replaced = self._mailbox.put(Captured(picture, seq, now, time.time()))
        if replaced is not None:
            self._book.dropped(DropReason.SUPERSEDED)
