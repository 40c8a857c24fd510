"""`saccade up`: run what the settings and the database say."""

from __future__ import annotations

from typing import Annotated

import typer

from saccade.cli.folder import lock_folder
from saccade.cli.launch import become_supervisor, prepare
from saccade.cli.options import ConfigOption
from saccade.cli.workplace import DataOption, Workplace

PortOption = Annotated[
    int | None, typer.Option("--port", min=1, max=65535, help="Listen here; else server.port.")
]
HostOption = Annotated[
    str | None, typer.Option("--host", help="Bind to this address; else server.host.")
]


def up(
    config: ConfigOption = None,
    port: PortOption = None,
    host: HostOption = None,
    data: DataOption = None,
) -> None:
    """Start the server, its hosts and cameras; Ctrl-C stops them all.

    Example:
      saccade up
      saccade up --config /etc/saccade.yaml --port 9000 --data /srv/saccade
    """
    place = Workplace.open(config, data, overrides(port, host))
    lock = lock_folder(place.data_dir)
    desired = prepare(
        place.loaded.settings, base_dir=place.loaded.base_dir, data_dir=place.data_dir
    )
    for note in place.loaded.notes:
        typer.secho(f"saccade: {note}", fg=typer.colors.YELLOW, err=True)
    if not desired.models:
        print("No model is registered yet: `saccade models add PATH.onnx --name NAME` adds one.")
    if not desired.cameras:
        print("No camera is configured yet: `saccade cameras add ID SOURCE` adds one.")
    become_supervisor(desired, lock)


def overrides(port: int | None, host: str | None) -> dict[str, str | int]:
    """Return what the command line says of the settings."""
    said: dict[str, str | int] = {}
    if port is not None:
        said["server.port"] = port
    if host is not None:
        said["server.host"] = host
    return said
