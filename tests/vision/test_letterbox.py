"""Where a picture lies in a model's input, and the way back."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.vision.detections import Detections
from saccade.vision.letterbox import ColorOrder, InputSpec, Letterbox, Pad

SIDE = st.integers(1, 5000)
SPEC = st.builds(InputSpec, st.integers(2, 1300), st.integers(2, 1300), pad=st.sampled_from(Pad))


@pytest.mark.parametrize(
    ("native", "spec", "expected"),
    [
        # (width, height), input, (left, top, width, height)
        ((1280, 720), InputSpec(640, 640), (0, 140, 640, 360)),
        ((810, 1080), InputSpec(640, 640), (80, 0, 480, 640)),
        ((640, 640), InputSpec(640, 640), (0, 0, 640, 640)),
        ((320, 320), InputSpec(640, 640), (0, 0, 640, 640)),
        ((1280, 720), InputSpec(416, 416, pad=Pad.TOP_LEFT), (0, 0, 416, 234)),
        ((640, 427), InputSpec(640, 640), (0, 106, 640, 428)),
        ((1280, 720), InputSpec(640, 384), (0, 12, 640, 360)),
        ((10_000, 1), InputSpec(640, 640), (0, 319, 640, 2)),
        ((1, 1), InputSpec(64, 64), (0, 0, 64, 64)),
        ((100, 100), InputSpec(225, 225), (0, 0, 224, 224)),
    ],
)
def test_the_picture_lies_where_it_should(
    native: tuple[int, int], spec: InputSpec, expected: tuple[int, int, int, int]
) -> None:
    box = Letterbox.fit(*native, spec)
    assert (box.left, box.top, box.width, box.height) == expected


@given(SIDE, SIDE, SPEC)
def test_the_content_is_even_and_inside_and_fills_one_axis(
    width: int, height: int, spec: InputSpec
) -> None:
    box = Letterbox.fit(width, height, spec)
    assert box.width % 2 == box.height % 2 == 0
    assert box.width >= 2
    assert box.height >= 2
    assert 0 <= box.left <= spec.width - box.width
    assert 0 <= box.top <= spec.height - box.height
    assert box.width >= spec.width - 1 or box.height >= spec.height - 1
    if spec.pad is Pad.TOP_LEFT:
        assert box.left == box.top == 0
    else:
        assert 0 <= (spec.width - box.width) - 2 * box.left <= 1
        assert 0 <= (spec.height - box.height) - 2 * box.top <= 1


@given(SIDE, SIDE, SPEC, st.lists(st.tuples(*[st.floats(0, 1)] * 4), max_size=5))
def test_a_native_box_comes_back_to_where_it_was(
    width: int, height: int, spec: InputSpec, fractions: list[tuple[float, ...]]
) -> None:
    corners = np.array(fractions, np.float32).reshape(-1, 2, 2)
    native = np.hstack([corners.min(1), corners.max(1)]) * [width, height, width, height]
    native = native.astype(np.float32)
    solid = (native[:, 2:] - native[:, :2] > [0.01 * width, 0.01 * height]).all(axis=1)
    native = native[solid]
    count = len(native)
    box = Letterbox.fit(width, height, spec)
    inside = Detections(box.to_input(native), np.ones(count, np.float32), np.zeros(count, np.int32))
    back = box.to_native(inside)
    # A float32 in the input (up to 1300) steps by 1e-4 px, each worth one native pixel / scale.
    slack = 5e-4 * max(1.0, 1 / box.scale_x, 1 / box.scale_y)
    assert np.allclose(back.boxes_px, native, atol=slack, rtol=0)


def test_the_corners_of_the_content_are_the_corners_of_the_picture() -> None:
    box = Letterbox.fit(641, 427, InputSpec(640, 640))
    content = [box.left, box.top, box.left + box.width, box.top + box.height]
    assert box.to_input(np.array([[0, 0, 641, 427]], np.float32)).tolist() == [content]


def test_what_lies_in_the_padding_is_no_part_of_the_picture() -> None:
    box = Letterbox.fit(1280, 720, InputSpec(640, 640))
    found = Detections(
        np.array([[0, 0, 100, 139], [0, 100, 100, 180]], np.float32),
        np.array([0.9, 0.8], np.float32),
        np.array([0, 1], np.int32),
    )
    back = box.to_native(found)
    assert back.classes.tolist() == [1]
    assert back.boxes_px.tolist() == [[0, 0, 200, 80]]


@pytest.mark.parametrize(("native", "side"), [((0, 5), 64), ((5, 0), 64), ((5, 5), 1)])
def test_a_picture_or_input_without_size_is_refused(native: tuple[int, int], side: int) -> None:
    with pytest.raises(ValueError, match="cannot fit"):
        Letterbox.fit(*native, InputSpec(side, side))


def test_the_input_spec_travels() -> None:
    spec = InputSpec(416, 320, color=ColorOrder.BGR, pad=Pad.TOP_LEFT, pad_value=0)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(spec), type=InputSpec) == spec
    assert spec.nbytes == 416 * 320 * 3
