"""Build the settings from their sources, or say everything that is wrong with them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import Secret, SecretStr, ValidationError

from saccade.config.describe import Location, Node, children, key_text
from saccade.config.layers import Layer, LayerKind, Origin, Plain
from saccade.config.problems import Problem, SettingsProblems, explain, place_of
from saccade.config.tree import Settings, contradictions
from saccade.config.variables import CONFIG_VARIABLE, read_dotenv, read_environment
from saccade.config.yamlfile import read_yaml

#: What the settings file is called where nobody says otherwise.
FILE_NAME = "saccade.yaml"


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and how they came to be.

    Args:
        path: the settings file, or None when there is none.
        base_dir: what relative paths in the settings start from.
        origins: where each value was written; what is not in it has its default.
        notes: what is allowed and yet worth saying, one line each.
    """

    settings: Settings
    path: Path | None
    base_dir: Path
    origins: Mapping[Location, Origin]
    notes: tuple[str, ...] = ()


def load(
    path: Path | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    overrides: Mapping[str, Plain] | None = None,
) -> Loaded:
    """Read the settings: command line > environment > .env > saccade.yaml > default.

    This is the only place in saccade that reads the environment.

    Args:
        path: the settings file; None: `$SACCADE_CONFIG`, else `saccade.yaml` in `folder` if it
            is there.
        environ: the variables; None: this process's.
        folder: where to look; None: the current folder.
        overrides: values from the command line, by dotted key (`{"server.port": 9000}`).

    Raises:
        SettingsProblems: an unknown key, a value that cannot work, or a file that cannot be
            read. Every problem is in it, a line each.
    """
    environ = os.environ if environ is None else environ
    folder = Path.cwd() if folder is None else folder.absolute()
    if path is None and environ.get(CONFIG_VARIABLE, "").strip():
        path = Path(environ[CONFIG_VARIABLE].strip())
    if path is None:
        path = folder / FILE_NAME if (folder / FILE_NAME).exists() else None
    else:
        path = folder / path.expanduser()
    base_dir = path.parent if path else folder
    layer, problems, notes = _sources(path, base_dir, environ, overrides or {}, folder)
    settings, found = _validate(layer)
    # What has no value because it could not be read is one problem, not two.
    unread = tuple(problem.key for problem in problems if problem.key)
    problems += [
        problem
        for problem in found
        if not any(problem.key == key or problem.key.startswith(f"{key}.") for key in unread)
    ]
    if problems or settings is None:
        raise SettingsProblems(problems)
    return Loaded(settings, path, base_dir, layer.places, notes)


def _validate(layer: Layer) -> tuple[Settings | None, list[Problem]]:
    """Return the settings, or what is wrong in the order in which it was written."""
    places = {location: str(origin) for location, origin in layer.places.items()}
    try:
        settings = Settings.model_validate(_empty_is_default(layer.values, Node(group=Settings)))
    except ValidationError as error:
        order = {str(origin): (origin.kind, origin.line) for origin in layer.places.values()}
        found = explain(error, places)
        found.sort(key=lambda problem: order.get(problem.where, (LayerKind.DEFAULT, 0)))
        return None, found
    return settings, [
        Problem(place_of(at, places), key_text(at), f"{key_text(at)} {what}")
        for at, what in contradictions(settings)
    ]


def _sources(
    path: Path | None,
    base_dir: Path,
    environ: Mapping[str, str],
    overrides: Mapping[str, Plain],
    folder: Path,
) -> tuple[Layer, list[Problem], tuple[str, ...]]:
    layer, problems, notes = Layer(), list[Problem](), list[str]()
    if path is None:
        notes.append(f"no {FILE_NAME} in {folder}: every setting has its default")
    else:
        name = _name(path, folder)
        try:
            layer, problems = read_yaml(path, name=name)
        except SettingsProblems as error:
            problems = list(error.problems)
        else:
            is_silent = all(value is None or value == {} for value in layer.values.values())
            if is_silent and not problems:
                notes.append(f"{name} sets nothing: every setting has its default")
    dotenv_path = base_dir / ".env"
    dotenv, more = read_dotenv(dotenv_path, layer.values, name=_name(dotenv_path, folder))
    layer.cover(dotenv)
    env, worse = read_environment(environ, layer.values)
    layer.cover(env)
    top = Layer()
    for key, value in overrides.items():
        option = key.rpartition(".")[2].replace("_", "-")
        top.put(tuple(key.split(".")), value, Origin(LayerKind.COMMAND_LINE, 0, f"--{option}"))
    layer.cover(top)
    return layer, [*problems, *more, *worse], tuple(notes)


def _name(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def _empty_is_default(value: Plain, node: Node) -> Plain:
    """Let `server:` with nothing below it, as in a commented file, be a group left alone."""
    if node.leaf is not None:
        return value
    if value is None:
        return {}
    if not isinstance(value, dict):
        return value
    if node.map_of is not None:
        inner = Node(group=node.map_of)
        return {key: _empty_is_default(item, inner) for key, item in value.items()}
    parts = dict(children(node.group)) if node.group else {}
    return {
        key: _empty_is_default(item, parts[key]) if key in parts else item
        for key, item in value.items()
    }


def pack(settings: Settings) -> bytes:
    """Return the settings, secrets included, for another process of the tree. Never log it."""
    return json.dumps(settings.model_dump(exclude_unset=True), default=_revealed).encode()


def unpack(data: bytes) -> Settings:
    """Return the settings that `pack` packed."""
    return Settings.model_validate_json(data)


def _revealed(value: object) -> str:
    if isinstance(value, Secret | SecretStr):
        return str(value.get_secret_value())
    raise TypeError(f"{type(value).__name__} in the settings")
