"""Bad input gives one clear line or one problem, and nothing dies."""

from __future__ import annotations

import json
import os
import socket
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from saccade.demo.assets import demo_model_path
from tests.support.tree import Tree, call_cli, run_cli, running, until

pytestmark = pytest.mark.tree

PNG_HEAD = b"\x89PNG\r\n\x1a\n"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 10559934\n"


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return PNG_HEAD + png_chunk(b"IHDR", head) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")


def encoded(suffix: str, height: int, width: int) -> bytes:
    picture = np.full((height, width, 3), 90, np.uint8)
    ok, data = cv2.imencode(suffix, picture)
    assert ok
    return bytes(data)


BAD_IMAGES = {
    "a text file named .jpg": b"hello, I am a picture\n",
    "a truncated JPEG": encoded(".jpg", 480, 640)[:900],
    "a 20,000x20,000 PNG header": png_header(20_000, 20_000),
    "an HTML page": b"<!doctype html><html><body>404</body></html>",
    "nothing but zeros": bytes(4096),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_the_api_answers_a_bad_image_with_one_problem(demo: Tree, name: str) -> None:
    pids = demo.pids()
    answer = demo.post("/api/detect", files={"file": ("a.jpg", BAD_IMAGES[name], "image/jpeg")})
    assert answer.status_code in {413, 422}, answer.text
    assert answer.json()["code"] in {"image_invalid", "too_large"}
    assert answer.json()["fix"]
    assert demo.pids() == pids


def test_a_picture_of_one_pixel_is_a_picture(demo: Tree) -> None:
    answer = demo.post("/api/detect", content=encoded(".png", 1, 1))
    assert answer.status_code == 200
    assert answer.json()["image"] == {"width": 1, "height": 1}


def test_a_body_over_the_limit_is_refused_before_it_is_read(demo: Tree) -> None:
    head = (
        f"POST /api/detect HTTP/1.1\r\nhost: 127.0.0.1:{demo.port}\r\n"
        "content-length: 4000000000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", demo.port), timeout=10) as sock:
        sock.sendall(head.encode())
        assert b" 413 " in sock.recv(4096)


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_the_command_line_answers_a_bad_image_with_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.jpg").write_bytes(BAD_IMAGES[name])
    said = call_cli("detect", "a.jpg", "--model", "kiosk-demo", "--data", "data", cwd=tmp_path)
    assert_one_line(said)


def assert_one_line(said: Any, *words: str, status: int = 2) -> None:
    assert said.returncode == status, said.stdout + said.stderr
    lines = said.stderr.strip().splitlines()
    assert len(lines) == 1, said.stderr
    assert lines[0].startswith("saccade: ")
    assert "Traceback" not in said.stderr
    for word in words:
        assert word in lines[0]


BAD_MODELS = {
    "an HTML page": (b"<!doctype html><html><body>Not found</body></html>", "HTML"),
    "a Git-LFS pointer": (LFS, "LFS"),
    "an empty file": (b"", "empty"),
    "a truncated ONNX": (demo_model_path().read_bytes()[:5000], ""),
    "random bytes": (os.urandom(4096), ""),
    "a zip": (b"PK\x03\x04" + bytes(200), ""),
}


@pytest.mark.parametrize("name", BAD_MODELS)
def test_a_file_that_is_no_model_is_refused_with_one_line(tmp_path: Path, name: str) -> None:
    content, word = BAD_MODELS[name]
    (tmp_path / "m.onnx").write_bytes(content)
    said = call_cli("models", "add", "m.onnx", "--name", "m", "--data", "data", cwd=tmp_path)
    assert_one_line(said, word)
    listed = call_cli("models", "list", "--json", "--data", "data", cwd=tmp_path)
    assert json.loads(listed.stdout) == []
    assert not list((tmp_path / "data").glob("models/*"))


