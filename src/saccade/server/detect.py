"""Images from requests to a host and back: the server is a client like a camera."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from saccade.desired import Desired
from saccade.engine import wire
from saccade.engine.client import HostClient, Lost
from saccade.engine.ring import Ring
from saccade.errors import (
    DeadlineExceeded,
    HostLost,
    ImageInvalid,
    InferFailed,
    ModelNotReady,
    NotFound,
    OutOfSlots,
    Overloaded,
    SaccadeError,
    TooLarge,
)
from saccade.guards.image_headers import read_image_header
from saccade.guards.images import decode_image
from saccade.server.tree import TreeView
from saccade.types import HostName, ModelName
from saccade.vision.detections import Detections
from saccade.vision.letterbox import Letterbox
from saccade.vision.pixels import bgr_into_input

log = logging.getLogger(__name__)

#: An encoded image, or the pixels of one: (height, width, 3) BGR.
Image: TypeAlias = bytes | memoryview | NDArray[np.uint8]

#: Seconds between two tries to reach a host that is away.
RECONNECT_S: Final = 0.1
_CODES: Final[dict[str, type[SaccadeError]]] = {
    "model_not_ready": ModelNotReady,
    "overloaded": Overloaded,
    "stale": DeadlineExceeded,
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What a model saw on one image, in its own pixels."""

    found: Detections
    labels: tuple[str, ...]
    width: int
    height: int
    took_ms: float

    def label(self, class_index: int) -> str:
        """Return a class's name; its number where the model has no name for it."""
        if 0 <= class_index < len(self.labels):
            return self.labels[class_index]
        return str(class_index)


