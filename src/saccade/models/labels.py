"""The names of a model's classes: presets, files, and what an ONNX says of itself."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from saccade.errors import ModelFileInvalid, SettingsInvalid

_MAX_FILE_BYTES = 1024 * 1024
_MAX_METADATA_CHARS = 1024 * 1024
_MAX_NAME_CHARS = 100

#: COCO's 80 detection classes, in the order of every YOLO-family model.
#: Source: cocodataset.org, instances_val2017.json, its categories in the order of their ids.
COCO = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog",
    "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella",
    "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite",
    "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange",
    "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant",
    "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors",
    "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip

PRESETS: Mapping[str, tuple[str, ...]] = {"coco": COCO}


def resolve_labels(setting: str | Sequence[str], *, folder: Path) -> tuple[str, ...]:
    """Return the names a setting means: a list of names, a preset, or a file of names.

    Args:
        setting: names; or "coco"; or the path of a text file with one name a line, or of a YAML
            file with a list or an index-to-name mapping, at the top or under `names`.
        folder: what a relative path starts from.

    Raises:
        SettingsInvalid: no such preset or file, or a name that cannot be one.
    """
    if not isinstance(setting, str):
        return _checked(tuple(setting), "labels")
    if setting in PRESETS:
        return PRESETS[setting]
    path = folder / setting
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SettingsInvalid(
            f"labels: {setting!r} is neither a preset nor a file that can be read",
            fix=f"use one of {', '.join(PRESETS)}, the path of a file, or a list of names",
        ) from error
    return _from_file(data, path)


def labels_from_metadata(names: str) -> tuple[str, ...]:
    """Return the names in an ONNX's `names` metadata, as Ultralytics writes it.

    Args:
        names: a Python or JSON literal: {0: 'person', 1: 'bicycle'} or ['person', 'bicycle'].

    Raises:
        ModelFileInvalid: it is something else.
    """
    try:
        if len(names) > _MAX_METADATA_CHARS:
            raise ValueError(f"{len(names):,} characters")
        return _checked(_in_order(ast.literal_eval(names)), "names")
    # literal_eval: RecursionError and MemoryError for absurd nesting, the rest for other text.
    except (ValueError, SyntaxError, RecursionError, MemoryError, SettingsInvalid) as error:
        raise ModelFileInvalid(
            f"the model's metadata 'names' is not a list of class names: {names[:60]!r}",
            fix="give the labels in the settings",
        ) from error


def choose_labels(
    *, given: Sequence[str], metadata: Sequence[str] | None, classes: int | None
) -> tuple[str, ...]:
    """Return a name for each class: those given, else the model's own, else numbers.

    Args:
        given: from the settings; empty when there are none.
        metadata: from the model; None when it has none.
        classes: how many the model answers; None when its answer does not tell.

    Raises:
        SettingsInvalid: as many names as classes are needed, and these are not.
    """
    if given:
        labels = _checked(tuple(given), "labels")
    elif metadata:
        labels = tuple(metadata)
    elif classes is not None:
        labels = tuple(f"class {i}" for i in range(classes))
    else:
        raise SettingsInvalid(
            "the model does not say how many classes it has, and no labels are given",
            fix="give its labels (a preset such as coco, a file, or a list of names)",
        )
    if classes is not None and len(labels) != classes:
        whose = "labels are given" if given else "names are in the model's metadata"
        raise SettingsInvalid(
            f"the model answers {classes} classes, but {len(labels)} {whose}",
            fix=f"give exactly {classes} labels, in the order the model was trained with",
        )
    return labels


def _from_file(data: bytes, path: Path) -> tuple[str, ...]:
    try:
        text = data.decode("utf-8-sig")
        if len(data) > _MAX_FILE_BYTES:
            raise ValueError(f"it is over {_MAX_FILE_BYTES:,} bytes")
        if path.suffix.lower() in (".yaml", ".yml"):
            names = _in_order(yaml.safe_load(text))
        else:
            names = tuple(line.strip() for line in text.splitlines() if line.strip())
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise SettingsInvalid(
            f"labels: {path} is not a file of class names: {error}",
            fix="write one name a line, or YAML with `names:` and a list",
        ) from error
    return _checked(names, f"labels in {path}")


def _in_order(value: object) -> tuple[str, ...]:
    """Return the names in a list or in an index-to-name mapping. Raises ValueError."""
    if isinstance(value, dict) and "names" in value:
        value = value["names"]
    if isinstance(value, dict):
        indices = {int(index): name for index, name in value.items()}
        if sorted(indices) != list(range(len(value))):
            raise ValueError(f"the indices are not 0 to {len(value) - 1}")
        value = [indices[i] for i in range(len(value))]
    if not isinstance(value, list | tuple):
        raise ValueError("neither a list nor a mapping of names")
    return tuple(str(name) for name in value)


def _checked(names: tuple[str, ...], where: str) -> tuple[str, ...]:
    if not names:
        raise SettingsInvalid(f"{where}: no names", fix="give at least one")
    for i, name in enumerate(names):
        if not name or len(name) > _MAX_NAME_CHARS or not name.isprintable():
            raise SettingsInvalid(
                f"{where}: name {i} is {name[:_MAX_NAME_CHARS]!r}",
                fix=f"use 1 to {_MAX_NAME_CHARS} printable characters",
            )
    return names
