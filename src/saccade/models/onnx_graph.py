"""Reads what an ONNX network wants and answers, and moves the input's arithmetic into it."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from saccade.errors import ModelFileInvalid, SettingsInvalid
from saccade.models.labels import labels_from_metadata
from saccade.vision.letterbox import ColorOrder, InputSpec, Pad

#: Side of the input where a network takes any and does not say what it was trained with.
DEFAULT_SIDE = 640
DEFAULT_STRIDE = 32
#: Strides of the heads that are decoded by a grid here.
GRID_STRIDES = (8, 16, 32)
#: The name of the folded graph's input.
FRAMES = "saccade_frames"

_MIN_OPSET = 7  # below, Div and Add broadcast by an attribute
_MAX_SIDE = 8192
#: Tensors up to this many elements may be shapes that are computed with; larger ones are weights.
_SHAPE_ELEMENTS = 64
_ELEMENT_TYPES = {
    TensorProto.FLOAT: "float32",
    TensorProto.FLOAT16: "float16",
    TensorProto.UINT8: "uint8",
}
_FAMILIES_FIX = (
    "saccade runs detectors that answer [n, 4+classes, anchors] (yolo: YOLOv8, YOLO11, ...), "
    "[n, k, 6] (yolo_end2end) or [n, anchors, 5+classes] (yolox): export one of these to ONNX"
)


class Family(StrEnum):
    """How a detector's answer is laid out. `heads.py` has a decoder for each."""

    YOLO = "yolo"
    YOLO_END2END = "yolo_end2end"
    YOLOX = "yolox"


@dataclass(frozen=True, slots=True)
class DetectorInfo:
    """What an ONNX detector wants and answers.

    Args:
        family: how the answer is laid out.
        input: what it wants to see.
        input_name: the network's own input.
        element_type: onnx.TensorProto's number of the input's type.
        channels_last: the network takes (n, height, width, 3), and not (n, 3, height, width).
        batch: the batch it is fixed to; None when it takes any.
        classes: how many its answer has; None when that is not in the shape.
        names: of the classes, from its metadata; None when it has none.
        decodes_grid: YOLOX only: the boxes are already in pixels.
    """

    family: Family
    input: InputSpec
    input_name: str
    element_type: int
    channels_last: bool
    batch: int | None
    classes: int | None
    names: tuple[str, ...] | None
    decodes_grid: bool


def read_detector(
    model: onnx.ModelProto, *, family: str = "auto", width: int = 0, height: int = 0
) -> DetectorInfo:
    """Return what a detector wants and answers, from its graph and metadata alone.

    Args:
        model: with or without its external weights.
        family: one of `Family`, or "auto" to tell it by the answer's shape.
        width: of the input, for networks that take any; 0: what its metadata says, else 640.
        height: likewise.

    Raises:
        ModelFileInvalid: the ONNX is no detector of a known family.
        SettingsInvalid: the family or size asked for is not this network's.
    """
    if family != "auto" and family not in list(Family):
        raise SettingsInvalid(f"family {family!r} is unknown", fix=f"use auto, {', '.join(Family)}")
    _check_opset(model)
    metadata = {item.key: item.value for item in model.metadata_props}
    if (task := metadata.get("task", "detect")) != "detect":
        raise _wrong_kind(f"its metadata says it does {task!r}, not 'detect'")
    value = _only_input(model)
    batch, channels_last, fixed = _layout(value)
    stride = _metadata_numbers(metadata, "stride", (DEFAULT_STRIDE,))[-1]
    default = _metadata_numbers(metadata, "imgsz", (DEFAULT_SIDE,))
    sides = (
        _side("input_height", fixed[0], height, default[0], stride),
        _side("input_width", fixed[1], width, default[-1], stride),
    )
    shape = _answer_shape(model, value.name, channels_last, sides)
    found = _family(shape, sides, metadata) if family == "auto" else Family(family)
    classes = _classes(found, shape, sides)
    is_yolox = found is Family.YOLOX
    return DetectorInfo(
        family=found,
        input=InputSpec(
            width=sides[1],
            height=sides[0],
            color=ColorOrder.BGR if is_yolox else ColorOrder.RGB,
            pad=Pad.TOP_LEFT if is_yolox else Pad.CENTER,
        ),
        input_name=value.name,
        element_type=value.type.tensor_type.elem_type,
        channels_last=channels_last,
        batch=batch,
        classes=classes,
        names=labels_from_metadata(metadata["names"]) if metadata.get("names") else None,
        # The raw head's exponential is applied by `heads.py`; in the graph it means that the export
        # decoded the boxes.
        decodes_grid=is_yolox and any(node.op_type == "Exp" for node in model.graph.node),
    )


