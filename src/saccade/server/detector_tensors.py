"""What a detector takes and gives in the Open Inference Protocol: tensors, metadata, statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from saccade.engine import wire
from saccade.errors import BadInput
from saccade.server.detect import Image, Seen
from saccade.server.tensors import Asked, Datatype, Numbers, Output, Request
from saccade.telemetry.board import ModelWord
from saccade.types import ModelStatus

#: The only version: a model's file is what the settings name.
VERSION: Final = "1"
#: The name of the one input.
IMAGE: Final = "image"
PLATFORM: Final = "onnxruntime_onnx"
#: What fills a row after its detections: no threshold lets it pass.
PAD_SCORE: Final = -1.0
PAD_CLASS: Final = -1

_OUTPUTS: Final[dict[str, tuple[Datatype, tuple[int, ...]]]] = {
    "boxes": (Datatype.FP32, (-1, -1, 4)),
    "scores": (Datatype.FP32, (-1, -1)),
    "classes": (Datatype.INT32, (-1, -1)),
    "labels": (Datatype.BYTES, (-1, -1)),
    "count": (Datatype.INT32, (-1,)),
}
#: Triton's states, of its repository index. A model that is suspended or failed is unavailable.
_STATES: Final = {
    ModelStatus.READY: "READY",
    ModelStatus.LOADING: "LOADING",
    ModelStatus.LOADED: "LOADING",
    ModelStatus.WARMING_UP: "LOADING",
}


class TensorSaid(msgspec.Struct, frozen=True):
    """A tensor in a model's metadata; -1 is any size."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]


class ModelSaid(msgspec.Struct, frozen=True, kw_only=True):
    """A model's metadata."""

    name: str
    versions: tuple[str, ...] = (VERSION,)
    platform: str = PLATFORM
    inputs: tuple[TensorSaid, ...]
    outputs: tuple[TensorSaid, ...]


class TensorConfig(msgspec.Struct, frozen=True):
    """A tensor in Triton's model configuration: without the batch's dimension."""

    name: str
    data_type: str
    dims: tuple[int, ...]


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The part of Triton's model configuration that saccade has."""

    name: str
    platform: str = PLATFORM
    backend: str = "onnxruntime"
    max_batch_size: int
    input: tuple[TensorConfig, ...]
    output: tuple[TensorConfig, ...]


class Count(msgspec.Struct, frozen=True, omit_defaults=True):
    """How often, and for how long in all; no `ns` where no time is measured."""

    count: int
    ns: int | None = None


