"""A camera's process: decode, lend to the host, pass on what it saw, draw for who watches.

One loop over sockets and the decoder's eventfd; the decoder has a thread of its own. One frame is
with the host at a time, the newest waits, everything else is dropped and counted.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import time
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from saccade.cameras.counts import FrameBook
from saccade.cameras.links import RouterLink, ViewLink
from saccade.cameras.reader import Captured, Mailbox, Reader, waits_for_model
from saccade.cameras.state import Backoff, follows
from saccade.cameras.tiles import TileMaker
from saccade.desired import CameraSpec
from saccade.engine import wire
from saccade.engine.client import HostClient, Lost
from saccade.engine.outgoing import Outgoing
from saccade.engine.ring import i420_bytes
from saccade.errors import BadInput, OutOfSlots, SaccadeError
from saccade.telemetry.board import CameraWord, Page, Word
from saccade.types import CameraState, DropReason, HostName
from saccade.vision.detections import Detections
from saccade.vision.letterbox import Letterbox
from saccade.vision.pixels import i420_into_input

log = logging.getLogger(__name__)

#: Turns of the loop without any event, seconds: heartbeat, watchdog, reconnects.
TURN_S: Final = 0.2
#: Decoder threads that hang at most before the process gives up and starts anew.
ABANDONED_MOST: Final = 3

#: Seconds between two tries to lend slots when memory is short.
SHORT_OF_MEMORY_S: Final = 1.0

#: What the host refused a frame with -> how the frame is booked.
_REFUSED: Final = {
    "stale": DropReason.STALE,
    "overloaded": DropReason.BUSY,
    "model_not_ready": DropReason.NO_MODEL,
}


@dataclass(frozen=True, slots=True)
class Flight:
    """The frame that is with the host."""

    frame: Captured
    slot: int
    letterbox: Letterbox
    sent_at: float


class CameraProcess:
    """The loop of one camera.

    Args:
        spec: what it is.
        run_dir: where hosts, router and server listen.
        host: which host holds its model; None when it has no model.
        control: the supervisor.
        page: its counters.
    """

    def __init__(
        self,
        spec: CameraSpec,
        *,
        run_dir: str,
        host: HostName | None,
        control: socket.socket,
        page: Page,
    ) -> None:
        self._spec, self._control, self._page = spec, control, page
        self._outgoing = Outgoing(control)
        self._waits = waits_for_model(spec)
        self._book = FrameBook(page)
        self._mailbox = Mailbox()
        self._backoff = Backoff(spec.backoff_initial_seconds, spec.backoff_max_seconds)
        self._reader = self._new_reader()
        self._abandoned: list[Reader] = []
        self._client: HostClient | None = None
        if host is not None and spec.model is not None:
            self._client = HostClient(
                run_dir,
                host=host,
                model=spec.model,
                name=f"camera {spec.id}",
                slots=spec.slots,
                frame_bytes=i420_bytes(
                    spec.max_frame_width // 2 * 2, spec.max_frame_height // 2 * 2
                ),
            )
        self._router = RouterLink(run_dir)
        self._view = ViewLink(run_dir, spec.id)
        self._tiles = TileMaker(spec)
        self._flight: Flight | None = None
        self._state, self._told = CameraState.CONNECTING, (CameraState.CONNECTING, "")
        self._states: list[tuple[CameraState, str]] = []
        self._connect_at = 0.0  # not before
        self._is_short = False  # of memory for slots
        self._is_good, self._stop = False, False
        self._poll = select.epoll()
        self._scratch = np.empty(0, np.uint8)

    def run(self) -> None:
        """Run until the supervisor says stop or is gone."""
        self._poll.register(self._control, select.EPOLLIN)
        self._poll.register(self._mailbox.wake, select.EPOLLIN)
        self._reader.start()
        while not self._stop:
            self._maintain()
            for fd, _mask in self._poll.poll(TURN_S):
                self._attend(fd)
            self._work()
            self._outgoing.flush()
            self._page.add(Word.HEARTBEAT)
        self._leave()

    def _attend(self, fd: int) -> None:
        if fd == self._control.fileno():
            self._obey()
        elif fd == self._mailbox.wake:
            os.eventfd_read(fd)
        elif self._client is not None and self._client.is_connected and fd == self._client.fileno():
            self._hear_host(self._client)
        elif self._view.is_connected and fd == self._view.fileno():
            self._view.on_readable()

    def _obey(self) -> None:
        try:
            packet = wire.hear(self._control)
        except BlockingIOError:
            return
        if not packet or isinstance(wire.to_child(packet), wire.Stop):
            self._stop = True

    def _leave(self) -> None:
        """Book what is still under way; the process ends next."""
        self._reader.abandon()
        if self._flight is not None or (self._client is not None and self._client.on_loan):
            self._book.dropped(DropReason.STOPPED)
        if self._mailbox.take() is not None:
            self._book.dropped(DropReason.STOPPED)
        if self._client is not None:
            self._client.close()
        self._router.close()
        self._view.close()

    # ------------------------------------------------------------ upkeep

    def _maintain(self) -> None:
        now = time.monotonic()
        client = self._client
        may_connect = client is not None and not client.is_connected and now >= self._connect_at
        if client is not None and may_connect and client.connect():
            self._poll.register(client.fileno(), select.EPOLLIN)
        if not self._view.is_connected and self._view.connect():
            self._poll.register(self._view.fileno(), select.EPOLLIN)
        self._view.flush()
        if client is not None and self._flight is not None:
            waited_s = now - self._flight.sent_at
            if waited_s > self._spec.answer_timeout_seconds:
                log.warning("the host did not answer in time", extra={"waited_s": waited_s})
                self._lost(client.drop_connection())
        self._watch_reader(now)
        self._tell_states()

    def _new_reader(self) -> Reader:
        return Reader(
            self._spec,
            mailbox=self._mailbox,
            book=self._book,
            tell=self._note,
            backoff=self._backoff,
        )

    def _note(self, state: CameraState, reason: str) -> None:
        """Take a state from the decoder's thread; the loop passes it on."""
        self._states.append((state, reason))

    def _watch_reader(self, now: float) -> None:
        """Replace a decoder that has been silent too long: a frozen read does not return."""
        age_s = now - self._reader.newest_at
        if self._state is CameraState.ENDED:
            return
        patience_s = self._spec.stall_seconds
        if self._state is not CameraState.LIVE:
            patience_s += self._spec.connect_timeout_seconds + self._spec.read_timeout_seconds
        if age_s <= patience_s:
            return
        self._book.stalled()
        had_pictures = follows(self._state, CameraState.STALLED)
        self._note(
            CameraState.STALLED if had_pictures else CameraState.RECONNECTING,
            f"no picture for {age_s:.1f} s",
        )
        self._reader.abandon()
        self._abandoned = [r for r in (*self._abandoned, self._reader) if r.is_alive]
        if len(self._abandoned) > ABANDONED_MOST:
            log.error("too many decoders hang; starting anew")
            self._stop = True
            return
        self._reader = self._new_reader()
        self._reader.start()

    def _tell_states(self) -> None:
        while self._states:
            state, reason = self._states.pop(0)
            if not follows(self._state, state):
                continue
            self._state = state
            if (state, reason) == self._told:
                continue
            self._told = (state, reason)
            self._outgoing.say(wire.CameraFact(id=self._spec.id, state=state, reason=reason))

    def _be_good(self) -> None:
        """Tell, once, that this process does its work."""
        if not self._is_good:
            self._is_good = True
            self._outgoing.say(wire.Good())

    # ------------------------------------------------------------ frames

    def _work(self) -> None:
        client = self._client
        if self._flight is not None or (self._waits and client is not None and not client.is_ready):
            return
        frame = self._mailbox.take()
        if frame is None:
            return
        if client is None or not client.is_ready:
            self._book.dropped(DropReason.NO_MODEL)
            self._show_plain(frame)
            if client is None:  # no answer will ever come: a picture is all its work
                self._be_good()
        elif not self._waits and time.monotonic() > frame.at + self._spec.staleness_seconds:
            self._book.dropped(DropReason.STALE)
        else:
            self._lend(client, frame)

    def _lend(self, client: HostClient, frame: Captured) -> None:
        ring = client.ring
        assert ring is not None
        slot = ring.take()
        if slot is None:
            self._book.dropped(DropReason.BUSY)
            return
        picture = frame.picture
        spec = client.input
        try:
            pixels = ring.frame(slot, picture.width, picture.height)
            picture.write(pixels)
            letterbox = i420_into_input(
                pixels,
                picture.width,
                picture.height,
                spec,
                ring.input(slot, spec.height, spec.width),
            )
        except (SaccadeError, ValueError) as error:  # one picture that no decoder can finish
            log.warning("a picture cannot be used", extra={"what": str(error)})
            client.give_back(slot)
            self._book.dropped(DropReason.FAILED)
            return
        now = time.monotonic()
        deadline_s = (
            now + self._spec.answer_timeout_seconds
            if self._waits
            else frame.at + self._spec.staleness_seconds
        )
        if client.submit(slot, seq=frame.seq, admitted=1, deadline_s=deadline_s):
            self._flight = Flight(frame, slot, letterbox, now)
        else:
            client.give_back(slot)
            self._book.dropped(DropReason.BUSY)

    def _hear_host(self, client: HostClient) -> None:
        try:
            for arrival in client.on_readable():
                if isinstance(arrival, Lost):
                    self._lost(arrival)
                elif isinstance(arrival, wire.ModelInfo):
                    log.info("the model is %s", arrival.status, extra={"reason": arrival.reason})
                    if self._is_short and client.is_ready:
                        self._is_short = False
                        self._note(self._state, "slots fit in memory again")
                else:
                    self._land(client, arrival)
        except OutOfSlots as error:
            log.warning("no slots", extra={"what": error.what})
            self._lost(client.drop_connection())
            self._connect_at = time.monotonic() + SHORT_OF_MEMORY_S
            self._is_short = True
            self._note(self._state, error.what)

    def _lost(self, lost: Lost) -> None:
        for _loan in lost.loans:
            self._book.dropped(DropReason.HOST_DIED)
        self._flight = None

    def _land(self, client: HostClient, arrival: wire.Answer | wire.Refusal) -> None:
        flight, self._flight = self._flight, None
        assert flight is not None
        assert client.ring is not None
        frame, picture = flight.frame, flight.frame.picture
        if isinstance(arrival, wire.Refusal):
            log.info(
                "the host refused a frame",
                extra={"code": arrival.error.code, "what": arrival.error.what},
            )
            self._book.dropped(_REFUSED.get(arrival.error.code, DropReason.FAILED))
            client.give_back(flight.slot)
            return
        try:
            found = Detections.unpack(arrival.detections)
        except BadInput as error:
            log.warning("an answer that cannot be", extra={"what": error.what})
            self._book.dropped(DropReason.FAILED)
            client.give_back(flight.slot)
            return
        on_frame = flight.letterbox.to_native(found)
        self._book.served(time.monotonic(), frame.at)
        if self._view.sizes and self._view.is_idle:
            pixels = client.ring.frame(flight.slot, picture.width, picture.height)
            self._show(frame, pixels, on_frame, client.info.labels if client.info else ())
        native = on_frame.scale(
            picture.native_width / picture.width, picture.native_height / picture.height
        )
        self._pass_on(frame, native, client)
        self._be_good()
        client.give_back(flight.slot)

    def _pass_on(self, frame: Captured, native: Detections, client: HostClient) -> None:
        picture = frame.picture
        labels = client.info.labels if client.info is not None else ()
        native = native.clip(picture.native_width, picture.native_height)
        seen = tuple(
            wire.Seen(_label(labels, int(c)), float(s), (b[0], b[1], b[2], b[3]))
            for b, s, c in zip(native.boxes_px.tolist(), native.scores, native.classes, strict=True)
        )
        assert self._spec.model is not None
        sent = self._router.send(
            wire.Observation(
                camera=self._spec.id,
                model=self._spec.model,
                seq=frame.seq,
                at=frame.at,
                at_wall=frame.at_wall,
                width=picture.native_width,
                height=picture.native_height,
                seen=seen,
                appear_frames=self._spec.appear_frames,
                leave_seconds=self._spec.leave_seconds,
            )
        )
        self._page.add(CameraWord.OBSERVED if sent else CameraWord.UNHEARD)

    # ------------------------------------------------------------ pictures for people

    def _show_plain(self, frame: Captured) -> None:
        """Show a frame that no model looked at."""
        if not (self._view.sizes and self._view.is_idle):
            return
        size = i420_bytes(frame.picture.width, frame.picture.height)
        if len(self._scratch) < size:
            self._scratch = np.empty(size, np.uint8)
        pixels = self._scratch[:size].reshape(-1, frame.picture.width)
        try:
            frame.picture.write(pixels)
        except SaccadeError as error:
            log.warning("a picture cannot be shown", extra={"what": error.what})
            return
        self._show(frame, pixels, Detections.empty(), ())

    def _show(
        self,
        frame: Captured,
        pixels: NDArray[np.uint8],
        found: Detections,
        labels: tuple[str, ...],
    ) -> None:
        for tile, jpeg in self._tiles.make(frame, pixels, found, labels, self._view.sizes):
            self._view.send(tile, jpeg)
            self._page.add(CameraWord.TILES)


def _label(labels: tuple[str, ...], index: int) -> str:
    return labels[index] if index < len(labels) else str(index)
