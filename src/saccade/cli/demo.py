"""`saccade demo`: the recycling kiosk, with cameras and a model of its own."""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from saccade.cli.folder import lock_folder
from saccade.cli.launch import (
    DEMO_PREFIX,
    become_supervisor,
    prepare,
    sweep_demos,
)
from saccade.cli.options import ConfigOption
from saccade.cli.up import HostOption, PortOption, overrides
from saccade.cli.workplace import DataOption
from saccade.config import Loaded, load
from saccade.demo.assets import demo_model_card, demo_model_path
from saccade.demo.clips import render_clip
from saccade.desired import CameraSpec, ModelSpec
from saccade.resolve import DemoParts, camera_spec
from saccade.types import HostName, ModelKind, ModelName

#: id -> (what people call it, the scene's seed). Neither seed was trained or measured on.
CAMERAS: Final = {"intake": ("Kiosk intake", 3), "sorting": ("Sorting belt", 8)}
CLIP_SECONDS: Final = 20.0
MODEL: Final = ModelName("kiosk-demo")


def demo(
    port: PortOption = None,
    host: HostOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Show saccade at work: two cameras at a recycling kiosk, and a small demo model.

    The clips are rendered at the first start. Without --data everything is removed at the end.

    Example:
      saccade demo
      saccade demo --port 9000 --data ./demo
    """
    loaded = _settings(config, overrides(port, host))
    sweep_demos()
    is_temporary = data is None
    folder = Path(tempfile.mkdtemp(prefix=DEMO_PREFIX)) if data is None else data.absolute()
    lock = lock_folder(folder)
    clips = _clips(folder / "demo")
    parts = DemoParts(
        cameras=tuple(_camera(name, clip, loaded) for name, clip in clips.items()),
        models=(demo_model(),),
        remove_data_on_exit=is_temporary,
    )
    desired = prepare(loaded.settings, base_dir=loaded.base_dir, data_dir=folder, demo=parts)
    become_supervisor(desired, lock)


def _settings(config: Path | None, said: dict[str, str | int]) -> Loaded:
    """Load only what is asked for: a saccade.yaml that lies around is not the demo's."""
    if config is not None:
        return load(config, overrides=said)
    with tempfile.TemporaryDirectory(prefix="saccade-empty-") as empty:
        loaded = load(None, folder=Path(empty), overrides=said)
    return Loaded(loaded.settings, None, Path.cwd(), loaded.origins, loaded.notes)


def _clips(folder: Path) -> dict[str, Path]:
    """Return the clips, rendered where they are not there yet, both at once."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.mp4" for name in CAMERAS}
    missing = {name: path for name, path in paths.items() if not path.exists()}
    if not missing:
        return paths
    began_at = time.monotonic()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
    )
    with (
        Progress(*columns, console=Console(stderr=True), transient=True) as bar,
        ThreadPoolExecutor(max_workers=len(missing)) as pool,
    ):
        jobs = []
        for name, path in missing.items():
            task = bar.add_task(f"Rendering {CAMERAS[name][0]}", total=1.0)
            jobs.append(
                pool.submit(
                    render_clip,
                    path,
                    seed=CAMERAS[name][1],
                    seconds=CLIP_SECONDS,
                    progress=partial(_advance, bar, task),
                )
            )
        for job in jobs:
            job.result()
    print(f"Rendered {len(missing)} clips in {time.monotonic() - began_at:.1f} s.")
    return paths


def _advance(bar: Progress, task: TaskID, share: float) -> None:
    bar.update(task, completed=share)


def _camera(name: str, clip: Path, loaded: Loaded) -> CameraSpec:
    row = {"source": str(clip), "name": CAMERAS[name][0], "model": MODEL, "loop": True}
    return camera_spec(name, row, loaded.settings, base_dir=loaded.base_dir, origin="demo")


def demo_model() -> ModelSpec:
    """Return the demo model as the tree runs it."""
    card = demo_model_card()
    spec = ModelSpec(
        name=MODEL,
        kind=ModelKind.DETECTOR,
        path=os.fspath(demo_model_path()),
        sha256=card.sha256,
        host=HostName("default"),
        family="yolo",
        labels=card.classes,
        confidence=0.35,
        demo=True,
        origin="demo",
    )
    return msgspec.structs.replace(
        spec, input_width=card.input_width, input_height=card.input_height
    )
