"""Pulling a model by name: whole, verified, resumable."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest
from tests.models.builders import build_detector
from tests.models.file_server import FileServer, serving

from saccade.errors import Conflict, ModelFileInvalid, NetworkUnreachable, NotFound, TooLarge
from saccade.models.catalogue import CatalogueEntry, find, load_catalogue, mirrored, pull
from saccade.models.download import locked_part, shown
from saccade.models.labels import PRESETS
from saccade.models.onnx_graph import Family
from saccade.types import ModelKind

MODEL = build_detector(Family.YOLOX).SerializeToString()
OTHER = build_detector(Family.YOLO).SerializeToString()
HASH = hashlib.sha256(MODEL).hexdigest()
PATH = "/some/release/colours.onnx"


def entry(**changes: object) -> CatalogueEntry:
    """An entry on a host that does not exist: the tests' mirror stands for it."""
    fields: dict[str, object] = {
        "name": "colours",
        "kind": ModelKind.DETECTOR,
        "family": Family.YOLOX,
        "labels": "coco",
        "url": f"https://models.invalid{PATH}",
        "size_bytes": None,
        "sha256": None,
        "licence": "Apache-2.0",
        "licence_url": "https://models.invalid/LICENSE",
        "notes": "",
    }
    return CatalogueEntry(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(FileServer(MODEL)) as running:
        yield running


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=10, trust_env=False) as made:
        yield made


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_every_entry_is_a_permissive_detector_whose_labels_and_family_exist() -> None:
    entries = load_catalogue()
    assert len({item.name for item in entries}) == len(entries) >= 3
    for item in entries:
        assert item.kind is ModelKind.DETECTOR
        assert item.licence in {"Apache-2.0", "MIT", "BSD-3-Clause"}
        assert item.labels in PRESETS
        assert urlsplit(item.url).scheme == urlsplit(item.licence_url).scheme == "https"
        assert item.url.endswith(".onnx")
        assert item.sha256 is None or len(bytes.fromhex(item.sha256)) == 32
        assert (item.sha256 is None) == (item.size_bytes is None)
        assert find(item.name) == item


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(NotFound, match="'yolo99'") as caught:
        find("yolo99")
    assert "yolox_nano" in caught.value.fix


@pytest.mark.parametrize(
    ("mirror", "expected"),
    [
        (None, "https://host.example/a/b.onnx?x=1"),
        ("", "https://host.example/a/b.onnx?x=1"),
        ("http://mirror.local:8080", "http://mirror.local:8080/a/b.onnx?x=1"),
        ("https://mirror.local/models/", "https://mirror.local/models/a/b.onnx?x=1"),
    ],
)
def test_a_mirror_stands_for_the_host(mirror: str | None, expected: str) -> None:
    assert mirrored("https://host.example/a/b.onnx?x=1", mirror) == expected


