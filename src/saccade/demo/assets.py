"""The demo's model file and its card, as they come with the package."""

from __future__ import annotations

from pathlib import Path

import msgspec

_HERE = Path(__file__).parent


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """What the demo model is and how well it was measured; written by its training script."""

    name: str
    description: str
    license: str
    classes: tuple[str, ...]
    input_height: int
    input_width: int
    parameters: int
    size_bytes: int
    sha256: str
    trained_at: str  # UTC, ISO 8601
    training_data: str
    training_seeds: tuple[int, int]  # first and last
    training_steps: int
    training_seconds: float
    held_out_seeds: tuple[int, int]  # first and last
    held_out_images: int
    held_out_objects: int
    map50: float
    map50_95: float
    ap50_by_class: dict[str, float]
    evaluator: str
    latency_ms: float
    latency_how: str
    made_with: str
    reproduce: str


def demo_model_path() -> Path:
    """Return where the demo's ONNX file is.

    It is read in place: input `images` (n, 3, 192, 320) float32 RGB 0..1, output `output0`
    (n, 7, 1260) float32: centre x, centre y, width, height in input pixels, then a probability
    for each class.
    """
    return _HERE / "kiosk_demo.onnx"


def demo_model_card() -> ModelCard:
    """Return the demo model's card."""
    return msgspec.json.decode((_HERE / "kiosk_demo.json").read_bytes(), type=ModelCard)
