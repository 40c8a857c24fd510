"""The API of a running server, asked over HTTP and WebSockets as a program would."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from websockets.sync.client import connect

from saccade.demo.scene import KioskScene
from tests.support.tree import Tree, running, until

pytestmark = pytest.mark.tree


def picture() -> tuple[bytes, list[str]]:
    """Return a JPEG of the belt with at least two things on it, and their labels."""
    scene = KioskScene(70_005)
    for index in range(0, 600, 5):
        bgr, truths = scene.render(index)
        if len(truths) >= 2:
            ok, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 92])
            assert ok
            return jpeg.tobytes(), sorted(str(t.label) for t in truths)
    raise AssertionError("no frame with two things")


def test_probes_say_that_the_server_is_alive_and_ready(demo: Tree) -> None:
    assert demo.get("/livez").json() == {"status": "alive"}
    assert demo.get("/readyz").json() == {"ready": True, "reasons": []}


@pytest.mark.parametrize("how", ["multipart", "raw", "octet-stream"])
def test_an_image_is_answered_with_boxes_in_its_own_pixels(demo: Tree, how: str) -> None:
    jpeg, labels = picture()
    if how == "multipart":
        answer = demo.post("/api/detect", files={"file": ("a.jpg", jpeg, "image/jpeg")})
    else:
        kind = "image/jpeg" if how == "raw" else "application/octet-stream"
        answer = demo.post("/api/detect", content=jpeg, headers={"content-type": kind})
    said = answer.raise_for_status().json()
    assert said["model"] == "kiosk-demo"
    assert said["image"] == {"width": 640, "height": 360}
    assert sorted(d["class"] for d in said["detections"]) == labels
    for found in said["detections"]:
        x1, y1, x2, y2 = found["bbox"]
        assert 0 <= x1 < x2 <= 640
        assert 0 <= y1 < y2 <= 360
        assert 0.35 <= found["confidence"] <= 1


def test_many_images_at_once_are_all_answered_or_sent_away_with_a_time(demo: Tree) -> None:
    jpeg, labels = picture()
    answers: list[httpx.Response] = []

    def ask() -> None:
        with httpx.Client(base_url=demo.url, timeout=30) as client:
            answers.append(client.post("/api/detect", content=jpeg))

    askers = [threading.Thread(target=ask) for _ in range(48)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert len(answers) == 48
    for answer in answers:
        assert answer.status_code in {200, 429}, answer.text
        if answer.status_code == 429:
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["code"] == "overloaded"
        else:
            assert sorted(d["class"] for d in answer.json()["detections"]) == labels
    assert sum(a.status_code == 200 for a in answers) >= 8


def test_state_lists_and_single_things_say_the_same(demo: Tree) -> None:
    state = demo.state()
    assert {c["id"] for c in demo.get("/api/cameras").json()["cameras"]} == set(state["cameras"])
    assert {m["name"] for m in demo.get("/api/models").json()["models"]} == set(state["models"])
    assert demo.get("/api/cameras/intake").json()["id"] == "intake"
    assert demo.get("/api/models/kiosk-demo").json()["ready"] is True


def test_the_environment_names_versions_and_devices(demo: Tree) -> None:
    said = demo.get("/api/environment").json()
    assert said["saccade"] == "0.1.0"
    assert said["libraries"]["onnxruntime"]
    assert said["devices"]["providers"]["default"] == ["CPUExecutionProvider"]
    assert set(said["cameras"]) == {"intake", "sorting"}
    assert isinstance(said["devices"]["gpus"], list)


def test_events_come_in_pages_without_gaps_or_repeats(demo: Tree) -> None:
    until(lambda: len(demo.events(limit=20)) >= 12, 40, "a dozen events")
    first = demo.get("/api/events", params={"limit": 5}).json()
    second = demo.get("/api/events", params={"limit": 5, "before": first["next"]}).json()
    ids = [e["id"] for e in first["events"] + second["events"]]
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == 10


def test_the_websocket_pushes_states_and_events_as_they_happen(demo: Tree) -> None:
    kinds: set[str] = set()
    with connect(f"ws://127.0.0.1:{demo.port}/ws", max_size=2**22) as socket:
        first = json.loads(socket.recv(timeout=5))
        assert first["type"] == "state_update"
        assert set(first["state"]["cameras"]) == {"intake", "sorting"}
        deadline = time.monotonic() + 30
        while kinds != {"state_update", "event"} and time.monotonic() < deadline:
            message = json.loads(socket.recv(timeout=10))
            kinds.add(message["type"])
            if message["type"] == "event":
                assert {"id", "kind", "message", "at", "data"} <= set(message["event"])
    assert kinds == {"state_update", "event"}


def test_tiles_are_pictures_of_the_cameras_asked_for_and_change(demo: Tree) -> None:
    seen: dict[int, bytes] = {}
    with connect(f"ws://127.0.0.1:{demo.port}/ws/tiles", max_size=2**23) as socket:
        socket.send(json.dumps({"watch": [{"camera": "intake", "size": "tile"}]}))
        while len(seen) < 3:
            message = socket.recv(timeout=10)
            assert isinstance(message, bytes)
            size = int.from_bytes(message[:4], "big")
            header, jpeg = json.loads(message[4 : 4 + size]), message[4 + size :]
            assert header["camera"] == "intake"
            picture = np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR))
            assert picture.shape == (header["height"], header["width"], 3)
            assert picture.shape[1] <= 640
            seen[header["seq"]] = jpeg
    assert len(set(seen.values())) == 3


@pytest.mark.alone
def test_mjpeg_gives_about_five_pictures_a_second_and_stops_with_its_client(demo: Tree) -> None:
    with demo.client.stream("GET", "/stream/intake") as stream:
        assert stream.headers["content-type"].startswith("multipart/x-mixed-replace")
        data, began_at = b"", time.monotonic()
        for chunk in stream.iter_raw():
            data += chunk
            if time.monotonic() - began_at > 3.0:
                break
    assert 9 <= data.count(b"Content-Type: image/jpeg") <= 20

    def tiles() -> float:
        text = demo.get("/metrics").text
        return float(text.split('saccade_tiles_total{camera="intake"} ')[1].split("\n")[0])

    def has_stopped_drawing() -> bool:
        before, served = tiles(), demo.camera("intake")["served"]
        until(lambda: demo.camera("intake")["served"] > served + 2, 5)
        return tiles() == before

    until(has_stopped_drawing, 10, "nobody watches, nothing is drawn")


def test_a_client_that_never_reads_costs_the_others_nothing(demo: Tree) -> None:
    with connect(f"ws://127.0.0.1:{demo.port}/ws") as silent:
        silent.recv(timeout=5)
        served = demo.camera("intake")["served"]
        with connect(f"ws://127.0.0.1:{demo.port}/ws", max_size=2**22) as reader:
            for _ in range(3):
                reader.recv(timeout=5)
        until(lambda: demo.camera("intake")["served"] > served + 5, 10)


def test_metrics_are_what_prometheus_reads_and_the_frames_add_up(demo: Tree) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    families = {f.name: f for f in text_string_to_metric_families(demo.get("/metrics").text)}

    def total(name: str, camera: str) -> float:
        return sum(
            s.value
            for s in families[name].samples
            if s.labels.get("camera") == camera and not s.name.endswith("_created")
        )

    for camera in ("intake", "sorting"):
        produced = total("saccade_frames_produced", camera)
        accounted = sum(
            total(f"saccade_frames_{part}", camera) for part in ("served", "dropped", "in_flight")
        )
        assert abs(produced - accounted) <= 2  # the scrape may fall between two steps
        assert produced > 0
    assert families["saccade_ready"].samples[0].value == 1


def test_the_api_describes_itself_without_the_internet(demo: Tree) -> None:
    paths = demo.get("/openapi.json").json()["paths"]
    assert {"/api/detect", "/api/cameras", "/readyz", "/stream/{camera_id}"} <= set(paths)
    page = demo.get("/docs").text
    assert "https://" not in page.split("</head>")[0]


@pytest.mark.parametrize(
    ("method", "path", "kwargs", "status", "code"),
    [
        ("GET", "/api/cameras/nobody", {}, 404, "not_found"),
        ("GET", "/stream/nobody", {}, 404, "not_found"),
        ("GET", "/api/nothing", {}, 404, "not_found"),
        ("POST", "/api/detect?model=nobody", {"content": b"x"}, 404, "not_found"),
        ("POST", "/api/detect", {"content": b""}, 422, "bad_input"),
        ("POST", "/api/detect?confidence=2", {"content": b"x"}, 422, "bad_input"),
        ("POST", "/api/cameras", {"json": {"id": "A B", "source": "/tmp"}}, 422, "bad_input"),
        ("POST", "/api/cameras", {"json": {"id": "x", "source": ""}}, 422, "bad_input"),
        (
            "POST",
            "/api/cameras",
            {"json": {"id": "x", "source": "/tmp", "fps": 3}},
            422,
            "bad_input",
        ),
        ("POST", "/api/cameras", {"json": {"id": "intake", "source": "/tmp"}}, 409, "conflict"),
        ("DELETE", "/api/cameras/intake", {}, 409, "conflict"),
        ("DELETE", "/api/cameras/nobody", {}, 404, "not_found"),
        ("GET", "/api/events?limit=0", {}, 422, "bad_input"),
    ],
)
def test_a_wrong_request_gets_one_problem_that_teaches(
    demo: Tree, method: str, path: str, kwargs: dict[str, Any], status: int, code: str
) -> None:
    answer = demo.client.request(method, path, **kwargs)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["code"] == code
    assert said["status"] == status
    assert said["detail"]
    assert said["fix"]


def test_cameras_are_added_changed_and_removed_while_the_server_runs(
    tmp_path: Path, kiosk: dict[str, Any], clip: Path
) -> None:
    with running(tmp_path, kiosk) as tree:
        tree.wait_served("one", 2)
        others = {n: p for n, p in tree.pids().items() if n != "camera-three"}
        body = {"id": "three", "source": str(clip), "loop": True}
        assert tree.post("/api/cameras", json=body).status_code == 201
        tree.wait_served("three", 3)
        first = tree.pid("camera-three")
        assert tree.client.patch("/api/cameras/three", json={"process_fps": 10}).status_code == 200
        until(lambda: tree.pid("camera-three") not in {0, first}, 10, "its process is replaced")
        until(lambda: tree.camera("three")["fps"] > 8, 15, "the new rate")
        assert tree.client.delete("/api/cameras/three").status_code == 204
        until(lambda: not tree.camera("three"), 10, "it is gone")
        assert tree.pids() == others
        assert tree.post("/api/cameras", json=body).status_code == 201
        tree.wait_served("three", 1)
    with running(tmp_path, kiosk) as again:  # what the API made is there after a restart
        again.wait_served("three", 1)
