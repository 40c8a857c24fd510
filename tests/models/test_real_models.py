"""Real detectors on real pictures: counts that people can check, and mAP on 128 COCO pictures."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.models.builders import spec_for
from tests.models.real_material import real_path

from saccade.errors import ModelFileInvalid
from saccade.guards.images import decode_image
from saccade.models.adapter import ModelAdapter, open_adapter
from saccade.models.detect import detect_image
from saccade.models.labels import COCO
from saccade.vision.detections import Detections
from saccade.vision.pixels import bgr_to_i420, i420_into_input

pytestmark = pytest.mark.real

YOLO11N = "detect/yolo11n_from_int8_dynamic.onnx"
YOLO11N_INT8 = "detect/yolo11n_int8_mwc.onnx"
YOLOX_NANO = "detect/yolox_nano.onnx"


def loaded(relative: str, **changes: Any) -> ModelAdapter:
    spec = spec_for(real_path(relative), **changes)
    adapter = open_adapter(spec, ("CPUExecutionProvider",), 2)
    adapter.load()
    return adapter


def picture(relative: str) -> NDArray[np.uint8]:
    data = real_path(relative).read_bytes()
    return decode_image(data, max_bytes=10**8, max_pixels=10**8)


def through_i420(adapter: ModelAdapter, bgr: NDArray[np.uint8]) -> Detections:
    """As a camera's frame goes: planes into the input, never a native BGR picture."""
    height, width = bgr.shape[:2]
    frames = np.empty((1, adapter.input.height, adapter.input.width, 3), np.uint8)
    box = i420_into_input(bgr_to_i420(bgr), width, height, adapter.input, frames[0])
    return box.to_native(adapter.infer(frames)[0])


def names(adapter: ModelAdapter, found: Detections) -> Counter[str]:
    return Counter(adapter.labels[i] for i in found.classes)


@pytest.mark.parametrize("way", [detect_image, through_i420])
@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("images/bus.jpg", {"person": 4, "bus": 1}),
        ("images/zidane.jpg", {"person": 2, "tie": 1}),
    ],
)
def test_yolo11n_finds_exactly_what_is_there(
    way: Any, image: str, expected: dict[str, int]
) -> None:
    adapter = loaded(YOLO11N, confidence=0.25)
    assert (adapter.input.width, adapter.input.height) == (640, 640)
    bgr = picture(image)
    found = way(adapter, bgr)
    assert names(adapter, found) == expected
    assert (found.boxes_px[:, 2:] <= [bgr.shape[1], bgr.shape[0]]).all()


def test_the_int8_model_of_fixed_size_and_batch_finds_people() -> None:
    adapter = loaded(YOLO11N_INT8, max_batch=8)
    assert adapter.max_batch == 1
    assert (adapter.input.width, adapter.input.height) == (320, 320)
    assert names(adapter, detect_image(adapter, picture("images/bus.jpg")))["person"] == 4
    assert names(adapter, detect_image(adapter, picture("images/zidane.jpg")))["person"] == 2


@pytest.mark.parametrize("way", [detect_image, through_i420])
def test_yolox_nano_finds_people_and_the_bus(way: Any) -> None:
    adapter = loaded(YOLOX_NANO, labels=COCO)
    assert adapter.family == "yolox"
    assert names(adapter, way(adapter, picture("images/bus.jpg"))) == {"person": 4, "bus": 1}
    found = names(adapter, way(adapter, picture("images/zidane.jpg")))
    assert found["person"] == 2
    assert set(found) <= {"person", "tie"}


def test_another_size_and_a_batch_find_the_same_people() -> None:
    adapter = loaded(YOLO11N, input_width=480, input_height=640, max_batch=4)
    frames = np.empty((3, 640, 480, 3), np.uint8)
    for frame in frames:
        i420_into_input(bgr_to_i420(picture("images/bus.jpg")), 810, 1080, adapter.input, frame)
    for found in adapter.infer(frames):
        assert names(adapter, found)["person"] == 4


@pytest.mark.parametrize(
    ("relative", "words"),
    [
        ("face/models/mobilefacenet_hyeon.onnx", "embedders"),
        ("face/models/scrfd_500m_bnkps.onnx", "9 arrays"),
        ("face/models/face_detection_yunet_2026may.onnx", "12 arrays"),
        ("antispoof/2.7_80x80_MiniFASNetV2.onnx", "classifiers"),
        ("detect/yolo11n_from_int8.pt", "a PyTorch checkpoint"),
        ("images/bus.jpg", "a JPEG picture"),
        ("coco128val/data.yaml", "a text file"),
    ],
)
def test_what_is_no_detector_is_refused_with_a_lesson(relative: str, words: str) -> None:
    with pytest.raises(ModelFileInvalid, match=words) as caught:
        open_adapter(spec_for(real_path(relative)), ("CPUExecutionProvider",), 1)
    assert "ONNX" in caught.value.fix or ".onnx" in caught.value.fix


@pytest.mark.slow
def test_yolo11n_keeps_its_accuracy_on_coco() -> None:
    folder = real_path("coco128val")
    # What the field measures with: nearly no confidence, IoU 0.7.
    adapter = loaded(YOLO11N, confidence=0.001, iou=0.7)
    assert mean_average_precision(adapter, folder) >= 0.42


def mean_average_precision(adapter: ModelAdapter, folder: Path) -> float:
    """Return COCO's mAP50-95 of an adapter on a folder with YOLO boxes, by COCO's evaluator."""
    import faster_coco_eval

    images: list[dict[str, Any]] = []
    truth: list[dict[str, Any]] = []
    answers: list[dict[str, Any]] = []
    for number, path in enumerate(sorted((folder / "images").glob("*.jpg"))):
        bgr = decode_image(path.read_bytes(), max_bytes=10**8, max_pixels=10**8)
        height, width = bgr.shape[:2]
        images.append({"id": number, "width": width, "height": height, "file_name": path.name})
        for label, box in yolo_boxes(folder / "labels" / f"{path.stem}.txt", width, height):
            truth.append(
                {
                    "id": len(truth) + 1,
                    "image_id": number,
                    "category_id": label,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
        found = detect_image(adapter, bgr)
        sides = np.hstack([found.boxes_px[:, :2], found.boxes_px[:, 2:] - found.boxes_px[:, :2]])
        answers += [
            {"image_id": number, "category_id": int(c), "bbox": b.tolist(), "score": float(s)}
            for b, s, c in zip(sides, found.scores, found.classes, strict=True)
        ]
    categories = [{"id": i, "name": name} for i, name in enumerate(adapter.labels)]
    with redirect_stdout(StringIO()):
        coco = faster_coco_eval.COCO(
            json.loads(
                json.dumps({"images": images, "annotations": truth, "categories": categories})
            )
        )
        evaluation = faster_coco_eval.COCOeval_faster(coco, coco.loadRes(answers), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def yolo_boxes(path: Path, width: int, height: int) -> list[tuple[int, list[float]]]:
    """Return (class, [x, y, width, height] in pixels) of each line of a label file."""
    if not path.exists():
        return []
    boxes = []
    for line in path.read_text().splitlines():
        label, x, y, w, h = (float(word) for word in line.split())
        box = [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height]
        boxes.append((int(label), box))
    return boxes
