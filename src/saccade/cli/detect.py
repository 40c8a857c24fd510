"""`saccade detect`: what a model sees on one image, without a server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from saccade.cli.options import ConfigOption, JsonOption, print_json
from saccade.cli.workplace import DataOption, Workplace
from saccade.demo.assets import demo_model_path
from saccade.desired import ModelSpec
from saccade.errors import BadInput, NotFound
from saccade.guards.images import decode_image
from saccade.models.adapter import ModelAdapter, open_adapter
from saccade.models.detect import detect_image
from saccade.vision.detections import Detections
from saccade.vision.draw import draw_detections
from saccade.vision.jpeg import encode_jpeg


def detect(
    image: Annotated[Path, typer.Argument(help="A JPEG, PNG, WebP or BMP file.")],
    model: Annotated[str | None, typer.Option(help="Its name; without one the first.")] = None,
    save: Annotated[Path | None, typer.Option(help="Write the picture with boxes here.")] = None,
    confidence: Annotated[float, typer.Option(min=0, max=1, help="Leave out less sure ones.")] = 0,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Detect objects on an image: a table, and if asked a picture with boxes.

    Example:
      saccade detect bus.jpg --model yolo11n --save out.jpg
    """
    place = Workplace.open(config, data)
    spec = _find(place, model)
    server = place.loaded.settings.server
    try:
        content = image.read_bytes()
    except OSError as error:
        raise BadInput(
            f"{image} cannot be read: {os.strerror(error.errno or 0)}", fix="check the path"
        ) from None
    bgr = decode_image(
        content,
        max_bytes=int(server.max_body_mb * 1024 * 1024),
        max_pixels=int(server.max_image_megapixels * 1_000_000),
    )
    adapter = open_adapter(spec, ("CPUExecutionProvider",), len(os.sched_getaffinity(0)))
    adapter.load()
    found = detect_image(adapter, bgr)
    found = found.filter(found.scores >= confidence)
    height, width = bgr.shape[:2]
    if as_json:
        print_json(
            {
                "model": spec.name,
                "image": {"width": width, "height": height},
                "detections": _rows(found, adapter),
            }
        )
    else:
        _show(found, adapter, f"{image.name}, {width}x{height}, {spec.name}")
    if save is not None:
        draw_detections(bgr, found, adapter.labels)
        _save(save, encode_jpeg(bgr, quality=92))
        if not as_json:
            print(f"Wrote {save}.")


def _find(place: Workplace, name: str | None) -> ModelSpec:
    with place.database() as database:
        known = place.desired(database).models
    if name == "kiosk-demo" and not any(m.name == name for m in known):
        from saccade.cli.demo import demo_model  # noqa: PLC0415 - draws and encodes clips

        return demo_model()
    for spec in known:
        if name in {None, spec.name}:
            return spec
    names = (
        ", ".join(m.name for m in known) or f"none (kiosk-demo is in {demo_model_path().parent})"
    )
    if name is None:
        raise NotFound(
            "no model is registered",
            fix="`saccade models add PATH.onnx`, or use --model kiosk-demo",
        )
    raise NotFound(f"no model is named {name!r}", fix=f"known: {names}; and kiosk-demo")


def _rows(found: Detections, adapter: ModelAdapter) -> list[dict[str, object]]:
    return [
        {
            "class": adapter.labels[int(c)],
            "confidence": round(float(s), 4),
            "bbox": [round(v, 2) for v in box],
        }
        for box, s, c in zip(found.boxes_px.tolist(), found.scores, found.classes, strict=True)
    ]


def _show(found: Detections, adapter: ModelAdapter, title: str) -> None:
    table = Table("Class", "Confidence", "x1", "y1", "x2", "y2", title=title)
    for box, score, index in zip(found.boxes_px.tolist(), found.scores, found.classes, strict=True):
        table.add_row(adapter.labels[int(index)], f"{score:.2f}", *(f"{v:.0f}" for v in box))
    Console().print(table if len(found) else f"{title}: nothing found.")


def _save(path: Path, jpeg: bytes) -> None:
    try:
        path.write_bytes(jpeg)
    except OSError as error:
        raise BadInput(
            f"{path} cannot be written: {os.strerror(error.errno or 0)}",
            fix="choose another place with --save",
        ) from None
