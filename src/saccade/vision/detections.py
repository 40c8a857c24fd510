"""What a detector found in one picture: boxes, scores and classes, and their bytes on the wire."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from saccade.errors import BadInput

FloatArray: TypeAlias = NDArray[np.float32]
IntArray: TypeAlias = NDArray[np.int32]

#: Wire format, little-endian: u32 n, then n x 4 f32 boxes, n f32 scores, n i32 classes.
_COUNT = struct.Struct("<I")
_BYTES_PER_DETECTION = 4 * 4 + 4 + 4


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """What was found in one picture, best score first where a detector made it.

    Args:
        boxes_px: (n, 4) float32, x1, y1, x2, y2 in pixels, x to the right, y down.
        scores: (n,) float32, 0 to 1.
        classes: (n,) int32, an index into the model's labels.

    Raises:
        ValueError: a shape or dtype is not as above (our own bug: nothing from outside gets here).
    """

    boxes_px: FloatArray
    scores: FloatArray
    classes: IntArray

    def __post_init__(self) -> None:
        count = len(self.scores)
        _expect("boxes_px", self.boxes_px, (count, 4), np.dtype(np.float32))
        _expect("scores", self.scores, (count,), np.dtype(np.float32))
        _expect("classes", self.classes, (count,), np.dtype(np.int32))

    def __len__(self) -> int:
        return len(self.scores)

    @staticmethod
    def empty() -> Detections:
        """Return no detections at all."""
        return Detections(
            np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.int32)
        )

    def filter(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> Detections:
        """Return those that a mask (n,) or an array of indices selects, in its order."""
        return Detections(self.boxes_px[keep], self.scores[keep], self.classes[keep])

    def scale(self, sx: float, sy: float) -> Detections:
        """Return the same with x multiplied by `sx` and y by `sy`."""
        factors = np.array([sx, sy, sx, sy], np.float32)
        return Detections(self.boxes_px * factors, self.scores, self.classes)

    def clip(self, width: int, height: int) -> Detections:
        """Return the same cut to a picture of `width` x `height` pixels; a box outside it goes."""
        limits = np.array([width, height, width, height], np.float32)
        boxes = np.clip(self.boxes_px, np.float32(0), limits)
        inside = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        if inside.all():
            return Detections(boxes, self.scores, self.classes)
        return Detections(boxes[inside], self.scores[inside], self.classes[inside])

    def pack(self) -> bytes:
        """Return the wire bytes: 4 + 24 a detection, little-endian, no padding."""
        return b"".join(
            (
                _COUNT.pack(len(self)),
                self.boxes_px.astype("<f4", copy=False).tobytes(),
                self.scores.astype("<f4", copy=False).tobytes(),
                self.classes.astype("<i4", copy=False).tobytes(),
            )
        )

    @staticmethod
    def unpack(data: bytes | memoryview) -> Detections:
        """Return the detections that `pack` wrote. The arrays are views of `data`, read-only.

        Raises:
            BadInput: the bytes are not what `pack` writes: wrong length, or a number that is not
                finite.
        """
        if len(data) < _COUNT.size:
            raise _bad_wire(f"{len(data)} bytes, expected at least {_COUNT.size}")
        (count,) = _COUNT.unpack_from(data)
        expected = _COUNT.size + count * _BYTES_PER_DETECTION
        if len(data) != expected:
            raise _bad_wire(f"{len(data)} bytes, expected {expected} for {count} detections")
        at = _COUNT.size
        boxes = np.frombuffer(data, "<f4", 4 * count, at).reshape(count, 4)
        scores = np.frombuffer(data, "<f4", count, at + 16 * count)
        classes = np.frombuffer(data, "<i4", count, at + 20 * count)
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise _bad_wire(f"a box or score of the {count} detections is not finite")
        return Detections(
            boxes.astype(np.float32, copy=False),
            scores.astype(np.float32, copy=False),
            classes.astype(np.int32, copy=False),
        )


def _expect(
    name: str, array: NDArray[np.generic], shape: tuple[int, ...], dtype: np.dtype[np.generic]
) -> None:
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(
            f"{name}: expected shape {shape} of {dtype}, got {array.shape} of {array.dtype}"
        )


def _bad_wire(what: str) -> BadInput:
    return BadInput(
        f"detections message: {what}", fix="both ends must run the same version of saccade"
    )
