"""From a picture to boxes in its own pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.models.builders import LABELS, spec_for, write_detector

from saccade.models.adapter import ModelAdapter, open_adapter
from saccade.models.detect import detect_image
from saccade.models.onnx_graph import Family


def loaded(folder: Path, family: Family) -> ModelAdapter:
    path = write_detector(folder / "model.onnx", family, width=128, height=128)
    adapter = open_adapter(spec_for(path, labels=LABELS), ("CPUExecutionProvider",), 1)
    adapter.load()
    return adapter


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize(
    # Each lands on whole cells of 32 x 32 in the input of 128 x 128.
    ("size", "box"),
    [
        ((128, 128), (32, 64, 64, 96)),
        ((256, 256), (64, 128, 128, 192)),
        ((512, 256), (128, 0, 256, 128)),
        ((1024, 512), (256, 256, 512, 512)),
    ],
)
def test_a_patch_of_colour_is_found_where_it_is(
    family: Family, size: tuple[int, int], box: tuple[int, int, int, int], tmp_path: Path
) -> None:
    picture = np.full((size[1], size[0], 3), 114, np.uint8)
    x1, y1, x2, y2 = box
    picture[y1:y2, x1:x2] = (255, 0, 0)  # blue, in BGR
    found = detect_image(loaded(tmp_path, family), picture)
    assert found.boxes_px.tolist() == [list(box)]
    assert [LABELS[i] for i in found.classes] == ["blue"]


def test_a_picture_of_one_pixel_is_a_picture(tmp_path: Path) -> None:
    pixel = np.full((1, 1, 3), (0, 0, 255), np.uint8)
    found = detect_image(loaded(tmp_path, Family.YOLO), pixel)
    assert {LABELS[i] for i in found.classes} == {"red"}
    assert (found.boxes_px >= 0).all()
    assert (found.boxes_px <= 1).all()
