"""`saccade cameras`: add, list and remove cameras; a running server takes them in at once."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from saccade.assemble import Rows, checked_camera
from saccade.cli.options import ConfigOption, JsonOption, print_json, sub_app
from saccade.cli.workplace import DataOption, Workplace
from saccade.errors import Conflict, NotFound
from saccade.storage.catalog import Catalog, PutMode, Shelf
from saccade.types import NAME_PATTERN

app = sub_app()


@app.callback()
def cameras() -> None:
    """Add, list and remove cameras.

    Example:
      saccade cameras add front rtsp://user:password@192.168.1.20/stream1
    """


@app.command()
def add(
    camera_id: Annotated[str, typer.Argument(metavar="ID", help=f"Its id: {NAME_PATTERN}")],
    source: Annotated[str, typer.Argument(help="rtsp://, http(s)://, /dev/videoN, file or folder")],
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    model: Annotated[str | None, typer.Option(help="Which model looks at it.")] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Start a file again at its end.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Add a camera.

    Example:
      saccade cameras add front rtsp://192.168.1.20/stream1 --name "Front door"
    """
    place = Workplace.open(config, data)
    row: dict[str, object] = {"source": source}
    row |= {k: v for k, v in (("name", name), ("model", model)) if v is not None}
    if loop:
        row["loop"] = True
    with place.database() as database:
        desired = place.desired(database)
        if any(c.id == camera_id for c in desired.cameras):
            raise Conflict(
                f"camera {camera_id!r} exists already",
                fix=f"choose another id, or `saccade cameras remove {camera_id}`",
            )
        spec = checked_camera(desired, Rows.read(database), camera_id, row)
        Catalog(database, Shelf.CAMERAS).put(
            camera_id, row, mode=PutMode.CREATE, now_wall=time.time()
        )
    print(f"Added camera {camera_id} ({spec.kind}, {spec.display_url}); {place.taken_in()}")


@app.command(name="list")
def list_cameras(
    config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """List the cameras of the settings and of the database.

    Example:
      saccade cameras list
    """
    place = Workplace.open(config, data)
    with place.database() as database:
        found = place.desired(database).cameras
    if as_json:
        print_json(
            [
                {
                    "id": c.id,
                    "name": c.name,
                    "kind": c.kind,
                    "source": c.display_url,
                    "model": c.model,
                    "origin": c.origin,
                }
                for c in found
            ]
        )
        return
    table = Table("ID", "Name", "Kind", "Source", "Model", "From")
    for camera in found:
        table.add_row(
            camera.id,
            camera.name,
            camera.kind,
            camera.display_url,
            camera.model or "—",
            camera.origin,
        )
    Console().print(table)


@app.command()
def remove(
    camera_id: Annotated[str, typer.Argument(metavar="ID")],
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Remove a camera that was added by this command or the API; its events stay.

    Example:
      saccade cameras remove front
    """
    place = Workplace.open(config, data)
    if camera_id in place.loaded.settings.cameras:
        raise Conflict(
            f"camera {camera_id!r} comes from {place.loaded.path}", fix="take it out there"
        )
    with place.database() as database:
        known = [row.name for row in Catalog(database, Shelf.CAMERAS).list()]
        if camera_id not in known:
            raise NotFound(
                f"no camera is named {camera_id!r}", fix=f"known: {', '.join(known) or 'none'}"
            )
        Catalog(database, Shelf.CAMERAS).delete(camera_id)
    print(f"Removed camera {camera_id}; {place.taken_in()}")
