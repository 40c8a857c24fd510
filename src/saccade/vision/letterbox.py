"""How a picture of any size is fitted into a model's input, and how its boxes come back. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import msgspec
import numpy as np
from numpy.typing import NDArray

from saccade.vision.detections import Detections


class ColorOrder(StrEnum):
    """The order of the three channels a model wants."""

    RGB = "rgb"
    BGR = "bgr"


class Pad(StrEnum):
    """Where the picture lies in the model's input; the rest is filled."""

    CENTER = "center"
    TOP_LEFT = "top_left"


class InputSpec(msgspec.Struct, frozen=True):
    """What a model wants to see: uint8 pictures of (height, width, 3), the picture letterboxed.

    Travels from a host to its clients, who fill the input in shared memory by it.
    """

    width: int
    height: int
    color: ColorOrder = ColorOrder.RGB
    pad: Pad = Pad.CENTER
    pad_value: int = 114  # grey, as the YOLO families were trained with

    @property
    def nbytes(self) -> int:
        """How many bytes one input takes."""
        return self.width * self.height * 3


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where a native picture lies in an input, all in whole pixels.

    The content's sides are even, so that the chroma planes of an I420 frame have whole samples in
    it. Its scale may therefore differ by a fraction of a percent between x and y; the mappings use
    each axis' own, so that they are exact.
    """

    native_width: int
    native_height: int
    left: int
    top: int
    width: int
    height: int

    @staticmethod
    def fit(native_width: int, native_height: int, spec: InputSpec) -> Letterbox:
        """Return the largest placement that keeps the picture's shape, up to rounding to even.

        Source: the letterbox of the YOLO families (darknet `letterbox_image`); CENTER leaves the
            odd pixel of padding at the right and bottom, as Ultralytics does.

        Raises:
            ValueError: a side of the picture is < 1 or one of the input is < 2.
        """
        if native_width < 1 or native_height < 1 or spec.width < 2 or spec.height < 2:
            raise ValueError(
                f"cannot fit {native_width}x{native_height} into {spec.width}x{spec.height}"
            )
        ratio = min(spec.width / native_width, spec.height / native_height)
        width = _even(native_width * ratio, spec.width)
        height = _even(native_height * ratio, spec.height)
        if spec.pad is Pad.TOP_LEFT:
            left = top = 0
        else:
            left, top = (spec.width - width) // 2, (spec.height - height) // 2
        return Letterbox(native_width, native_height, left, top, width, height)

    @property
    def scale_x(self) -> float:
        """Input pixels per native pixel, along x."""
        return self.width / self.native_width

    @property
    def scale_y(self) -> float:
        """Input pixels per native pixel, along y."""
        return self.height / self.native_height

    def to_input(self, boxes_px: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (n, 4) native boxes in input pixels."""
        scales = np.array([self.scale_x, self.scale_y] * 2)
        offsets = np.array([self.left, self.top] * 2)
        return np.asarray(boxes_px * scales + offsets, np.float32)

    def to_native(self, found: Detections) -> Detections:
        """Return detections in input pixels as native pixels, clipped to the picture.

        One that lies wholly in the padding is no part of the picture and goes.
        """
        scales = np.array([self.scale_x, self.scale_y] * 2)
        offsets = np.array([self.left, self.top] * 2)
        boxes = ((found.boxes_px - offsets) / scales).astype(np.float32)
        return Detections(boxes, found.scores, found.classes).clip(
            self.native_width, self.native_height
        )


def _even(side: float, limit: int) -> int:
    """Return the even number nearest to `side`, at least 2 and at most `limit`."""
    return max(2, min(2 * round(side / 2), limit - limit % 2))
