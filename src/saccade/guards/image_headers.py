"""Reads a picture's format and size from its header, before anything is decoded or allocated."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from enum import StrEnum

from saccade.errors import ImageInvalid

#: A JPEG with more scans than this is made to burn time, not to be seen.
_MAX_JPEG_SCANS = 100
#: Any JPEG marker but a stuffed zero, a restart and a fill byte: what ends a scan's data.
_SCAN_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_JPEG_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})  # no length follows
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class ImageFormat(StrEnum):
    """The formats that are let in."""

    JPEG = "JPEG"
    PNG = "PNG"
    WEBP = "WebP"
    BMP = "BMP"


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What a picture says of itself. `width` and `height` are as stored, before EXIF rotation."""

    format: ImageFormat
    width: int
    height: int


def read_image_header(data: bytes) -> ImageHeader:
    """Return format and size, having checked that the file is whole as far as its structure tells.

    Source: JPEG ITU-T T.81 annex B; PNG W3C third edition, section 5; WebP RFC 9649; BMP as in
        Microsoft's BITMAPFILEHEADER and BITMAPINFOHEADER.

    Raises:
        ImageInvalid: another format, no picture, cut off, or a header that makes no sense.
    """
    try:
        header = _read(data)
    except (struct.error, IndexError):
        raise truncated("picture", "its header is cut off") from None
    if header.width < 1 or header.height < 1:
        raise ImageInvalid(
            f"the {header.format} header says {header.width}x{header.height} pixels",
            fix="send a picture with at least one pixel",
        )
    return header


def truncated(kind: str, detail: str) -> ImageInvalid:
    """Return the error for a file that ends too early."""
    return ImageInvalid(
        f"the {kind} is truncated: {detail}", fix="send the whole file; the transfer stopped early"
    )


def _read(data: bytes) -> ImageHeader:
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data.startswith(_PNG_SIGNATURE):
        return _png(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp(data)
    if data[:2] == b"BM" and len(data) >= 18 and data[14:18] in _BMP_HEADER_SIZES:
        return _bmp(data)
    raise ImageInvalid(
        f"the data is {describe(data)}, not a picture that is read here",
        fix="send JPEG, PNG, WebP or BMP",
    )


def describe(data: bytes) -> str:
    """Return what some bytes look like, in words."""
    if not data:
        return "empty"
    words = next((words for known, words in _OTHERS if data.startswith(known)), None)
    if words is None and data[4:8] == b"ftyp":
        words = "an AVIF, HEIC or MP4 file"
    return words or _describe_text(data[:256]) or f"of an unknown format ({data[:4].hex(' ')} ...)"


def _describe_text(head: bytes) -> str | None:
    start = head.lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if start.startswith((b"<svg", b"<?xml")):
        return "an SVG or XML text"
    return "text" if all(byte >= 32 or byte in b"\t\r\n" for byte in head) else None


_OTHERS = (
    (b"GIF8", "a GIF"),
    (b"II*\x00", "a TIFF"),
    (b"MM\x00*", "a TIFF"),
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (_PNG_SIGNATURE[:4], "a damaged PNG"),
    (b"\xff\xd8", "a JPEG that ends after its first bytes"),
)


def _jpeg(data: bytes) -> ImageHeader:
    """Walk the segments from the first to the end marker."""
    at, scans = 2, 0
    size: tuple[int, int] | None = None
    while True:
        marker, at = _jpeg_marker(data, at)
        if marker == 0xD9:
            break
        if marker in _JPEG_BARE_MARKERS:
            continue
        (length,) = struct.unpack_from(">H", data, at)
        if length < 2 or at + length > len(data):
            raise truncated("JPEG", f"the segment FF {marker:02X} ends past the data")
        if marker in _JPEG_FRAME_MARKERS:
            height, width = struct.unpack_from(">HH", data, at + 3)
            # Two frames would let the second, larger one slip past the size check.
            if size is not None and size != (width, height):
                raise ImageInvalid("the JPEG has two sizes", fix="save the picture again")
            size = (width, height)
        at += length
        if marker == 0xDA:
            scans += 1
            end = _SCAN_END.search(data, at)
            if end is None:
                raise truncated("JPEG", "it has no end marker")
            at = end.start()
            if scans > _MAX_JPEG_SCANS:
                raise ImageInvalid(
                    f"the JPEG has more than {_MAX_JPEG_SCANS} scans", fix="save it as a plain JPEG"
                )
    if size is None or not scans:
        raise ImageInvalid("the JPEG holds no picture", fix="send the original file")
    return ImageHeader(ImageFormat.JPEG, *size)


def _jpeg_marker(data: bytes, at: int) -> tuple[int, int]:
    """Return the next marker and where its segment starts.

    Skips what stands before it, as every decoder does: both must find the same size.
    """
    while True:
        at = data.find(b"\xff", at)
        if at < 0:
            raise truncated("JPEG", "it has no end marker")
        while data[at] == 0xFF:  # fill bytes; past the end is an IndexError, reported as truncated
            at += 1
        if data[at]:
            return data[at], at + 1


def _png(data: bytes) -> ImageHeader:
    length, kind, width, height = struct.unpack_from(">I4sII", data, 8)
    if kind != b"IHDR" or length != 13:
        raise ImageInvalid("the PNG does not start with its header", fix="send the original file")
    at = 8
    while True:
        if at + 12 > len(data):
            raise truncated("PNG", "it has no end chunk")
        length, kind = struct.unpack_from(">I4s", data, at)
        at += 12 + length
        if kind == b"IEND":
            break
    return ImageHeader(ImageFormat.PNG, width, height)


def _webp(data: bytes) -> ImageHeader:
    (length,) = struct.unpack_from("<I", data, 4)
    if length + 8 > len(data):
        raise truncated("WebP", f"{len(data)} of {length + 8} bytes")
    kind = data[12:16]
    if kind == b"VP8X":
        width = 1 + int.from_bytes(data[24:27], "little")
        height = 1 + int.from_bytes(data[27:30], "little")
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    else:
        raise ImageInvalid(
            f"the WebP starts with an unknown chunk {kind!r}", fix="send the original file"
        )
    return ImageHeader(ImageFormat.WEBP, width, height)


#: The sizes of the BMP information headers that exist: two letters "BM" alone start many a text.
_BMP_HEADER_SIZES = frozenset(struct.pack("<I", size) for size in (12, 40, 52, 56, 64, 108, 124))


def _bmp(data: bytes) -> ImageHeader:
    (pixels_at, header_size) = struct.unpack_from("<II", data, 10)
    if header_size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    height = abs(height)  # negative: rows from the top
    row_bytes = (width * bits + 31) // 32 * 4
    # 1, 2: run lengths, whose size the header does not tell.
    if compression not in (1, 2) and pixels_at + row_bytes * height > len(data):
        raise truncated("BMP", f"{len(data)} of {pixels_at + row_bytes * height} bytes")
    return ImageHeader(ImageFormat.BMP, width, height)
