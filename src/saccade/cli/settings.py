"""`saccade settings`: what holds, and where each value was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

import typer
from pydantic import BaseModel, Secret, SecretStr

from saccade.cli.options import ConfigOption, JsonOption, print_json, sub_app
from saccade.config import Loaded, load
from saccade.config.describe import Location, key_text, shown
from saccade.config.problems import place_of
from saccade.config.secret import STARS

app = sub_app()

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Held:
    """One setting as it holds. A secret is starred already."""

    key: str
    value: str
    origin: str


@app.callback()
def _group() -> None:
    """Show the settings and where they come from.

    Example:
      saccade settings show --changed
    """


@app.command()
def show(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    changed: Annotated[
        bool, typer.Option("--changed", help="Leave out what has its default.")
    ] = False,
) -> None:
    """Show every setting's value and where it comes from; secrets are starred.

    Example:
      saccade settings show
      saccade settings show --changed --config /srv/saccade/saccade.yaml
    """
    loaded = load(config)
    rows = [row for row in held(loaded) if not (changed and row.origin == DEFAULT)]
    if as_json:
        print_json(rows)
        return
    from rich.console import Console  # noqa: PLC0415  --json needs no table
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table("setting", "value", "from", box=None, pad_edge=False)
    for row in rows:
        style = "dim" if row.origin == DEFAULT else ""
        table.add_row(*(Text(cell, style=style) for cell in (row.key, row.value, row.origin)))
    console = Console()
    console.print(table)
    for note in loaded.notes:
        console.print(Text(note))


def held(loaded: Loaded) -> Iterator[Held]:
    """Yield every setting in the order of the documents, maps with the entries they have."""
    places = {location: str(origin) for location, origin in loaded.origins.items()}
    yield from _held((), loaded.settings, places)


def _held(path: Location, group: BaseModel, places: Mapping[Location, str]) -> Iterator[Held]:
    for name in type(group).model_fields:
        value, here = getattr(group, name), (*path, name)
        # What one camera takes over from `camera` is shown there.
        if len(path) == 2 and name not in group.model_fields_set:
            continue
        if isinstance(value, BaseModel):
            yield from _held(here, value, places)
        elif isinstance(value, Mapping):
            for key, entry in value.items():
                yield from _held((*here, key), entry, places)
        else:
            origin = place_of(here, places) if name in group.model_fields_set else ""
            yield Held(key_text(here), _safe(value), origin or DEFAULT)


def _safe(value: object) -> str:
    if isinstance(value, SecretStr):
        return STARS
    return str(value) if isinstance(value, Secret) else shown(value)
