"""Write the example files, the table of settings and the JSON Schema from the settings' tree."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from saccade.config.describe import Leaf, children, shown
from saccade.config.groups import CameraDefaults
from saccade.config.tree import CameraEntry, HostEntry, Settings
from saccade.config.variables import ALIASES, NOT_YET, variable_name

SCHEMA_PATH = "docs/saccade.schema.json"

#: One name for each map, and values for keys that have no default.
SAMPLE_NAMES = {"cameras": "lobby", "models": "detector", "hosts": "second", "webhooks": "team"}
SAMPLES = {
    ("cameras", "source"): "rtsp://user:password@192.0.2.10:554/stream1",
    ("models", "path"): "models/detector.onnx",
    ("webhooks", "url"): "https://example.org/hook",
}

WIDTH = 96


def generated_files() -> dict[str, str]:
    """Return the text of every generated file by its path in the repository."""
    return {
        "saccade.yaml.example": yaml_example(SCHEMA_PATH),
        ".env.example": env_example(),
        "docs/settings.md": settings_table(),
        SCHEMA_PATH: schema_text(),
    }


def yaml_example(schema: str) -> str:
    """Return a settings file with every setting, commented out, at its default.

    Args:
        schema: where the file's editor finds the JSON Schema: a path beside it, or a URL.
    """
    lines = [
        f"# yaml-language-server: $schema={schema}",
        "# The settings of saccade. Every line that starts with `#name:` shows a default: take the",
        "# `#` away to change it. An environment variable beats .env, .env beats this file;",
        "# `saccade check` says what is missing, `saccade settings show` what holds.",
        "",
    ]
    for name, node in children(Settings):
        if node.leaf is not None:
            lines += [*_comment(_told(node.leaf), ""), f"#{name}: {shown(node.leaf.default)}", ""]
            continue
        group = node.group or node.map_of
        assert group is not None  # a node is exactly one of the three
        lines += [*_comment(_about(name, group), ""), f"{name}:"]
        indent = "  "
        if node.map_of is not None:
            lines.append(f"  #{SAMPLE_NAMES[name]}:")
            indent = "    "
        for key, leaf in _own_leaves(group):
            default = SAMPLES[name, key] if leaf.is_required else leaf.default
            lines += [*_comment(_told(leaf), indent), f"{indent}#{key}: {shown(default)}"]
        lines.append("")
    return "\n".join(lines)


def uncommented(example: str) -> str:
    """Return the example with every setting in force, for the test that all of it is right."""
    lines = []
    for line in example.splitlines():
        body = line.lstrip()
        is_setting = body.startswith("#") and not body.startswith("# ")
        lines.append(line.replace("#", "", 1) if is_setting else line)
    return "\n".join(lines) + "\n"


def env_example() -> str:
    """Return a `.env` file with every setting, commented out, at its default."""
    lines = [
        "# Settings as environment variables: take the `#` away to change one. They beat",
        "# saccade.yaml. SACCADE_, then group and key joined by two underscores; lists as a, b;",
        "# a camera's, model's, host's or webhook's name in the middle, its - written as _.",
        "",
    ]
    for name, node in children(Settings):
        if node.leaf is not None:
            lines += [*_comment(node.leaf.description, ""), _variable((name,), node.leaf), ""]
            continue
        group = node.group or node.map_of
        assert group is not None
        lines += _comment(f"{name}: {_about(name, group)}", "")
        prefix = (name, SAMPLE_NAMES[name]) if node.map_of is not None else (name,)
        lines += [_variable((*prefix, key), leaf) for key, leaf in _own_leaves(group)]
        lines.append("")
    lines.append("# The same under names that other documents use. The SACCADE_ name wins.")
    lines += [f"#{alias}=  # {'.'.join(path)}" for alias, path in sorted(ALIASES.items())]
    return "\n".join(lines) + "\n"


def settings_table() -> str:
    """Return the documentation of every setting, as Markdown."""
    lines = [
        "# Settings",
        "",
        "<!-- Made by `saccade schema --write .` from src/saccade/config; do not edit. -->",
        "",
        "One setting is looked for in this order: the command line, an environment variable,",
        "`.env`, `saccade.yaml`, its default. `.env` stands beside `saccade.yaml`, and relative",
        "paths start from that folder. `saccade init` writes a file with every setting, `saccade",
        "check` says what is wrong or missing, `saccade settings show` what holds and why.",
        "",
        "A variable's name is `SACCADE_`, then the keys in capitals joined by two underscores:",
        "`server.port` is `SACCADE_SERVER__PORT`, the source of camera `front-door` is",
        "`SACCADE_CAMERAS__FRONT_DOOR__SOURCE`. A list is `a, b`; a group or map can be JSON; an",
        "empty variable counts as not set, `null` as null.",
        "",
        "An unknown key, a key that is there twice, an alias (`*name`) or a value out of bounds",
        "stops the start; every problem is listed with its file and line.",
        "",
    ]
    top = [(name, node.leaf) for name, node in children(Settings) if node.leaf is not None]
    lines += ["## Top level", "", *_table(top), ""]
    for name, node in children(Settings):
        group = node.group or node.map_of
        if group is None:
            continue
        title = f"{name}.<name>" if node.map_of is not None else name
        lines += [f"## `{title}`", "", *textwrap.wrap(_about(name, group), WIDTH), ""]
        lines += [*_table(list(_own_leaves(group)), taken_from=_taken_from(group)), ""]
    lines += [
        "## Names from other documents",
        "",
        "These variables are read too. The `SACCADE_` name wins over them.",
        "",
        "| variable | setting |",
        "|---|---|",
        *(f"| `{alias}` | `{'.'.join(path)}` |" for alias, path in sorted(ALIASES.items())),
        "",
        "These are not read today:",
        "",
        "| variable | instead |",
        "|---|---|",
        *(f"| `{name}` | {instead} |" for name, instead in sorted(NOT_YET.items())),
        "",
        "`SACCADE_CONFIG` names the settings file. `SACCADE_SERVICE_*`, `SACCADE_PORT` and",
        "`SACCADE_PORT_*`, which Kubernetes and Docker make for a service called saccade, are left",
        "alone.",
    ]
    return "\n".join(lines) + "\n"


def schema_text() -> str:
    """Return the JSON Schema of `saccade.yaml`, for editors."""
    schema: dict[str, Any] = Settings.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "saccade.yaml"
    for name, node in children(Settings):
        if node.leaf is None:
            about = schema["properties"][name]
            # A group whose lines are all commented out is null, and that is right.
            about.pop("default", None)
            schema["properties"][name] = {"anyOf": [about, {"type": "null"}]}
    return json.dumps(_one_line_texts(schema), indent=1, sort_keys=True) + "\n"


def _one_line_texts(part: Any) -> Any:
    """Drop the titles pydantic makes of names, and the line breaks of descriptions."""
    if isinstance(part, list):
        return [_one_line_texts(item) for item in part]
    if not isinstance(part, dict):
        return part
    return {
        key: " ".join(value.split())
        if key == "description" and isinstance(value, str)
        else _one_line_texts(value)
        for key, value in part.items()
        if not (key == "title" and isinstance(value, str) and value != "saccade.yaml")
    }


def _own_leaves(group: type[BaseModel]) -> Iterator[tuple[str, Leaf]]:
    """Yield a group's values, without those a camera takes over from `camera`."""
    taken = CameraDefaults.model_fields if group is CameraEntry else {}
    for key, node in children(group):
        if node.leaf is not None and key not in taken:
            yield key, node.leaf


