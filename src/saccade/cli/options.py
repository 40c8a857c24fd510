"""What commands share: options, and the way out to the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import msgspec
import typer

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="The settings file; else $SACCADE_CONFIG, else ./saccade.yaml if there is one.",
    ),
]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def sub_app() -> typer.Typer:
    """Return an application for a command that has sub-commands.

    Give it a function marked `@app.callback()`: its docstring is the command's help.
    """
    return typer.Typer(no_args_is_help=True, rich_markup_mode=None, add_completion=False)


def print_json(value: object) -> None:
    """Print plain values, dataclasses or msgspec structs as JSON."""
    print(json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=False))