class Inferences(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the images given to a model."""

    success: Count
    fail: Count
    compute_infer: Count  # of batches, not of images


class ModelStats(msgspec.Struct, frozen=True, kw_only=True):
    """The part of Triton's statistics that is measured here."""

    name: str
    version: str = VERSION
    inference_count: int
    execution_count: int
    inference_stats: Inferences


class IndexEntry(msgspec.Struct, frozen=True):
    """A model in the repository's index."""

    name: str
    version: str
    state: str
    reason: str


def metadata(name: str) -> ModelSaid:
    """Return a detector's metadata. `image` is also taken as BYTES [n]: encoded images."""
    return ModelSaid(
        name=name,
        inputs=(TensorSaid(IMAGE, Datatype.UINT8, (-1, -1, -1, 3)),),
        outputs=tuple(TensorSaid(n, kind, shape) for n, (kind, shape) in _OUTPUTS.items()),
    )


def config(name: str, *, most_images: int) -> ModelConfig:
    """Return a detector's configuration; `most_images` are taken in one request."""
    said = metadata(name)

    def plain(tensor: TensorSaid) -> TensorConfig:
        kind = "STRING" if tensor.datatype is Datatype.BYTES else tensor.datatype
        return TensorConfig(tensor.name, f"TYPE_{kind}", tensor.shape[1:])

    return ModelConfig(
        name=name,
        max_batch_size=most_images,
        input=tuple(plain(t) for t in said.inputs),
        output=tuple(plain(t) for t in said.outputs),
    )


def statistics(name: str, words: dict[ModelWord, int]) -> ModelStats:
    """Return what was counted of a model since its host loaded it."""
    answered, batches = words.get(ModelWord.ANSWERED, 0), words.get(ModelWord.BATCHES, 0)
    return ModelStats(
        name=name,
        inference_count=answered,
        execution_count=batches,
        inference_stats=Inferences(
            success=Count(answered),
            fail=Count(words.get(ModelWord.FAILED, 0)),
            compute_infer=Count(batches, words.get(ModelWord.BUSY_NS, 0)),
        ),
    )


def index_entry(model: wire.ModelState) -> IndexEntry:
    """Return a model's line in the index."""
    return IndexEntry(model.name, VERSION, _STATES.get(model.status, "UNAVAILABLE"), model.reason)


def images_of(request: Request) -> list[Image]:
    """Return the images of a request: encoded ones as they are, pixels as (h, w, 3) BGR.

    Raises:
        BadInput: the inputs are not a detector's.
    """
    names = [one.name for one in request.inputs]
    if names != [IMAGE]:
        raise BadInput(
            f"the request has {len(names)} inputs ({', '.join(names[:4])[:60] or 'none'})",
            fix=f"send one, named {IMAGE}",
        )
    [image] = request.inputs
    shape = list(image.shape)
    if isinstance(image.data, np.ndarray):
        if len(shape) != 4 or shape[3] != 3:
            raise BadInput(
                f"input {IMAGE} of UINT8 has shape {shape}", fix="send [n, height, width, 3], RGB"
            )
        return [_bgr(rgb) for rgb in image.data]
    if len(shape) != 1:
        raise BadInput(
            f"input {IMAGE} of BYTES has shape {shape}", fix="send [n]: one encoded image each"
        )
    return list(image.data)


def _bgr(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    bgr: NDArray[np.uint8] = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), np.uint8)
    return bgr


def check_asked(request: Request) -> tuple[Asked, ...]:
    """Return the outputs a request gets: those it asks for, or all.

    Raises:
        BadInput: one of them does not exist, or is asked for twice.
    """
    asked = request.outputs
    for index, one in enumerate(asked):
        if one.name not in _OUTPUTS:
            raise BadInput(
                f"there is no output {one.name[:60]!r}", fix=f"there are {', '.join(_OUTPUTS)}"
            )
        if any(other.name == one.name for other in asked[:index]):
            raise BadInput(f"output {one.name!r} is asked for twice", fix="ask once")
    return asked or tuple(Asked(name, request.is_binary) for name in _OUTPUTS)


def outputs_of(seen: Sequence[Seen]) -> dict[str, Output]:
    """Return every output: rows as long as the longest, filled up with pads.

    A pad has the box 0, 0, 0, 0, the score -1, the class -1 and an empty label.
    """
    n, k = len(seen), max((len(one.found) for one in seen), default=0)
    boxes = np.zeros((n, k, 4), np.float32)
    scores = np.full((n, k), PAD_SCORE, np.float32)
    classes = np.full((n, k), PAD_CLASS, np.int32)
    labels: list[str] = []
    for row, one in enumerate(seen):
        count = len(one.found)
        boxes[row, :count] = one.found.boxes_px
        scores[row, :count] = one.found.scores
        classes[row, :count] = one.found.classes
        labels += [one.label(int(c)) for c in one.found.classes] + [""] * (k - count)
    counts = np.array([len(one.found) for one in seen], np.int32)
    data: dict[str, Numbers] = {
        "boxes": boxes,
        "scores": scores,
        "classes": classes,
        "count": counts,
    }
    outputs = {
        name: Output(name, _OUTPUTS[name][0], array.shape, array) for name, array in data.items()
    }
    return {**outputs, "labels": Output("labels", Datatype.BYTES, (n, k), labels)}
