"""Say what the settings hold and accept, in words: for error messages and for the documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import annotated_types as at
from pydantic import BaseModel, Secret, SecretStr
from pydantic.fields import FieldInfo

from saccade.config.groups import Hint, Unit
from saccade.config.secret import SecretUrl
from saccade.config.tree import Settings

#: Stands for a name in a map, as in `cameras.<name>.source`.
ANY_NAME = "<name>"

#: The keys that lead to a setting, from the top; a number is a place in a list.
Location = tuple[str | int, ...]


class Secrecy(IntEnum):
    """How much of a value is secret."""

    NONE = 0
    LOGIN = 1  # a URL: the part `redact_url` hides
    ALL = 2


@dataclass(frozen=True, slots=True)
class Leaf:
    """One setting that holds a value.

    Args:
        allowed: what it accepts, in words.
        unit: what its number counts, or empty.
        description: one paragraph.
        default: its default; meaningless when `is_required`.
        secrecy: how much of its value may be shown.
    """

    allowed: str
    unit: str
    description: str
    default: object
    is_required: bool
    secrecy: Secrecy


@dataclass(frozen=True, slots=True)
class Node:
    """What stands at a path: exactly one of a group, a map of groups, or a value."""

    group: type[BaseModel] | None = None
    map_of: type[BaseModel] | None = None
    leaf: Leaf | None = None


def children(group: type[BaseModel]) -> Iterator[tuple[str, Node]]:
    """Yield what a group holds, in the order it was written."""
    for name, field in group.model_fields.items():
        yield name, _node(field)


def node_at(path: Location) -> Node | None:
    """Return what the settings have at `path`, or None where they have nothing."""
    node = Node(group=Settings)
    for key in path:
        if node.map_of is not None:
            node = Node(group=node.map_of)
        elif node.group is not None:
            field = node.group.model_fields.get(str(key))
            if field is None:
                return None
            node = _node(field)
        # else: inside a value, such as an element of a list
    return node


def leaf_paths() -> Iterator[tuple[tuple[str, ...], Leaf]]:
    """Yield every value of the tree with its path; a map's name is `ANY_NAME`."""
    yield from _leaves((), Settings)


def _leaves(
    prefix: tuple[str, ...], group: type[BaseModel]
) -> Iterator[tuple[tuple[str, ...], Leaf]]:
    for name, node in children(group):
        if node.leaf is not None:
            yield (*prefix, name), node.leaf
        elif node.group is not None:
            yield from _leaves((*prefix, name), node.group)
        elif node.map_of is not None:
            yield from _leaves((*prefix, name, ANY_NAME), node.map_of)


def key_text(path: Location) -> str:
    """Return a path as it is written in messages: `server.allowed_hosts[0]`."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


def shown(value: object) -> str:
    """Return a plain value the way YAML writes it, on one line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(shown(item) for item in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _node(field: FieldInfo) -> Node:
    annotation = field.annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return Node(group=annotation)
    origin = get_origin(annotation)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return Node(map_of=get_args(annotation)[1])
    return Node(leaf=_leaf(field))


def _leaf(field: FieldInfo) -> Leaf:
    kinds, marks = _unwrap(field.annotation, list(field.metadata))
    units = [mark.name for mark in marks if isinstance(mark, Unit)]
    return Leaf(
        allowed=_allowed(kinds, marks),
        unit=units[0] if units else "",
        description=" ".join((field.description or "").split()),
        default=field.default,
        is_required=field.is_required(),
        secrecy=max(map(_secrecy, kinds)),
    )


def _secrecy(kind: Any) -> Secrecy:
    if isinstance(kind, type) and issubclass(kind, Secret | SecretStr):
        return Secrecy.LOGIN if issubclass(kind, SecretUrl) else Secrecy.ALL
    return Secrecy.NONE


def _unwrap(annotation: Any, marks: list[object]) -> tuple[list[Any], list[object]]:
    """Take apart `Annotated` and unions, keeping what was written beside the types."""
    if get_origin(annotation) in {Union, UnionType}:
        kinds: list[Any] = []
        for part in get_args(annotation):
            inner, marks = _unwrap(part, marks)
            kinds += inner
        return kinds, marks
    if hasattr(annotation, "__metadata__"):
        return _unwrap(annotation.__origin__, [*marks, *_flat(annotation.__metadata__)])
    return [annotation], marks


def _flat(metadata: tuple[object, ...]) -> list[object]:
    """Replace a nested `Field(...)` by the bounds it holds."""
    return [
        mark
        for item in metadata
        for mark in (item.metadata if isinstance(item, FieldInfo) else [item])
    ]


def _allowed(kinds: list[Any], marks: list[object]) -> str:
    hints = [mark.text for mark in marks if isinstance(mark, Hint)]
    texts = hints[:1] or [_type_text(kind, marks) for kind in kinds if kind is not NoneType]
    return " or ".join([*texts, *(["null"] if NoneType in kinds else [])])


def _type_text(kind: Any, marks: list[object]) -> str:
    if kind is bool:
        return "true or false"
    if kind in {int, float}:
        return ("a whole number" if kind is int else "a number") + _bounds(marks)
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "one of " + ", ".join(str(member.value) for member in kind)
    return "text"


def _bounds(marks: list[object]) -> str:
    least = [f"from {mark.ge:g}" for mark in marks if isinstance(mark, at.Ge)]
    above = [f"above {mark.gt:g}" for mark in marks if isinstance(mark, at.Gt)]
    most = [f"{mark.le:g}" for mark in marks if isinstance(mark, at.Le)]
    if least and most:
        return f" {least[0]} to {most[0]}"
    if above and most:
        return f" {above[0]}, at most {most[0]}"
    return "".join(f" {bound}" for bound in least + above)
