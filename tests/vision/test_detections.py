"""Boxes, scores and classes, and their bytes."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.errors import BadInput
from saccade.vision.detections import Detections


def detections(*rows: tuple[float, ...]) -> Detections:
    """Rows of x1, y1, x2, y2, score, class."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4].copy(), table[:, 4].copy(), table[:, 5].astype(np.int32))


def rows(found: Detections) -> list[list[float]]:
    columns = np.column_stack([found.boxes_px, found.scores, found.classes])
    return [[float(value) for value in row] for row in columns]


NUMBER = st.floats(-1e6, 1e6, width=32)
FOUND = st.lists(
    st.tuples(NUMBER, NUMBER, NUMBER, NUMBER, st.floats(0, 1, width=32), st.integers(0, 10_000)),
    max_size=20,
).map(lambda table: detections(*table))


@given(FOUND)
def test_what_is_unpacked_is_what_was_packed(found: Detections) -> None:
    data = found.pack()
    assert len(data) == 4 + 24 * len(found)
    for same in (Detections.unpack(data), Detections.unpack(memoryview(data))):
        assert np.array_equal(same.boxes_px, found.boxes_px)
        assert np.array_equal(same.scores, found.scores)
        assert np.array_equal(same.classes, found.classes)


def test_the_wire_format_is_the_documented_one() -> None:
    data = struct.pack("<I", 2) + struct.pack("<10f", *range(10)) + struct.pack("<2i", 7, -1)
    found = Detections.unpack(data)
    assert found.boxes_px.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert found.scores.tolist() == [8, 9]
    assert found.classes.tolist() == [7, -1]
    assert found.pack() == data


@given(st.binary(max_size=200))
def test_other_bytes_are_bad_input_and_nothing_else(data: bytes) -> None:
    try:
        found = Detections.unpack(data)
    except BadInput:
        return
    assert np.isfinite(found.boxes_px).all()
    assert found.pack() == data


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", range(5))
def test_a_number_that_is_not_finite_does_not_come_in(value: float, place: int) -> None:
    numbers = [0.0, 0.0, 1.0, 1.0, 0.5]
    numbers[place] = value
    with pytest.raises(BadInput, match="not finite"):
        Detections.unpack(struct.pack("<I5fi", 1, *numbers, 0))


@pytest.mark.parametrize(
    ("name", "shapes", "dtypes"),
    [
        ("boxes_px", [(2, 4), (3,), (3,)], "ffi"),
        ("boxes_px", [(3, 5), (3,), (3,)], "ffi"),
        ("boxes_px", [(3, 4), (3,), (3,)], "dfi"),
        ("scores", [(3, 4), (3, 1), (3,)], "ffi"),
        ("classes", [(3, 4), (3,), (2,)], "ffi"),
        ("classes", [(3, 4), (3,), (3,)], "ffl"),
    ],
)
def test_a_wrong_shape_says_what_was_expected_and_what_came(
    name: str, shapes: list[tuple[int, ...]], dtypes: str
) -> None:
    arrays = [np.zeros(shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]
    with pytest.raises(ValueError, match=rf"{name}: expected shape .* of .*, got .* of "):
        Detections(*arrays)


def test_clipping_cuts_boxes_at_the_picture_and_drops_those_outside() -> None:
    found = detections(
        (-5, -5, 5, 5, 0.9, 1),
        (90, 40, 120, 60, 0.8, 2),
        (100, 0, 110, 10, 0.7, 3),  # right of the picture
        (10, 50, 20, 60, 0.6, 4),  # below it
        (10, 10, 20, 20, 0.5, 5),
    )
    assert rows(found.clip(100, 50)) == [
        pytest.approx([0, 0, 5, 5, 0.9, 1]),
        pytest.approx([90, 40, 100, 50, 0.8, 2]),
        pytest.approx([10, 10, 20, 20, 0.5, 5]),
    ]


@given(FOUND, st.integers(1, 5000), st.integers(1, 5000))
def test_clipped_boxes_lie_in_the_picture_and_clipping_again_changes_nothing(
    found: Detections, width: int, height: int
) -> None:
    once = found.clip(width, height)
    x1, y1, x2, y2 = once.boxes_px.T
    assert ((x1 >= 0) & (x1 < x2) & (x2 <= width)).all()
    assert ((y1 >= 0) & (y1 < y2) & (y2 <= height)).all()
    assert rows(once.clip(width, height)) == rows(once)


def test_scaling_multiplies_each_axis() -> None:
    assert rows(detections((1, 2, 3, 4, 0.5, 6)).scale(2, 10)) == [[2, 20, 6, 40, 0.5, 6]]


def test_filtering_takes_a_mask_or_indices_in_their_order() -> None:
    found = detections((0, 0, 1, 1, 0.5, 0), (0, 0, 2, 2, 0.25, 1), (0, 0, 3, 3, 0.125, 2))
    assert found.filter(found.scores > 0.2).classes.tolist() == [0, 1]
    assert found.filter(np.array([2, 0])).classes.tolist() == [2, 0]
    assert len(found.filter(np.array([], np.intp))) == 0


def test_empty_is_empty_through_everything() -> None:
    empty = Detections.empty()
    assert len(empty) == len(empty.clip(1, 1)) == len(empty.scale(2, 2)) == 0
    assert len(Detections.unpack(empty.pack())) == 0
