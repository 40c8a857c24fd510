"""`saccade schema`: the settings' JSON Schema, and the files that are made from the same tree."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from saccade.config.generate import (
    SCHEMA_PATH,
    env_example,
    generated_files,
    schema_text,
    settings_table,
    yaml_example,
)


class Format(StrEnum):
    """What `saccade schema` can print."""

    JSON = "json"
    YAML = "yaml"
    ENV = "env"
    MARKDOWN = "markdown"


def schema(
    form: Annotated[
        Format,
        typer.Option(
            "--format", help="json: JSON Schema; yaml, env: example files; markdown: the table."
        ),
    ] = Format.JSON,
    write: Annotated[
        Path | None,
        typer.Option(
            "--write", metavar="FOLDER", help="Write all four to their places in a source tree."
        ),
    ] = None,
) -> None:
    """Print the JSON Schema of saccade.yaml, or another description of all settings.

    Example:
      saccade schema > saccade.schema.json
      saccade schema --format markdown
      saccade schema --write .
    """
    if write is not None:
        for name, text in generated_files().items():
            path = write / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(path)
        return
    makers = {
        Format.JSON: schema_text,
        Format.YAML: lambda: yaml_example(SCHEMA_PATH),
        Format.ENV: env_example,
        Format.MARKDOWN: settings_table,
    }
    print(makers[form](), end="")
