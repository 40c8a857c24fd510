"""What a new user does first: `saccade demo`."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import pytest

from tests.support.tree import Tree, free_port, is_alive, until

pytestmark = pytest.mark.tree


def test_the_demo_prints_one_url_and_is_ready(demo: Tree) -> None:
    assert demo.output.count("http://") == 1
    assert f"http://127.0.0.1:{demo.port}" in demo.output


@pytest.mark.alone
def test_two_cameras_are_answered_at_the_rate_they_ask_for(demo: Tree) -> None:
    cameras = ("intake", "sorting")
    until(lambda: all(demo.camera(name)["fps"] >= 4.5 for name in cameras), 20, "both at 5 FPS")


def test_things_that_pass_become_events(demo: Tree) -> None:
    until(lambda: demo.events(kind="object_appeared"), 30, "an object appeared")
    labels = {e["data"]["label"] for e in demo.events(kind="object_appeared")}
    assert labels <= {"bottle", "can", "carton"}


def test_the_demo_model_says_that_it_is_one(demo: Tree) -> None:
    assert demo.state()["models"]["kiosk-demo"]["demo"] is True


def test_processes_have_titles_a_person_can_read(demo: Tree) -> None:
    titles = {Path(f"/proc/{pid}/cmdline").read_text().strip("\0 ") for pid in demo.pids().values()}
    assert {"saccade: host default", "saccade: camera intake", "saccade: router"} <= titles


@pytest.mark.slow
def test_ctrl_c_leaves_no_process_no_shared_memory_and_no_file(tmp_path: Path) -> None:
    before = set(os.listdir(tempfile.gettempdir())), set(os.listdir("/dev/shm"))
    tree = Tree(tmp_path, ["demo", "--port", str(free_port())], port=0, data=tmp_path)
    try:
        until(lambda: "saccade is on" in tree.output, 60, "the URL")
        url = tree.output.split("saccade is on ")[1].split()[0]
        import httpx

        state = until(lambda: httpx.get(f"{url}/api/state").json(), 10)
        pids = [p["pid"] for p in state["processes"].values() if p["pid"]]
        assert len(pids) >= 6
        assert tree.stop(signal.SIGINT) == 0
    finally:
        tree.close()
    assert [pid for pid in pids if is_alive(pid)] == []
    left = set(os.listdir(tempfile.gettempdir())) - before[0]
    assert {name for name in left if "saccade-demo" in name or "saccade-empty" in name} == set()
    assert set(os.listdir("/dev/shm")) - before[1] == set()
