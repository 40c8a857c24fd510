"""Lets model files in: says what a file is before a runtime is asked to load it."""

from __future__ import annotations

import hashlib
import json
import mmap
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from saccade.errors import ModelFileInvalid, TooLarge

_HEAD_BYTES = 1024
#: Protobuf wire types: a varint; a length and that many bytes.
_VARINT, _BYTES = 0, 2
#: Fields of onnx.ModelProto and the wire type each has.
_MODEL_FIELDS = {
    1: _VARINT,  # ir_version
    2: _BYTES,  # producer_name
    3: _BYTES,  # producer_version
    4: _BYTES,  # domain
    5: _VARINT,  # model_version
    6: _BYTES,  # doc_string
    7: _BYTES,  # graph
    8: _BYTES,  # opset_import
    14: _BYTES,  # metadata_props
    20: _BYTES,  # training_info
    25: _BYTES,  # functions
    26: _BYTES,  # configuration
}
_GRAPH = 7
_EXPORT_FIX = "export it to ONNX first (Ultralytics: yolo export model=<file> format=onnx)"
_SAME_FIX = "give the same model as ONNX"


def check_model_file(path: Path, max_bytes: int) -> None:
    """Pass if a file is a whole ONNX model whose weights are all where they may be.

    Only the file's bytes are looked at; whether saccade can run the model is the adapter's to say.

    Args:
        path: the file; symbolic links are followed.
        max_bytes: the largest file that is read.

    Raises:
        ModelFileInvalid: missing, not a file, empty, truncated, something else, or it wants
            weights from outside its own folder.
        TooLarge: longer than `max_bytes`.
    """
    size = _regular_size(path)
    if size > max_bytes:
        raise TooLarge(
            f"the model file {path.name} has {size:,} bytes, at most {max_bytes:,} are read",
            fix="use a smaller model or raise the limit on model files",
        )
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if (words := _other_kind(head, size)) is not None:
        what, fix = words
        raise ModelFileInvalid(f"{path.name} is {what}, not an ONNX model", fix=fix)
    _check_structure(path, size)
    check_external_data(read_onnx(path), path)


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_onnx(path: Path) -> onnx.ModelProto:
    """Return the parsed model, without the weights it keeps in other files.

    Raises:
        ModelFileInvalid: it does not parse.
    """
    try:
        return onnx.load(str(path), load_external_data=False)
    except (DecodeError, OSError) as error:
        raise ModelFileInvalid(
            f"{path.name} does not parse as ONNX", fix="download or export it again"
        ) from error


def check_external_data(model: onnx.ModelProto, path: Path) -> None:
    """Pass if every file with weights the model names is a plain one in the model's own folder.

    Raises:
        ModelFileInvalid: a name leads outside, through a link, or to nothing.
    """
    folder = path.resolve().parent
    for location in sorted({_location(tensor) for tensor in _external_tensors(model)}):
        name = PurePosixPath(location)
        inside = location and not name.is_absolute() and ".." not in name.parts
        target = folder / location
        if not inside or "\\" in location or target.resolve() != target:
            raise ModelFileInvalid(
                f"{path.name} wants weights from outside its folder: {location!r}",
                fix="export the model as one file; load no model whose source you do not trust",
            )
        if not target.is_file():
            raise ModelFileInvalid(
                f"{path.name} keeps its weights in {location!r}, which is not beside it",
                fix=f"put {location} into the same folder, or export the model as one file",
            )


