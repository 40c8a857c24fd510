"""What every model is to a host, and how one is opened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from saccade.desired import ModelSpec
from saccade.models.onnx_detector import OnnxDetector
from saccade.types import ModelKind
from saccade.vision.detections import Detections
from saccade.vision.letterbox import InputSpec


class ModelAdapter(Protocol):
    """A model that can load, infer on a batch and unload; not thread-safe, one thread uses it.

    The four facts below are known from `open_adapter` on, also while it is not loaded.
    """

    @property
    def input(self) -> InputSpec:
        """What it wants to see."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """A name for each class it answers."""
        ...

    @property
    def max_batch(self) -> int:
        """The most frames `infer` takes at once."""
        ...

    @property
    def family(self) -> str:
        """How its answer is laid out, for people and logs."""
        ...

    def load(self) -> None:
        """Bring it to the device and prove the shape of its answer. Loading twice reloads.

        Raises:
            ModelFileInvalid: the file is no longer the one that was opened.
            ModelLoadFailed: the runtime refuses it, or it answers something else than it declares.
            SettingsInvalid: the runtime does not have what is asked for.
        """
        ...

    def infer(self, frames: NDArray[np.uint8]) -> Sequence[Detections]:
        """Return what is in each frame, in input pixels, best score first.

        Args:
            frames: (n, input.height, input.width, 3) uint8, letterboxed and in the colour order of
                `input`; 1 <= n <= max_batch. Not kept after the call.

        Raises:
            InferFailed: the runtime raised, or the answer did not validate.
            ModelNotReady: it is not loaded.
        """
        ...

    def unload(self) -> None:
        """Free what `load` took. Unloading twice is nothing."""
        ...


def open_adapter(spec: ModelSpec, providers: Sequence[str], threads: int) -> ModelAdapter:
    """Return the adapter for a model, its file checked and understood, nothing loaded yet.

    Args:
        spec: which file, and what is set for it.
        providers: ONNX Runtime execution providers, the preferred first.
        threads: CPU threads of one inference; >= 1.

    Raises:
        ModelFileInvalid: the file is not a model saccade runs.
        TooLarge: the file is over the limit.
        SettingsInvalid: what is set does not fit the file.
    """
    match spec.kind:
        case ModelKind.DETECTOR:
            return OnnxDetector(spec, providers=providers, threads=threads)
