"""Finds what is in one picture: letterbox, one inference, boxes back in native pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from saccade.models.adapter import ModelAdapter
from saccade.vision.detections import Detections
from saccade.vision.pixels import bgr_into_input


def detect_image(adapter: ModelAdapter, bgr: NDArray[np.uint8]) -> Detections:
    """Return what a loaded detector finds in a picture, in native pixels, best score first.

    Args:
        adapter: a detector after `load`.
        bgr: (height, width, 3) uint8, any size from 1 x 1.

    Raises:
        InferFailed: the runtime raised, or the answer did not validate.
        ModelNotReady: the detector is not loaded.
    """
    spec = adapter.input
    frames = np.empty((1, spec.height, spec.width, 3), np.uint8)
    box = bgr_into_input(bgr, spec, frames[0])
    return box.to_native(adapter.infer(frames)[0])
