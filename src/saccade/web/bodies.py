"""Bodies of requests: never more of them than the limit, compressed or not."""

from __future__ import annotations

import zlib
from typing import Final

from starlette.requests import Request

from saccade.errors import BadInput, TooLarge

#: zlib tells gzip and zlib ("deflate" in HTTP) apart by their first bytes.
#: Source: RFC 9110, section 8.4.1.
_GZIP_OR_ZLIB: Final = zlib.MAX_WBITS | 32


def check_announced(request: Request, most_bytes: int) -> None:
    """Refuse a body by its Content-Length, before it is read.

    Raises:
        TooLarge: it is over `most_bytes`.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > most_bytes:
        raise too_large(int(announced), most_bytes)


async def read_body(request: Request, most_bytes: int) -> bytes:
    """Return the body as it was sent, compressed or not.

    Raises:
        TooLarge: it is over `most_bytes`.
        BadInput: it is empty.
    """
    check_announced(request, most_bytes)
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > most_bytes:
            raise too_large(len(data), most_bytes)
    if not data:
        raise BadInput("the body is empty", fix="see /docs for what is expected")
    return bytes(data)


def decompress(body: bytes, encoding: str, most_bytes: int) -> bytes:
    """Return what a body of a Content-Encoding holds.

    Args:
        body: as it was sent.
        encoding: identity, gzip or deflate; "" is identity.
        most_bytes: the most that is unpacked: a small body can hold gigabytes.

    Raises:
        TooLarge: it holds more.
        BadInput: it is damaged, or the encoding is another.
    """
    kind = encoding.strip().lower()
    if kind in {"", "identity"}:
        return body
    if kind not in {"gzip", "x-gzip", "deflate"}:
        raise BadInput(f"Content-Encoding is {encoding!r}", fix="send gzip, deflate or none")
    unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        data = unpacker.decompress(body, most_bytes + 1)
    except zlib.error as error:
        raise BadInput(f"the body is no {kind}: {error}", fix="compress it again") from None
    if len(data) > most_bytes:
        raise TooLarge(
            f"the body unpacks to more than {most_bytes} bytes",
            fix="send a smaller image, or raise server.max_body_mb",
        )
    if not unpacker.eof or unpacker.unused_data:
        raise BadInput(
            f"the {kind} body {'goes on after its end' if unpacker.eof else 'is cut off'}",
            fix="compress it again, as one piece",
        )
    return data


def too_large(size: int, most: int) -> TooLarge:
    """Return the error of a body over its limit."""
    return TooLarge(
        f"the body has {size} bytes, the limit is {most}",
        fix="send a smaller image, or raise server.max_body_mb",
    )
