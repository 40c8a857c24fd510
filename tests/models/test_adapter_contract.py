"""What every adapter does, whatever the family, precision and layout of its network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tests.models.builders import (
    LABELS,
    WHITE,
    Fault,
    build_detector,
    grey_frames,
    paint,
    spec_for,
    write_detector,
)

from saccade.errors import (
    InferFailed,
    ModelFileInvalid,
    ModelLoadFailed,
    ModelNotReady,
    SettingsInvalid,
)
from saccade.models.adapter import ModelAdapter, open_adapter
from saccade.models.onnx_graph import Family

CPU = ("CPUExecutionProvider",)
FAMILIES = tuple(Family)
VARIANTS: dict[str, dict[str, Any]] = {
    "dynamic_batch": {},
    "batch_of_one": {"batch": 1},
    "batch_of_three": {"batch": 3},
    "any_size": {"width": None, "height": None},
    "half_precision": {"half": True},
    "channels_last": {"channels_last": True},
    "wide": {"width": 128, "height": 64},
}


def opened(path: Path, **changes: Any) -> ModelAdapter:
    return open_adapter(spec_for(path, **changes), CPU, 1)


def loaded(path: Path, **changes: Any) -> ModelAdapter:
    adapter = opened(path, **changes)
    adapter.load()
    return adapter


@pytest.fixture(params=[(f, v) for f in FAMILIES for v in VARIANTS], ids=lambda p: f"{p[0]}-{p[1]}")
def adapter(request: pytest.FixtureRequest, tmp_path: Path) -> ModelAdapter:
    family, variant = request.param
    path = write_detector(tmp_path / "model.onnx", family, **VARIANTS[variant])
    sizes = {"input_width": 64, "input_height": 64} if variant == "any_size" else {}
    return opened(path, max_batch=3, labels=LABELS, **sizes)


def test_its_facts_are_known_before_it_is_loaded(adapter: ModelAdapter) -> None:
    assert (adapter.input.width, adapter.input.height) in {(64, 64), (128, 64)}
    assert adapter.labels == LABELS
    assert adapter.max_batch in {1, 3}
    assert adapter.family in FAMILIES


def test_what_is_painted_is_found_where_it_is_and_nothing_else(adapter: ModelAdapter) -> None:
    adapter.load()
    frames = grey_frames(adapter.max_batch, adapter.input.width, adapter.input.height)
    expected = [
        (paint(frame, i % 2, 1, LABELS[i % 3], adapter.input.color), i % 3)
        for i, frame in enumerate(frames)
    ]
    answers = adapter.infer(frames)
    assert len(answers) == len(frames)
    for found, (box, label) in zip(answers, expected, strict=True):
        assert found.boxes_px.tolist() == [list(box)]
        assert found.classes.tolist() == [label]
        assert found.scores == pytest.approx(1.0, abs=2e-3)


def test_a_batch_answers_as_its_frames_alone(adapter: ModelAdapter) -> None:
    adapter.load()
    frames = np.random.default_rng(7).integers(
        0, 256, (adapter.max_batch, adapter.input.height, adapter.input.width, 3), np.uint8
    )
    frames[:, :32, :32] = frames[:, :1, :1]  # one cell of one colour each
    together = adapter.infer(frames)
    for i, found in enumerate(together):
        (alone,) = adapter.infer(frames[i : i + 1])
        assert np.array_equal(found.boxes_px, alone.boxes_px)
        assert found.scores == pytest.approx(alone.scores, abs=1e-5)
        assert np.array_equal(found.classes, alone.classes)


def test_a_grey_frame_holds_nothing(adapter: ModelAdapter) -> None:
    adapter.load()
    frames = grey_frames(1, adapter.input.width, adapter.input.height)
    assert len(adapter.infer(frames)[0]) == 0


def test_it_answers_only_while_it_is_loaded_and_loads_again(adapter: ModelAdapter) -> None:
    frames = grey_frames(1, adapter.input.width, adapter.input.height)
    with pytest.raises(ModelNotReady):
        adapter.infer(frames)
    adapter.load()
    adapter.load()
    adapter.unload()
    adapter.unload()
    with pytest.raises(ModelNotReady):
        adapter.infer(frames)
    adapter.load()
    assert len(adapter.infer(frames)) == 1


def test_it_refuses_frames_of_another_shape(adapter: ModelAdapter) -> None:
    adapter.load()
    frames = grey_frames(1, adapter.input.width, adapter.input.height)
    many = grey_frames(adapter.max_batch + 1, adapter.input.width, adapter.input.height)
    for wrong in (frames[0], frames[:0], many, frames[:, :-1], frames.astype(np.float32)):
        with pytest.raises(ValueError, match=r"frames: expected .* got"):
            adapter.infer(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("fault", [Fault.NAN, Fault.INFINITE, Fault.RAISE])
def test_a_frame_that_breaks_the_model_is_infer_failed_and_the_next_is_answered(
    family: Family, fault: Fault, tmp_path: Path
) -> None:
    path = write_detector(tmp_path / "model.onnx", family, fault=fault)
    adapter = loaded(path, max_batch=2, labels=LABELS)
    frames = grey_frames(2)
    paint(frames[1], 0, 0, WHITE)
    with pytest.raises(InferFailed):
        adapter.infer(frames)
    with pytest.raises(InferFailed):
        adapter.infer(frames[1:])
    assert len(adapter.infer(frames[:1])) == 1


def test_the_batch_of_a_fixed_model_is_forced(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "model.onnx", batch=1)
    assert opened(path, max_batch=8).max_batch == 1


def test_confidence_decides_what_counts(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "model.onnx")
    frames = grey_frames()
    paint(frames[0], 0, 0, (128, 0, 0))  # red by 0.5
    assert len(loaded(path, confidence=0.49).infer(frames)[0]) == 1
    assert len(loaded(path, confidence=0.51).infer(frames)[0]) == 0


def test_labels_come_from_the_settings_then_the_model_then_numbers(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "named.onnx")
    assert opened(path).labels == LABELS
    assert opened(path, labels=("a", "b", "c")).labels == ("a", "b", "c")
    bare = write_detector(tmp_path / "bare.onnx", metadata={})
    assert opened(bare).labels == ("class 0", "class 1", "class 2")


def test_labels_that_do_not_fit_the_model_are_refused(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "model.onnx")
    with pytest.raises(SettingsInvalid, match="answers 3 classes, but 2 labels"):
        opened(path, labels=("a", "b"))
    end2end = write_detector(tmp_path / "e2e.onnx", Family.YOLO_END2END, metadata={})
    with pytest.raises(SettingsInvalid, match="does not say how many classes"):
        opened(end2end)


def test_a_class_without_a_label_is_infer_failed(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "model.onnx", Family.YOLO_END2END, metadata={})
    adapter = loaded(path, labels=("red", "green"))
    frames = grey_frames()
    paint(frames[0], 0, 0, "blue")
    with pytest.raises(InferFailed, match="class 2, it has 2"):
        adapter.infer(frames)


def test_an_unknown_provider_is_refused_with_those_there_are(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "model.onnx")
    adapter = open_adapter(spec_for(path), ("NoSuchExecutionProvider",), 1)
    with pytest.raises(SettingsInvalid, match=r"NoSuch.*available: .*CPUExecutionProvider"):
        adapter.load()


def test_a_file_that_is_not_the_registered_one_is_refused(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "model.onnx")
    with pytest.raises(ModelFileInvalid, match="SHA-256"):
        opened(path, sha256="0" * 64)


def test_a_file_replaced_between_opening_and_loading_is_refused(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "model.onnx")
    adapter = opened(path)
    write_detector(path, width=128)
    with pytest.raises(ModelFileInvalid, match="was replaced"):
        adapter.load()
    path.unlink()
    with pytest.raises(ModelFileInvalid, match="cannot be read"):
        adapter.load()


def test_a_model_that_lies_about_its_batch_does_not_load(tmp_path: Path) -> None:
    model = build_detector(Family.YOLO)
    for tensor in model.graph.initializer:  # the reshape of the head: batch 1, as bad exports have
        if tensor.data_type == 7 and list(np.frombuffer(tensor.raw_data, np.int64)) == [0, 7, -1]:
            tensor.raw_data = np.array([1, 7, -1]).tobytes()
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelLoadFailed, match=r"batch of 2.*max_batch: 1 may help"):
        loaded(path, max_batch=4)
    loaded(path, max_batch=1)


def test_a_model_the_runtime_cannot_build_does_not_load(tmp_path: Path) -> None:
    model = build_detector(Family.YOLO)
    model.graph.node[0].op_type = "NoSuchOperator"
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelLoadFailed, match="does not load"):
        loaded(path)


def test_weights_in_a_file_beside_the_model_are_loaded(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save_model(
        build_detector(Family.YOLO),
        str(path),
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    frames = grey_frames()
    box = paint(frames[0], 1, 0, "green")
    assert loaded(path).infer(frames)[0].boxes_px.tolist() == [list(box)]
    (tmp_path / "weights.bin").write_bytes(b"")
    with pytest.raises(ModelFileInvalid):
        opened(path)
