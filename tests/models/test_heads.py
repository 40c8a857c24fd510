"""Raw answers into detections."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from saccade.errors import InferFailed
from saccade.models.heads import (
    Thresholds,
    decode_yolo,
    decode_yolo_end2end,
    decode_yolox,
    yolox_grid,
)
from saccade.vision.detections import Detections

F32 = NDArray[np.float32]
LIMITS = Thresholds(confidence=0.25, iou=0.45)


def yolo(*anchors: tuple[float, ...]) -> F32:
    """Anchors of cx, cy, w, h and a score per class, as the network answers them."""
    return np.array(anchors, np.float32).T.copy()


def table(found: Detections) -> list[list[float]]:
    columns = np.column_stack([found.boxes_px, found.scores, found.classes])
    return [[round(float(value), 4) for value in row] for row in columns]


def test_a_yolo_anchor_becomes_a_box_with_its_best_class() -> None:
    answer = yolo(
        (10, 20, 4, 8, 0.25, 0.75), (50, 50, 10, 10, 0.5, 0.125), (90, 90, 4, 4, 0.1, 0.2)
    )
    assert table(decode_yolo(answer, LIMITS)) == [
        [8, 16, 12, 24, 0.75, 1],
        [45, 45, 55, 55, 0.5, 0],
    ]


def test_duplicates_of_a_class_go_and_other_classes_stay() -> None:
    answer = yolo((10, 10, 8, 8, 0.9, 0), (10, 11, 8, 8, 0.8, 0), (10, 10, 8, 8, 0, 0.7))
    assert [row[4:] for row in table(decode_yolo(answer, LIMITS))] == [[0.9, 0], [0.7, 1]]


def test_the_confidence_is_a_lower_bound_that_counts_itself() -> None:
    answer = yolo((10, 10, 8, 8, 0.25), (50, 50, 8, 8, 0.2499))
    assert len(decode_yolo(answer, LIMITS)) == 1


def test_only_the_best_candidates_enter_the_suppression() -> None:
    anchors = [(20.0 * i + 10, 10.0, 8.0, 8.0, 0.3 + i / 100) for i in range(20)]
    limits = Thresholds(confidence=0.25, iou=0.45, max_candidates=5)
    scores = decode_yolo(yolo(*anchors), limits).scores
    assert scores == pytest.approx([0.49, 0.48, 0.47, 0.46, 0.45])
    limits = Thresholds(confidence=0.25, iou=0.45, max_results=2)
    assert len(decode_yolo(yolo(*anchors), limits)) == 2


@pytest.mark.parametrize("bad", [1.5, -0.5, 37.0])
def test_scores_that_are_no_probabilities_are_refused(bad: float) -> None:
    row = (10, 10, 8, 8, bad)
    with pytest.raises(InferFailed, match="not 0 to 1"):
        decode_yolo(yolo(row), LIMITS)
    with pytest.raises(InferFailed, match="not 0 to 1"):
        decode_yolo_end2end(np.array([[1, 1, 2, 2, bad, 0]], np.float32), LIMITS, 1)
    with pytest.raises(InferFailed, match="not 0 to 1"):
        decode_yolox(np.array([[0, 0, 0, 0, 1, bad]], np.float32), LIMITS, None)


def test_what_half_precision_adds_to_a_score_is_taken_off() -> None:
    assert decode_yolo(yolo((10, 10, 8, 8, 1.001)), LIMITS).scores.tolist() == [1.0]


def test_an_end2end_row_is_a_detection_as_it_stands() -> None:
    answer = np.array(
        [
            [1, 2, 3, 4, 0.5, 2],
            [5, 5, 9, 9, 0.75, 0],
            [5, 5, 9, 9, 0.7, 0],  # not suppressed here: the network has done that
            [0, 0, 0, 0, 0, 0],
            [9, 9, 5, 5, 0.9, 0],  # no area
        ],
        np.float32,
    )
    assert table(decode_yolo_end2end(answer, LIMITS, 3)) == [
        [5, 5, 9, 9, 0.75, 0],
        [5, 5, 9, 9, 0.7, 0],
        [1, 2, 3, 4, 0.5, 2],
    ]


@pytest.mark.parametrize("label", [-1, 3, 0.5])
def test_an_end2end_class_that_does_not_exist_is_refused(label: float) -> None:
    with pytest.raises(InferFailed, match="class"):
        decode_yolo_end2end(np.array([[1, 2, 3, 4, 0.5, label]], np.float32), LIMITS, 3)


def test_a_yolox_anchor_is_decoded_by_its_cell() -> None:
    grid = yolox_grid(64, 32, (8, 16, 32))
    assert len(grid[0]) == 8 * 4 + 4 * 2 + 2 * 1
    answer = np.zeros((len(grid[0]), 7), np.float32)
    answer[32 + 5] = (0.5, 0.25, np.log(2), np.log(3), 0.5, 0.25, 0.75)  # stride 16, cell (1, 1)
    limits = Thresholds(confidence=0.3, iou=0.5)
    # centre (24, 20), size (32, 48), score 0.5 * 0.75
    assert table(decode_yolox(answer, limits, grid)) == [[8, -4, 40, 44, 0.375, 1]]


def test_the_last_cell_of_the_grid_is_the_coarsest_at_the_lower_right() -> None:
    cells, strides = yolox_grid(416, 416, (8, 16, 32))
    assert len(cells) == 3549
    assert cells[0].tolist() == [0, 0]
    assert cells[1].tolist() == [1, 0]
    assert (cells[-1].tolist(), strides[-1].tolist()) == ([12, 12], [32])


def test_yolox_boxes_that_the_network_decoded_are_taken_as_they_are() -> None:
    answer = np.array([[24, 20, 32, 48, 0.5, 0.25, 0.75]], np.float32)
    limits = Thresholds(confidence=0.3, iou=0.5)
    assert table(decode_yolox(answer, limits, None)) == [[8, -4, 40, 44, 0.375, 1]]


def test_a_yolox_size_that_overflows_is_refused() -> None:
    grid = yolox_grid(32, 32, (32,))
    answer = np.array([[0, 0, 500, 0, 1, 1]], np.float32)
    with pytest.raises(InferFailed, match="not finite"):
        decode_yolox(answer, LIMITS, grid)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 200), st.floats(0.01, 0.99))
def test_any_answer_gives_sorted_solid_boxes_above_the_confidence(
    seed: int, classes: int, anchors: int, confidence: float
) -> None:
    random = np.random.default_rng(seed)
    answer = np.vstack(
        [random.uniform(-50, 700, (4, anchors)), random.uniform(0, 1, (classes, anchors))]
    ).astype(np.float32)
    limits = Thresholds(confidence, 0.5, max_candidates=50, max_results=20)
    found = decode_yolo(answer, limits)
    assert len(found) <= 20
    assert (found.scores >= np.float32(confidence)).all()
    assert (np.diff(found.scores) <= 0).all()
    assert ((found.classes >= 0) & (found.classes < classes)).all()
    assert (found.boxes_px[:, 2:] > found.boxes_px[:, :2]).all()