def fold_input(model: onnx.ModelProto, info: DetectorInfo, max_batch: int) -> None:
    """Make a network take uint8 (n, height, width, 3) in its own colour order, in place.

    Cast, scale and transposition become its first nodes: the runtime does them on its device, and
    what travels to it is a quarter of the bytes. The colour order is not touched: whoever fills the
    input writes it as `info.input.color` says, which costs nothing there.

    Args:
        model: as `read_detector` saw it, with all its weights.
        info: what `read_detector` returned.
        max_batch: 1 fixes the batch, so that the runtime can plan with constant shapes.
    """
    graph = model.graph
    old = next(value for value in graph.input if value.name == info.input_name)
    batch: int | str = info.batch or (1 if max_batch == 1 else "n")
    frames = helper.make_tensor_value_info(
        FRAMES, TensorProto.UINT8, [batch, info.input.height, info.input.width, 3]
    )
    nodes, current = [], FRAMES
    steps: list[tuple[str, list[str], dict[str, object]]] = []
    if not info.channels_last:
        steps.append(("Transpose", [], {"perm": [0, 3, 1, 2]}))  # first, while a pixel is one byte
    if info.element_type != TensorProto.UINT8:
        steps.append(("Cast", [], {"to": TensorProto.FLOAT}))
        if info.family is not Family.YOLOX:
            scale = numpy_helper.from_array(np.array(255, np.float32), "saccade_255")
            graph.initializer.append(scale)
            steps.append(("Div", ["saccade_255"], {}))
        if info.element_type == TensorProto.FLOAT16:
            steps.append(("Cast", [], {"to": TensorProto.FLOAT16}))
    if not steps:
        steps.append(("Identity", [], {}))
    for i, (op, more, attributes) in enumerate(steps):
        target = info.input_name if i == len(steps) - 1 else f"saccade_step_{i}"
        name = f"saccade_{op.lower()}_{i}"
        nodes.append(helper.make_node(op, [current, *more], [target], name=name, **attributes))
        current = target
    old_nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *old_nodes])
    old.CopyFrom(frames)
    # Shapes noted for another input size would contradict the new one.
    del graph.value_info[:]


