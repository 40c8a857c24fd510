"""What is read from an ONNX, and what is refused with a lesson."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from tests.models.builders import (
    LABELS,
    build_detector,
    export_metadata,
    grey_frames,
    paint,
)

from saccade.errors import ModelFileInvalid, SettingsInvalid
from saccade.models.onnx_graph import FRAMES, Family, fold_input, read_detector
from saccade.vision.letterbox import ColorOrder, InputSpec, Pad


def answering(
    *shapes: list[int | str],
    names: list[str] | None = None,
    inputs: list[list[int | str]] | None = None,
    metadata: dict[str, str] | None = None,
    element_type: int = TensorProto.FLOAT,
    opset: int = 17,
) -> onnx.ModelProto:
    """A model of declared shapes and no arithmetic to speak of: nothing can be inferred."""
    inputs = inputs or [[1, 3, 64, 64]]
    values = [
        helper.make_tensor_value_info(f"in{i}", element_type, shape)
        for i, shape in enumerate(inputs)
    ]
    names = names or [f"out{i}" for i in range(len(shapes))]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in zip(names, shapes, strict=True)
    ]
    nodes = [helper.make_node("Unknown", ["in0"], names, domain="somewhere")]
    model: onnx.ModelProto = helper.make_model(
        helper.make_graph(nodes, "g", values, outputs),
        opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("somewhere", 1)],
    )
    helper.set_model_props(model, metadata or {})
    return model


@pytest.mark.parametrize(
    ("shape", "side", "expected"),
    [
        ([1, 84, 8400], 640, Family.YOLO),
        ([1, 5, 8400], 640, Family.YOLO),
        ([1, 6, 8400], 640, Family.YOLO),  # two classes: 6 rows, not 6 columns
        ([1, 84, 84], 64, Family.YOLO),  # as many rows as anchors
        ([1, 84, "anchors"], 640, Family.YOLO),
        ([1, 300, 6], 640, Family.YOLO_END2END),
        (["n", "k", 6], 640, Family.YOLO_END2END),
        ([1, 3549, 85], 416, Family.YOLOX),
        ([1, 3549, 6], 416, Family.YOLOX),  # one class
        ([1, 8400, 85], 640, Family.YOLOX),
        ([1, 84, 85], 64, Family.YOLOX),
    ],
)
def test_the_family_is_told_by_the_shape_of_the_answer(
    shape: list[int | str], side: int, expected: Family
) -> None:
    model = answering(shape, inputs=[[1, 3, side, side]])
    assert read_detector(model).family is expected


def test_an_answer_of_unknown_shape_is_told_by_the_names() -> None:
    model = answering(["n", "a", "b"], metadata=export_metadata(64, 64))
    info = read_detector(model)
    assert info.family is Family.YOLO
    assert info.names == LABELS
    with pytest.raises(ModelFileInvalid):
        read_detector(answering(["n", "a", "b"]))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (answering([1, 128]), "classifiers and embedders"),
        (answering([1, 1000]), "classifiers and embedders"),
        (answering([1, 512, 1, 1]), "classifiers and embedders"),
        (answering([1, 19, 64, 64]), r"answers \[1, 19, 64, 64\]"),
        (answering([1, 252, 85]), "YOLOv5"),
        (answering([1, 10, 4]), r"answers \[n, 10, 4\]"),
        (answering([1, 84, 1], [1, 84, 4], [1, 84, 10], names=["cls", "bbox", "kps"]), "3 arrays"),
        (answering([1, 116, 84], [1, 32, 16, 16]), "2 arrays"),
        (answering([1, 84, 8400], inputs=[[1, 3, 64, 64], [1, 2]]), "2 inputs"),
        (answering([1, 84, 8400], inputs=[[1, 1, 64, 64]]), "3 channels"),
        (answering([1, 84, 8400], inputs=[[1, 77]]), "four dimensions"),
        (answering([1, 84, 8400], element_type=TensorProto.INT64), "element type 7"),
        (answering([1, 56, 8400], metadata={"task": "pose"}), "'pose'"),
        (answering([1, 84, 8400], opset=6), "operator set 6"),
    ],
)
def test_an_onnx_of_the_wrong_kind_is_refused_with_a_lesson(
    model: onnx.ModelProto, words: str
) -> None:
    with pytest.raises(ModelFileInvalid, match=words) as caught:
        read_detector(model)
    assert caught.value.fix


@pytest.mark.parametrize("family", Family)
def test_each_family_has_its_input(family: Family) -> None:
    info = read_detector(build_detector(family))
    if family is Family.YOLOX:
        assert info.input == InputSpec(64, 64, ColorOrder.BGR, Pad.TOP_LEFT, 114)
        assert info.names is None
    else:
        assert info.input == InputSpec(64, 64, ColorOrder.RGB, Pad.CENTER, 114)
        assert info.names == LABELS
    assert info.family is family
    assert info.classes == (None if family is Family.YOLO_END2END else 3)


@pytest.mark.parametrize(
    ("changes", "size", "expected"),
    [
        ({}, (0, 0), (64, 64)),
        ({"width": 96}, (0, 0), (96, 64)),
        ({"width": 96}, (96, 64), (96, 64)),
        ({"width": None, "height": None}, (0, 0), (64, 64)),  # what the metadata says
        ({"width": None, "height": None}, (320, 192), (320, 192)),
        ({"width": None, "height": None}, (320, 0), (320, 64)),
        ({"width": None, "height": None, "metadata": {}}, (0, 0), (640, 640)),
        ({"width": None, "height": None, "metadata": {"imgsz": "[192, 320]"}}, (0, 0), (320, 192)),
        ({"width": None, "height": None, "metadata": {"imgsz": "nonsense"}}, (0, 0), (640, 640)),
        ({"width": None, "height": None}, (100, 64), "input_width is 100.*multiple of 32"),
        ({"width": None, "height": None}, (64, 9000), "input_height is 9000"),
        ({}, (128, 64), "input_width is 128, but the model's is fixed to 64"),
    ],
)
def test_the_size_is_the_fixed_one_or_asked_for_or_trained_with(
    changes: dict[str, Any], size: tuple[int, int], expected: tuple[int, int] | str
) -> None:
    model = build_detector(Family.YOLO, **changes)
    if isinstance(expected, str):
        with pytest.raises(SettingsInvalid, match=expected):
            read_detector(model, width=size[0], height=size[1])
    else:
        info = read_detector(model, width=size[0], height=size[1])
        assert (info.input.width, info.input.height) == expected


@pytest.mark.parametrize(
    ("built", "asked", "words"),
    [
        (Family.YOLO, "yolo_end2end", "does not fit"),
        (Family.YOLO, "yolox", "does not fit"),
        (Family.YOLO_END2END, "yolox", "does not fit"),
        (Family.YOLO, "yolov3", "'yolov3' is unknown"),
    ],
)
def test_a_family_that_is_not_the_models_is_refused(built: Family, asked: str, words: str) -> None:
    with pytest.raises(SettingsInvalid, match=words):
        read_detector(build_detector(built), family=asked)


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_folded_graph_answers_what_the_graph_did(family: Family, channels_last: bool) -> None:
    model = build_detector(family, channels_last=channels_last)
    info = read_detector(model)
    frames = grey_frames(2)
    paint(frames[0], 0, 1, "red", info.input.color)
    paint(frames[1], 1, 1, (200, 30, 10), info.input.color)
    scaled = frames.astype(np.float32) / (1 if family is Family.YOLOX else 255)
    plain = scaled if channels_last else np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))
    expected = session(model).run(None, {"images": plain})[0]
    fold_input(model, info, 2)
    onnx.checker.check_model(model)
    folded = session(model).run(None, {FRAMES: frames})[0]
    assert np.array_equal(folded, expected)


@pytest.mark.parametrize(
    ("batch", "max_batch", "expected"), [(None, 1, [1]), (None, 8, ["n"]), (3, 8, [3])]
)
def test_the_batch_is_fixed_where_only_one_size_comes(
    batch: int | None, max_batch: int, expected: list[int | str]
) -> None:
    model = build_detector(Family.YOLO, batch=batch)
    fold_input(model, read_detector(model), max_batch)
    assert session(model).get_inputs()[0].shape == [*expected, 64, 64, 3]
    assert session(model).get_inputs()[0].type == "tensor(uint8)"


def test_a_yolox_export_that_decodes_its_boxes_is_told_by_its_exponential() -> None:
    raw, decoded = answering([1, 84, 85]), answering([1, 84, 85])
    decoded.graph.node[0].op_type = "Exp"
    assert not read_detector(raw).decodes_grid
    assert read_detector(decoded).decodes_grid


def session(model: onnx.ModelProto) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
