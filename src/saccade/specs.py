"""Turn one camera, model or host of the settings, or one row of the database, into its spec."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import msgspec
from pydantic import BaseModel, ValidationError

from saccade.config import CameraEntry, HostEntry, ModelEntry, Settings, parse_source
from saccade.config.labels import LabelPresets, read_labels
from saccade.config.problems import row_invalid
from saccade.config.tree import DEFAULT_HOST, NO_MODEL
from saccade.desired import CameraSpec, HostSpec, ModelSpec
from saccade.errors import BadInput
from saccade.types import NAME_PATTERN, CameraId, HostName, ModelName

_log = logging.getLogger(__name__)

#: Execution providers that are a GPU: they gain from batches and need no CPU threads.
GPU_PROVIDERS = frozenset(
    {
        "CUDAExecutionProvider",
        "TensorrtExecutionProvider",
        "ROCMExecutionProvider",
        "MIGraphXExecutionProvider",
    }
)
CPU_PROVIDER = "CPUExecutionProvider"

#: Frames in one inference where nobody says otherwise. A batch gains little on a CPU and waits.
CPU_BATCH, GPU_BATCH = 1, 8


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine offers.

    Args:
        cores: CPU cores this process may use.
        providers: onnxruntime's execution providers.
    """

    cores: int = 1
    providers: tuple[str, ...] = (CPU_PROVIDER,)


Row = Mapping[str, object]
EntryT = TypeVar("EntryT", bound=BaseModel)


def camera_spec(
    id: str,  # noqa: A002  the word of the house
    row: CameraEntry | Row,
    settings: Settings,
    *,
    base_dir: Path,
    origin: str = "database",
) -> CameraSpec:
    """Return one camera as the tree runs it.

    Args:
        id: its id.
        row: its settings, or a row with the same keys. A key it leaves out comes from `camera`
            and `inference`.
        settings: where defaults come from.
        base_dir: what a relative path starts from.
        origin: settings, database or demo.

    Raises:
        BadInput: a key or value of the row is wrong.
    """
    entry = _entry(CameraEntry, row, f"camera {id}", ("cameras", id))
    source = parse_source(entry.source.get_secret_value(), base_dir)
    inference = settings.inference
    contradiction = entry.contradiction(settings.camera)
    if contradiction:
        raise BadInput(f"camera {id}: {contradiction}", fix="change one of the two")
    model = entry.model or inference.model
    skip = inference.frame_skip if entry.frame_skip is None else entry.frame_skip
    spec = CameraSpec(
        id=CameraId(id),
        name=entry.name or id,
        kind=source.kind,
        url=source.url,
        display_url=source.display_url,
        model=ModelName(model) if model and model != NO_MODEL else None,
        frame_skip=skip,
        loop=entry.loop,
        realtime=entry.realtime,
        staleness_seconds=inference.staleness_seconds,
        answer_timeout_seconds=inference.answer_timeout_seconds,
        origin=origin,
        **entry.over(settings.camera),
    )
    return msgspec.structs.replace(spec, revision=_revision(spec))


def model_spec(
    name: str,
    row: ModelEntry | Row,
    settings: Settings,
    *,
    base_dir: Path,
    machine: Machine,
    presets: LabelPresets,
    origin: str = "database",
    sha256: str | None = None,
    hash_file: Callable[[Path], str] | None = None,
) -> ModelSpec:
    """Return one model as the tree runs it.

    Args:
        name: its name.
        row: its settings, or a row with the same keys.
        settings: where defaults come from.
        base_dir: what a relative path starts from.
        machine: decides the batch where nobody sets one.
        presets: label lists by name.
        origin: settings, database or demo.
        sha256: the file's, when it is known already.
        hash_file: answers a file's sha256; None: `sha256_file`.

    Raises:
        BadInput: a key or value of the row is wrong, or its labels cannot be read.
    """
    entry = _entry(ModelEntry, row, f"model {name}", ("models", name))
    path = Path(base_dir, Path(entry.path).expanduser()).absolute()
    host = entry.host
    if host != DEFAULT_HOST and host not in settings.hosts:
        # Only a row of the database can get here: the host was taken out of the settings later.
        _log.warning(
            "a model's host is gone, default takes it", extra={"model": name, "host": host}
        )
        host = DEFAULT_HOST
    providers = _providers(settings, settings.hosts.get(host), machine)
    usual = GPU_BATCH if GPU_PROVIDERS & set(providers) else CPU_BATCH
    width, height = entry.input_size or (0, 0)
    return ModelSpec(
        name=ModelName(name),
        kind=entry.kind,
        path=str(path),
        sha256=(hash_file or sha256_file)(path) if sha256 is None else sha256,
        host=HostName(host),
        family=entry.family,
        labels=read_labels(entry.labels, base_dir=base_dir, presets=presets),
        confidence=_first(entry.confidence, settings.inference.confidence),
        iou=_first(entry.iou, settings.inference.iou),
        input_width=width,
        input_height=height,
        max_batch=entry.max_batch or settings.inference.max_batch or usual,
        origin=origin,
    )


def sha256_file(path: Path) -> str:
    """Return a file's sha256 in hexadecimal, or "" when it cannot be read: loading will say why.

    A file that did not change since is not read again: all models are resolved anew whenever a
    camera is added, and a model can be gigabytes.
    """
    try:
        found = path.stat()
        return _sha256(path, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    except OSError:
        return ""


@lru_cache(maxsize=256)
def _sha256(path: Path, *_version: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def host_spec(name: str, settings: Settings, machine: Machine) -> HostSpec:
    """Return one host as the tree runs it; one the settings do not name has all defaults."""
    entry = settings.hosts.get(name) or HostEntry()
    said = entry.model_fields_set
    inference = settings.inference
    providers = _providers(settings, entry, machine)
    threads = entry.threads or inference.threads
    if threads is None:
        threads = 1 if GPU_PROVIDERS & set(providers) else max(1, machine.cores // 2)
    return HostSpec(
        name=HostName(name),
        providers=providers,
        threads=threads,
        batch_wait_ms=(entry if "batch_wait_ms" in said else inference).batch_wait_ms,
        queue_limit=(entry if "queue_limit" in said else inference).queue_limit,
        hang_seconds=(entry if "hang_seconds" in said else inference).hang_seconds,
    )


def _providers(settings: Settings, entry: HostEntry | None, machine: Machine) -> tuple[str, ...]:
    asked = (entry.providers if entry else None) or settings.inference.providers
    if asked:
        return asked
    cuda = "CUDAExecutionProvider"
    return (cuda, CPU_PROVIDER) if cuda in machine.providers else (CPU_PROVIDER,)


def _entry(kind: type[EntryT], row: EntryT | Row, what: str, place: tuple[str, str]) -> EntryT:
    if isinstance(row, kind):
        return row
    if not re.fullmatch(NAME_PATTERN, place[1]) or place == ("models", NO_MODEL):
        raise BadInput(
            f"{place[1]!r} cannot be the name of a {place[0][:-1]}",
            fix="use a-z, 0-9, - and _, at most 63 characters, a letter or digit first"
            + (f"; {NO_MODEL!r} stands for no model" if place[0] == "models" else ""),
        )
    try:
        return kind.model_validate(row)
    except ValidationError as error:
        raise row_invalid(what, error, prefix=place) from None


def _first(value: float | None, default: float) -> float:
    return default if value is None else value


def _revision(spec: CameraSpec) -> str:
    return hashlib.sha256(msgspec.json.encode(spec)).hexdigest()[:16]
