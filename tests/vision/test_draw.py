"""Boxes and labels that can be read."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from saccade.vision.detections import Detections
from saccade.vision.draw import class_color, contrast, draw_detections, line_sizes, text_color

WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def one(box: tuple[float, float, float, float], label: int = 0) -> Detections:
    return Detections(
        np.array([box], np.float32), np.array([0.87], np.float32), np.array([label], np.int32)
    )


def test_contrast_is_that_of_wcag() -> None:
    assert contrast(WHITE, BLACK) == pytest.approx(21)
    assert contrast(WHITE, WHITE) == pytest.approx(1)
    assert contrast(WHITE, (119, 119, 119)) == pytest.approx(4.48, abs=0.01)


def test_the_text_of_every_class_can_be_read() -> None:
    assert min(contrast(class_color(i), text_color(class_color(i))) for i in range(1000)) >= 4.5


def test_a_class_has_one_colour_and_its_neighbours_another() -> None:
    colors = [np.array(class_color(i)) for i in range(80)]
    assert [tuple(c) for c in colors] == [class_color(i) for i in range(80)]
    assert len({tuple(c) for c in colors}) == 80
    assert all(np.abs(a - b).max() > 60 for a, b in itertools.pairwise(colors))


def test_lines_grow_with_the_picture() -> None:
    sizes = [line_sizes(*size) for size in ((160, 90), (640, 360), (1280, 720), (3840, 2160))]
    assert sizes == sorted(sizes)
    assert sizes[0][0] == 1
    assert sizes[-1][0] >= 6


@pytest.mark.parametrize(
    "box",
    [(40, 40, 100, 90), (0, 0, 200, 150), (150, 100, 400, 300), (-50, -50, -10, -10), (5, 0, 6, 1)],
)
def test_a_box_and_its_label_are_drawn_and_nothing_outside_the_picture(
    box: tuple[float, float, float, float],
) -> None:
    around = np.zeros((250, 300, 3), np.uint8)
    picture = np.ascontiguousarray(around[50:200, 50:250])
    draw_detections(picture, one(box), ["person"])
    if box[2] > 0:
        assert (picture == class_color(0)).all(axis=2).sum() > 50


def test_the_label_is_inside_the_picture_at_every_edge() -> None:
    for box in ((180, 0, 199, 20), (0, 0, 20, 20), (0, 130, 20, 149), (180, 130, 199, 149)):
        picture = np.zeros((150, 200, 3), np.uint8)
        draw_detections(picture, one(box), ["person"])
        text = (picture == text_color(class_color(0))).all(axis=2)
        filled = (picture == class_color(0)).all(axis=2)
        assert filled.sum() > 200 or text.sum() > 200


@pytest.mark.parametrize("label", [0, 3, -1])
def test_a_class_without_a_name_is_shown_by_its_number(label: int) -> None:
    picture = np.zeros((150, 200, 3), np.uint8)
    draw_detections(picture, one((10, 60, 80, 120), label), [])
    assert picture.any()


@pytest.mark.parametrize("name", ["Füßgänger", "人", "x" * 500, ""])
def test_any_name_can_be_drawn(name: str) -> None:
    picture = np.zeros((150, 200, 3), np.uint8)
    draw_detections(picture, one((10, 60, 80, 120)), [name])
    assert picture.any()


def test_a_picture_of_one_pixel_can_be_drawn_on() -> None:
    draw_detections(np.zeros((1, 1, 3), np.uint8), one((0, 0, 1, 1)), ["person"])
