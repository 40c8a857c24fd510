"""What becomes of bytes that claim to be a picture."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from saccade.errors import BadInput, ImageInvalid, TooLarge
from saccade.guards.image_headers import ImageFormat, read_image_header
from saccade.guards.images import decode_image

U8 = NDArray[np.uint8]


def decode(data: bytes, *, max_bytes: int = 10**6, max_pixels: int = 10**6) -> U8:
    return decode_image(data, max_bytes=max_bytes, max_pixels=max_pixels)


def picture(width: int = 40, height: int = 24) -> U8:
    """Four quadrants of different colours: turns and flips show."""
    bgr = np.zeros((height, width, 3), np.uint8)
    bgr[: height // 2, : width // 2] = (250, 5, 5)
    bgr[: height // 2, width // 2 :] = (5, 250, 5)
    bgr[height // 2 :, : width // 2] = (5, 5, 250)
    bgr[height // 2 :, width // 2 :] = (250, 250, 250)
    return bgr


def encoded(extension: str, image: Any = None, *options: int) -> bytes:
    done, data = cv2.imencode(extension, picture() if image is None else image, list(options))
    assert done
    return bytes(data)


def chunk(kind: bytes, data: bytes) -> bytes:
    crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""
    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", ihdr) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def with_exif(jpeg: bytes, orientation: int) -> bytes:
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<HHHIHH", 1, 0x0112, 3, 1, orientation, 0) + bytes(4)
    segment = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


JPEG = encoded(".jpg", None, cv2.IMWRITE_JPEG_QUALITY, 95)
PROGRESSIVE = encoded(".jpg", None, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
PNG = encoded(".png")
WEBP = encoded(".webp", None, cv2.IMWRITE_WEBP_QUALITY, 90)
WEBP_LOSSLESS = encoded(".webp", None, cv2.IMWRITE_WEBP_QUALITY, 101)
BMP = encoded(".bmp")
WHOLE = {
    "jpeg": JPEG,
    "progressive": PROGRESSIVE,
    "png": PNG,
    "webp": WEBP,
    "webp lossless": WEBP_LOSSLESS,
    "bmp": BMP,
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_picture_of_each_format_comes_in_with_its_colours(name: str) -> None:
    decoded = decode(WHOLE[name])
    assert decoded.shape == (24, 40, 3)
    assert decoded.dtype == np.uint8
    assert decoded.flags.c_contiguous
    assert np.abs(decoded[6, 10].astype(int) - (250, 5, 5)).max() <= 12
    assert np.abs(decoded[18, 30].astype(int) - (250, 250, 250)).max() <= 12


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_kind_of_bytes_is_taken(kind: type) -> None:
    assert decode(kind(PNG)).shape == (24, 40, 3)


@pytest.mark.parametrize("name", WHOLE)
def test_the_header_tells_format_and_size_of_what_is_decoded(name: str) -> None:
    header = read_image_header(WHOLE[name])
    assert (header.width, header.height) == (40, 24)
    assert header.format.value.lower().startswith(name[:3].replace("pro", "jpe"))


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.full((2, 3), 90, np.uint8), [90, 90, 90]),  # grey
        (np.full((2, 3), 90 * 257, np.uint16), [90, 90, 90]),  # grey, 16 bits
        (np.full((2, 3, 3), 90 * 257, np.uint16), [90, 90, 90]),  # colour, 16 bits
        (np.full((2, 3, 4), (10, 20, 30, 0), np.uint8), [10, 20, 30]),  # wholly transparent
        (np.full((1, 1, 3), (1, 2, 3), np.uint8), [1, 2, 3]),  # one pixel
    ],
)
def test_every_kind_of_png_becomes_bgr(image: Any, expected: list[int]) -> None:
    decoded = decode(encoded(".png", image))
    assert decoded.shape == (*image.shape[:2], 3)
    assert decoded[0, 0].tolist() == expected


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_upright_as_its_exif_says(orientation: int) -> None:
    turns: dict[int, Callable[[U8], U8]] = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: np.rot90(p, -1),
        7: lambda p: np.rot90(p, 2).transpose(1, 0, 2),
        8: np.rot90,
    }
    upright = turns[orientation](picture())
    decoded = decode(with_exif(JPEG, orientation))
    assert decoded.shape == upright.shape
    assert np.abs(decoded.astype(int) - upright)[3:9, 3:9].max() <= 12


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"hello, this is my photo\n", "text"),
        (b"BMW is a car maker, and this is a text", "text"),
        (b"<!DOCTYPE html><html>no such page</html>", "an HTML page"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"GIF89a" + bytes(50), "a GIF"),
        (b"II*\0" + bytes(50), "a TIFF"),
        (b"%PDF-1.7", "a PDF"),
        (b"\0\0\0\x20ftypheic" + bytes(50), "HEIC"),
        (bytes(range(1, 60)), "an unknown format"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_picture_is_named(data: bytes, words: str) -> None:
    with pytest.raises(ImageInvalid, match=words) as caught:
        decode(data)
    assert caught.value.fix == "send JPEG, PNG, WebP or BMP"


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_picture_is_refused(name: str, fraction: float) -> None:
    data = WHOLE[name]
    with pytest.raises(ImageInvalid):
        decode(data[: int(len(data) * fraction)])


def test_a_photo_with_bytes_after_its_end_is_a_photo() -> None:
    assert decode(JPEG + b"phone maker's data" * 9).shape == (24, 40, 3)


@pytest.mark.parametrize(
    "data", [png_header(20_000, 20_000), png_header(2**31 - 1, 2**31 - 1)], ids=range(2)
)
def test_a_header_that_claims_too_much_is_refused_without_allocating(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match=r"PNG has .* pixels, at most 50,000,000"):
            decode(data, max_pixels=50_000_000)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", WHOLE)
def test_the_limit_on_pixels_is_exact(name: str) -> None:
    assert decode(WHOLE[name], max_pixels=40 * 24).shape == (24, 40, 3)
    with pytest.raises(TooLarge, match="40x24"):
        decode(WHOLE[name], max_pixels=40 * 24 - 1)


def test_the_limit_on_bytes_is_exact() -> None:
    assert decode(PNG, max_bytes=len(PNG)).shape == (24, 40, 3)
    with pytest.raises(TooLarge, match="bytes"):
        decode(PNG, max_bytes=len(PNG) - 1)


@pytest.mark.parametrize(
    "data",
    [
        png_header(0, 5),
        png_header(7, 7),  # too little data inside
        JPEG.replace(b"\xff\xc0", b"\xff\xc4", 1),  # no frame header left
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff",
        b"RIFF\x10\0\0\0WEBPVP9 " + bytes(40),
        BMP[:18] + struct.pack("<i", -40) + BMP[22:],
    ],
    ids=range(7),
)
def test_a_header_that_makes_no_sense_is_refused(data: bytes) -> None:
    with pytest.raises(ImageInvalid):
        decode(data)


def test_a_jpeg_with_two_sizes_is_refused() -> None:
    at = JPEG.index(b"\xff\xc0")
    length = 2 + struct.unpack_from(">H", JPEG, at + 2)[0]
    frame = bytearray(JPEG[at : at + length])
    struct.pack_into(">HH", frame, 5, 30_000, 30_000)
    with pytest.raises(ImageInvalid, match="two sizes"):
        decode(JPEG[: at + length] + bytes(frame) + JPEG[at + length :])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_are_never_more_than_bad_input(data: bytes) -> None:
    with pytest.raises(BadInput):
        decode(data)


@settings(max_examples=600, deadline=None)
@given(
    st.sampled_from(sorted(WHOLE)),
    st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), min_size=1, max_size=6),
    st.none() | st.integers(0, 200),
)
def test_a_damaged_picture_is_decoded_within_the_limits_or_bad_input(
    name: str, changes: list[tuple[int, int]], cut: int | None
) -> None:
    data = bytearray(WHOLE[name])
    for at, value in changes:
        data[at % len(data)] = value
    try:
        decoded = decode(bytes(data[:cut]), max_pixels=100_000)
    except BadInput:
        return
    assert decoded.dtype == np.uint8
    assert decoded.shape[0] * decoded.shape[1] <= 100_000


@given(
    st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\xff\0\0\0WEBP", b"BM"]),
    st.binary(),
)
def test_a_right_start_and_random_bytes_are_bad_input(start: bytes, rest: bytes) -> None:
    with pytest.raises(BadInput):
        decode(start + rest)


def test_the_formats_are_the_documented_ones() -> None:
    assert set(ImageFormat) == {"JPEG", "PNG", "WebP", "BMP"}
