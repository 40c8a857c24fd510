"""One camera's process with a real host, router and viewer: every frame ends in exactly one way."""

from __future__ import annotations

import resource
import select
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from tests.cameras.mjpeg import MjpegCamera
from tests.engine.rig import HOST, Frames, Rig, ScriptedAdapter, mark, model
from tests.support.waiting import until

from saccade.cameras.process import CameraProcess
from saccade.desired import CameraSpec
from saccade.engine import wire
from saccade.telemetry.board import CameraWord, FrameCounts, book_dead_camera
from saccade.types import CameraId, CameraState, DropReason, ModelName, ModelStatus, SourceKind
from saccade.vision.detections import Detections

FRAMES = 12


def write_clip(path: Path, frames: int = FRAMES, fps: int = 10) -> Path:
    with av.open(str(path), "w") as clip:
        stream = clip.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for n in range(frames):
            picture = np.full((48, 64, 3), 20 * (n % 12), np.uint8)
            clip.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        clip.mux(stream.encode())
    return path


def spec(path: Path, kind: SourceKind = SourceKind.FILE, **more: object) -> CameraSpec:
    fields: dict[str, object] = {
        "id": CameraId("cam"),
        "name": "cam",
        "kind": kind,
        "url": str(path),
        "display_url": path.name,
        "model": ModelName("m"),
        "process_fps": 0.0,
        "realtime": False,
        "max_frame_width": 64,
        "max_frame_height": 48,
    }
    return CameraSpec(**{**fields, **more})  # type: ignore[arg-type]


class Camera:
    """A camera's process in a thread, and what it says to supervisor, router and viewer."""

    def __init__(self, rig: Rig, camera: CameraSpec) -> None:
        self.page = rig.board.page(5)
        self.control, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self.control, self._theirs):
            end.setblocking(False)
        self.router = wire.listen(rig.run_dir, "router.sock")
        self.view = wire.listen(rig.run_dir, "view.sock", socket.SOCK_STREAM)
        self.observations: list[wire.Observation] = []
        self.words: list[wire.FromChild] = []
        self._router_client: socket.socket | None = None
        self.process = CameraProcess(
            camera,
            run_dir=str(rig.run_dir),
            host=None if camera.model is None else HOST,
            control=self._theirs,
            page=self.page,
        )
        self.thread = threading.Thread(target=self.process.run)
        self.thread.start()

    @property
    def counts(self) -> FrameCounts:
        return FrameCounts(self.page)

    def hear(self) -> None:
        """Take what it said to the router and the supervisor."""
        if self._router_client is None:
            if not select.select([self.router], [], [], 0)[0]:
                self._hear_words()
                return
            self._router_client = self.router.accept()[0]
            self._router_client.setblocking(False)
        while True:
            try:
                packet = wire.hear(self._router_client)
            except BlockingIOError:
                break
            if not packet:
                break
            self.observations.append(wire.observation(packet))
        self._hear_words()

    def _hear_words(self) -> None:
        while True:
            try:
                packet = wire.hear(self.control)
            except BlockingIOError:
                return
            if not packet:
                return
            self.words.append(wire.from_child(packet))

    def state(self) -> CameraState | None:
        self.hear()
        states = [w.state for w in self.words if isinstance(w, wire.CameraFact)]
        return states[-1] if states else None

    def until_state(self, state: CameraState) -> None:
        until(lambda: self.state() is state, why=f"it is {state}")

    def until_counts(self, within_s: float = 5.0, **wanted: int) -> None:
        def reached() -> bool:
            self.hear()
            have = {
                "produced": self.counts.produced,
                "served": self.counts.served,
                **{r.value: n for r, n in self.counts.dropped.items()},
            }
            return all(have[name] >= n for name, n in wanted.items())

        until(reached, within_s, why=f"{wanted}")

    def stop(self) -> FrameCounts:
        """Stop it as the supervisor does and close its books."""
        if self.thread.is_alive():
            self.control.send(wire.encode(wire.Stop()))
            self.thread.join(5)
        assert not self.thread.is_alive()
        book_dead_camera(self.page)
        return self.counts

    def close(self) -> None:
        self.stop()
        for sock in (self.control, self._theirs, self.router, self.view, self._router_client):
            if sock is not None:
                sock.close()


