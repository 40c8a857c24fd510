"""The supervisor with real, tiny children: deaths, hangs, floods, wishes, its own end.

Most tests share one supervisor and wish for cameras of their own; those that end it have their own.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.engine.tiny_tree import Tree, camera, tree
from tests.support.waiting import until

from saccade.desired import ModelSpec
from saccade.types import CameraState, HostName, ModelKind, ModelName

pytestmark = pytest.mark.faults

STOP_S = 0.5


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    folder = tmp_path_factory.mktemp("tree")
    with tree(
        folder,
        hosts=("h", "i"),
        hang_seconds=1.0,
        stop_seconds=STOP_S,
        restart_budget=3,
        backoff_initial_seconds=0.02,
    ) as it:
        yield it


def gone(pids: list[int]) -> bool:
    return not any(psutil.pid_exists(pid) for pid in pids)


def test_kill_of_the_supervisor_ends_every_child(tmp_path: Path) -> None:
    with tree(tmp_path, camera("a"), camera("deaf", "deaf"), hosts=("h",)) as it:
        pids = [it.pid(name) for name in ("server", "router", "host-h", "camera-a", "camera-deaf")]
        os.kill(it.pid("camera-a"), signal.SIGSTOP)  # also one that could not notice by itself
        it.process.kill()
        it.process.wait(5)
        until(lambda: gone(pids), why="no orphan is left")


def test_sigterm_ends_all_in_time_with_status_zero_and_leaves_no_socket(tmp_path: Path) -> None:
    # One that does not obey, and one that waits for a restart that must not be waited for.
    with tree(
        tmp_path,
        camera("a"),
        camera("deaf", "deaf"),
        camera("dies", "die at once"),
        hosts=("h",),
        stop_seconds=2.0,
        backoff_initial_seconds=30.0,
        backoff_max_seconds=30.0,
    ) as it:
        assert it.process.stdout is not None
        it.process.stdout.close()  # nobody listens any more: the tree runs on
        pids = [it.pid(name) for name in ("server", "router", "host-h", "camera-a", "camera-deaf")]
        until(
            lambda: (p := it.part("camera-dies")) is not None and p.state == "backoff",
            why="it waits",
        )
        began_at = time.monotonic()
        assert it.stop() == 0
        assert time.monotonic() - began_at < 2.0 + 1.0
        assert gone(pids)
        assert list((tmp_path / "run").glob("*.sock")) == []


def test_a_killed_child_comes_back_at_once_and_nobody_else_is_restarted(shared: Tree) -> None:
    shared.want(camera("a"), camera("b"))
    shared.until_camera("a", CameraState.LIVE)
    first, other = shared.pid("camera-a"), shared.pid("camera-b")
    os.kill(first, signal.SIGKILL)
    assert shared.pid("camera-a", not_=first) != first
    part = shared.part("camera-a")
    assert part is not None
    assert (part.restarts, part.reason) == (1, "ended with status -9")
    assert shared.pid("camera-b") == other
    shared.until_camera("a", CameraState.LIVE)


def test_a_child_that_never_does_any_good_is_given_up_after_its_budget(shared: Tree) -> None:
    shared.want(camera("useless", "die at once"))
    shared.until_camera("useless", CameraState.ERROR)
    part = shared.part("camera-useless")
    assert part is not None
    assert (part.state, part.restarts, part.pid) == ("error", 3, 0)
    assert shared.log("camera-useless").count("die at once") == 3
    shared.want(camera("useless", revision="2"))  # an edit is a new chance
    shared.until_camera("useless", CameraState.LIVE)


def test_a_stopped_child_is_seen_killed_and_replaced(shared: Tree) -> None:
    shared.want(camera("stopped"))
    shared.until_camera("stopped", CameraState.LIVE)
    first = shared.pid("camera-stopped")
    os.kill(first, signal.SIGSTOP)
    assert shared.pid("camera-stopped", not_=first) != first
    assert gone([first])


def test_a_child_that_never_stops_talking_keeps_nobody_waiting(shared: Tree) -> None:
    shared.want(camera("flood", "flood"), camera("quiet"))
    shared.pid("camera-flood")
    first = shared.pid("camera-quiet")
    os.kill(first, signal.SIGKILL)
    shared.pid("camera-quiet", not_=first)
    shared.want()
    until(lambda: shared.part("camera-flood") is None, why="it is removed")


def test_a_child_that_says_what_is_no_message_is_ended_and_the_tree_goes_on(shared: Tree) -> None:
    shared.want(camera("rubbish", "rubbish"))
    shared.until_camera("rubbish", CameraState.ERROR)
    assert shared.process.poll() is None


def test_a_child_that_hangs_up_costs_the_supervisor_nothing(shared: Tree) -> None:
    shared.want(camera("silent", "hang up"))
    until(lambda: "hang up" in shared.log("camera-silent"), why="it has hung up")
    before, turns = sum(shared.supervisor.cpu_times()[:2]), shared.hear().version
    until(lambda: shared.hear().version >= turns + 2, why="some ticks have passed")
    assert sum(shared.supervisor.cpu_times()[:2]) - before < 0.3  # a spinning loop takes it all


def test_a_camera_that_is_removed_and_does_not_obey_is_ended(shared: Tree) -> None:
    shared.want(camera("deaf", "deaf"))
    pid = shared.pid("camera-deaf")
    shared.want()
    until(lambda: shared.part("camera-deaf") is None, why="it is removed")
    assert gone([pid])


def test_the_newest_wish_counts_when_cameras_are_edited_faster_than_they_end(shared: Tree) -> None:
    d, e, f = (camera(name, "deaf") for name in "def")
    shared.want(d, e, f)
    pids = {name: shared.pid(f"camera-{name}") for name in "def"}
    shared.want(e, camera("f", "", "2"))  # d is removed, f is edited
    shared.want(d, e, f)  # and both are as they were, while they still run
    for name in "df":
        shared.pid(f"camera-{name}", not_=pids[name])
    status = shared.camera("f")
    assert status is not None
    assert status.spec == f
    assert shared.pid("camera-e") == pids["e"]
    shared.want(e)
    until(
        lambda: [p.name for p in shared.hear().processes if p.role == "camera"] == ["camera-e"],
        why="only e is left",
    )


def test_a_camera_follows_its_model_to_another_host(shared: Tree) -> None:
    def model(host: str) -> ModelSpec:
        return ModelSpec(
            name=ModelName("m"), kind=ModelKind.DETECTOR, path="/m", sha256="", host=HostName(host)
        )

    looks, other = camera("looks", model=ModelName("m")), camera("other")
    shared.want(looks, other)  # its model does not exist yet
    first, beside = shared.pid("camera-looks"), shared.pid("camera-other")
    shared.want(looks, other, models=(model("h"),))
    second = shared.pid("camera-looks", not_=first)
    shared.want(looks, other, models=(model("i"),))
    third = shared.pid("camera-looks", not_=second)
    shared.want(looks, other)  # a model that is away moves nobody
    shared.want(looks, other, models=(model("i"),))
    until(lambda: any(m.name == "m" for m in shared.hear().models), why="it is back")
    assert shared.pid("camera-looks") == third
    assert shared.pid("camera-other") == beside


def test_a_camera_that_waits_for_its_restart_can_be_edited_and_removed(tmp_path: Path) -> None:
    with tree(
        tmp_path,
        camera("a", "die at once"),
        camera("b", "die at once"),
        backoff_initial_seconds=30.0,
        backoff_max_seconds=30.0,
    ) as it:
        for name in "ab":
            until(
                lambda name=name: (
                    (p := it.part(f"camera-{name}")) is not None  # type: ignore[misc]
                    and p.state == "backoff"
                    and p.restarts == 1
                ),
                why="it waits",
            )
        it.want(camera("a", "", "2"))
        it.until_camera("a", CameraState.LIVE)
        assert it.part("camera-b") is None
