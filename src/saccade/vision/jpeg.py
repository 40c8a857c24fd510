"""Pictures to JPEG, and back through the guard."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from saccade.guards.images import decode_image

__all__ = ["decode_image", "encode_jpeg"]

#: What baseline JPEG can hold per side.
_MAX_SIDE = 65_535


def encode_jpeg(bgr: NDArray[np.uint8], quality: int = 80) -> bytes:
    """Return a picture as JPEG.

    Args:
        bgr: (height, width, 3) BGR or (height, width) grey, uint8.
        quality: 1 to 100; raising it gives larger, cleaner files.

    Raises:
        ValueError: the array is no picture, or the quality is out of range.
    """
    shape_fits = bgr.ndim == 2 or (bgr.ndim == 3 and bgr.shape[2] == 3)
    if not shape_fits or bgr.dtype != np.uint8 or not bgr.size or max(bgr.shape) > _MAX_SIDE:
        raise ValueError(f"expected (height, width, 3) of uint8, got {bgr.shape} {bgr.dtype}")
    if not 1 <= quality <= 100:
        raise ValueError(f"quality {quality}, expected 1 to 100")
    # Encoding cannot fail for what was checked above; OpenCV raises when it does.
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(data)
