"""Lets pictures in: bytes from outside become pixels only once their header was allowed."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from saccade.errors import ImageInvalid, TooLarge
from saccade.guards.image_headers import ImageHeader, read_image_header


def decode_image(
    data: bytes | bytearray | memoryview, *, max_bytes: int, max_pixels: int
) -> NDArray[np.uint8]:
    """Return the picture in some bytes, upright.

    The size is read from the header and checked before a pixel is allocated. Grey becomes three
    equal channels, 16 bits become 8, alpha is left out (what lies under it is seen), an EXIF
    orientation is applied, of an animation the first picture is taken.

    Args:
        data: a whole JPEG, PNG, WebP or BMP file.
        max_bytes: the longest file that is read.
        max_pixels: the most pixels (width x height) that are decoded.

    Returns:
        (height, width, 3) BGR uint8, C-contiguous.

    Raises:
        TooLarge: more bytes or pixels than allowed.
        ImageInvalid: no picture, of another format, truncated or damaged.
    """
    if len(data) > max_bytes:
        raise TooLarge(
            f"the picture has {len(data):,} bytes, at most {max_bytes:,} are read",
            fix="send a smaller file or raise the limit on bytes",
        )
    data = bytes(data)
    header = read_image_header(data)
    if header.width * header.height > max_pixels:
        raise TooLarge(
            f"the {header.format} has {header.width:,}x{header.height:,} pixels, "
            f"at most {max_pixels:,} pixels are decoded",
            fix="send a smaller picture or raise the limit on pixels",
        )
    return _decode(data, header)


def _decode(data: bytes, header: ImageHeader) -> NDArray[np.uint8]:
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except (cv2.error, MemoryError) as error:
        raise _damaged(header) from error
    if decoded is None:
        raise _damaged(header)
    picture = np.ascontiguousarray(decoded, np.uint8)
    # The header is what was allowed, so the pixels must be those; EXIF may have turned them.
    if sorted(picture.shape[:2]) != sorted((header.height, header.width)):
        raise _damaged(header)
    return picture


def _damaged(header: ImageHeader) -> ImageInvalid:
    return ImageInvalid(
        f"the {header.format} of {header.width}x{header.height} pixels could not be decoded",
        fix="open it in a viewer; if it shows there, save it again as JPEG or PNG",
    )