def test_a_model_is_pulled_through_the_mirror_and_its_hash_recorded(
    server: FileServer, client: httpx.Client, tmp_path: Path
) -> None:
    seen: list[tuple[int, int | None]] = []
    path = pull(
        entry(),
        tmp_path / "models",
        server.url,
        client=client,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert path.read_bytes() == MODEL
    assert names_in(path.parent) == {"colours.onnx", "colours.pulled.json"}
    record = msgspec.json.decode((path.parent / "colours.pulled.json").read_bytes())
    assert record == {
        "sha256": HASH,
        "size_bytes": len(MODEL),
        "url": server.url + PATH,
        "licence": "Apache-2.0",
    }
    assert server.requests == [(PATH, None)]
    assert seen[0] == (0, len(MODEL))
    assert seen[-1] == (len(MODEL), len(MODEL))


def test_a_model_that_is_there_is_not_pulled_again(
    server: FileServer, client: httpx.Client, tmp_path: Path
) -> None:
    first = pull(entry(), tmp_path, server.url, client=client)
    assert pull(entry(), tmp_path, server.url, client=client) == first
    assert len(server.requests) == 1


@pytest.mark.parametrize("known", [True, False], ids=["hash in the catalogue", "first use"])
def test_a_model_changed_on_disk_is_refused(
    known: bool, server: FileServer, client: httpx.Client, tmp_path: Path
) -> None:
    item = entry(sha256=HASH if known else None)
    pull(item, tmp_path, server.url, client=client).write_bytes(OTHER)
    with pytest.raises(ModelFileInvalid, match="SHA-256"):
        pull(item, tmp_path, server.url, client=client)


def test_a_model_changed_at_its_source_is_refused_from_the_second_time_on(
    server: FileServer, client: httpx.Client, tmp_path: Path
) -> None:
    path = pull(entry(), tmp_path, server.url, client=client)
    path.unlink()
    server.content = OTHER
    with pytest.raises(ModelFileInvalid, match="expected is " + HASH):
        pull(entry(), tmp_path, server.url, client=client)
    assert names_in(tmp_path) == {"colours.pulled.json"}
    server.content = MODEL
    assert pull(entry(), tmp_path, server.url, client=client).read_bytes() == MODEL


def test_a_hash_in_the_catalogue_is_enforced_at_once(
    server: FileServer, client: httpx.Client, tmp_path: Path
) -> None:
    with pytest.raises(ModelFileInvalid, match="SHA-256"):
        pull(entry(sha256="0" * 64), tmp_path, server.url, client=client)
    assert names_in(tmp_path) == set()


def test_a_connection_that_is_cut_is_resumed_where_it_stopped(
    server: FileServer, client: httpx.Client, tmp_path: Path
) -> None:
    server.cut_after = [1000, 500, 0, 100]
    path = pull(entry(sha256=HASH), tmp_path, server.url, client=client)
    assert path.read_bytes() == MODEL
    asked = [range_ for _, range_ in server.requests]
    assert asked == [None, "bytes=1000-", "bytes=1500-", "bytes=1500-", "bytes=1600-"]


def test_the_next_pull_resumes_what_the_last_one_left(
    server: FileServer, client: httpx.Client, tmp_path: Path
) -> None:
    server.cut_after = [1000, 0, 0, 0]
    with pytest.raises(NetworkUnreachable, match="the connection broke"):
        pull(entry(), tmp_path, server.url, client=client)
    assert names_in(tmp_path) == {"colours.onnx.part", "colours.onnx.part.version"}
    server.requests.clear()
    path = pull(entry(), tmp_path, server.url, client=client)
    assert path.read_bytes() == MODEL
    assert [range_ for _, range_ in server.requests] == ["bytes=1000-"]
    assert names_in(tmp_path) == {"colours.onnx", "colours.pulled.json"}


def test_a_file_that_changed_in_between_is_pulled_from_its_start(
    server: FileServer, client: httpx.Client, tmp_path: Path
) -> None:
    server.content = OTHER
    server.cut_after = [1000, 0, 0, 0]
    with pytest.raises(NetworkUnreachable):
        pull(entry(), tmp_path, server.url, client=client)
    server.content = MODEL
    assert pull(entry(), tmp_path, server.url, client=client).read_bytes() == MODEL


@pytest.mark.parametrize("lack", ["ranges", "weak", "none"])
def test_a_server_that_cannot_resume_is_asked_for_all_of_it(
    lack: str, server: FileServer, client: httpx.Client, tmp_path: Path
) -> None:
    if lack == "ranges":
        server.ranges = False
    else:
        server.validator = lack
    server.cut_after = [1000]
    assert pull(entry(), tmp_path, server.url, client=client).read_bytes() == MODEL


def test_a_whole_file_that_was_not_yet_named_is_taken_as_it_is(
    server: FileServer, client: httpx.Client, tmp_path: Path
) -> None:
    (tmp_path / "colours.onnx.part").write_bytes(MODEL)  # killed right before the rename
    (tmp_path / "colours.onnx.part.version").write_text(server.etag)
    assert pull(entry(), tmp_path, server.url, client=client).read_bytes() == MODEL
    assert [range_ for _, range_ in server.requests] == [f"bytes={len(MODEL)}-"]


def test_leftovers_of_another_file_are_thrown_away(
    server: FileServer, client: httpx.Client, tmp_path: Path
) -> None:
    (tmp_path / "colours.onnx.part").write_bytes(bytes(len(MODEL) + 99))
    (tmp_path / "colours.onnx.part.version").write_text(server.etag)
    assert pull(entry(), tmp_path, server.url, client=client).read_bytes() == MODEL


@pytest.mark.parametrize("length", [True, False], ids=["announced", "not announced"])
@pytest.mark.parametrize("size_known", [True, False])
def test_a_file_over_the_limit_is_refused_and_leaves_nothing_large(
    length: bool, size_known: bool, server: FileServer, client: httpx.Client, tmp_path: Path
) -> None:
    server.length = length
    limit = len(MODEL) - 1
    item = entry(size_bytes=limit if size_known else None)
    with pytest.raises(TooLarge, match=f"at most {limit:,}"):
        pull(item, tmp_path, server.url, client=client, max_bytes=limit)
    assert (tmp_path / "colours.onnx.part").stat().st_size == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"<!doctype html><html>Sign in</html>", "an HTML page"), (MODEL[:500], "truncated")],
    ids=["html", "cut"],
)
def test_what_is_no_model_is_refused_and_removed(
    content: bytes, words: str, server: FileServer, client: httpx.Client, tmp_path: Path
) -> None:
    server.content = content
    with pytest.raises(ModelFileInvalid, match=words):
        pull(entry(), tmp_path, server.url, client=client)
    assert names_in(tmp_path) == set()


