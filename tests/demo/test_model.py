"""The demo's detector: the file is the one its card describes, and it finds what is there."""

import ast
import hashlib
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from saccade.demo.assets import demo_model_card, demo_model_path
from saccade.demo.scene import CLASS_NAMES, KioskScene, Truth

#: Seeds that neither the training nor its measurement used.
UNSEEN_SEEDS = range(777_000, 777_020)
FRAMES_OF_EACH = (40, 240, 440)

Found = tuple[str, NDArray[np.float64]]


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(
        str(demo_model_path()), options, providers=["CPUExecutionProvider"]
    )


def _letterboxed(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """640x360 BGR to 192x320 RGB 0..1, grey bars above and below."""
    small = cv2.resize(picture, (320, 180), interpolation=cv2.INTER_LINEAR)
    boxed = np.full((192, 320, 3), 114, np.uint8)
    boxed[6:186] = small
    planes = np.ascontiguousarray(boxed[..., ::-1].transpose(2, 0, 1), np.float32)
    return planes / np.float32(255)


def _iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    wide, high = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = max(0.0, float(wide)) * max(0.0, float(high))
    return shared / (float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - shared)


def _decoded(answer: NDArray[np.float32], confidence: float) -> list[Found]:
    """The usual way from a raw head to boxes in the 640x360 picture, best first."""
    rows = answer.T.astype(np.float64)
    best = rows[:, 4:].max(1)
    kept: list[Found] = []
    for row in rows[np.argsort(-best)][: int((best > confidence).sum())]:
        (cx, cy, w, h), label = row[:4], CLASS_NAMES[int(row[4:].argmax())]
        box = (np.array([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]) - [0, 6, 0, 6]) * 2
        if all(name != label or _iou(box, other) <= 0.45 for name, other in kept):
            kept.append((label, box))
    return kept


def _matched(found: list[Found], truths: list[Truth]) -> int:
    left = list(truths)
    hits = 0
    for label, box in found:
        for truth in left:
            if truth.label == label and _iou(box, np.array(truth.box_px)) >= 0.5:
                left.remove(truth)
                hits += 1
                break
    return hits


def test_the_file_is_the_one_the_card_describes() -> None:
    content, card = demo_model_path().read_bytes(), demo_model_card()
    assert len(content) <= 2_000_000
    assert len(content) == card.size_bytes
    assert hashlib.sha256(content).hexdigest() == card.sha256
    assert card.classes == CLASS_NAMES
    assert card.license == "Apache-2.0"


def test_the_card_claims_what_was_aimed_for_on_seeds_that_were_not_trained_on() -> None:
    card = demo_model_card()
    assert card.map50 >= 0.95
    assert set(card.ap50_by_class) == set(CLASS_NAMES)
    assert card.training_seeds[1] < card.held_out_seeds[0]
    assert card.held_out_seeds[1] < UNSEEN_SEEDS.start


def test_the_file_says_itself_what_it_is(session: onnxruntime.InferenceSession) -> None:
    meta = session.get_modelmeta().custom_metadata_map
    assert ast.literal_eval(meta["names"]) == dict(enumerate(CLASS_NAMES))
    assert ast.literal_eval(meta["imgsz"]) == [192, 320]
    assert meta["task"] == "detect"
    assert meta["license"] == "Apache-2.0"
    assert meta["stride"] == "32"
    assert meta.keys() >= {"author", "description", "trained_at", "dataset"}


def test_only_the_batch_is_open_in_the_files_shapes(session: onnxruntime.InferenceSession) -> None:
    (image,), (answer,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.shape) == ("images", ["batch", 3, 192, 320])
    assert (answer.name, answer.shape) == ("output0", ["batch", 7, 1260])


@pytest.mark.parametrize("batch", [1, 3])
def test_any_batch_is_answered_as_each_picture_alone(
    session: onnxruntime.InferenceSession, batch: int
) -> None:
    scene = KioskScene(UNSEEN_SEEDS.start)
    blobs = np.stack([_letterboxed(scene.render(40 * n)[0]) for n in range(batch)])
    together = session.run(None, {"images": blobs})[0]
    assert together.shape == (batch, 4 + len(CLASS_NAMES), 1260)
    assert together.dtype == np.float32
    assert together[:, 4:].min() >= 0
    assert together[:, 4:].max() <= 1
    assert (together[:, 2:4] > 0).all()
    for n in range(batch):
        alone = session.run(None, {"images": blobs[n : n + 1]})[0][0]
        np.testing.assert_allclose(alone, together[n], rtol=1e-3, atol=1e-3)


def test_it_finds_the_objects_of_unseen_seeds_and_little_else(
    session: onnxruntime.InferenceSession,
) -> None:
    hits = claimed = real = 0
    for seed in UNSEEN_SEEDS:
        scene = KioskScene(seed)
        for index in FRAMES_OF_EACH:
            picture, truths = scene.render(index)
            answer = session.run(None, {"images": _letterboxed(picture)[None]})[0][0]
            found = _decoded(answer, confidence=0.35)
            hits += _matched(found, truths)
            claimed += len(found)
            real += len(truths)
    assert real >= 60
    assert hits / real >= 0.9
    assert hits / claimed >= 0.9


def test_the_document_repeats_the_cards_figures() -> None:
    card = demo_model_card()
    page = (Path(__file__).parents[2] / "docs" / "demo-model.md").read_text(encoding="utf-8")
    for figure in (
        f"{card.parameters:,}; {card.size_bytes:,} bytes",
        f"| mAP50 | {card.map50} |",
        f"| mAP50-95 | {card.map50_95} |",
        ", ".join(str(card.ap50_by_class[name]) for name in CLASS_NAMES),
        f"| {card.latency_ms} ms",
        f"{card.training_seconds} s",
        f"{card.held_out_images} frames ({card.held_out_objects} objects)",
        card.evaluator,
    ):
        assert figure in page
