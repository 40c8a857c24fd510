"""Ready is proved: one real inference through the adapter whose answer validates."""

from __future__ import annotations

import time
from typing import Final

import numpy as np
from numpy.typing import NDArray

from saccade.errors import InferFailed
from saccade.models.adapter import ModelAdapter

#: The probe is noise over a gradient: a flat picture would let a dead model pass.
PROBE_SEED: Final = 20261


def probe_frames(height: int, width: int, *, seed: int) -> NDArray[np.uint8]:
    """Return one (1, height, width, 3) uint8 picture, the same for the same seed."""
    noise = np.random.default_rng(seed).integers(0, 64, (1, height, width, 3), dtype=np.uint8)
    ramp = np.linspace(0, 191, width, dtype=np.uint8)[None, None, :, None]
    return noise + ramp


def prove_ready(model: ModelAdapter, probe: NDArray[np.uint8]) -> float:
    """Run one real inference, check its answer, return its latency in seconds.

    Raises:
        InferFailed: an answer is missing, or holds boxes or scores that cannot be.
    """
    began_at = time.monotonic()
    answers = model.infer(probe)
    took_s = time.monotonic() - began_at
    if len(answers) != len(probe):
        raise InferFailed(
            f"{len(answers)} answers to {len(probe)} frames",
            fix="the adapter must return one answer per frame",
        )
    for answer in answers:
        finite = np.isfinite(answer.boxes_px).all() and np.isfinite(answer.scores).all()
        known = ((answer.classes >= 0) & (answer.classes < max(1, len(model.labels)))).all()
        likely = ((answer.scores >= 0.0) & (answer.scores <= 1.0 + 1e-3)).all()
        if not (finite and known and likely):
            raise InferFailed(
                "the probe's answer holds boxes, scores or classes that cannot be",
                fix="check the model's family and labels",
            )
    return took_s
