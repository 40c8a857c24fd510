"""Read a YAML file safely: bounded, without surprises, with the line of every key."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from saccade.config.describe import key_text
from saccade.config.layers import Layer, LayerKind, Origin, Plain
from saccade.config.problems import Problem, SettingsProblems

#: A file larger than this is not a settings file.
MAX_FILE_BYTES = 1024 * 1024
#: Groups inside groups; the settings need four.
MAX_DEPTH = 20

_SPACES = re.compile(r"\s+")


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core scalars: `no` and `on` are words, `1:30` and dates are text.

    Source: https://yaml.org/spec/1.2.2/#103-core-schema. PyYAML follows 1.1, where a camera
    called `no` becomes false.
    """

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        mark: yaml.Mark = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise yaml.MarkedYAMLError(
                problem=f"aliases (*{event.anchor}) are not read: `camera` and `inference` hold "
                "what several cameras share",
                problem_mark=mark,
            )
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(
                problem=f"more than {MAX_DEPTH} levels",
                problem_mark=mark,
            )
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


# The inherited table is YAML 1.1's; `add_implicit_resolver` below fills a new one.
_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^[-+]?[0-9]+$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


def read_yaml(path: Path, *, name: str) -> tuple[Layer, list[Problem]]:
    """Return what a settings file says, and what is wrong with how it says it.

    Args:
        path: the file.
        name: what to call it in messages.

    Raises:
        SettingsProblems: it cannot be read, is too large, is not UTF-8, or is not a YAML mapping.
    """
    root = _compose(_text(path, name), name)
    layer, problems = Layer(), list[Problem]()
    if root is None or root.tag == "tag:yaml.org,2002:null":
        return layer, problems
    if not isinstance(root, yaml.MappingNode):
        kind = "a list" if isinstance(root, yaml.SequenceNode) else "a single value"
        raise _unreadable(name, root.start_mark, f"the file is {kind}: must be `key: value` lines")
    reader = _Reader(name, layer, problems)
    layer.values = reader.mapping(root, ())
    return layer, problems


def _text(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        what = error.strerror or type(error).__name__
        raise SettingsProblems([Problem(name, "", f"cannot be read: {what}")]) from None
    if len(data) > MAX_FILE_BYTES:
        what = f"the file is larger than {MAX_FILE_BYTES // 1024} KiB"
        raise SettingsProblems([Problem(name, "", what)])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = f"byte 0x{data[error.start]:02x} is not UTF-8: save the file as UTF-8"
        raise SettingsProblems([Problem(f"{name}:{line}", "", what)]) from None


def _compose(text: str, name: str) -> yaml.Node | None:
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"character #x{error.character:04x} is not allowed in YAML"
        raise SettingsProblems([Problem(f"{name}:{line}", "", what)]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise _unreadable(name, mark, _SPACES.sub(" ", what)) from None


def _unreadable(name: str, mark: yaml.Mark | None, what: str) -> SettingsProblems:
    where = f"{name}:{mark.line + 1}" if mark else name
    return SettingsProblems([Problem(where, "", what)])


class _Reader:
    """Turns nodes into plain values, noting lines and whatever is wrong."""

    def __init__(self, name: str, layer: Layer, problems: list[Problem]) -> None:
        self._name, self._layer, self._problems = name, layer, problems
        self._scalars = yaml.constructor.SafeConstructor()

    def mapping(self, node: yaml.MappingNode, path: tuple[str | int, ...]) -> dict[str, Plain]:
        values: dict[str, Plain] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(line, path, "a key must be a word")
                continue
            # The text as written: a camera may be called 1 or true.
            key, here = key_node.value, (*path, key_node.value)
            if key in values:
                self._problem(
                    line, (), f"{key_text(here)} is already set in line {lines[key]}: keep one"
                )
                continue
            lines[key] = line
            self._layer.places[here] = Origin(LayerKind.YAML, line, f"{self._name}:{line}")
            values[key] = self._value(value_node, here)
        return values

    def _value(self, node: yaml.Node, path: tuple[str | int, ...]) -> Plain:
        line = node.start_mark.line + 1
        if path and isinstance(path[-1], int):
            self._layer.places[path] = Origin(LayerKind.YAML, line, f"{self._name}:{line}")
        if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            try:
                return self._scalar(node)
            except (yaml.YAMLError, ValueError):
                pass
        tag = node.tag.replace("tag:yaml.org,2002:", "!!")
        self._problem(line, path, f"{key_text(path)}: the tag {tag} is not read")
        return None

    def _scalar(self, node: yaml.ScalarNode) -> Plain:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if kind == "int":
            return int(node.value)  # 010 is ten, as YAML 1.2 has it
        if kind in {"str", "bool", "float", "null"}:
            value: Plain = self._scalars.construct_object(node)
            return value
        raise ValueError(kind)

    def _problem(self, line: int, path: tuple[str | int, ...], what: str) -> None:
        self._problems.append(Problem(f"{self._name}:{line}", key_text(path), what))