def _regular_size(path: Path) -> int:
    try:
        status = path.stat()
    except OSError as error:
        raise ModelFileInvalid(
            f"the model file {path} cannot be read: {error.strerror}",
            fix="check the path and the file's permissions",
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise ModelFileInvalid(f"{path} is not a file", fix="give the path of an .onnx file")
    if not status.st_size:
        raise ModelFileInvalid(f"{path.name} is empty", fix="download or copy it again")
    return status.st_size


def _other_kind(head: bytes, size: int) -> tuple[str, str] | None:
    """Return (what it is, what to do) if the first bytes are those of something well known."""
    for offset, known, what, fix in _KNOWN:
        if head[offset : offset + len(known)] == known:
            return what, fix
    if head.startswith(b"PK\x03\x04"):
        if b"data.pkl" in head or b"/version" in head:
            return "a PyTorch checkpoint (.pt)", _EXPORT_FIX
        return "a zip archive", "unpack it and give the .onnx file inside; " + _EXPORT_FIX
    if _is_safetensors(head, size):
        return "a safetensors file (weights without a network)", _EXPORT_FIX
    return _text_kind(head)


def _text_kind(head: bytes) -> tuple[str, str] | None:
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return (
            "an HTML page (a login or error page saved by the download)",
            "download it again from a direct link",
        )
    if text.startswith((b"<?xml", b"<net")):
        return "an XML text (an OpenVINO model description?)", _SAME_FIX
    if all(byte >= 32 or byte in b"\t\r\n" for byte in head):
        return "a text file", "give the .onnx file itself"
    return None


#: (offset, bytes there, what it is, what to do)
_KNOWN = (
    (
        0,
        b"version https://git-lfs.github.com/spec/",
        "a Git-LFS pointer (three lines that stand for the real file)",
        "run `git lfs pull` in the repository it came from, or download the real file",
    ),
    *(
        (0, b"\x80" + bytes([v]), "a Python pickle (an old .pt or .pkl)", _EXPORT_FIX)
        for v in (2, 3, 4, 5)
    ),
    (4, b"TFL3", "a TensorFlow Lite model", _SAME_FIX),
    (4, b"ORTM", "an ONNX Runtime .ort file", _SAME_FIX),
    (0, b"\x89HDF", "an HDF5 file (Keras weights?)", _EXPORT_FIX),
    (0, b"ftrt", "a TensorRT engine", _SAME_FIX),
    (0, b"ptrt", "a TensorRT engine", _SAME_FIX),
    (0, b"GGUF", "a GGUF language model", _SAME_FIX),
    (0, b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (0, b"7z\xbc\xaf", "a 7z archive", "unpack it first"),
    (0, b"Rar!", "a RAR archive", "unpack it first"),
    (0, b"%PDF", "a PDF", "give the .onnx file itself"),
    (0, b"\x89PNG", "a PNG picture", "give the .onnx file itself"),
    (0, b"\xff\xd8\xff", "a JPEG picture", "give the .onnx file itself"),
)


def _is_safetensors(head: bytes, size: int) -> bool:
    length = int.from_bytes(head[:8], "little")
    return 2 <= length <= size and head[8:9] == b"{" and _starts_json(head[8:])


def _starts_json(data: bytes) -> bool:
    try:
        json.loads(data.decode("utf-8", "replace"))
    except json.JSONDecodeError as error:
        return error.pos > 1
    return True


def _check_structure(path: Path, size: int) -> None:
    """Walk the top-level fields: tells a cut-off file from one that was never ONNX; reads little.

    Source: protobuf's wire format (protobuf.dev/programming-guides/encoding) and onnx.proto.
    """
    fields: set[int] = set()
    at = 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        while at < size:
            try:
                key, value_at = _varint(data, at)
                if _MODEL_FIELDS.get(key >> 3) != key & 7:
                    raise _not_onnx(path, at)
                at = _value_end(data, value_at, key & 7)
            except IndexError:
                raise _truncated(path, size) from None
            if at > size:
                raise _truncated(path, size)
            fields.add(key >> 3)
    if _GRAPH not in fields:
        # The graph is nearly the whole file, after a few short lines.
        raise _truncated(path, size)


def _value_end(data: mmap.mmap, at: int, wire: int) -> int:
    """Return where a field's value ends (of the two wire types `_MODEL_FIELDS` has)."""
    value, at = _varint(data, at)
    return at + value if wire == _BYTES else at


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    """Return a varint and where it ends. Raises IndexError past the end or after ten bytes."""
    value = 0
    for i in range(10):
        byte = data[at + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, at + i + 1
    raise IndexError


def _not_onnx(path: Path, at: int) -> ModelFileInvalid:
    return ModelFileInvalid(
        f"{path.name} is not an ONNX model (its structure breaks at byte {at:,})",
        fix="give an .onnx file; " + _EXPORT_FIX,
    )


def _truncated(path: Path, size: int) -> ModelFileInvalid:
    return ModelFileInvalid(
        f"{path.name} is truncated: it ends after {size:,} bytes, inside the model",
        fix="download or copy it again; the transfer stopped early",
    )


def _external_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    nodes = [node for function in model.functions for node in function.node]
    graphs = [model.graph]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            nodes.extend(graph.node)
            yield from filter(_is_external, graph.initializer)
            for sparse in graph.sparse_initializer:
                yield from filter(_is_external, (sparse.values, sparse.indices))
            continue
        for attribute in nodes.pop().attribute:
            yield from filter(_is_external, (attribute.t, *attribute.tensors))
            graphs.extend(attribute.graphs)
            if attribute.HasField("g"):
                graphs.append(attribute.g)


def _is_external(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def _location(tensor: onnx.TensorProto) -> str:
    return next((str(item.value) for item in tensor.external_data if item.key == "location"), "")