@pytest.mark.parametrize(
    ("yaml", "words"),
    [
        ("camera:\n  proces_fps: 5\n", ("proces_fps", "process_fps", "saccade.yaml:2")),
        ("server:\n  port: many\n", ("server.port", "many", "saccade.yaml:2")),
        ("server: [1, 2]\n", ("server",)),
        ("cameras:\n  front: {}\n", ("source",)),
        ("models:\n  x: {path: none.onnx, kind: oracle}\n", ("kind",)),
        (": : :\n", ("saccade.yaml",)),
    ],
)
def test_a_wrong_setting_stops_the_start_with_its_line(
    tmp_path: Path, yaml: str, words: tuple[str, ...]
) -> None:
    (tmp_path / "saccade.yaml").write_text(yaml)
    assert_one_line(call_cli("up", "--data", "data", cwd=tmp_path), *words)


def test_an_empty_settings_file_starts_with_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "saccade.yaml").write_text("")
    with running(tmp_path, {}, ready=False) as tree:
        until(tree.answers, 30)
        ready = tree.get("/readyz")
        assert ready.status_code == 503
        assert any("models add" in reason for reason in ready.json()["reasons"])


def test_a_port_in_use_is_one_line_and_no_process(tmp_path: Path) -> None:
    (tmp_path / "saccade.yaml").write_text("server:\n  pages: false\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = run_cli("up", "--port", port, "--data", "data", cwd=tmp_path)
    assert_one_line(said, port, "--port")


def test_a_data_folder_in_use_is_one_line(tmp_path: Path, kiosk: dict[str, Any]) -> None:
    with running(tmp_path, kiosk) as tree:
        said = run_cli("up", "--data", str(tree.data), cwd=tmp_path)
        assert_one_line(said, "another saccade")


def test_a_data_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = run_cli("up", "--data", "file/data", cwd=tmp_path)
    assert_one_line(said, "file/data")
    if os.geteuid() == 0:  # root may write everywhere but in the kernel's own folders
        assert_one_line(run_cli("up", "--data", "/proc/saccade", cwd=tmp_path), "/proc/saccade")
    else:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o500)
        assert_one_line(run_cli("up", "--data", "closed/data", cwd=tmp_path), "closed")


def test_a_model_that_breaks_later_is_in_error_and_the_rest_lives_on(
    tmp_path: Path, kiosk: dict[str, Any]
) -> None:
    (tmp_path / "broken.onnx").write_bytes(LFS)
    models = {
        **kiosk["models"],
        "broken": {"path": str(tmp_path / "broken.onnx")},
        "missing": {"path": str(tmp_path / "nowhere.onnx")},
    }
    cameras = {**kiosk["cameras"], "two": {**kiosk["cameras"]["two"], "model": "broken"}}
    settings = {**kiosk, "models": models, "cameras": cameras, "inference": {"model": "kiosk"}}
    with running(tmp_path, settings) as tree:
        tree.wait_served("one", 3)
        state = until(
            lambda: s if (s := tree.state())["models"]["broken"]["status"] == "error" else None, 10
        )
        assert "LFS" in state["models"]["broken"]["last_error"]["message"]
        assert state["models"]["missing"]["status"] == "error"
        until(lambda: tree.camera("two")["dropped"].get("no_model", 0) > 2, 10)
        asked = tree.post("/api/detect?model=broken", content=encoded(".png", 64, 64))
        assert asked.status_code == 503
        assert asked.json()["code"] == "model_not_ready"


def test_a_camera_whose_file_is_no_video_is_in_error_and_says_why(
    tmp_path: Path, kiosk: dict[str, Any]
) -> None:
    (tmp_path / "text.mp4").write_text("this is not a video")
    cameras = {"bad": {"source": str(tmp_path / "text.mp4")}, "one": kiosk["cameras"]["one"]}
    with running(tmp_path, {**kiosk, "cameras": cameras}) as tree:
        until(lambda: tree.camera("bad")["state"] == "error", 10)
        assert "cannot open" in tree.camera("bad")["reason"]
        tree.wait_served("one", 3)
