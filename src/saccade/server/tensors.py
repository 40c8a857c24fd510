"""Tensors of the Open Inference Protocol on the wire: a request's body in, a response's body out.

A body is JSON, or JSON followed by the tensors' bytes; then the header
`Inference-Header-Content-Length` says where the JSON ends. Whatever is wrong with a body is one
`SaccadeError`; nothing is allocated because a shape says so, only because the bytes are there.

Source: KServe, Open Inference Protocol v2, HTTP/REST; Triton's binary tensor data extension.
"""

from __future__ import annotations

import binascii
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from saccade.errors import BadInput, TooLarge

#: The header that says how many bytes of the body are JSON.
HEADER_LENGTH: Final = "Inference-Header-Content-Length"
#: The most JSON that is read. Decoded it takes several times as much; larger tensors go as bytes.
JSON_BYTES_MOST: Final = 8 * 1024 * 1024
_LENGTH: Final = struct.Struct("<I")
_NOT_IN_NUMBERS: Final = b"[] \t\r\n"
#: Texts of a request that come back in an error are cut to this.
_SHOWN: Final = 60


class Datatype(StrEnum):
    """The datatypes that are taken (UINT8, BYTES) or given (BYTES, INT32, FP32)."""

    BYTES = "BYTES"
    UINT8 = "UINT8"
    INT32 = "INT32"
    FP32 = "FP32"


