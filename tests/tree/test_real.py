"""A real YOLO on real pictures and a real video, from the command line to the API."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.models.real_material import real_path
from tests.support.tree import Tree, run_cli, running, until

pytestmark = [pytest.mark.tree, pytest.mark.real, pytest.mark.slow]

YOLO = "detect/yolo11n_from_int8_dynamic.onnx"
EXPECTED = {
    "images/bus.jpg": {"person": 4, "bus": 1},
    "images/zidane.jpg": {"person": 2, "tie": 1},
}


def read(path: Path) -> NDArray[np.uint8]:
    return np.asarray(cv2.imread(str(path)), np.uint8)


def test_a_yolo_that_is_added_answers_on_the_command_line_and_over_http(tmp_path: Path) -> None:
    model = real_path(YOLO)
    added = run_cli(
        "models",
        "add",
        str(model),
        "--kind",
        "detector",
        "--labels",
        "coco",
        "--name",
        "yolo11n",
        "--confidence",
        "0.25",
        "--data",
        "data",
        cwd=tmp_path,
    )
    assert added.returncode == 0, added.stderr
    assert "640x640" in added.stdout
    for name, expected in EXPECTED.items():
        image = real_path(name)
        said = run_cli(
            "detect", str(image), "--model", "yolo11n", "--json", "--data", "data", cwd=tmp_path
        )
        answer = json.loads(said.stdout)
        height, width = read(image).shape[:2]
        assert answer["image"] == {"width": width, "height": height}
        assert Counter(d["class"] for d in answer["detections"]) == expected
    table = run_cli(
        "detect",
        str(real_path("images/bus.jpg")),
        "--model",
        "yolo11n",
        "--save",
        "out.jpg",
        "--data",
        "data",
        cwd=tmp_path,
    )
    assert table.stdout.count("person") == 4
    assert read(tmp_path / "out.jpg").shape == (1080, 810, 3)
    with running(tmp_path, {"server": {"pages": False}}, data=tmp_path / "data") as tree:
        for name, expected in EXPECTED.items():
            answer = tree.post("/api/detect", content=real_path(name).read_bytes()).json()
            assert Counter(d["class"] for d in answer["detections"]) == expected


def person_frames(tree: Tree) -> int:
    left = tree.events(kind="object_left", camera="street", limit=1000)
    return sum(e["data"]["frames"] for e in left if e["data"]["label"] == "person")


def test_people_are_seen_on_at_least_95_of_100_processed_frames(tmp_path: Path) -> None:
    settings = {
        "server": {"pages": False},
        "models": {"yolo11n": {"path": str(real_path(YOLO)), "labels": "coco"}},
        # As fast as the model answers, every frame that is due: nothing is left to chance.
        "cameras": {
            "street": {
                "source": str(real_path("video/people.mp4")),
                "realtime": False,
                "leave_seconds": 0.01,
                "appear_frames": 1,
            }
        },
    }
    with running(tmp_path, settings) as tree:
        until(lambda: tree.camera("street")["state"] == "ended", 60, "the video ends")
        camera = until(lambda: c if (c := tree.camera("street"))["in_flight"] == 0 else None, 10)
        frames = camera["produced"] - camera["dropped"].get("paced", 0)
        assert camera["width"] == 1920
        assert frames >= 50
        assert camera["served"] == frames  # a file read like this loses none
        # Every frame with a person belongs to an episode, and the last one ends with the video.
        people = until(lambda: person_frames(tree) >= 0.95 * frames, 10, "persons on 95 % of them")
        assert people
