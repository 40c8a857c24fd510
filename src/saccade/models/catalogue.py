"""The models that may be pulled by name: where they are, under which licence, with which hash."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import msgspec

from saccade.errors import ModelFileInvalid, NotFound
from saccade.guards.model_files import check_model_file, sha256_of
from saccade.models.download import Progress, download, locked_part, no_progress, shown
from saccade.models.onnx_graph import Family
from saccade.types import ModelKind

#: The most a pulled file may have where the catalogue does not know its size.
DEFAULT_MAX_BYTES = 1024**3


class CatalogueEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model of the catalogue. `sha256` and `size_bytes` are None when not known for certain."""

    name: str
    kind: ModelKind
    family: Family
    labels: str
    url: str
    size_bytes: int | None
    sha256: str | None
    licence: str
    licence_url: str
    notes: str

    @property
    def file_name(self) -> str:
        """What the file is called in the models folder."""
        return f"{self.name}.onnx"


class _Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    models: tuple[CatalogueEntry, ...]


class Pulled(msgspec.Struct, frozen=True):
    """What is recorded of a file at its first download, in `<name>.pulled.json` beside it."""

    sha256: str
    size_bytes: int
    url: str
    licence: str


def load_catalogue() -> tuple[CatalogueEntry, ...]:
    """Return the catalogue this version of saccade ships."""
    data = resources.files("saccade.models").joinpath("catalogue.yaml").read_bytes()
    return msgspec.yaml.decode(data, type=_Catalogue).models


def find(name: str) -> CatalogueEntry:
    """Return the entry with a name.

    Raises:
        NotFound: there is none.
    """
    entries = load_catalogue()
    for entry in entries:
        if entry.name == name:
            return entry
    raise NotFound(
        f"the catalogue has no model {name!r}",
        fix=f"use one of {', '.join(entry.name for entry in entries)}",
    )


def mirrored(url: str, mirror: str | None) -> str:
    """Return where to download from: the URL, its scheme and host replaced by a mirror's prefix."""
    if not mirror:
        return url
    parts = urlsplit(url)
    return mirror.rstrip("/") + parts.path + (f"?{parts.query}" if parts.query else "")


def pull(
    name: str | CatalogueEntry,
    folder: Path,
    mirror: str | None = None,
    *,
    client: httpx.Client,
    max_bytes: int = DEFAULT_MAX_BYTES,
    progress: Progress = no_progress,
) -> Path:
    """Return the file of a catalogue model, downloading it if the folder has it not yet.

    An interrupted download is resumed by the next call. The file appears under its name only when
    it is whole and its hash is right. Where the catalogue knows no hash, the first one seen is
    recorded beside the file and enforced from there on.

    Args:
        name: of the entry, or an entry.
        folder: the models folder; made if missing.
        mirror: a URL prefix that stands for "https://host" of every download.
        client: makes the requests; its timeouts and proxies hold.
        max_bytes: the most that is taken when the catalogue does not know the size.
        progress: called with (bytes so far, bytes in all or None).

    Raises:
        NotFound: the catalogue has no such model.
        NetworkUnreachable: it could not be downloaded.
        ModelFileInvalid: what came, or what is there, is not the model or not that of the first
            time.
        TooLarge: more came than allowed.
        Conflict: another process is pulling it.
        DataFolderUnusable: the disk refuses.
    """
    entry = name if isinstance(name, CatalogueEntry) else find(name)
    path, record = folder / entry.file_name, folder / f"{entry.name}.pulled.json"
    expected = entry.sha256 or _recorded(record)
    if path.exists():
        _check_hash(path.name, sha256_of(path), expected)
        return path
    url = mirrored(entry.url, mirror)
    limit = entry.size_bytes or max_bytes
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{entry.file_name}.part"
    with locked_part(part) as file:
        sha256 = download(url, file, client=client, max_bytes=limit, progress=progress)
        try:
            _check_hash(shown(url), sha256, expected)
            check_model_file(part, limit)
        except ModelFileInvalid:
            part.unlink()  # resuming it could not make it right
            raise
        pulled = Pulled(sha256, part.stat().st_size, shown(url), entry.licence)
        # The record first: a kill in between leaves a record without a file, which only means that
        # the next download is held to it.
        _write(record, msgspec.json.format(msgspec.json.encode(pulled)))
        part.replace(path)
    return path


def _recorded(record: Path) -> str | None:
    try:
        return msgspec.json.decode(record.read_bytes(), type=Pulled).sha256
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise ModelFileInvalid(
            f"the record {record} is damaged, so the model's hash is not known",
            fix="delete it if you trust the source of the model",
        ) from error


def _write(path: Path, data: bytes) -> None:
    """Write a small file whole or not at all."""
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _check_hash(what: str, got: str, expected: str | None) -> None:
    if expected is not None and got != expected:
        raise ModelFileInvalid(
            f"{what} has SHA-256 {got}, expected is {expected}",
            fix="the file was changed or replaced: delete the copy here and pull it again; if the "
            "source itself changed, do not use it before you know why",
        )
