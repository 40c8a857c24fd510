"""What `saccade check` looks at: each function answers with what it found."""

from __future__ import annotations

import errno
import importlib.util
import os
import socket
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from saccade.cameras.sources import IMAGE_SUFFIXES
from saccade.config import Loaded, Settings, redact_url
from saccade.desired import CameraSpec, Desired, HostSpec, ModelSpec
from saccade.errors import SaccadeError
from saccade.guards.model_files import check_model_file
from saccade.models.onnx_detector import MAX_MODEL_BYTES
from saccade.resolve import is_loopback
from saccade.types import SourceKind

#: Bytes of a Unix socket's path, the end mark left out (unix(7)).
SOCKET_PATH_BYTES = 107


class State(StrEnum):
    """How a finding is."""

    OK = "ok"
    NOTE = "note"  # allowed, and worth knowing
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Args:
        subject: what, as `camera lobby`.
        state: how it is.
        what: one line about it.
        fix: what to do about it, if anything.
    """

    subject: str
    state: State
    what: str
    fix: str = ""


def everything(loaded: Loaded, desired: Desired, available: Sequence[str]) -> Iterator[Finding]:
    """Yield all there is to say of settings that could be read.

    Args:
        loaded: the settings.
        desired: what they resolve to.
        available: onnxruntime's execution providers on this machine.
    """
    yield from settings_file(loaded)
    yield data_folder(Path(desired.data_dir), desired)
    yield from door(loaded.settings)
    yield database(desired.storage.url)
    yield from (host(spec, available) for spec in desired.hosts)
    yield from (model(spec) for spec in desired.models)
    yield from (camera(spec) for spec in desired.cameras)
    if not desired.cameras:
        yield Finding("cameras", State.NOTE, "none: the server answers requests only")
    yield from (
        Finding(f"webhook {hook.name}", State.OK, "its URL is well-formed; it was not called")
        for hook in desired.webhooks
    )


def settings_file(loaded: Loaded) -> Iterator[Finding]:
    """Say which file was read, and whatever is odd about it."""
    if loaded.path is not None:
        yield Finding("settings", State.OK, f"{loaded.path} is right")
    yield from (Finding("settings", State.NOTE, note) for note in loaded.notes)


def data_folder(folder: Path, desired: Desired) -> Finding:
    """Say whether the data folder is there or can be made, and can be written."""
    subject = "data folder"
    names = [*(f"host-{host.name}" for host in desired.hosts), "supervisor"]
    longest = max(len(os.fsencode(f"{desired.run_dir}/{name}.sock")) for name in names)
    if longest > SOCKET_PATH_BYTES:
        return Finding(
            subject,
            State.WRONG,
            f"{folder} makes socket paths of {longest} bytes, at most {SOCKET_PATH_BYTES} work",
            "set `data` to a folder with a shorter path",
        )
    if folder.exists() and not folder.is_dir():
        return Finding(subject, State.WRONG, f"{folder} is not a folder", "set `data` to a folder")
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return Finding(
            subject,
            State.WRONG,
            f"{existing} cannot be written",
            "set `data` to a folder you may write to, or change its owner",
        )
    made = "" if existing == folder else " (will be made)"
    return Finding(subject, State.OK, f"{folder}{made}")


def door(settings: Settings) -> Iterator[Finding]:
    """Say whether the port is free, and whether a key will be needed."""
    host, port = settings.server.host, settings.server.port
    subject, shown = "server", f"{host}:{port}"
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, proto) as probe:
            # As the server binds: a port whose last connections are still closing is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
        yield Finding(subject, State.OK, f"{shown} is free")
    except socket.gaierror:
        yield Finding(subject, State.WRONG, f"{host} is no address of this machine", _HOST_FIX)
    except OSError as error:
        what, fix = _BIND.get(error.errno or 0, (f"cannot be used: {error.strerror}", _HOST_FIX))
        yield Finding(subject, State.WRONG, f"{shown} {what}", fix)
    if not is_loopback(host):
        yield Finding(
            subject,
            State.NOTE,
            f"{host} can be reached from outside, so every request needs a key",
            "make one with `saccade keys create`",
        )


_HOST_FIX = "set `server.host` to 127.0.0.1, 0.0.0.0 or one of this machine's addresses"
_BIND = {
    errno.EADDRINUSE: (
        "is in use",
        "stop what listens there (perhaps saccade itself), or set `server.port`",
    ),
    errno.EACCES: ("needs rights this user has not", "set `server.port` to 1024 or more"),
    errno.EADDRNOTAVAIL: ("is no address of this machine", _HOST_FIX),
}


def database(url: str) -> Finding:
    """Say where facts go, and whether what that needs is installed. It is not connected to."""
    if url.startswith("sqlite"):
        return Finding("database", State.OK, f"SQLite, {url.partition(':///')[2] or 'in memory'}")
    if importlib.util.find_spec("psycopg") is None:
        return Finding(
            "database",
            State.WRONG,
            "PostgreSQL's driver is missing",
            "pip install saccade[postgres]",
        )
    return Finding("database", State.OK, f"{redact_url(url)}; it was not connected to")


def host(spec: HostSpec, available: Sequence[str]) -> Finding:
    """Say whether a host's execution providers are there."""
    subject = f"host {spec.name}"
    missing = [name for name in spec.providers if name not in available]
    if missing:
        return Finding(
            subject,
            State.WRONG,
            f"{', '.join(missing)} is not in this onnxruntime ({', '.join(available)})",
            "install onnxruntime-gpu, or set `providers: [cpu]`",
        )
    return Finding(subject, State.OK, f"{', '.join(spec.providers)}, threads: {spec.threads}")


