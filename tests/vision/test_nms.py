"""Suppression, against a slow reference and OpenCV's own."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from saccade.vision import nms as module
from saccade.vision.nms import nms

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
Boxes = tuple[F32, F32, I32]

SIDE = st.integers(0, 30)  # small and whole, so that overlaps, ties and touching edges are common
BOX = st.tuples(SIDE, SIDE, st.integers(1, 20), st.integers(1, 20))
ROW = st.tuples(BOX, st.integers(1, 50), st.integers(0, 2))
THRESHOLD = st.sampled_from([0.0, 0.3, 0.45, 0.5, 0.7, 1.0])


def boxes_of(table: list[tuple[tuple[int, ...], int, int]]) -> Boxes:
    corners = [(x, y, x + w, y + h) for (x, y, w, h), _, _ in table]
    return (
        np.array(corners, np.float32).reshape(-1, 4),
        np.array([score / 64 for _, score, _ in table], np.float32),
        np.array([label for _, _, label in table], np.int32),
    )


def iou(a: F32, b: F32) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = float(max(width, 0) * max(height, 0))
    both = float((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])) - shared
    return shared / both if both else 0.0


def slow_nms(boxes: F32, scores: F32, classes: I32, threshold: float, most: int) -> list[int]:
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if len(kept) == most:
            break
        rivals = (k for k in kept if classes[k] == classes[i])
        if all(iou(boxes[k], boxes[i]) <= threshold for k in rivals):
            kept.append(i)
    return kept


def no_pair_is_near(boxes: F32, threshold: float) -> bool:
    """Rounding decides there, and the implementations may differ."""
    ious = [iou(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
    return all(abs(value - threshold) > 1e-6 for value in ious)


@pytest.mark.parametrize("all_pairs_up_to", [0, 1000], ids=["one by one", "all pairs"])
@given(table=st.lists(ROW, max_size=40), threshold=THRESHOLD, most=st.integers(1, 40))
def test_both_ways_keep_what_the_slow_reference_keeps(
    all_pairs_up_to: int,
    table: list[tuple[tuple[int, ...], int, int]],
    threshold: float,
    most: int,
) -> None:
    boxes, scores, classes = boxes_of(table)
    assume(no_pair_is_near(boxes, threshold))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_ALL_PAIRS_UP_TO", all_pairs_up_to)
        kept = nms(boxes, scores, classes, iou_threshold=threshold, max_results=most)
    assert kept.tolist() == slow_nms(boxes, scores, classes, threshold, most)


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 400), threshold=THRESHOLD)
def test_it_keeps_what_opencv_keeps(seed: int, count: int, threshold: float) -> None:
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 1000, (count, 2))
    boxes = np.hstack([corners, corners + random.uniform(20, 400, (count, 2))]).astype(np.float32)
    scores = random.permutation(np.linspace(0.01, 0.99, count)).astype(np.float32)  # no ties
    classes = random.integers(0, 5, count).astype(np.int32)
    rects = np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
    theirs = cv2.dnn.NMSBoxesBatched(
        rects.tolist(), scores.tolist(), classes.tolist(), 0.0, threshold
    )
    ours = nms(boxes, scores, classes, iou_threshold=threshold, max_results=count)
    assert ours.tolist() == list(theirs)


def test_of_equal_scores_the_first_wins() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10]], np.float32)
    scores, classes = np.full(2, 0.5, np.float32), np.zeros(2, np.int32)
    assert nms(boxes, scores, classes, iou_threshold=0.5, max_results=9).tolist() == [0]


def test_boxes_without_area_suppress_nothing_and_stay() -> None:
    boxes = np.array([[5, 5, 5, 5], [5, 5, 5, 5], [0, 0, 10, 10]], np.float32)
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    kept = nms(boxes, scores, np.zeros(3, np.int32), iou_threshold=0.0, max_results=9)
    assert kept.tolist() == [0, 1, 2]


def test_a_class_far_up_the_list_is_as_exact_as_the_first() -> None:
    # IoU of the two is 0.9 / 1.1 of a pixel's width in boxes of 2 x 2 at x near 4000.
    boxes = np.array([[4000, 0, 4002, 2], [4000.2, 0, 4002.2, 2]], np.float32)
    scores = np.array([0.9, 0.8], np.float32)
    for label in (0, 79, 9999):
        classes = np.full(2, label, np.int32)
        for threshold, expected in ((0.80, [0]), (0.83, [0, 1])):
            kept = nms(boxes, scores, classes, iou_threshold=threshold, max_results=9)
            assert kept.tolist() == expected


def test_nothing_in_is_nothing_out() -> None:
    none = np.empty(0, np.float32)
    kept = nms(none.reshape(0, 4), none, np.empty(0, np.int32), iou_threshold=0.5, max_results=9)
    assert kept.shape == (0,)
