"""Turns the raw answers of detector networks into detections. Pure numpy, one function per family.

Each takes the answer for one picture and returns boxes in input pixels, best score first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from saccade.errors import InferFailed
from saccade.vision.detections import Detections
from saccade.vision.nms import nms

F32 = NDArray[np.float32]

#: What rounding in half precision may add to a probability.
_SCORE_SLACK = 2e-3


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What of an answer counts.

    Args:
        confidence: lowest score that counts. Raising it loses faint objects and false ones.
        iou: largest overlap two boxes of a class may have. Raising it keeps crowds apart and lets
            duplicates through. Not used by networks that suppress by themselves.
        max_candidates: only so many of the best enter the suppression, which bounds its time.
        max_results: at most so many come out.
    """

    confidence: float
    iou: float
    max_candidates: int = 3000
    max_results: int = 300


def decode_yolo(answer: F32, limits: Thresholds) -> Detections:
    """Decode the head of YOLOv8 and its successors.

    Args:
        answer: (4 + classes, anchors): x centre, y centre, width, height in input pixels, then a
            probability per class.
        limits: what counts. Each anchor answers with its best class only.

    Source: Ultralytics `ops.non_max_suppression`, without its multi-label mode.

    Raises:
        InferFailed: scores that are no probabilities.
    """
    per_class = answer[4:]
    best = per_class.max(axis=0)
    _check_scores(best)
    found = _strongest(best, limits)
    boxes = _corners(answer[:4, found].T)
    classes = per_class[:, found].argmax(axis=0)
    return _suppressed(boxes, best[found], classes, limits)


def decode_yolo_end2end(answer: F32, limits: Thresholds, classes: int) -> Detections:
    """Decode a network that suppresses by itself (YOLOv10, YOLO26, exports with `nms=True`).

    Args:
        answer: (k, 6): x1, y1, x2, y2 in input pixels, score, class; unused rows have score 0.
        limits: what counts.
        classes: how many there are.

    Raises:
        InferFailed: scores that are no probabilities, or classes that do not exist.
    """
    scores = answer[:, 4]
    _check_scores(scores)
    found = _strongest(scores, limits)[: limits.max_results]
    indices = answer[found, 5]
    if ((indices < 0) | (indices >= classes) | (indices != np.rint(indices))).any():
        raise InferFailed(
            f"the model answered class {indices.max():g}, it has {classes}",
            fix="check that the labels are the model's own",
        )
    return _sized(answer[found, :4], scores[found], indices)


def decode_yolox(answer: F32, limits: Thresholds, grid: tuple[F32, F32] | None) -> Detections:
    """Decode the head of YOLOX.

    Args:
        answer: (anchors, 5 + classes): x, y, width, height, objectness, a probability per class.
        limits: what counts; the score is objectness times the class' probability.
        grid: what `yolox_grid` returns, for a network that answers offsets and log sizes; None for
            one exported with `--decode_in_inference`, whose boxes are in pixels.

    Source: Z. Ge et al., "YOLOX", arXiv 2107.08430, section 2; `demo_postprocess` in its code.

    Raises:
        InferFailed: scores that are no probabilities.
    """
    per_class = answer[:, 5:]
    best = per_class.max(axis=1) * answer[:, 4]
    _check_scores(best)
    found = _strongest(best, limits)
    boxes = answer[found, :4]
    if grid is not None:
        cells, strides = grid[0][found], grid[1][found]
        with np.errstate(over="ignore"):
            sides = np.exp(boxes[:, 2:]) * strides
        boxes = np.concatenate([(boxes[:, :2] + cells) * strides, sides], axis=1)
    if not np.isfinite(boxes).all():
        raise InferFailed("a box of the answer is not finite", fix="check the model's export")
    return _suppressed(_corners(boxes), best[found], per_class[found].argmax(axis=1), limits)


def yolox_grid(width: int, height: int, strides: tuple[int, ...]) -> tuple[F32, F32]:
    """Return the (anchors, 2) cells and (anchors, 1) strides of a YOLOX head, finest first."""
    cells, sizes = [], []
    for stride in strides:
        columns, rows = width // stride, height // stride
        x, y = np.meshgrid(np.arange(columns), np.arange(rows))
        cells.append(np.stack([x, y], axis=2).reshape(-1, 2))
        sizes.append(np.full((columns * rows, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(sizes).astype(np.float32)


def _check_scores(scores: F32) -> None:
    if scores.size and not (scores.min() >= -_SCORE_SLACK and scores.max() <= 1 + _SCORE_SLACK):
        raise InferFailed(
            f"the model answered scores from {scores.min():g} to {scores.max():g}, not 0 to 1",
            fix="check the family of the model and its export (scores must be after the sigmoid)",
        )


def _strongest(scores: F32, limits: Thresholds) -> NDArray[np.intp]:
    """Return the indices of at most `max_candidates` scores that count, best first."""
    found = np.flatnonzero(scores >= limits.confidence)
    if len(found) > limits.max_candidates:
        top = np.argpartition(scores[found], -limits.max_candidates)[-limits.max_candidates :]
        found = np.sort(found[top])
    return found[np.argsort(-scores[found], kind="stable")]


def _suppressed(
    boxes: F32, scores: F32, classes: NDArray[np.intp], limits: Thresholds
) -> Detections:
    found = _sized(boxes, scores, classes)
    if len(found) < 2:
        return found
    kept = nms(
        found.boxes_px,
        found.scores,
        found.classes,
        iou_threshold=limits.iou,
        max_results=limits.max_results,
    )
    return found.filter(kept)


def _sized(boxes: F32, scores: F32, classes: NDArray[np.intp] | NDArray[np.float32]) -> Detections:
    """Return the detections without the boxes that have no area."""
    found = Detections(
        np.ascontiguousarray(boxes, np.float32),
        np.clip(scores, 0, 1, dtype=np.float32),
        classes.astype(np.int32),
    )
    solid = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return found if solid.all() else found.filter(solid)


def _corners(boxes: F32) -> F32:
    """Return x centre, y centre, width, height as x1, y1, x2, y2."""
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)
