"""Tiny ONNX detectors whose right answer is known, for tests of everything that runs a model.

The detector sees colour. Its input is divided into cells of 32 x 32 pixels; each cell answers one
box, the cell itself, with a score per class:

    red = clip(r - (g + b) / 2, 0, 1), and likewise green and blue, of the cell's mean colour.

So grey (padding), black and white score 0, a cell painted pure red answers "red" with score 1.0 at
exactly that cell, and a half painted one answers 0.5. `paint` paints a cell. The finer grids of the
heads (strides 8 and 16) are there, as in real ones, and answer nothing. An inference takes well
under a millisecond, and the file is about 3 kB.

`fault` makes it fail on command: a frame with a white cell answers NaN or makes the runtime raise;
all other frames are answered as always. So a model loads and warms up, and one frame breaks it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from saccade.desired import ModelSpec
from saccade.models.onnx_graph import GRID_STRIDES, Family
from saccade.types import HostName, ModelKind, ModelName
from saccade.vision.letterbox import ColorOrder

CELL = 32
LABELS = ("red", "green", "blue")
#: Class -> what to paint, as R, G, B.
COLORS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
WHITE = (255, 255, 255)
GREY = (114, 114, 114)


class Fault(StrEnum):
    """What a frame with a white cell does."""

    NONE = "none"
    NAN = "nan"
    INFINITE = "infinite"
    RAISE = "raise"


def build_detector(
    family: Family | str = Family.YOLO,
    *,
    width: int | None = 64,
    height: int | None = 64,
    batch: int | None = None,
    half: bool = False,
    channels_last: bool = False,
    metadata: dict[str, str] | None = None,
    fault: Fault | str = Fault.NONE,
    results: int = 4,
) -> onnx.ModelProto:
    """Return the colour detector with the head of a family.

    Args:
        family: yolo, yolo_end2end or yolox. The last sees BGR from 0 to 255, the others RGB from 0
            to 1, as the real ones do.
        width: of the input; None: dynamic.
        height: likewise.
        batch: fixed batch; None: dynamic.
        half: input and arithmetic in float16.
        channels_last: the input is (n, height, width, 3).
        metadata: replaces that of an Ultralytics export (names, stride, task, imgsz); {} for none.
            YOLOX exports have none, and neither has this one.
        fault: what a frame with a white cell does.
        results: k of the end2end head.
    """
    graph = _Graph(half)
    pixels = "images"
    if channels_last:
        pixels = graph.node("Transpose", pixels, perm=[0, 3, 1, 2])
    rows: int | str = "rows"
    columns: int | str = 6
    if family == Family.YOLOX:
        answer = _yolox(graph, graph.node("Div", pixels, graph.const(255.0)))
        columns = 5 + len(LABELS)
    elif family == Family.YOLO:
        answer, rows, columns = _yolo(graph, pixels), 4 + len(LABELS), "anchors"
    else:
        answer = _end2end(graph, pixels, results)
    answer = _with_fault(graph, answer, pixels, Fault(fault), family == Family.YOLOX)
    graph.nodes.append(helper.make_node("Identity", [answer], ["output0"]))
    sides: list[int | str] = [height or "height", width or "width"]
    n: int | str = batch or "batch"
    shape = [n, *sides, 3] if channels_last else [n, 3, *sides]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "colour detector",
            [helper.make_tensor_value_info("images", graph.type, shape)],
            [helper.make_tensor_value_info("output0", graph.type, [n, rows, columns])],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
        producer_name="saccade tests",
    )
    if metadata is None:
        metadata = {} if family == Family.YOLOX else export_metadata(width, height)
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    return model


def export_metadata(width: int | None = 64, height: int | None = 64) -> dict[str, str]:
    """Return what an Ultralytics export says of itself."""
    return {
        "names": str(dict(enumerate(LABELS))),
        "stride": str(CELL),
        "task": "detect",
        "imgsz": str([height or 64, width or 64]),
    }


def write_detector(path: Path, family: Family | str = Family.YOLO, **changes: object) -> Path:
    """Write `build_detector(family, **changes)` to a file and return its path."""
    path.write_bytes(build_detector(family, **changes).SerializeToString())  # type: ignore[arg-type]
    return path


def spec_for(path: Path, **changes: object) -> ModelSpec:
    """Return the spec of a detector at a path, with some fields changed."""
    fields: dict[str, object] = {
        "name": ModelName("colours"),
        "kind": ModelKind.DETECTOR,
        "path": str(path),
        "sha256": "",
        "host": HostName("main"),
    }
    return ModelSpec(**{**fields, **changes})  # type: ignore[arg-type]


def grey_frames(count: int = 1, width: int = 64, height: int = 64) -> NDArray[np.uint8]:
    """Return (count, height, width, 3) frames in which nothing is to be found."""
    return np.full((count, height, width, 3), GREY, np.uint8)


def paint(
    frame: NDArray[np.uint8],
    row: int,
    column: int,
    color: Sequence[int] | str,
    order: ColorOrder = ColorOrder.RGB,
) -> tuple[float, float, float, float]:
    """Paint one cell of an input frame in place; return the box that must be found there.

    Args:
        frame: (height, width, 3) uint8.
        row: of the cell, from the top.
        column: of the cell, from the left.
        color: R, G, B, or the name of a class.
        order: the frame's own.
    """
    rgb = COLORS[color] if isinstance(color, str) else tuple(color)
    x, y = column * CELL, row * CELL
    frame[y : y + CELL, x : x + CELL] = rgb if order is ColorOrder.RGB else rgb[::-1]
    return float(x), float(y), float(x + CELL), float(y + CELL)


class _Graph:
    """Collects nodes and weights, and names what they make."""

    def __init__(self, half: bool) -> None:
        self.type = TensorProto.FLOAT16 if half else TensorProto.FLOAT
        self.dtype = np.float16 if half else np.float32
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def node(self, op: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, **attributes))
        return names[0]

    def const(self, value: object, dtype: type | None = None) -> str:
        name = f"c{len(self.weights)}"
        array: NDArray[Any] = np.array(value, dtype or self.dtype)
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def constant_like(self, cells: str, value: float) -> str:
        """Return (n, 1, rows, columns) of one value, for (n, 3, rows, columns)."""
        zero = self.const(np.zeros((1, 3, 1, 1)))
        return self.node("Conv", cells, zero, self.const([value]))


def _cells(graph: _Graph, pixels: str, cell: int) -> str:
    return graph.node("AveragePool", pixels, kernel_shape=[cell, cell], strides=[cell, cell])


def _scores(graph: _Graph, cells: str, bgr: bool) -> str:
    weights = np.full((3, 3), -0.5) + 1.5 * np.eye(3)
    if bgr:
        weights = weights[:, ::-1]
    score = graph.node("Conv", cells, graph.const(weights.reshape(3, 3, 1, 1)))
    return graph.node("Clip", score, graph.const(0.0), graph.const(1.0))


def _centre(graph: _Graph, cells: str, axis: int, stride: int) -> str:
    """Return the cells' centres along an axis, in pixels."""
    ones = graph.node("Cast", graph.constant_like(cells, 1.0), to=TensorProto.FLOAT)
    # CumSum has no half precision: count in float32.
    ordinal = graph.node("CumSum", ones, graph.const(axis, np.int64))
    middle = graph.node("Sub", ordinal, graph.const(0.5, np.float32))
    pixels = graph.node("Mul", middle, graph.const(stride, np.float32))
    return graph.node("Cast", pixels, to=graph.type)


