"""Pictures for people: drawn and encoded only while somebody watches, once for all who do."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from saccade.cameras.reader import Captured
from saccade.cameras.sources import fit
from saccade.desired import CameraSpec
from saccade.engine import wire
from saccade.vision.detections import Detections
from saccade.vision.draw import draw_detections
from saccade.vision.jpeg import encode_jpeg
from saccade.vision.pixels import i420_to_bgr

TILE = "tile"
FULL = "full"


class TileMaker:
    """Makes the sizes that are watched, at most `tile_fps` of each."""

    def __init__(self, spec: CameraSpec) -> None:
        self._spec = spec
        self._next_at: dict[str, float] = {}

    def make(
        self,
        frame: Captured,
        pixels: NDArray[np.uint8],
        found: Detections,
        labels: tuple[str, ...],
        sizes: tuple[str, ...],
    ) -> Iterator[tuple[wire.Tile, bytes]]:
        """Yield a header and a JPEG for each size that is due.

        Args:
            frame: what is shown.
            pixels: its I420, flat.
            found: what was seen, in pixels of the I420 picture.
            labels: the model's class names.
            sizes: which sizes are watched.
        """
        due = [size for size in sizes if self._is_due(size, frame.at)]
        if not due:
            return
        picture = frame.picture
        bgr = i420_to_bgr(pixels, picture.width, picture.height)
        for size in due:
            shown, boxes = bgr, found
            if size == TILE:
                width, height = fit(
                    picture.width, picture.height, self._spec.tile_width, self._spec.tile_height
                )
                shown = np.asarray(
                    cv2.resize(bgr, (width, height), interpolation=cv2.INTER_AREA), np.uint8
                )
                boxes = found.scale(width / picture.width, height / picture.height)
            elif len(due) > 1:
                shown = bgr.copy()  # the tile is made from the same picture, without boxes
            draw_detections(shown, boxes, labels)
            height, width = shown.shape[:2]
            tile = wire.Tile(
                camera=self._spec.id,
                size=size,
                seq=frame.seq,
                width=width,
                height=height,
                at=frame.at,
                at_wall=frame.at_wall,
                objects=len(found),
            )
            yield tile, encode_jpeg(shown, quality=self._spec.jpeg_quality)

    def _is_due(self, size: str, at: float) -> bool:
        period = 1.0 / self._spec.tile_fps
        due_at = self._next_at.get(size, 0.0)
        if at < due_at:
            return False
        self._next_at[size] = due_at + period if due_at + period > at else at + period
        return True