def _taken_from(group: type[BaseModel]) -> str:
    # Every key of a host is a key of `inference`; a camera's own keys have their own defaults.
    return "inference" if group is HostEntry else ""


def _about(name: str, group: type[BaseModel]) -> str:
    return " ".join((Settings.model_fields[name].description or group.__doc__ or "").split())


def _told(leaf: Leaf) -> str:
    unit = f", {leaf.unit}" if leaf.unit else ""
    return f"{leaf.description} ({leaf.allowed}{unit})"


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def _variable(path: tuple[str, ...], leaf: Leaf) -> str:
    sample = SAMPLES.get((path[0], path[-1])) if leaf.is_required else leaf.default
    text = (
        ", ".join(sample) if isinstance(sample, tuple) else "" if sample is None else shown(sample)
    )
    return f"#{variable_name(path)}={text}"


def _table(leaves: list[tuple[str, Leaf]], *, taken_from: str = "") -> list[str]:
    lines = ["| key | default | unit | accepts | what it does |", "|---|---|---|---|---|"]
    for key, leaf in leaves:
        default = "(needed)" if leaf.is_required else f"`{shown(leaf.default)}`"
        default = f"`{taken_from}.{key}`" if taken_from else default
        cells = (f"`{key}`", default, leaf.unit, leaf.allowed, leaf.description)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines
