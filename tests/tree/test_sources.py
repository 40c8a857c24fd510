"""Cameras of other kinds: an HTTP stream that changes its size, a folder, a webcam."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import pytest

from saccade.demo.scene import KioskScene
from tests.support.tree import running, until

pytestmark = pytest.mark.tree


class Mjpeg(BaseHTTPRequestHandler):
    """An old network camera: JPEGs without end, the size switched after a while."""

    sizes = ((640, 360), (320, 240))
    switched = threading.Event()
    stopped = threading.Event()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        scene = KioskScene(70_004)
        try:
            for index in range(100_000):
                if self.stopped.wait(1 / 20):
                    return
                size = self.sizes[self.switched.is_set()]
                bgr = cv2.resize(scene.render(index)[0], size)
                jpeg = cv2.imencode(".jpg", bgr)[1].tobytes()
                self.wfile.write(
                    b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: "
                    + str(len(jpeg)).encode()
                    + b"\r\n\r\n"
                    + jpeg
                    + b"\r\n"
                )
        except OSError:
            return

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def mjpeg() -> Iterator[str]:
    Mjpeg.stopped.clear()
    Mjpeg.switched.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mjpeg)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/video"
    Mjpeg.stopped.set()
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_http_camera_may_change_its_size_while_it_runs(
    tmp_path: Path, kiosk: dict[str, Any], mjpeg: str
) -> None:
    with running(tmp_path, {**kiosk, "cameras": {"old": {"source": mjpeg}}}) as tree:
        until(lambda: tree.camera("old")["width"] == 640, 20, "the first size")
        pid = tree.pid("camera-old")
        Mjpeg.switched.set()
        until(lambda: tree.camera("old")["width"] == 320, 20, "the second size")
        served = tree.camera("old")["served"]
        tree.wait_served("old", served + 5)
        assert tree.pid("camera-old") == pid


def test_a_folder_of_pictures_is_a_camera_and_a_bad_one_is_skipped(
    tmp_path: Path, kiosk: dict[str, Any]
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    scene = KioskScene(70_006)
    for index in range(6):
        cv2.imwrite(str(folder / f"{index}.jpg"), scene.render(index * 20)[0])
    (folder / "3b.jpg").write_bytes(b"this is no picture")
    cameras = {"album": {"source": str(folder), "realtime": False}}
    with running(tmp_path, {**kiosk, "cameras": cameras}) as tree:
        until(lambda: tree.camera("album")["state"] == "ended", 20, "the end of the folder")
        until(lambda: tree.camera("album")["served"] == 6, 10, "every good picture answered")
        assert "3b.jpg" in tree.log("camera-album")


def test_a_webcam_that_is_not_there_says_which_one(tmp_path: Path, kiosk: dict[str, Any]) -> None:
    cameras = {"usb": {"source": 63}, "one": kiosk["cameras"]["one"]}
    with running(tmp_path, {**kiosk, "cameras": cameras}) as tree:
        until(lambda: "/dev/video63" in tree.camera("usb")["reason"], 15, "its device is named")
        tree.wait_served("one", 2)