def model(spec: ModelSpec) -> Finding:
    """Say whether a model's file is there and is an ONNX model. It is not loaded."""
    try:
        check_model_file(Path(spec.path), MAX_MODEL_BYTES)
    except SaccadeError as error:
        return Finding(f"model {spec.name}", State.WRONG, error.what, error.fix)
    labels = f", {len(spec.labels)} labels" if spec.labels else ""
    return Finding(f"model {spec.name}", State.OK, f"{spec.path} is ONNX{labels}")


def camera(spec: CameraSpec) -> Finding:
    """Say whether a camera's file, folder or device is there. Streams are not opened."""
    if spec.kind in {SourceKind.RTSP, SourceKind.HTTP}:
        return _seen_by(spec, f"{spec.display_url} is well-formed; it was not opened")
    trouble = next(_troubles(spec.kind, Path(spec.url)), None)
    if trouble is None:
        return _seen_by(spec, f"{spec.display_url} is there")
    what, fix = trouble
    return Finding(f"camera {spec.id}", State.WRONG, f"{spec.display_url} {what}", fix)


def _troubles(kind: SourceKind, path: Path) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a source on disk, and what to do about it; the first one counts."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        is_missing = isinstance(error, FileNotFoundError)
        yield "is not there" if is_missing else str(error.strerror), "set `source` to what is there"
        return
    if not os.access(path, os.R_OK):
        is_device = stat.S_ISCHR(mode)
        fix = "add this user to the group `video`" if is_device else "let this user read it"
        yield "cannot be read", fix
    if kind is SourceKind.WEBCAM and not stat.S_ISCHR(mode):
        yield "is not a device", "set `source` to a webcam's number"
    if kind is SourceKind.FOLDER and not stat.S_ISDIR(mode):
        yield "is not a folder", "leave out the / at its end"
    elif kind is SourceKind.FOLDER and not any(
        entry.suffix.lower() in IMAGE_SUFFIXES for entry in path.iterdir()
    ):
        yield "holds no pictures", f"put {', '.join(sorted(IMAGE_SUFFIXES))} files in it"
    if kind is SourceKind.FILE and not stat.S_ISREG(mode):
        yield "is not a file", "set `source` to a video"
    elif kind is SourceKind.FILE and path.stat().st_size == 0:
        yield "is empty", "copy the video again"


def _seen_by(spec: CameraSpec, what: str) -> Finding:
    if spec.model is None:
        what = f"{what}; no model looks at it (pictures only)"
        return Finding(f"camera {spec.id}", State.NOTE, what, "set `model` or `inference.model`")
    return Finding(f"camera {spec.id}", State.OK, f"{what}; model {spec.model}")
