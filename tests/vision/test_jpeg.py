"""Pictures to JPEG and back."""

from __future__ import annotations

import numpy as np
import pytest

from saccade.vision.jpeg import decode_image, encode_jpeg


def test_a_picture_survives_the_way_to_jpeg_and_back() -> None:
    picture = np.full((48, 64, 3), (200, 100, 50), np.uint8)
    back = decode_image(encode_jpeg(picture, 95), max_bytes=10**6, max_pixels=10**6)
    assert back.shape == picture.shape
    assert np.abs(back.astype(int) - picture).max() <= 4


def test_quality_costs_bytes() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    sizes = [len(encode_jpeg(picture, quality)) for quality in (10, 50, 95)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1] / 2


def test_grey_is_a_picture_too() -> None:
    data = encode_jpeg(np.full((8, 8), 77, np.uint8))
    assert decode_image(data, max_bytes=10**6, max_pixels=100).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("picture", "quality"),
    [
        (np.zeros((0, 4, 3), np.uint8), 80),
        (np.zeros((4, 4, 4), np.uint8), 80),
        (np.zeros((4, 4, 3), np.float32), 80),
        (np.zeros((1, 70_000, 3), np.uint8), 80),
        (np.zeros((4, 4, 3), np.uint8), 0),
        (np.zeros((4, 4, 3), np.uint8), 101),
    ],
)
def test_what_is_no_picture_is_refused(picture: np.ndarray, quality: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        encode_jpeg(picture, quality)