class Scene:
    """Makes hosts and cameras for a test and ends them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: list[Rig | Camera] = []

    def host(self, adapter: ScriptedAdapter, *, is_loaded: bool = True) -> Rig:
        rig = Rig(self.folder, {"m": adapter})
        self.made.append(rig)
        if is_loaded:
            rig.order(wire.Load(model()))
            rig.until_status(ModelStatus.READY)
        return rig

    def camera(self, rig: Rig, camera: CameraSpec) -> Camera:
        made = Camera(rig, camera)
        self.made.append(made)
        return made


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    for one in reversed(made.made):
        one.close()


def seeing(frames: Frames) -> list[Detections]:
    return [
        Detections(
            np.array([[8, 8, 16, 16]], np.float32),
            np.array([0.75], np.float32),
            np.array([0], np.int32),
        )
        for _ in frames
    ]


def test_a_file_on_demand_is_seen_whole_in_order_and_in_native_pixels(scene: Scene) -> None:
    rig = scene.host(ScriptedAdapter(seeing))
    it = scene.camera(rig, spec(write_clip(scene.folder / "c.mp4")))
    it.until_state(CameraState.ENDED)
    it.until_counts(served=FRAMES)
    counts = it.stop()
    it.hear()
    assert (counts.produced, counts.served) == (FRAMES, FRAMES)
    assert (counts.in_flight, counts.missing) == (0, 0)
    assert [o.seq for o in it.observations] == list(range(1, FRAMES + 1))
    (seen,) = it.observations[0].seen
    assert (seen.label, seen.confidence) == ("thing", 0.75)
    assert seen.box_px == (16, 8, 32, 24)  # 64x48 in a 32x32 input: half the size, 4 rows of pad
    assert wire.Good() in it.words
    assert it.page.get(CameraWord.OBSERVED) == FRAMES


def test_a_file_on_demand_waits_for_a_model_that_is_slow_or_not_there_yet(scene: Scene) -> None:
    slow = threading.Event()

    def infer(frames: Frames) -> list[Detections]:
        slow.wait(0.03)  # longer than a frame may be old
        return mark(frames)

    rig = scene.host(ScriptedAdapter(infer), is_loaded=False)
    it = scene.camera(rig, spec(write_clip(scene.folder / "c.mp4"), staleness_seconds=0.01))
    it.until_state(CameraState.LIVE)
    it.until_counts(produced=2)
    assert it.counts.dropped[DropReason.NO_MODEL] == 0
    rig.order(wire.Load(model()))
    it.until_counts(served=FRAMES)
    counts = it.stop()
    assert sum(counts.dropped.values()) == 0


def test_a_live_camera_without_a_model_shows_life_and_counts_its_frames(scene: Scene) -> None:
    rig = scene.host(ScriptedAdapter(), is_loaded=False)
    clip = write_clip(scene.folder / "c.mp4", fps=50)
    it = scene.camera(rig, spec(clip, model=None, realtime=True))
    it.until_state(CameraState.ENDED)
    counts = it.stop()
    it.hear()
    assert counts.produced == FRAMES
    assert counts.dropped[DropReason.NO_MODEL] + counts.dropped[DropReason.SUPERSEDED] == FRAMES
    assert wire.Good() in it.words  # pictures are all its work
    assert it.observations == []


def test_the_frame_that_is_with_a_host_that_ends_is_booked_and_the_next_host_serves(
    scene: Scene,
) -> None:
    adapter = ScriptedAdapter(gate=threading.Event())
    rig = scene.host(adapter)
    it = scene.camera(rig, spec(write_clip(scene.folder / "c.mp4"), loop=True))
    assert adapter.entered.acquire(timeout=5)
    rig.control.close()
    rig.thread.join(10)  # it gives up on its stuck batch, as a killed host would
    for worker_end in list(rig.host._workers.values()):
        for connection in worker_end._connections.values():
            connection.sock.shutdown(socket.SHUT_RDWR)
    it.until_counts(host_died=1)
    assert adapter.gate is not None
    adapter.gate.set()
    rig.close()
    scene.made.remove(rig)
    scene.host(ScriptedAdapter())
    it.until_counts(served=3)
    assert it.stop().missing == 0


def test_a_frame_under_way_at_a_stop_is_booked_as_stopped(scene: Scene) -> None:
    adapter = ScriptedAdapter(gate=threading.Event())
    it = scene.camera(scene.host(adapter), spec(write_clip(scene.folder / "c.mp4"), loop=True))
    assert adapter.entered.acquire(timeout=5)
    it.until_counts(produced=2)
    counts = it.stop()
    assert counts.missing == counts.in_flight == 0
    assert counts.dropped[DropReason.STOPPED] + counts.dropped[DropReason.DIED] >= 1
    assert counts.produced == counts.served + sum(counts.dropped.values())


def test_an_answer_that_never_comes_costs_one_frame_and_a_new_connection(scene: Scene) -> None:
    adapter = ScriptedAdapter(gate=threading.Event())
    rig = scene.host(adapter)
    it = scene.camera(
        rig, spec(write_clip(scene.folder / "c.mp4"), loop=True, answer_timeout_seconds=0.2)
    )
    assert adapter.entered.acquire(timeout=5)
    it.until_counts(host_died=1)
    assert adapter.gate is not None
    adapter.gate.set()
    it.until_counts(served=5)
    assert it.stop().missing == 0


def test_a_model_that_is_loaded_anew_gets_its_cameras_back(scene: Scene) -> None:
    rig = scene.host(ScriptedAdapter())
    it = scene.camera(
        rig,
        spec(write_clip(scene.folder / "c.mp4"), loop=True, realtime=True, staleness_seconds=5.0),
    )
    for turn in range(1, 4):
        it.until_counts(served=it.counts.served + 2)
        rig.order(wire.Unload(ModelName("m")))
        it.until_counts(no_model=it.counts.dropped[DropReason.NO_MODEL] + 1)
        rig.order(wire.Load(model()))
        assert turn
    it.until_counts(served=it.counts.served + 2)
    assert it.stop().missing == 0


def test_short_memory_is_said_once_retried_calmly_and_forgotten_when_it_is_over(
    scene: Scene,
) -> None:
    rig = scene.host(ScriptedAdapter())
    clip = write_clip(scene.folder / "c.mp4", frames=100)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, hard))  # no slot fits into that
    try:
        it = scene.camera(rig, spec(clip, realtime=True))
        until(
            lambda: (
                it.state() is not None
                and any(
                    "fits in memory" in w.reason for w in it.words if isinstance(w, wire.CameraFact)
                )
            ),
            why="it says so",
        )
        it.until_counts(no_model=3)
        said = [w for w in it.words if isinstance(w, wire.CameraFact) and "fits" in w.reason]
        assert len(said) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    it.until_counts(served=3)
    it.hear()
    facts = [w for w in it.words if isinstance(w, wire.CameraFact)]
    assert facts[-1].reason == "slots fit in memory again"
    assert facts[-1].state is CameraState.LIVE


@pytest.mark.parametrize("loop", [False, True])
def test_a_file_that_holds_no_picture_is_an_error_and_no_busy_loop(
    scene: Scene, loop: bool
) -> None:
    rig = scene.host(ScriptedAdapter(), is_loaded=False)
    path = scene.folder / "c.y4m"  # it opens well, and has not one frame
    path.write_bytes(b"YUV4MPEG2 W64 H48 F10:1 Ip A1:1 C420jpeg\n")
    it = scene.camera(rig, spec(path, loop=loop))
    it.until_state(CameraState.ERROR)
    beats = it.page.get(1)
    until(lambda: it.page.get(1) > beats + 2, why="some turns have passed")
    assert it.page.get(CameraWord.RECONNECTS) <= 1  # the next try is seconds away
    assert it.counts.produced == 0


def test_a_folder_shows_each_picture_once_and_skips_what_is_none(scene: Scene) -> None:
    rig = scene.host(ScriptedAdapter())
    folder = scene.folder / "pictures"
    folder.mkdir()
    for n in range(4):
        cv2.imwrite(str(folder / f"{n}.png"), np.full((48, 64, 3), 10 * n, np.uint8))
    (folder / "2b.jpg").write_bytes(b"no picture")
    it = scene.camera(rig, spec(folder, SourceKind.FOLDER, process_fps=100.0))
    it.until_state(CameraState.ENDED)
    it.until_counts(served=4)
    assert it.stop().produced == 4


HEADER = struct.Struct(">II")


def test_pictures_for_people_arrive_whole_and_only_while_somebody_watches(scene: Scene) -> None:
    rig = scene.host(ScriptedAdapter(seeing))
    it = scene.camera(
        rig,
        spec(
            write_clip(scene.folder / "c.mp4"),
            loop=True,
            realtime=True,
            tile_width=32,
            tile_height=32,
            tile_fps=30.0,
        ),
    )
    it.view.setblocking(True)
    it.view.settimeout(5)
    viewer, _address = it.view.accept()
    with viewer:
        viewer.settimeout(5)

        def take(size: int) -> bytes:
            return viewer.recv(size, socket.MSG_WAITALL)

        size, none = HEADER.unpack(take(8))
        assert (take(size), none) == (b"cam", 0)
        it.until_counts(served=3)
        assert it.page.get(CameraWord.TILES) == 0
        watch = wire.encode(wire.Watch(("tile", "full")))
        viewer.sendall(struct.pack(">I", len(watch)) + watch)
        sizes = set()
        for _ in range(6):
            head, body = HEADER.unpack(take(8))
            tile = wire.msgspec.msgpack.decode(take(head), type=wire.Tile)  # type: ignore[attr-defined]
            picture = cv2.imdecode(np.frombuffer(take(body), np.uint8), cv2.IMREAD_COLOR)
            assert picture is not None
            assert picture.shape == (tile.height, tile.width, 3)
            sizes.add((tile.size, tile.width, tile.height))
        assert sizes == {("tile", 32, 24), ("full", 64, 48)}


@pytest.fixture
def network() -> Iterator[MjpegCamera]:
    made = MjpegCamera()
    yield made
    made.close()


def live(network: MjpegCamera, **more: object) -> CameraSpec:
    shown = f"http://{network.address}"
    return spec(
        Path(shown),
        SourceKind.HTTP,
        **{
            "url": f"http://admin:geheim@{network.address}",
            "display_url": shown,
            "realtime": True,
            "stall_seconds": 0.6,
            "connect_timeout_seconds": 0.6,
            "read_timeout_seconds": 0.5,
            "backoff_initial_seconds": 0.05,
            "backoff_max_seconds": 0.2,
            "frozen_seconds": 0.0,
            **more,
        },
    )


def test_a_camera_that_falls_silent_ends_or_sends_rubbish_is_opened_again(
    scene: Scene, network: MjpegCamera
) -> None:
    rig = scene.host(ScriptedAdapter())
    it = scene.camera(rig, live(network))
    for manner in ("silent", "end", "rubbish"):
        it.until_state(CameraState.LIVE)
        it.until_counts(served=it.counts.served + 3)
        opened = network.opened
        network.manner = manner
        until(lambda: it.state() is not CameraState.LIVE, 8, why=f"{manner} is noticed")
        network.manner = "flow"
        until(lambda opened=opened: network.opened > opened, why="it is opened again")  # type: ignore[misc]
    it.until_state(CameraState.LIVE)
    it.until_counts(served=it.counts.served + 3)
    said = " ".join(w.reason for w in it.words if isinstance(w, wire.CameraFact))
    assert "geheim" not in said
    assert it.stop().missing == 0


def test_a_picture_that_never_changes_is_a_camera_that_hangs(
    scene: Scene, network: MjpegCamera
) -> None:
    rig = scene.host(ScriptedAdapter())
    it = scene.camera(rig, live(network, frozen_seconds=0.5))
    it.until_state(CameraState.LIVE)
    network.manner = "frozen"
    until(lambda: it.page.get(CameraWord.FROZEN), why="it is noticed")
    network.manner = "flow"
    it.until_state(CameraState.LIVE)
    assert it.stop().missing == 0


def test_a_camera_that_is_not_there_at_the_start_is_live_once_it_is(scene: Scene) -> None:
    network = MjpegCamera()
    network.manner = "end"
    rig = scene.host(ScriptedAdapter())
    it = scene.camera(rig, live(network))
    it.until_state(CameraState.RECONNECTING)
    network.manner = "flow"
    it.until_state(CameraState.LIVE)
    it.until_counts(served=2)
    it.stop()
    network.close()
