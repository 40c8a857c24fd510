"""`saccade check`: what is there, what is missing, and nothing is touched."""

import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from saccade.cli import findings
from saccade.cli.check import find
from saccade.cli.findings import Finding, State
from saccade.desired import CameraSpec, HostSpec, ModelSpec
from saccade.types import CameraId, HostName, ModelKind, ModelName, SourceKind

Saccade = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def port() -> Iterator[int]:
    """Answer with a port that is in use."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        yield taken.getsockname()[1]


@pytest.fixture
def free_port(port: int) -> int:
    """Answer with a port that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
    assert number != port
    return number


def write_onnx(path: Path) -> None:
    """Write the smallest model: its answer is its input."""
    shape = [1, 3, 32, 32]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["images"], ["output"])],
        "smallest",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)


def camera(kind: SourceKind, url: str) -> Finding:
    return findings.camera(
        CameraSpec(
            id=CameraId("a"), name="a", kind=kind, url=url, display_url=url, model=ModelName("m")
        )
    )


def test_a_whole_installation_is_right_and_nothing_is_made(
    saccade: Saccade, tmp_path: Path, free_port: int
) -> None:
    write_onnx(tmp_path / "m.onnx")
    (tmp_path / "clip.mp4").write_bytes(b"not empty")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "1.JPG").write_bytes(b"x")
    (tmp_path / "saccade.yaml").write_text(
        f"server: {{port: {free_port}}}\n"
        "models: {m: {path: m.onnx, labels: coco}}\n"
        "cameras:\n"
        "  file: {source: clip.mp4}\n"
        "  folder: {source: pictures}\n"
        "  street: {source: 'rtsp://u:HIDDEN@192.0.2.1/1', model: none}\n"
        "webhooks: {w: {url: 'https://h/HIDDEN'}}\n"
    )
    before = sorted(tmp_path.rglob("*"))
    result = saccade("check", "--json")
    answer = json.loads(result.stdout)
    assert (result.returncode, answer["ok"]) == (0, True), result.stdout
    states = {row["subject"]: row["state"] for row in answer["findings"]}
    assert states == {
        "settings": "ok", "data folder": "ok", "server": "ok", "database": "ok",
        "host default": "ok", "model m": "ok", "camera file": "ok", "camera folder": "ok",
        "camera street": "note", "webhook w": "ok",
    }  # fmt: skip
    assert "80 labels" in result.stdout
    assert "HIDDEN" not in result.stdout
    assert sorted(tmp_path.rglob("*")) == before


def test_everything_that_is_missing_is_listed_and_the_exit_status_is_1(
    saccade: Saccade, tmp_path: Path, port: int
) -> None:
    (tmp_path / "saccade.yaml").write_text(
        f"server: {{port: {port}}}\n"
        "hosts: {second: {providers: [coreml]}}\n"
        "models: {m: {path: none.onnx}}\n"
        "cameras: {a: {source: none.mp4}, b: {source: /dev/video63}}\n"
    )
    result = saccade("check")
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert result.stdout.rstrip().endswith("5 wrong")
    for words in ("is in use", "CoreMLExecutionProvider is not", "none.onnx", "none.mp4 is not"):
        assert words in result.stdout


def test_settings_that_cannot_be_read_are_findings_too(saccade: Saccade, tmp_path: Path) -> None:
    (tmp_path / "saccade.yaml").write_text("server: {prot: 1}\nmodels: {m: {path: a, labels: x}}\n")
    result = saccade("check", "--json")
    assert result.returncode == 1
    (row,) = json.loads(result.stdout)["findings"]
    assert row["what"] == "saccade.yaml:1: server.prot: unknown key; did you mean server.port?"


def test_an_empty_file_is_right_and_said_to_be_empty(tmp_path: Path) -> None:
    path = tmp_path / "saccade.yaml"
    path.write_text("")
    notes = [finding.what for finding in find(path) if finding.state is State.NOTE]
    assert any("sets nothing: every setting has its default" in note for note in notes)


