"""Runs ONNX detectors on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from saccade.desired import ModelSpec
from saccade.errors import (
    InferFailed,
    ModelFileInvalid,
    ModelLoadFailed,
    ModelNotReady,
    SettingsInvalid,
)
from saccade.guards.model_files import check_model_file, read_onnx, sha256_of
from saccade.models.heads import (
    Thresholds,
    decode_yolo,
    decode_yolo_end2end,
    decode_yolox,
    yolox_grid,
)
from saccade.models.labels import choose_labels
from saccade.models.onnx_graph import (
    FRAMES,
    GRID_STRIDES,
    DetectorInfo,
    Family,
    fold_input,
    grid_cells,
    read_detector,
)
from saccade.vision.detections import Detections
from saccade.vision.letterbox import InputSpec

F32 = NDArray[np.float32]

#: What protobuf can parse.
MAX_MODEL_BYTES = 2 * 1024**3 - 1
#: Only "fatal": every error is raised as one of ours, and needs no second voice on the console.
_LOG_FATAL = 4


class OnnxDetector:
    """A detector in an ONNX file, as `adapter.ModelAdapter` wants it.

    Args:
        spec: which file, and what is set for it.
        providers: ONNX Runtime execution providers, the preferred first.
        threads: CPU threads of one inference; >= 1.

    Raises:
        ModelFileInvalid: the file is not a detector saccade runs, or not the one of `spec.sha256`.
        TooLarge: the file is over 2 GiB.
        SettingsInvalid: what is set does not fit the file.
    """

    def __init__(self, spec: ModelSpec, *, providers: Sequence[str], threads: int) -> None:
        self._spec = spec
        self._path = Path(spec.path)
        self._providers = tuple(providers)
        self._threads = threads
        self._info = self._describe(self._read_file())
        self.labels = choose_labels(
            given=spec.labels, metadata=self._info.names, classes=self._info.classes
        )
        # A network fixed to a batch takes exactly that: smaller ones are filled up in `infer`.
        self.max_batch = self._info.batch or max(1, spec.max_batch)
        self._limits = Thresholds(spec.confidence, spec.iou)
        self._grid = self._make_grid()
        self._session: Any = None  # ort.InferenceSession, which has no types

    @property
    def input(self) -> InputSpec:
        """What it wants to see."""
        return self._info.input

    @property
    def family(self) -> str:
        """How its answer is laid out."""
        return self._info.family.value

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers in use; empty while not loaded."""
        return () if self._session is None else tuple(self._session.get_providers())

    def load(self) -> None:
        """Bring the network to the device and prove the shape of its answer.

        Raises:
            ModelFileInvalid: the file is no longer the one that was opened.
            ModelLoadFailed: the runtime refuses it, or it answers something else than it declares.
            SettingsInvalid: the runtime does not have one of the providers.
        """
        self.unload()
        _check_providers(self._providers)
        model = self._read_file()
        if self._describe(model) != self._info:
            raise ModelFileInvalid(
                f"{self._path.name} was replaced by another model since it was opened",
                fix="add the new file as a model of its own",
            )
        ort.disable_telemetry_events()  # nothing of what runs here is anybody else's business
        try:
            fold_input(model, self._info, self.max_batch)
            data = model.SerializeToString()
            del model  # two copies of the weights are enough while the runtime makes its own
            self._session = ort.InferenceSession(
                data, self._session_options(), providers=_provider_options(self._providers)
            )
        except Exception as error:  # ONNX Runtime's errors share no base class
            raise self._load_failed(_first_line(error)) from error
        try:
            self._check_device()
            self._prove()
        except BaseException:
            self.unload()
            raise

    def infer(self, frames: NDArray[np.uint8]) -> list[Detections]:
        """Return what is in each frame, in input pixels, best score first.

        Args:
            frames: (n, height, width, 3) uint8 as `input` says; 1 <= n <= max_batch.

        Raises:
            InferFailed: the runtime raised, or the answer did not validate.
            ModelNotReady: it is not loaded.
            ValueError: `frames` has another shape or dtype (our own bug).
        """
        size = (self.input.height, self.input.width, 3)
        fits = frames.ndim == 4 and frames.shape[1:] == size and frames.dtype == np.uint8
        if not fits or not 1 <= len(frames) <= self.max_batch:
            raise ValueError(
                f"frames: expected (1..{self.max_batch}, {', '.join(map(str, size))}) of uint8, "
                f"got {frames.shape} of {frames.dtype}"
            )
        answers = self._run(frames)
        return [self._decode(answers[i], i) for i in range(len(frames))]

    def unload(self) -> None:
        """Free the session and what it holds on the device."""
        self._session = None

    def _read_file(self) -> onnx.ModelProto:
        check_model_file(self._path, MAX_MODEL_BYTES)
        if self._spec.sha256 and (got := sha256_of(self._path)) != self._spec.sha256:
            raise ModelFileInvalid(
                f"{self._path.name} has SHA-256 {got[:16]}..., "
                f"registered was {self._spec.sha256[:16]}...",
                fix="restore the file, or register the new one as a model of its own",
            )
        model = read_onnx(self._path)
        try:
            onnx.load_external_data_for_model(model, str(self._path.resolve().parent))
        except (OSError, ValueError, onnx.checker.ValidationError) as error:
            raise ModelFileInvalid(
                f"{self._path.name}: its weights in other files cannot be read: "
                f"{_first_line(error)}",
                fix="export the model as one file",
            ) from error
        return model

    def _describe(self, model: onnx.ModelProto) -> DetectorInfo:
        spec = self._spec
        return read_detector(
            model, family=spec.family, width=spec.input_width, height=spec.input_height
        )

    def _make_grid(self) -> tuple[F32, F32] | None:
        if self._info.family is not Family.YOLOX or self._info.decodes_grid:
            return None
        return yolox_grid(self.input.width, self.input.height, GRID_STRIDES)

    def _session_options(self) -> Any:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _LOG_FATAL
        # Spinning threads win a millisecond and burn whole cores between two frames.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # A memory plan is kept per input shape: with batches of many sizes that is many plans.
        options.enable_mem_pattern = self.max_batch == 1
        return options

    def _check_device(self) -> None:
        # A provider whose libraries are missing is left out by the runtime without an error.
        if self.providers[0] != self._providers[0]:
            raise self._load_failed(
                f"{self._providers[0]} did not start, the runtime fell back to {self.providers[0]}"
            )

    def _prove(self) -> None:
        """Run the network on grey pictures, alone and as a batch, and check what it answers."""
        size = (self.input.height, self.input.width, 3)
        for count in sorted({1, min(2, self.max_batch)}):
            frames = np.full((count, *size), self.input.pad_value, np.uint8)
            try:
                answers = self._run(frames)
                for i in range(count):
                    self._decode(answers[i], i)
            except InferFailed as error:
                where = "one picture" if count == 1 else f"a batch of {count}"
                hint = "" if count == 1 else "; max_batch: 1 may help"
                raise self._load_failed(f"on {where}: {error.what}{hint}") from error

    def _run(self, frames: NDArray[np.uint8]) -> F32:
        """Return the answer as (n, ...) float32, all of it finite and of the declared shape."""
        if self._session is None:
            raise ModelNotReady(f"model {self._spec.name!r} is not loaded", fix="load it first")
        count = len(frames)
        if self._info.batch not in (None, count):
            rest = np.zeros((self._info.batch - count, *frames.shape[1:]), np.uint8)
            frames = np.concatenate([frames, rest])
        try:
            (answer,) = self._session.run(None, {FRAMES: np.ascontiguousarray(frames)})
        except Exception as error:  # ONNX Runtime's errors share no base class
            raise InferFailed(
                f"model {self._spec.name!r} raised: {_first_line(error)}",
                fix="check the model with `saccade detect`, and the device's memory",
            ) from error
        answer = np.asarray(answer)
        if answer.ndim != 3 or len(answer) != len(frames) or not self._fits(answer.shape[1:]):
            raise InferFailed(
                f"model {self._spec.name!r} answered {answer.shape} to {len(frames)} frames",
                fix=f"check that the model is a detector of the family {self.family}",
            )
        return np.asarray(answer[:count], np.float32)

    def _fits(self, shape: tuple[int, ...]) -> bool:
        rows, columns = shape
        match self._info.family:
            case Family.YOLO:
                return rows == 4 + len(self.labels)
            case Family.YOLO_END2END:
                return columns == 6
            case Family.YOLOX:
                cells = grid_cells((self.input.height, self.input.width))
                return rows == cells and columns == 5 + len(self.labels)

    def _decode(self, answer: F32, index: int) -> Detections:
        if not np.isfinite(answer).all():
            raise InferFailed(
                f"model {self._spec.name!r} answered numbers that are not finite (frame {index})",
                fix="check the model's export; half precision may overflow on this device",
            )
        match self._info.family:
            case Family.YOLO:
                return decode_yolo(answer, self._limits)
            case Family.YOLO_END2END:
                return decode_yolo_end2end(answer, self._limits, len(self.labels))
            case Family.YOLOX:
                return decode_yolox(answer, self._limits, self._grid)

    def _load_failed(self, what: str) -> ModelLoadFailed:
        return ModelLoadFailed(
            f"model {self._spec.name!r} ({self._path.name}) does not load: {what}",
            fix="check the file with `saccade detect`, the device's memory and the providers",
        )


def _check_providers(wanted: Sequence[str]) -> None:
    available = ort.get_available_providers()
    missing = [provider for provider in wanted if provider not in available]
    if missing or not wanted:
        raise SettingsInvalid(
            f"execution provider {', '.join(missing) or '(none given)'} is not available here; "
            f"available: {', '.join(available)}",
            fix="use an available one, or install the ONNX Runtime build that has it "
            "(onnxruntime-gpu for CUDA and TensorRT)",
        )


def _provider_options(wanted: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    return [(provider, _PROVIDER_OPTIONS.get(provider, {})) for provider in wanted]


_PROVIDER_OPTIONS = {
    "CUDAExecutionProvider": {
        # The default doubles the arena each time it grows, which starves the models beside it.
        "arena_extend_strategy": "kSameAsRequested",
        # The default tries every algorithm for every new batch size, seconds each.
        "cudnn_conv_algo_search": "HEURISTIC",
    },
}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