@pytest.mark.parametrize("status", [404, 403, 500, 503])
def test_an_error_of_the_server_is_reported_with_its_number(
    status: int, server: FileServer, client: httpx.Client, tmp_path: Path
) -> None:
    server.status = status
    with pytest.raises(NetworkUnreachable, match=f"answered {status}"):
        pull(entry(), tmp_path, server.url, client=client)


def test_a_redirect_is_followed(server: FileServer, client: httpx.Client, tmp_path: Path) -> None:
    server.redirect_to = "/storage/blob"
    assert pull(entry(), tmp_path, server.url, client=client).read_bytes() == MODEL
    assert [path for path, _ in server.requests] == [PATH, "/storage/blob"]


def test_without_a_network_the_line_says_what_to_do(client: httpx.Client, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        mirror = f"http://user:hunter2@127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(NetworkUnreachable, match="could not be downloaded") as caught:
            pull(entry(), tmp_path, mirror, client=client)
    assert "mirror" in caught.value.fix
    assert "hunter2" not in str(caught.value)


def test_a_password_in_a_url_is_not_shown() -> None:
    url = "https://user:hunter2@host.example:8443/a.onnx?token=secret"
    assert shown(url) == "https://host.example:8443/a.onnx"


def test_two_pulls_of_one_model_do_not_write_one_file(
    server: FileServer, client: httpx.Client, tmp_path: Path
) -> None:
    with (
        locked_part(tmp_path / "colours.onnx.part"),
        pytest.raises(Conflict, match="another process"),
    ):
        pull(entry(), tmp_path, server.url, client=client)
    assert pull(entry(), tmp_path, server.url, client=client).read_bytes() == MODEL


def test_a_damaged_record_is_not_passed_over(
    server: FileServer, client: httpx.Client, tmp_path: Path
) -> None:
    (tmp_path / "colours.pulled.json").write_text("{")
    with pytest.raises(ModelFileInvalid, match="damaged"):
        pull(entry(), tmp_path, server.url, client=client)