def test_labels_and_models_that_do_not_exist_are_found(tmp_path: Path) -> None:
    path = tmp_path / "saccade.yaml"
    path.write_text("models: {m: {path: a.onnx, labels: cocoo}}\n")
    (finding,) = find(path)
    assert finding.state is State.WRONG
    assert "labels 'cocoo' is no preset and no file (did you mean coco?" in finding.what


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        (SourceKind.FILE, "missing", "is not there"),
        (SourceKind.FILE, "folder", "is not a file"),
        (SourceKind.FILE, "empty", "is empty"),
        (SourceKind.FOLDER, "folder", "holds no pictures"),
        (SourceKind.FOLDER, "empty", "is not a folder"),
        (SourceKind.WEBCAM, "empty", "is not a device"),
    ],
)
def test_a_source_that_cannot_be_one_is_wrong(
    tmp_path: Path, kind: SourceKind, name: str, words: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    finding = camera(kind, str(tmp_path / name))
    assert finding.state is State.WRONG
    assert finding.what == f"{tmp_path / name} {words}"
    assert finding.fix


@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE html><html>",
        b"version https://git-lfs.github.com/spec/v1\n",
        b"PK\x03\x04" + b"\0" * 60,
        b"",
    ],
)
def test_a_file_that_only_claims_to_be_a_model_is_wrong(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    spec = ModelSpec(
        name=ModelName("m"), kind=ModelKind.DETECTOR, path=str(path), sha256="",
        host=HostName("default"),
    )  # fmt: skip
    finding = findings.model(spec)
    assert finding.state is State.WRONG
    assert finding.fix


def test_a_provider_that_is_not_installed_is_wrong() -> None:
    spec = HostSpec(name=HostName("x"), providers=("CUDAExecutionProvider",))
    assert findings.host(spec, ["CPUExecutionProvider"]).state is State.WRONG
    assert findings.host(spec, ["CUDAExecutionProvider"]).state is State.OK


def wrong(path: Path, text: str) -> list[Finding]:
    path.write_text(text)
    return [finding for finding in find(path) if finding.state is State.WRONG]


def test_a_data_folder_that_cannot_be_one_is_wrong(tmp_path: Path, free_port: int) -> None:
    path, server = tmp_path / "saccade.yaml", f"server: {{port: {free_port}}}\n"
    (tmp_path / "file").touch()
    assert wrong(path, server) == []
    (finding,) = wrong(path, server + "data: file\n")
    assert finding.what == f"{tmp_path / 'file'} is not a folder"
    (finding,) = wrong(path, server + "data: file/inside\n")
    assert finding.what == f"{tmp_path / 'file'} cannot be written"
    (finding,) = wrong(path, server + f"data: {'d' * 100}\n")
    assert "socket paths" in finding.what


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_folder_without_the_right_to_write_is_wrong(tmp_path: Path, free_port: int) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    text = f"server: {{port: {free_port}}}\ndata: locked/data\n"
    (finding,) = wrong(tmp_path / "saccade.yaml", text)
    assert "cannot be written" in finding.what


@pytest.mark.parametrize("host", ["192.0.2.77", "no.such.host.invalid"])
def test_an_address_of_another_machine_is_wrong(tmp_path: Path, host: str) -> None:
    (finding,) = wrong(tmp_path / "saccade.yaml", f"server: {{host: {host}}}\n")
    assert finding.what.endswith("is no address of this machine")


def test_a_door_to_the_outside_says_that_it_needs_a_key(tmp_path: Path, free_port: int) -> None:
    path = tmp_path / "saccade.yaml"
    path.write_text(f"server: {{host: 0.0.0.0, port: {free_port}}}\n")
    notes = [finding for finding in find(path) if finding.subject == "server"]
    assert [finding.state for finding in notes] == [State.OK, State.NOTE]
    assert "saccade keys create" in notes[1].fix
