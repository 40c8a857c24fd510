"""Read a model's class names: from a preset, a list in the settings, or a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from saccade.config.layers import Plain
from saccade.config.problems import SettingsProblems, nearest
from saccade.config.yamlfile import read_yaml
from saccade.errors import BadInput

#: Label lists by name, as `coco`.
LabelPresets = Mapping[str, Sequence[str]]

MAX_LABELS = 100_000
MAX_FILE_BYTES = 4 * 1024 * 1024

_FIX = "use a preset, a text file with one name a line, or a data.yaml with `names`"


def read_labels(
    labels: str | Sequence[str] | None, *, base_dir: Path, presets: LabelPresets
) -> tuple[str, ...]:
    """Return a model's class names, in the order of its classes; empty: the file's own.

    Args:
        labels: a preset's name, a file's path, a list, or None.
        base_dir: what a relative path starts from.
        presets: label lists by name.

    Raises:
        BadInput: it is no preset and no readable file, or the file holds no names.
    """
    if labels is None:
        return ()
    if not isinstance(labels, str):
        return tuple(labels)
    if labels in presets:
        return tuple(presets[labels])
    path = Path(base_dir, Path(labels).expanduser())
    if not path.is_file():
        near = nearest(labels, presets)
        hint = f"did you mean {near}? " if near else ""
        raise BadInput(f"labels {labels!r} is no preset and no file", fix=hint + _FIX)
    names = _names(path, labels)
    if not 0 < len(names) <= MAX_LABELS or not all(names):
        raise BadInput(f"labels {labels!r} holds {len(names)} names, or an empty one", fix=_FIX)
    return names


def _names(path: Path, shown: str) -> tuple[str, ...]:
    if path.suffix.lower() in {".yaml", ".yml"}:
        try:
            layer, problems = read_yaml(path, name=shown)
        except SettingsProblems as error:
            raise BadInput(f"labels: {error.what}", fix=_FIX) from None
        if problems:
            raise BadInput(f"labels: {problems[0]}", fix=_FIX)
        return _from_plain(layer.values.get("names"), shown)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BadInput(f"labels {shown!r} is too large for a list of names", fix=_FIX)
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        what = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise BadInput(f"labels {shown!r} cannot be read: {what}", fix=_FIX) from None
    if path.suffix.lower() == ".json":
        try:
            return _from_plain(json.loads(text), shown)
        except (ValueError, RecursionError):
            raise BadInput(f"labels {shown!r} is not JSON", fix=_FIX) from None
    # A blank line inside would shift every class after it, so only the end is trimmed.
    return tuple(line.strip() for line in text.rstrip().splitlines())


def _from_plain(value: Plain, shown: str) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(str(item).strip() for item in value)
    if isinstance(value, dict):
        # `names: {0: person, 1: bicycle}`: the keys are class numbers and must leave no hole.
        by_number = {int(key): str(name) for key, name in value.items() if key.isdecimal()}
        if sorted(by_number) == list(range(len(value))):
            return tuple(by_number[number].strip() for number in range(len(value)))
    raise BadInput(f"labels {shown!r} holds no list of names", fix=_FIX)
