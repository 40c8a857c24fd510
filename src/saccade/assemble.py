"""Joins the settings with what the database holds into what the tree is told to run.

Used when the tree starts (`saccade up`) and by the server whenever a camera or model is added,
changed or removed: one way from rows to processes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from saccade.config import Settings, pack, unpack
from saccade.desired import CameraSpec, Desired, ModelSpec
from saccade.errors import BadInput
from saccade.models.labels import PRESETS
from saccade.resolve import DemoParts, Machine, Row, camera_spec, resolve
from saccade.storage.catalog import Catalog, Shelf
from saccade.storage.database import Database


@dataclass(frozen=True, slots=True)
class Rows:
    """What was added by the API or the command line."""

    cameras: Mapping[str, Row]
    models: Mapping[str, Row]

    @classmethod
    def read(cls, database: Database) -> Rows:
        """Read both shelves."""
        return cls(
            {row.name: row.spec for row in Catalog(database, Shelf.CAMERAS).list()},
            {row.name: row.spec for row in Catalog(database, Shelf.MODELS).list()},
        )


def this_machine(providers: tuple[str, ...]) -> Machine:
    """Return what this machine offers to hosts.

    Args:
        providers: ONNX Runtime's execution providers (`onnxruntime.get_available_providers`).
    """
    return Machine(cores=len(os.sched_getaffinity(0)), providers=providers)


def assemble(
    settings: Settings,
    rows: Rows,
    *,
    base_dir: Path,
    data_dir: Path,
    machine: Machine,
    demo: DemoParts | None = None,
) -> Desired:
    """Return everything the supervisor needs to know.

    A camera that names no model gets `inference.model`, or else the first model there is: with one
    model, nobody should have to say which.

    Raises:
        SettingsProblems, BadInput, Conflict: as `resolve` says.
    """
    desired = resolve(
        with_default_model(settings, rows, demo),
        base_dir=base_dir,
        data_dir=data_dir,
        machine=machine,
        presets=PRESETS,
        cameras=rows.cameras,
        models=rows.models,
        demo=demo,
    )
    return msgspec.structs.replace(
        desired,
        settings=pack(settings),
        base_dir=str(base_dir),
        cores=machine.cores,
        providers=machine.providers,
    )


def reassemble(
    desired: Desired, rows: Rows
) -> tuple[tuple[CameraSpec, ...], tuple[ModelSpec, ...]]:
    """Return the cameras and models that should run, with the rows as they are now."""
    fresh = assemble(
        unpack(desired.settings),
        rows,
        base_dir=Path(desired.base_dir),
        data_dir=Path(desired.data_dir),
        machine=Machine(desired.cores, desired.providers),
        demo=_demo_parts(desired),
    )
    return fresh.cameras, fresh.models


def checked_camera(desired: Desired, rows: Rows, camera_id: str, row: Row) -> CameraSpec:
    """Return a camera's spec if its row is right.

    Raises:
        BadInput: a key or value is wrong, or its model does not exist.
    """
    settings = with_default_model(unpack(desired.settings), rows, _demo_parts(desired))
    spec = camera_spec(camera_id, row, settings, base_dir=Path(desired.base_dir))
    known = {*settings.models, *rows.models, *(m.name for m in desired.models)}
    if spec.model is not None and spec.model not in known:
        raise BadInput(
            f"camera {camera_id}: no model is named {spec.model!r}",
            fix=f"known models: {', '.join(sorted(known)) or 'none'}",
        )
    return spec


def with_default_model(settings: Settings, rows: Rows, demo: DemoParts | None) -> Settings:
    """Return the settings with `inference.model` filled in, when there is a model."""
    if settings.inference.model:
        return settings
    names = [*settings.models, *rows.models, *(str(m.name) for m in (demo.models if demo else ()))]
    if not names:
        return settings
    inference = settings.inference.model_copy(update={"model": names[0]})
    return settings.model_copy(update={"inference": inference})


def _demo_parts(desired: Desired) -> DemoParts | None:
    if not desired.demo:
        return None
    return DemoParts(
        cameras=tuple(c for c in desired.cameras if c.origin == "demo"),
        models=tuple(m for m in desired.models if m.origin == "demo"),
        remove_data_on_exit=desired.remove_data_on_exit,
    )
