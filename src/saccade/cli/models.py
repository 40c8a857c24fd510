"""`saccade models`: add, list, pull and remove models."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Annotated

import httpx
import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn
from rich.table import Table

from saccade.cli.options import ConfigOption, JsonOption, print_json, sub_app
from saccade.cli.workplace import DataOption, Workplace
from saccade.desired import ModelSpec
from saccade.errors import BadInput, Conflict, NotFound
from saccade.guards.model_files import sha256_of
from saccade.models.adapter import open_adapter
from saccade.models.catalogue import find, load_catalogue, pull
from saccade.models.labels import PRESETS
from saccade.resolve import Machine, model_spec
from saccade.storage.catalog import Catalog, PutMode, Shelf
from saccade.types import ModelKind

app = sub_app()

_CPU = ("CPUExecutionProvider",)


@app.callback()
def models() -> None:
    """Add, list, pull and remove models.

    Example:
      saccade models add yolo11n.onnx --kind detector --labels coco --name yolo11n
    """


@app.command()
def add(
    path: Annotated[Path, typer.Argument(help="The ONNX file; it is copied to the data folder.")],
    name: Annotated[str | None, typer.Option(help="Its name; else the file's.")] = None,
    kind: Annotated[ModelKind, typer.Option(help="What it answers.")] = ModelKind.DETECTOR,
    labels: Annotated[str | None, typer.Option(help="coco, or a file with its classes.")] = None,
    family: Annotated[str, typer.Option(help="auto, yolo, yolo_end2end or yolox.")] = "auto",
    confidence: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    iou: Annotated[float | None, typer.Option(min=0, max=1)] = None,
    input_size: Annotated[str | None, typer.Option(help="640 or 640x480.")] = None,
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Register a model after loading it and proving it with one inference.

    Example:
      saccade models add yolo11n.onnx --kind detector --labels coco --name yolo11n
    """
    place = Workplace.open(config, data)
    chosen = name or path.stem.lower().replace(".", "-").replace(" ", "-")
    said = {"labels": labels, "confidence": confidence, "iou": iou, "input_size": input_size}
    row: dict[str, object] = {"path": str(path.absolute()), "kind": str(kind), "family": family}
    row |= {key: value for key, value in said.items() if value is not None}
    _add(place, chosen, row)


@app.command(name="list")
def list_models(
    config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False
) -> None:
    """List the registered models.

    Example:
      saccade models list
    """
    place = Workplace.open(config, data)
    with place.database() as database:
        found = place.desired(database).models
    if as_json:
        print_json([_shown(spec) for spec in found])
        return
    table = Table("Name", "Kind", "Family", "Labels", "File", "From")
    for spec in found:
        table.add_row(
            spec.name,
            spec.kind,
            spec.family,
            str(len(spec.labels)) if spec.labels else "from the file",
            spec.path,
            spec.origin,
        )
    Console().print(table)


@app.command()
def catalogue(as_json: JsonOption = False) -> None:
    """List the models that `pull` can download, with their licences.

    Example:
      saccade models catalogue
    """
    entries = load_catalogue()
    if as_json:
        print_json(entries)
        return
    table = Table("Name", "Kind", "Licence", "Megabytes", "Notes")
    for entry in entries:
        size = "—" if entry.size_bytes is None else f"{entry.size_bytes / 1e6:.1f}"
        table.add_row(entry.name, entry.kind, entry.licence, size, entry.notes)
    Console().print(table)