def grid_cells(sides: tuple[int, int], strides: tuple[int, ...] = GRID_STRIDES) -> int:
    """Return how many cells the grids of a (height, width) input have together."""
    return sum((sides[0] // stride) * (sides[1] // stride) for stride in strides)


def _check_opset(model: onnx.ModelProto) -> None:
    opset = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 0)
    if opset < _MIN_OPSET:
        raise ModelFileInvalid(
            f"the ONNX uses operator set {opset}, at least {_MIN_OPSET} is needed",
            fix="export it again with a newer opset",
        )


def _only_input(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    # Before IR version 4 every weight was listed as an input too.
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise _wrong_kind(f"it has {len(inputs)} inputs ({names}), a detector has one picture")
    element_type = inputs[0].type.tensor_type.elem_type
    if element_type not in _ELEMENT_TYPES:
        raise _wrong_kind(
            f"its input is of ONNX element type {element_type}, "
            f"not {', '.join(_ELEMENT_TYPES.values())}"
        )
    return inputs[0]


def _layout(value: onnx.ValueInfoProto) -> tuple[int | None, bool, tuple[int | None, int | None]]:
    """Return (fixed batch, channels last, fixed (height, width)) of the input."""
    shape = _shape(value)
    if shape is None or len(shape) != 4:
        raise _wrong_kind(f"its input is {_words(shape)}, a picture has four dimensions")
    batch, *rest = shape
    if rest[0] == 3 or (rest[0] is None and rest[2] != 3):
        return batch, False, (rest[1], rest[2])
    if rest[2] == 3:
        return batch, True, (rest[0], rest[1])
    raise _wrong_kind(f"its input is {_words(shape)}, a picture has 3 channels")


def _side(setting: str, fixed: int | None, wanted: int, default: int, stride: int) -> int:
    if fixed is not None:
        if wanted not in (0, fixed):
            raise SettingsInvalid(
                f"{setting} is {wanted}, but the model's is fixed to {fixed}",
                fix=f"leave {setting} out, or export the model with a dynamic size",
            )
        return fixed
    side = wanted or default
    if side % stride or not stride <= side <= _MAX_SIDE:
        raise SettingsInvalid(
            f"{setting} is {side}, but the model needs a multiple of {stride} up to {_MAX_SIDE}",
            fix=f"use {max(stride, min(side, _MAX_SIDE) // stride * stride)}",
        )
    return side


def _answer_shape(
    model: onnx.ModelProto, input_name: str, channels_last: bool, sides: tuple[int, int]
) -> tuple[int | None, ...]:
    """Return the shape of the only answer for one picture of that size, without the batch."""
    if len(model.graph.output) != 1:
        names = ", ".join(value.name for value in model.graph.output)
        raise _wrong_kind(f"it answers {len(model.graph.output)} arrays ({names}), not one")
    declared = _shape(model.graph.output[0])
    shape = _inferred_shape(model, input_name, (1, *sides, 3) if channels_last else (1, 3, *sides))
    if shape is None or (declared is not None and len(declared) != len(shape)):
        shape = declared
    if shape is None or len(shape) < 3 or all(side == 1 for side in shape[2:]):
        raise _wrong_kind(
            f"it answers one list of numbers per picture ({_words(shape)}), as classifiers and "
            "embedders (of faces, for instance) do, and no boxes"
        )
    if len(shape) != 3:
        raise _wrong_kind(f"it answers {_words(shape)}")
    if declared is not None and len(declared) == 3:
        shape = tuple(a if a is not None else b for a, b in zip(shape, declared, strict=True))
    return shape[1:]


def _inferred_shape(
    model: onnx.ModelProto, input_name: str, input_shape: tuple[int, ...]
) -> tuple[int | None, ...] | None:
    """Return the answer's shape for an input of a given shape, None if it cannot be told."""
    graph = model.graph
    inputs = {value.name: value for value in graph.input}
    tensor_type = inputs[input_name].type.tensor_type.elem_type
    inputs[input_name] = helper.make_tensor_value_info(input_name, tensor_type, input_shape)
    small = onnx.ModelProto(ir_version=max(4, model.ir_version))
    small.opset_import.extend(model.opset_import)
    small.functions.extend(model.functions)
    for weight in graph.initializer:
        if np.prod(weight.dims, dtype=np.int64) <= _SHAPE_ELEMENTS:
            small.graph.initializer.append(weight)
        else:
            # Its shape is enough, and copying only shapes keeps a large model from being in memory
            # three times.
            inputs[weight.name] = helper.make_tensor_value_info(
                weight.name, weight.data_type, weight.dims
            )
    small.graph.name = "shapes"
    small.graph.node.extend(graph.node)
    small.graph.input.extend(inputs.values())
    small.graph.output.extend(
        onnx.ValueInfoProto(name=value.name, type=_without_shape(value)) for value in graph.output
    )
    try:
        inferred = shape_inference.infer_shapes(small, data_prop=True)
    except shape_inference.InferenceError:
        return None
    return _shape(inferred.graph.output[0])


def _family(
    shape: tuple[int | None, ...], sides: tuple[int, int], metadata: dict[str, str]
) -> Family:
    """Tell the family by the answer's shape for one picture."""
    rows, columns = shape
    cells = grid_cells(sides)
    if rows == 3 * cells and columns is not None and columns > 5:
        raise _wrong_kind(f"it answers {_words((None, *shape))}, the head of YOLOv5 or YOLOv7")
    if rows == cells and columns is not None and columns > 5 and columns != cells:
        return Family.YOLOX
    if columns == 6:
        return Family.YOLO_END2END
    if rows is not None and rows > 4 and (columns is None or columns > rows or columns == cells):
        return Family.YOLO
    # Ultralytics writes names; with them an answer whose shape stays symbolic is still clear, and
    # `load` proves it.
    if rows is None and columns is None and metadata.get("names"):
        return Family.YOLO
    raise _wrong_kind(f"it answers {_words((None, *shape))}")


def _classes(family: Family, shape: tuple[int | None, ...], sides: tuple[int, int]) -> int | None:
    """Return the number of classes in the answer's shape, having checked it against the family."""
    rows, columns = shape
    if family is Family.YOLO:
        fits, classes = rows is None or rows >= 5, None if rows is None else rows - 4
    elif family is Family.YOLOX:
        fits = rows in (None, grid_cells(sides)) and (columns is None or columns >= 6)
        classes = None if columns is None else columns - 5
    else:
        fits, classes = columns in (None, 6), None
    if not fits:
        raise SettingsInvalid(
            f"family {family.value!r} does not fit a model that answers {_words((None, *shape))}",
            fix="leave the family out, so that it is told by the answer",
        )
    return classes


def _without_shape(value: onnx.ValueInfoProto) -> onnx.TypeProto:
    kind = onnx.TypeProto()
    kind.tensor_type.elem_type = value.type.tensor_type.elem_type
    return kind


def _shape(value: onnx.ValueInfoProto) -> tuple[int | None, ...] | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(dim.dim_value if dim.dim_value > 0 else None for dim in tensor.shape.dim)


def _metadata_numbers(
    metadata: dict[str, str], key: str, default: tuple[int, ...]
) -> tuple[int, ...]:
    """Return one or more whole numbers from metadata: "32", "[640, 640]"; else the default."""
    try:
        value = ast.literal_eval(metadata.get(key, "")[:100])
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return default
    numbers = value if isinstance(value, list | tuple) else (value,)
    if numbers and all(type(n) is int and 0 < n <= _MAX_SIDE for n in numbers):
        return tuple(numbers)
    return default


def _words(shape: tuple[int | None, ...] | None) -> str:
    if shape is None:
        return "of an unknown shape"
    return "[" + ", ".join("n" if side is None else str(side) for side in shape) + "]"


def _wrong_kind(what: str) -> ModelFileInvalid:
    return ModelFileInvalid(f"an ONNX of the wrong kind: {what}", fix=_FAMILIES_FIX)