class ModelDoor:
    """The server's connection to one model."""

    def __init__(self, run_dir: str, *, host: HostName, model: ModelName, slots: int) -> None:
        self._client = HostClient(
            run_dir, host=host, model=model, name="server", slots=slots, frame_bytes=0
        )
        self._waiting: dict[int, asyncio.Future[wire.Answer | wire.Refusal]] = {}
        self._slot_free = asyncio.Event()
        self._changed = asyncio.Event()
        self._seq = 0
        self._closed = False
        self._keeper = asyncio.create_task(self._keep_connected())

    async def infer(
        self, bgr: NDArray[np.uint8], *, deadline_at: float, admitted: int
    ) -> tuple[Detections, tuple[str, ...]]:
        """Return what the model sees on (height, width, 3) BGR, in its pixels, and the labels."""
        ring, slot = await self._take_slot(deadline_at)
        # From here to the submit nothing is awaited: the ring and the model stay what they are.
        info, spec = self._client.info, self._client.input
        assert info is not None
        try:
            letterbox = bgr_into_input(bgr, spec, ring.input(slot, spec.height, spec.width))
        except BaseException:
            self._free(slot)
            raise
        self._seq += 1
        reply: asyncio.Future[wire.Answer | wire.Refusal]
        reply = asyncio.get_running_loop().create_future()
        self._waiting[self._seq] = reply
        sent = self._client.submit(slot, seq=self._seq, admitted=admitted, deadline_s=deadline_at)
        if not sent:
            del self._waiting[self._seq]
            self._free(slot)
            raise Overloaded("the host's queue is full", fix="come back after Retry-After seconds")
        return await self._landed(reply, letterbox, deadline_at), info.labels

    async def _landed(
        self,
        reply: asyncio.Future[wire.Answer | wire.Refusal],
        letterbox: Letterbox,
        deadline_at: float,
    ) -> Detections:
        # The host answers or refuses every loan and its death ends all of them; the margin is for
        # a host that hangs, which the supervisor ends a little later.
        left_s = deadline_at - time.monotonic() + 1.0
        try:
            arrival = await asyncio.wait_for(reply, left_s)
        except TimeoutError:
            raise DeadlineExceeded(
                "the model did not answer in time",
                fix="raise server.request_timeout_seconds or add a host",
            ) from None
        if isinstance(arrival, wire.Refusal):
            kind = _CODES.get(arrival.error.code, InferFailed)
            raise kind(arrival.error.what, fix=arrival.error.fix)
        return letterbox.to_native(Detections.unpack(arrival.detections))

    async def _until_ready(self, deadline_at: float) -> None:
        if self._client.is_ready:
            return
        info = self._client.info
        if info is not None:
            raise ModelNotReady(
                f"model {info.name} is {info.status}: {info.reason}",
                fix="wait for GET /readyz, or see the model's page",
            )
        self._changed.clear()
        try:
            await asyncio.wait_for(
                self._changed.wait(), max(0.0, min(2.0, deadline_at - time.monotonic()))
            )
        except TimeoutError:
            raise ModelNotReady(
                "the host is away", fix="it restarts by itself; try again"
            ) from None
        await self._until_ready(deadline_at)

    async def _take_slot(self, deadline_at: float) -> tuple[Ring, int]:
        """Return a slot of the ring that the model reads now, waiting for both."""
        while True:
            await self._until_ready(deadline_at)
            ring = self._client.ring
            slot = ring.take() if ring is not None else None
            if ring is not None and slot is not None:
                return ring, slot
            self._slot_free.clear()
            try:
                await asyncio.wait_for(self._slot_free.wait(), deadline_at - time.monotonic())
            except TimeoutError:
                raise Overloaded(
                    "no slot was free in time", fix="come back after Retry-After seconds"
                ) from None

    def _free(self, slot: int) -> None:
        self._client.give_back(slot)
        self._slot_free.set()

    async def _keep_connected(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._closed:
            if not self._client.is_connected and self._client.connect():
                loop.add_reader(self._client.fileno(), self._hear, self._client.fileno())
            await asyncio.sleep(RECONNECT_S)

    def _hear(self, fd: int) -> None:
        try:
            for arrival in self._client.on_readable():
                if isinstance(arrival, Lost):
                    self._end_all()
                elif isinstance(arrival, wire.ModelInfo):
                    self._changed.set()
                else:
                    reply = self._waiting.pop(arrival.seq, None)
                    if reply is not None and not reply.done():
                        reply.set_result(arrival)
                    self._free(arrival.slot)
        except OutOfSlots:
            log.exception("no slots for requests")
            self._client.close()
            self._end_all()
        if not self._client.is_connected:
            asyncio.get_running_loop().remove_reader(fd)

    def _end_all(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for reply in waiting.values():
            if not reply.done():
                reply.set_exception(
                    HostLost(
                        "the host ended while it had the image",
                        fix="it restarts by itself; try again",
                    )
                )
        self._slot_free.set()
        self._changed.set()

    def close(self) -> None:
        """End the connection; what waits gets its error."""
        self._closed = True
        self._keeper.cancel()
        if self._client.is_connected:
            asyncio.get_running_loop().remove_reader(self._client.fileno())
        self._client.close()
        self._end_all()


class DetectService:
    """Images in, detections out, over all models.

    Args:
        desired: limits.
        tree: which models there are.
    """

    def __init__(self, desired: Desired, tree: TreeView) -> None:
        self._desired, self._tree = desired, tree
        self._doors: dict[tuple[HostName, ModelName], ModelDoor] = {}
        self._admitted = 0
        self._took_s = 0.05  # of one image, smoothed: for Retry-After
        tree.on_change.append(self._close_doors_of_the_gone)

    async def detect(
        self, data: bytes, *, model: str | None, confidence: float
    ) -> tuple[str, Seen]:
        """Decode an image, have a model look at it.

        Args:
            data: the encoded image.
            model: which one; None for the only or default one.
            confidence: detections below are left out.

        Raises:
            SaccadeError: of many kinds; each says what to do.
        """
        name, seen = await self.detect_all([data], model=model, confidence=confidence)
        return name, seen[0]

    async def detect_all(
        self,
        images: Sequence[Image],
        *,
        model: str | None,
        confidence: float,
        timeout_s: float | None = None,
    ) -> tuple[str, list[Seen]]:
        """Have a model look at several images at once; all are answered or none.

        Args:
            images: each encoded, or its pixels: (height, width, 3) BGR. Together they may have
                `server.max_image_megapixels`.
            model: which one; None for the only or default one.
            confidence: detections below are left out.
            timeout_s: how long the caller waits; at most `server.request_timeout_seconds`.

        Raises:
            SaccadeError: of many kinds; each says what to do.
        """
        most_s = self._desired.server.request_timeout_seconds
        deadline_at = time.monotonic() + (most_s if timeout_s is None else min(timeout_s, most_s))
        with self._admit(len(images)):
            state = self._choose(model)
            self._check_pixels(images)
            door = self._door(state)
            looks = [
                asyncio.create_task(self._look(door, image, deadline_at, confidence, name))
                for image, name in zip(images, _names(len(images)), strict=True)
            ]
            try:
                return state.name, await asyncio.gather(*looks)
            finally:
                for look in looks:  # one failed: nobody waits for the others
                    look.cancel()

    def _close_doors_of_the_gone(self) -> None:
        there = {(model.host, model.name) for model in self._tree.state.models}
        for key in [key for key in self._doors if key not in there]:
            self._doors.pop(key).close()

    @contextlib.contextmanager
    def _admit(self, count: int) -> Iterator[None]:
        limit = max(self._desired.server.slots, 1) * 4
        if self._admitted + count > limit:
            raise Overloaded(
                f"{self._admitted} images are under way already, at most {limit} may be",
                fix="come back after Retry-After seconds",
            )
        self._admitted += count
        try:
            yield
        finally:
            self._admitted -= count

    def _check_pixels(self, images: Sequence[Image]) -> None:
        """Refuse images that together have more pixels than one may have."""
        if len(images) == 1:
            return  # decoding checks it
        most, pixels = self._desired.server.max_image_pixels, 0
        for image, name in zip(images, _names(len(images)), strict=True):
            if isinstance(image, np.ndarray):
                height, width = image.shape[:2]
            else:
                with _naming(name):
                    header = read_image_header(bytes(image))
                height, width = header.height, header.width
            pixels += width * height
        if pixels > most:
            raise TooLarge(
                f"the {len(images)} images have {pixels:,} pixels, at most {most:,} are taken",
                fix="send fewer images at once, or raise server.max_image_megapixels",
            )

    async def _look(
        self,
        door: ModelDoor,
        image: Image,
        deadline_at: float,
        confidence: float,
        name: str,
    ) -> Seen:
        began_at = time.monotonic()
        server = self._desired.server
        if isinstance(image, np.ndarray):
            bgr = image
        else:
            with _naming(name):
                bgr = await asyncio.to_thread(
                    decode_image,
                    image,
                    max_bytes=server.max_body_bytes,
                    max_pixels=server.max_image_pixels,
                )
        found, labels = await door.infer(bgr, deadline_at=deadline_at, admitted=self._admitted)
        found = found.filter(found.scores >= confidence)
        took_s = time.monotonic() - began_at
        self._took_s += 0.2 * (took_s - self._took_s)
        height, width = bgr.shape[:2]
        return Seen(found, labels, width, height, took_s * 1000)

    @property
    def retry_after_s(self) -> int:
        """Return when a caller that was sent away should come back."""
        return max(1, round(self._admitted * self._took_s))

    def close(self) -> None:
        """End every connection."""
        for door in self._doors.values():
            door.close()
        self._doors.clear()

    def _choose(self, name: str | None) -> wire.ModelState:
        models = self._tree.state.models
        if name is None:
            if not models:
                raise NotFound("no model is registered", fix="add one with `saccade models add`")
            return models[0]
        for model in models:
            if model.name == name:
                return model
        known = ", ".join(m.name for m in models) or "none"
        raise NotFound(f"no model is named {name!r}", fix=f"known models: {known}")

    def _door(self, model: wire.ModelState) -> ModelDoor:
        key = (model.host, model.name)
        door = self._doors.get(key)
        if door is None:
            door = self._doors[key] = ModelDoor(
                self._desired.run_dir,
                host=model.host,
                model=model.name,
                slots=self._desired.server.slots,
            )
        return door


def _names(count: int) -> list[str]:
    """Return what the images of a request are called in its errors; a single one has no name."""
    return [""] if count == 1 else [f"image {index}: " for index in range(count)]


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    """Say of which image an error is."""
    try:
        yield
    except (ImageInvalid, TooLarge) as error:
        raise type(error)(f"{name}{error.what}", fix=error.fix) from None