@app.command(name="pull")
def pull_model(name: str, config: ConfigOption = None, data: DataOption = None) -> None:
    """Download a model of the catalogue and register it. An interrupted download is resumed.

    Example:
      saccade models pull yolox_nano
    """
    place = Workplace.open(config, data)
    entry = find(name)
    if entry.kind not in set(ModelKind):
        raise BadInput(
            f"{name} is a {entry.kind}, which this version does not run",
            fix="`saccade models catalogue` lists the others",
        )
    print(f"{entry.name}: licence {entry.licence} ({entry.licence_url})")
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn())
    mirror = place.loaded.settings.catalogue.mirror
    with (
        httpx.Client(follow_redirects=True, timeout=30.0) as client,
        Progress(*columns, console=Console(stderr=True), transient=True) as bar,
    ):
        task = bar.add_task("", total=entry.size_bytes)
        path = pull(
            entry,
            place.data_dir / "pulled",
            None if mirror is None else mirror.get_secret_value(),
            client=client,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    row: dict[str, object] = {"path": str(path), "kind": entry.kind}
    row |= {"family": entry.family} if entry.family else {}
    row |= {"labels": entry.labels} if entry.labels else {}
    _add(place, name, row)


@app.command()
def remove(name: str, config: ConfigOption = None, data: DataOption = None) -> None:
    """Take a model out of the registry and delete the copy of its file.

    Example:
      saccade models remove yolo11n
    """
    place = Workplace.open(config, data)
    if name in place.loaded.settings.models:
        raise Conflict(f"model {name!r} comes from {place.loaded.path}", fix="take it out there")
    with place.database() as database:
        shelf = Catalog(database, Shelf.MODELS)
        known = {row.name: row.spec for row in shelf.list()}
        if name not in known:
            raise NotFound(
                f"no model is named {name!r}", fix=f"known: {', '.join(known) or 'none'}"
            )
        users = [
            c.id
            for c in place.desired(database).cameras
            if c.model == name and place.loaded.settings.inference.model != name
        ]
        shelf.delete(name)
    file = Path(str(known[name]["path"]))
    if file.is_relative_to(place.data_dir):
        file.unlink(missing_ok=True)
    print(f"Removed model {name}; {place.taken_in()}")
    if users:
        print(f"These cameras used it: {', '.join(users)}")


def _add(place: Workplace, name: str, row: dict[str, object]) -> None:
    """Check, prove, copy, store: in this order, so that a failure leaves nothing behind."""
    settings = place.loaded.settings
    spec = model_spec(
        name, row, settings, base_dir=Path.cwd(), machine=Machine(), presets=PRESETS, sha256=""
    )
    with place.database() as database:
        shelf = Catalog(database, Shelf.MODELS)
        if name in settings.models or any(r.name == name for r in shelf.list()):
            raise Conflict(
                f"model {name!r} exists already",
                fix=f"choose another --name, or `saccade models remove {name}`",
            )
        proved = _prove(spec)
        source = Path(spec.path)
        target = place.data_dir / "models" / f"{sha256_of(source)[:16]}-{name}.onnx"
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(".part")
        shutil.copyfile(source, part)
        part.replace(target)
        if spec.labels:  # the names themselves: a label file may be gone tomorrow
            row = {**row, "labels": list(spec.labels)}
        shelf.put(name, {**row, "path": str(target)}, mode=PutMode.CREATE, now_wall=time.time())
    print(f"Added model {name}: {proved}; {place.taken_in()}")


def _prove(spec: ModelSpec) -> str:
    from saccade.engine.readiness import PROBE_SEED, probe_frames, prove_ready  # noqa: PLC0415

    adapter = open_adapter(spec, _CPU, 1)
    adapter.load()
    try:
        seconds = prove_ready(
            adapter, probe_frames(adapter.input.height, adapter.input.width, seed=PROBE_SEED)
        )
        size = f"{adapter.input.width}x{adapter.input.height}"
        return (
            f"{adapter.family}, input {size}, {len(adapter.labels)} labels, "
            f"{seconds * 1000:.0f} ms for one picture on this CPU"
        )
    finally:
        adapter.unload()


def _shown(spec: ModelSpec) -> dict[str, object]:
    return {
        key: value for key, value in msgspec.to_builtins(spec).items() if key not in {"labels"}
    } | {"labels": len(spec.labels)}
