"""Frames and pictures into model inputs, in place."""

from __future__ import annotations

import mmap

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from saccade.vision.letterbox import ColorOrder, InputSpec, Pad
from saccade.vision.pixels import (
    bgr_into_input,
    bgr_to_i420,
    even,
    i420_into_input,
    i420_shape,
    i420_to_bgr,
)

U8 = NDArray[np.uint8]
SIDE = st.integers(1, 90)
SPEC = st.builds(
    InputSpec,
    st.integers(2, 100),
    st.integers(2, 100),
    color=st.sampled_from(ColorOrder),
    pad=st.sampled_from(Pad),
    pad_value=st.sampled_from([0, 114, 255]),
)


def smooth(width: int, height: int) -> U8:
    """A picture with a different gradient per channel, so that errors of place and order show."""
    x = np.linspace(40, 200, width)[None, :]
    y = np.linspace(60, 180, height)[:, None]
    planes = [x + 0 * y, y + 0 * x, 240 - (x + y) / 2]
    return np.clip(np.stack(planes, axis=2), 0, 255).astype(np.uint8)


def reference(bgr: U8, spec: InputSpec) -> U8:
    """Letterboxed the plain way, for even sides of the content."""
    ratio = min(spec.width / bgr.shape[1], spec.height / bgr.shape[0])
    width, height = (max(2, round(s * ratio / 2) * 2) for s in (bgr.shape[1], bgr.shape[0]))
    small = cv2.resize(bgr, (width, height))
    if spec.color is ColorOrder.RGB:
        small = small[:, :, ::-1]
    left = 0 if spec.pad is Pad.TOP_LEFT else (spec.width - width) // 2
    top = 0 if spec.pad is Pad.TOP_LEFT else (spec.height - height) // 2
    out = np.full((spec.height, spec.width, 3), spec.pad_value, np.uint8)
    out[top : top + height, left : left + width] = small
    return out


@pytest.mark.parametrize("color", ColorOrder)
@pytest.mark.parametrize("pad", Pad)
@pytest.mark.parametrize("size", [(320, 180), (180, 320), (128, 128), (64, 48), (1920, 1080)])
def test_both_ways_give_the_plain_letterbox(
    color: ColorOrder, pad: Pad, size: tuple[int, int]
) -> None:
    spec = InputSpec(160, 128, color=color, pad=pad)
    bgr = smooth(*size)
    expected = reference(bgr, spec).astype(int)
    out = np.zeros((128, 160, 3), np.uint8)
    bgr_into_input(bgr, spec, out)
    assert np.array_equal(out, expected)
    out[:] = 0
    i420_into_input(bgr_to_i420(bgr), *size, spec, out)
    difference = np.abs(out - expected)
    assert difference.max() <= 8  # chroma is stored at half the resolution
    assert difference.mean() < 1.5  # and luma in 219 steps


@settings(max_examples=60, deadline=None)
@given(SIDE, SIDE, SPEC, st.sampled_from([0, 255]))
def test_every_byte_of_the_input_is_written_whatever_was_there(
    width: int, height: int, spec: InputSpec, before: int
) -> None:
    bgr = smooth(width, height)
    inputs = []
    for stale in (before, 255 - before):
        for fill in ("bgr", "i420"):
            out = np.full((spec.height, spec.width, 3), stale, np.uint8)
            if fill == "bgr":
                box = bgr_into_input(bgr, spec, out)
            else:
                box = i420_into_input(bgr_to_i420(bgr), width, height, spec, out)
            padding = np.ones(out.shape[:2], np.bool_)
            padding[box.top : box.top + box.height, box.left : box.left + box.width] = False
            assert (out[padding] == spec.pad_value).all()
            inputs.append(out)
    assert np.array_equal(inputs[0], inputs[2])
    assert np.array_equal(inputs[1], inputs[3])


def test_the_input_is_written_in_the_slot_itself() -> None:
    spec = InputSpec(64, 64)
    with mmap.mmap(-1, 2 * spec.nbytes) as memory:
        slot = np.frombuffer(memory, np.uint8, spec.nbytes, spec.nbytes).reshape(64, 64, 3)
        i420_into_input(bgr_to_i420(smooth(100, 60)), 100, 60, spec, slot)
        assert slot[0, 0].tolist() == [114, 114, 114]
        assert slot[32, 32].tolist() != [0, 0, 0]
        assert memory[: spec.nbytes] == bytes(spec.nbytes)
        del slot


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (641, 427), (2, 5), (7, 2)])
def test_an_odd_picture_becomes_an_even_frame_and_comes_back(size: tuple[int, int]) -> None:
    bgr = smooth(*size)
    frame = bgr_to_i420(bgr)
    assert frame.shape == i420_shape(*size) == (even(size[1]) * 3 // 2, even(size[0]))
    back = i420_to_bgr(frame, *size)
    assert back.shape == bgr.shape
    if min(size) > 100:
        assert np.abs(back.astype(int) - bgr).max() <= 6


def test_a_frame_is_written_where_it_is_asked_for() -> None:
    out = np.zeros(i420_shape(64, 48), np.uint8)
    assert bgr_to_i420(smooth(64, 48), out) is out
    assert np.array_equal(out, bgr_to_i420(smooth(64, 48)))


def test_the_planes_are_where_other_libraries_expect_them() -> None:
    blue = np.full((4, 6, 3), (255, 0, 0), np.uint8)
    flat = bgr_to_i420(blue).reshape(-1)
    luma, u, v = flat[:24], flat[24:30], flat[30:]
    assert (luma == luma[0]).all()
    assert (u == 240).all()  # BT.601, limited range: blue has the highest Cb there is
    assert (v == v[0]).all()
    assert v[0] < 128


@pytest.mark.parametrize(
    "call",
    [
        lambda: bgr_to_i420(np.zeros((4, 4), np.uint8)),
        lambda: bgr_to_i420(np.zeros((4, 4, 3), np.float32)),
        lambda: bgr_to_i420(np.zeros((0, 4, 3), np.uint8)),
        lambda: bgr_to_i420(smooth(4, 4), np.zeros((4, 4), np.uint8)),
        lambda: i420_to_bgr(np.zeros((6, 4), np.uint8), 6, 4),
        lambda: i420_into_input(
            np.zeros((6, 4), np.uint8), 6, 4, InputSpec(8, 8), np.zeros((8, 8, 3), np.uint8)
        ),
        lambda: bgr_into_input(smooth(4, 4), InputSpec(8, 8), np.zeros((8, 9, 3), np.uint8)),
        lambda: bgr_into_input(
            smooth(4, 4), InputSpec(8, 8), np.zeros((8, 16, 3), np.uint8)[:, ::2]
        ),
    ],
)
def test_a_wrong_shape_is_refused_before_anything_is_written(call: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        call()  # type: ignore[operator]