def _yolo(graph: _Graph, pixels: str) -> str:
    levels = []
    for stride in GRID_STRIDES:
        cells = _cells(graph, pixels, stride)
        x, y = (_centre(graph, cells, axis, stride) for axis in (3, 2))
        side = graph.constant_like(cells, float(stride))
        # Only the coarsest level answers, so that a painted cell is found once.
        active = graph.constant_like(cells, 1.0 if stride == CELL else 0.0)
        scores = graph.node("Mul", _scores(graph, cells, bgr=False), active)
        level = graph.node("Concat", x, y, side, side, scores, axis=1)
        shape = graph.const([0, 4 + len(LABELS), -1], np.int64)
        levels.append(graph.node("Reshape", level, shape))
    return graph.node("Concat", *levels, axis=2)


def _yolox(graph: _Graph, pixels: str) -> str:
    columns = 5 + len(LABELS)
    levels = []
    for stride in GRID_STRIDES:
        cells = _cells(graph, pixels, stride)
        half, zero = graph.constant_like(cells, 0.5), graph.constant_like(cells, math.log(1.0))
        objectness = graph.constant_like(cells, 1.0 if stride == CELL else 0.0)
        scores = _scores(graph, cells, bgr=True)
        level = graph.node("Concat", half, half, zero, zero, objectness, scores, axis=1)
        levels.append(graph.node("Reshape", level, graph.const([0, columns, -1], np.int64)))
    return graph.node("Transpose", graph.node("Concat", *levels, axis=2), perm=[0, 2, 1])


def _end2end(graph: _Graph, pixels: str, results: int) -> str:
    head = _yolo(graph, pixels)
    rows = graph.node(
        "Split", head, graph.const([1, 1, 2, len(LABELS)], np.int64), outputs=4, axis=1
    )
    prefix = rows.rsplit("_", 1)[0]
    x, y, scores = f"{prefix}_0", f"{prefix}_1", f"{prefix}_3"
    flat = graph.node("Reshape", scores, graph.const([0, -1], np.int64))
    best = graph.node("TopK", flat, graph.const([results], np.int64), outputs=2, axis=1)
    index = best.rsplit("_", 1)[0] + "_1"
    anchors = graph.node("Gather", graph.node("Shape", head), graph.const(2, np.int64), axis=0)
    cell, label = graph.node("Mod", index, anchors), graph.node("Div", index, anchors)
    columns = []
    for centre, offset in ((x, -0.5), (y, -0.5), (x, 0.5), (y, 0.5)):
        axis = graph.node("Reshape", centre, graph.const([0, -1], np.int64))
        at = graph.node("GatherElements", axis, cell, axis=1)
        columns.append(graph.node("Add", at, graph.const(offset * CELL)))
    columns += [best, graph.node("Cast", label, to=graph.type)]
    last = graph.const([2], np.int64)
    return graph.node("Concat", *(graph.node("Unsqueeze", v, last) for v in columns), axis=2)


def _with_fault(graph: _Graph, answer: str, pixels: str, fault: Fault, is_255: bool) -> str:
    """Add to the answer a number per frame: 0, or the fault if one of its cells is white."""
    if fault is Fault.NONE:
        return answer
    darkest = graph.node("ReduceMin", _cells(graph, pixels, CELL), axes=[1], keepdims=1)
    whitest = graph.node("ReduceMax", darkest, axes=[1, 2, 3], keepdims=0)
    is_white = graph.node("Greater", whitest, graph.const(252.0 if is_255 else 0.99))
    index = graph.node("Cast", is_white, to=TensorProto.INT64)
    if fault is Fault.RAISE:
        extra = graph.node("Gather", graph.const([0.0]), index, axis=0)  # 1 is out of bounds
    else:
        value = math.nan if fault is Fault.NAN else math.inf
        extra = graph.node("Gather", graph.const([0.0, value]), index, axis=0)
    shaped = graph.node("Reshape", extra, graph.const([-1, 1, 1], np.int64))
    return graph.node("Add", answer, shaped)
