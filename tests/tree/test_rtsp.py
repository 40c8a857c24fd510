"""A network camera that goes away and comes back, beside one that stays."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.services import rtsp
from tests.support.tree import Tree, free_port, running, until

pytestmark = [pytest.mark.tree, pytest.mark.services, pytest.mark.slow]

OUTAGE_S = 10.0


@pytest.fixture
def server() -> Iterator[rtsp.Rtsp]:
    rtsp.require()
    one = rtsp.Rtsp(free_port())
    one.start()
    yield one
    one.kill()


def rate(tree: Tree, camera: str, since: tuple[float, int]) -> float:
    """Return the answers per second since a look before."""
    served: int = tree.camera(camera)["served"]
    return (served - since[1]) / (time.monotonic() - since[0])


def look(tree: Tree, camera: str) -> tuple[float, int]:
    return time.monotonic(), tree.camera(camera)["served"]


def states(tree: Tree, camera: str) -> list[str]:
    """Return the states a camera went to, the newest first, as its events say."""
    found = tree.events(kind="camera_status_change", camera=camera)
    return [str(event["data"]["to"]) for event in found]


def let_pass(seconds: float) -> None:
    """Let real time pass: the outage itself is what the test is about."""
    threading.Event().wait(seconds)


@pytest.mark.alone
def test_a_lost_stream_comes_back_within_5_s_and_its_sibling_keeps_its_rate(
    tmp_path: Path, kiosk: dict[str, Any], server: rtsp.Rtsp
) -> None:
    cameras = {"net": {"source": server.url("ball")}, "file": kiosk["cameras"]["one"]}
    with running(tmp_path, {**kiosk, "cameras": cameras}) as tree:
        tree.wait_served("net", 10)
        until(lambda: tree.camera("file")["fps"] >= 4.75, 15, "the sibling's usual rate")
        sibling = look(tree, "file")
        server.kill()
        until(lambda: tree.camera("net")["state"] == "reconnecting", 8, "the loss is seen")
        let_pass(OUTAGE_S)
        assert tree.camera("net")["state"] == "reconnecting"
        assert rate(tree, "file", sibling) >= 0.95 * 5.0
        before = tree.camera("net")["served"]
        server.start()
        back_at = time.monotonic()
        until(lambda: tree.camera("net")["served"] > before, 15, "answers again")
        assert time.monotonic() - back_at <= 5.0
        assert tree.camera("net")["state"] == "live"
        assert rate(tree, "file", sibling) >= 0.95 * 5.0
        until(lambda: states(tree, "net")[:2] == ["live", "reconnecting"], 5, "both are events")


def test_a_stream_that_freezes_is_seen_although_its_read_does_not_return(
    tmp_path: Path, kiosk: dict[str, Any], server: rtsp.Rtsp
) -> None:
    cameras = {"net": {"source": server.url("ball"), "stall_seconds": 2}}
    with running(tmp_path, {**kiosk, "cameras": cameras}) as tree:
        tree.wait_served("net", 5)
        server.send(signal.SIGSTOP)
        until(lambda: tree.camera("net")["state"] != "live", 8, "the stall is seen")
        server.send(signal.SIGCONT)
        served = tree.camera("net")["served"]
        until(lambda: tree.camera("net")["served"] > served + 2, 20, "answers again")


def test_a_picture_that_never_changes_counts_as_frozen(
    tmp_path: Path, kiosk: dict[str, Any], server: rtsp.Rtsp
) -> None:
    cameras = {
        "still": {"source": server.url("still"), "frozen_seconds": 1},
        "moving": {"source": server.url("ball"), "frozen_seconds": 1},
    }
    with running(tmp_path, {**kiosk, "cameras": cameras}) as tree:
        until(lambda: "not changed" in tree.camera("still")["reason"], 20, "frozen")
        tree.wait_served("moving", 10)
        assert "stalled" not in states(tree, "moving")
        assert "reconnecting" not in states(tree, "moving")


def test_a_camera_that_is_not_there_says_so_and_hurts_nobody(
    tmp_path: Path, kiosk: dict[str, Any]
) -> None:
    url = f"rtsp://admin:s3cret@127.0.0.1:{free_port()}/live"
    cameras = {"gone": {"source": url}, "file": kiosk["cameras"]["one"]}
    with running(tmp_path, {**kiosk, "cameras": cameras}) as tree:
        tree.wait_served("file", 3)
        gone = until(
            lambda: c if (c := tree.camera("gone"))["state"] == "reconnecting" else None, 10
        )
        assert "cannot open rtsp://admin:***@127.0.0.1" in gone["reason"]
        everything = (
            tree.get("/api/state").text
            + tree.get("/api/environment").text
            + "".join(path.read_text() for path in (tree.data / "logs").iterdir())
        )
        assert "s3cret" not in everything
