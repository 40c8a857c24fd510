"""`saccade init`: write the settings file a person starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from saccade.config import FILE_NAME
from saccade.config.generate import schema_text, yaml_example
from saccade.errors import BadInput, Conflict

#: Read by editors, so that they complete and check what is typed.
SCHEMA_NAME = "saccade.schema.json"


def init(
    folder: Annotated[
        Path, typer.Argument(help="Where to write; made if it is not there.", show_default=False)
    ] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
) -> None:
    """Write a saccade.yaml with every setting, explained and commented out.

    Beside it goes saccade.schema.json, with which editors complete and check what you type.

    Example:
      saccade init
      saccade init /srv/saccade --force
    """
    path = folder / FILE_NAME
    if path.exists() and not force:
        raise Conflict(f"{path} is there already", fix="edit it, or overwrite it with --force")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SCHEMA_NAME).write_text(schema_text(), encoding="utf-8")
        path.write_text(yaml_example(SCHEMA_NAME), encoding="utf-8")
    except OSError as error:
        raise BadInput(
            f"{error.filename or folder} cannot be written: {error.strerror}",
            fix="choose a folder you may write to",
        ) from None
    print(f"Wrote {path}. Every setting in it is at its default.")
    print("Next: put a camera and a model in it, then run `saccade check` and `saccade up`.")
