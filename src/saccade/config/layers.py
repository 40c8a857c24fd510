"""Lay sources of settings over each other, remembering where each value was written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from saccade.config.describe import Location

#: A value as YAML or JSON gives it: nothing richer comes out of a file.
Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]


class LayerKind(IntEnum):
    """The sources, weakest first."""

    DEFAULT = 0
    YAML = 1
    DOTENV = 2
    ENVIRONMENT = 3
    COMMAND_LINE = 4


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """Where a value was written.

    Args:
        kind: which source.
        line: line in the file, from 1; 0 where there is none.
        where: the same for people: `saccade.yaml:12`, `environment SACCADE_DATA`.
    """

    kind: LayerKind
    line: int
    where: str

    def __str__(self) -> str:
        return self.where


@dataclass(slots=True)
class Layer:
    """What one source says, and where it says it."""

    values: dict[str, Plain] = field(default_factory=dict)
    places: dict[Location, Origin] = field(default_factory=dict)

    def put(self, path: tuple[str, ...], value: Plain, origin: Origin) -> None:
        """Set one value; groups on the way are made, and `value` may itself be a group."""
        here = self.values
        for depth, key in enumerate(path[:-1], start=1):
            self.places.setdefault(path[:depth], origin)
            inner = here.get(key)
            if not isinstance(inner, dict):
                inner = here[key] = {}
            here = inner
        here[path[-1]] = value
        self._mark(path, value, origin)

    def _mark(self, path: tuple[str, ...], value: Plain, origin: Origin) -> None:
        self.places[path] = origin
        if isinstance(value, dict):
            for key, inner in value.items():
                self._mark((*path, key), inner, origin)

    def cover(self, above: Layer) -> None:
        """Let `above` win wherever both say something; groups are merged key by key."""
        _merge(self.values, above.values)
        self.places.update(above.places)


def _merge(below: dict[str, Plain], above: Mapping[str, Plain]) -> None:
    for key, value in above.items():
        old = below.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            _merge(old, value)
        else:
            below[key] = value