Bytes: TypeAlias = tuple[bytes | memoryview, ...]
Numbers: TypeAlias = NDArray[np.int32] | NDArray[np.float32]
_DTYPES: Final[dict[Datatype, np.dtype[np.generic]]] = {
    Datatype.INT32: np.dtype("<i4"),
    Datatype.FP32: np.dtype("<f4"),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What one input may hold.

    Args:
        texts: the most elements of a BYTES input.
        numbers: the most elements of a UINT8 input.
    """

    texts: int
    numbers: int


@dataclass(frozen=True, slots=True, eq=False)
class Input:
    """One tensor of a request: its elements, as bytes each or as an array of `shape`."""

    name: str
    shape: tuple[int, ...]
    data: Bytes | NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Asked:
    """One output the client wants, as bytes or as JSON."""

    name: str
    is_binary: bool


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A request whose sizes add up.

    Args:
        outputs: empty when the client did not choose: it gets all.
        is_binary: how it gets them then.
        confidence: detections below are left out.
        timeout_s: how long the client waits; None: it did not say.
    """

    id: str
    inputs: tuple[Input, ...]
    outputs: tuple[Asked, ...]
    is_binary: bool
    confidence: float
    timeout_s: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """One tensor of a response; BYTES are its elements in row order."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    data: Numbers | Sequence[str]


# ---------------------------------------------------------------- the JSON, as it is written


_Dimension: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class _InputParameters(msgspec.Struct, forbid_unknown_fields=True):
    binary_data_size: Annotated[int, msgspec.Meta(ge=0)] | None = None


class _OutputParameters(msgspec.Struct, forbid_unknown_fields=True):
    binary_data: bool | None = None


class _Parameters(msgspec.Struct, forbid_unknown_fields=True):
    binary_data_output: bool = False
    confidence: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    timeout: Annotated[int, msgspec.Meta(ge=0)] = 0  # microseconds, as Triton has it; 0: none


class _Input(msgspec.Struct):
    name: str
    datatype: str
    shape: Annotated[list[_Dimension], msgspec.Meta(max_length=8)]
    parameters: _InputParameters = msgspec.field(default_factory=_InputParameters)
    data: msgspec.Raw = msgspec.Raw()


class _Output(msgspec.Struct):
    name: str
    parameters: _OutputParameters = msgspec.field(default_factory=_OutputParameters)


class _Request(msgspec.Struct):
    inputs: list[_Input]
    id: str = ""
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)
    outputs: list[_Output] = []


_REQUEST: Final = msgspec.json.Decoder(_Request)
_TEXTS: Final = msgspec.json.Decoder(list[str])


# ---------------------------------------------------------------- in


def parse_request(body: bytes, header_length: str | None, *, limits: Limits) -> Request:
    """Return the request in a body.

    Args:
        body: the whole body, decompressed.
        header_length: the value of `HEADER_LENGTH`; None: all of the body is JSON. "0": all of it
            is one element of a BYTES tensor named `image` (Triton's raw binary request).
        limits: what an input may hold.

    Raises:
        TooLarge: more JSON or elements than allowed.
        BadInput: anything else that is wrong; it says what.
    """
    json_bytes = _json_length(header_length, len(body))
    if json_bytes == 0 and header_length is not None:
        raw = Input("image", (1,), (memoryview(body),))
        return Request("", (raw,), (), is_binary=False, confidence=0.0, timeout_s=None)
    said = _decode(body[:json_bytes])
    tail = memoryview(body)[json_bytes:]
    inputs = []
    for one in said.inputs:
        size = one.parameters.binary_data_size
        if size is not None and size > len(tail):
            raise BadInput(
                f"input {_cut(one.name)} announces {size} bytes, {len(tail)} are left in the body",
                fix=f"send them after the JSON, whose length is the header {HEADER_LENGTH}",
            )
        inputs.append(_input(one, None if size is None else tail[:size], limits))
        tail = tail[size or 0 :]
    if tail:
        raise BadInput(
            f"{len(tail)} bytes after the last input belong to none",
            fix="binary_data_size of the inputs must add up to what follows the JSON",
        )
    default = said.parameters.binary_data_output
    return Request(
        said.id,
        tuple(inputs),
        tuple(_asked(one, default) for one in said.outputs),
        is_binary=default,
        confidence=said.parameters.confidence,
        timeout_s=said.parameters.timeout / 1e6 or None,
    )


def _json_length(header_length: str | None, body_bytes: int) -> int:
    if header_length is None:
        length = body_bytes
    elif header_length.isascii() and header_length.isdigit() and len(header_length) <= 12:
        length = int(header_length)
    else:
        raise BadInput(
            f"{HEADER_LENGTH} is {_cut(header_length)}, not a number of bytes",
            fix="it is the length of the JSON at the start of the body",
        )
    if length > body_bytes:
        raise BadInput(
            f"{HEADER_LENGTH} is {length}, the body has {body_bytes} bytes",
            fix="it is the length of the JSON at the start of the body",
        )
    if length > JSON_BYTES_MOST:
        raise TooLarge(
            f"the request has {length} bytes of JSON, at most {JSON_BYTES_MOST} are read",
            fix="send tensors as binary data: they are smaller so",
        )
    return length


def _decode(text: bytes) -> _Request:
    try:
        return _REQUEST.decode(text)
    except RecursionError:
        what = "it is nested too deep"
    # ValueError: of a string that is no UTF-8.
    except (msgspec.MsgspecError, ValueError) as error:
        what = str(error)
    raise BadInput(
        f"the request's JSON: {what}", fix="see the Open Inference Protocol v2, or docs/api.md"
    )


def _input(said: _Input, binary: memoryview | None, limits: Limits) -> Input:
    shape = tuple(said.shape)
    count = math.prod(shape)  # Python's integers do not overflow
    has_json = bool(bytes(said.data))
    if has_json == (binary is not None):
        raise _bad(
            said,
            "has data twice" if has_json else "has no data",
            fix="give either `data` or `parameters.binary_data_size`",
        )
    most = {"BYTES": limits.texts, "UINT8": limits.numbers}.get(said.datatype)
    if most is None:
        raise _bad(said, f"is of datatype {_cut(said.datatype)}", fix="send UINT8 or BYTES")
    if count > most:
        raise TooLarge(
            f"input {_cut(said.name)} of shape {list(shape)} has {count} elements, "
            f"at most {most} are taken",
            fix="send fewer or smaller images, or raise server.slots (images) or "
            "server.max_image_megapixels",
        )
    if said.datatype == Datatype.BYTES:
        return Input(said.name, shape, _texts(said, binary, count))
    numbers = _numbers_of_json(said) if binary is None else np.frombuffer(binary, np.uint8)
    if len(numbers) != count:
        raise _bad(
            said,
            f"of shape {list(shape)} needs {count} elements, {len(numbers)} came",
            fix="shape and data must fit",
        )
    return Input(said.name, shape, numbers.reshape(shape))


def _texts(said: _Input, binary: memoryview | None, count: int) -> Bytes:
    found = _texts_of_json(said) if binary is None else _texts_of_bytes(said, binary, count)
    if len(found) != count:
        raise _bad(
            said,
            f"of shape {said.shape} needs {count} elements, {len(found)} came",
            fix="shape and data must fit",
        )
    return found


def _texts_of_bytes(said: _Input, binary: memoryview, count: int) -> Bytes:
    """Return up to `count` elements, each after its length (u32, little-endian)."""
    found: list[memoryview] = []
    while len(found) < count and len(binary) >= _LENGTH.size:
        (size,) = _LENGTH.unpack_from(binary)
        binary = binary[_LENGTH.size :]
        if size > len(binary):
            raise _bad(
                said,
                f"element {len(found)} announces {size} bytes, {len(binary)} are left",
                fix="each element is its length (4 bytes, little-endian) and its bytes",
            )
        found.append(binary[:size])
        binary = binary[size:]
    if binary:
        raise _bad(
            said,
            f"has {len(binary)} bytes after its last element",
            fix="shape and binary_data_size must fit",
        )
    return tuple(found)


def _texts_of_json(said: _Input) -> Bytes:
    """Return the elements of a JSON list of base64 strings: JSON has no bytes."""
    try:
        return tuple(
            binascii.a2b_base64(text, strict_mode=True) for text in _TEXTS.decode(said.data)
        )
    # ValueError: of text that is not base64, not ASCII or not UTF-8.
    except (msgspec.MsgspecError, ValueError) as error:
        raise _bad(
            said,
            f"is no flat list of base64 strings: {error}",
            fix="send images as base64 in JSON, or better as binary data",
        ) from None


def _numbers_of_json(said: _Input) -> NDArray[np.uint8]:
    """Return the numbers of a JSON list, nested in any way, in their order.

    The text is known to be JSON. It is read without making Python's lists and integers: some
    twenty times the memory, for a client that wants it so.
    """
    text = bytes(said.data)
    if not text.startswith(b"["):
        raise _bad(said, "its data is no list", fix="data is a list of numbers from 0 to 255")
    text = text.translate(None, delete=_NOT_IN_NUMBERS)
    if not text:
        return np.empty(0, np.uint8)
    # An empty list inside leaves a comma with nothing at one side.
    is_whole = text.replace(b",", b"").isdigit() and b",," not in text
    if not is_whole or text[:1] == b"," or text[-1:] == b",":
        raise _bad(
            said,
            "its data holds something else than numbers",
            fix="data is a list of whole numbers from 0 to 255",
        )
    numbers = np.fromstring(text, np.int64, sep=",")  # too large ones saturate
    if numbers.max() > 255:
        raise _bad(said, "holds a number over 255", fix="UINT8 is a whole number from 0 to 255")
    return numbers.astype(np.uint8)


def _asked(said: _Output, default: bool) -> Asked:
    wanted = said.parameters.binary_data
    return Asked(said.name, default if wanted is None else wanted)


def _bad(said: _Input, what: str, *, fix: str) -> BadInput:
    return BadInput(f"input {_cut(said.name)} {what}", fix=fix)


def _cut(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")


# ---------------------------------------------------------------- out


class _OutputSaid(msgspec.Struct, omit_defaults=True):
    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    parameters: dict[str, int] = {}
    data: list[str] | list[int] | list[float] | None = None


class _Response(msgspec.Struct, omit_defaults=True):
    model_name: str
    model_version: str
    outputs: list[_OutputSaid]
    id: str = ""


def encode_response(
    outputs: Sequence[tuple[Output, bool]], *, model: str, version: str, request_id: str
) -> tuple[bytes, int | None]:
    """Return a response's body, and the length of its JSON where bytes follow it.

    Args:
        outputs: each with whether it goes as bytes.
        model: its name.
        version: of the model.
        request_id: what the client called its request; "" when it did not.
    """
    tails, said = [], []
    for output, is_binary in outputs:
        one = _OutputSaid(output.name, output.datatype, output.shape)
        if is_binary:
            tail = _pack(output)
            tails.append(tail)
            one.parameters = {"binary_data_size": len(tail)}
        else:
            data = output.data
            one.data = data.ravel().tolist() if isinstance(data, np.ndarray) else list(data)
        said.append(one)
    head = msgspec.json.encode(_Response(model, version, said, request_id))
    return b"".join((head, *tails)), len(head) if tails else None


def _pack(output: Output) -> bytes:
    if isinstance(output.data, np.ndarray):
        return output.data.astype(_DTYPES[output.datatype], copy=False).tobytes()
    packed = bytearray()
    for text in output.data:
        encoded = text.encode()
        packed += _LENGTH.pack(len(encoded)) + encoded
    return bytes(packed)
