"""A scene as a file: a video that players read, whole or not there at all."""

from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from saccade.demo.clips import render_clip
from saccade.demo.scene import KioskScene
from saccade.errors import BadInput, DataFolderUnusable


def test_a_clip_is_a_video_of_the_asked_length_size_and_rate(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    render_clip(path, seed=3, seconds=2.0, width=320, height=180, fps=10.0)
    with av.open(str(path)) as clip:
        stream = clip.streams.video[0]
        assert stream.codec_context.name in {"h264", "mpeg4"}
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert (stream.width, stream.height) == (320, 180)
        assert stream.average_rate == 10
        times = [float(frame.time) for frame in clip.decode(video=0)]
    assert times == pytest.approx([n / 10 for n in range(20)], abs=1e-3)


def test_a_clip_shows_the_scene(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    render_clip(path, seed=4, seconds=1.0)
    scene = KioskScene(4)
    with av.open(str(path)) as clip:
        for index, frame in enumerate(clip.decode(video=0)):
            shown = frame.to_ndarray(format="bgr24").astype(int)
            drawn = scene.render(index)[0].astype(int)
            assert np.abs(shown - drawn).mean() < 8
    assert index == 14


def test_a_clip_of_twelve_seconds_or_more_ends_where_it_began(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    render_clip(path, seed=5, seconds=12.0, width=320, height=180)
    with av.open(str(path)) as clip:
        frames = [f.to_ndarray(format="gray").astype(int) for f in clip.decode(video=0)]
    steps = [np.abs(b - a).mean() for a, b in pairwise(frames)]
    assert np.abs(frames[0] - frames[-1]).mean() < 1.5 * max(steps)


def test_progress_grows_to_one(tmp_path: Path) -> None:
    shares: list[float] = []
    render_clip(
        tmp_path / "clip.mp4", seed=1, seconds=1.0, width=64, height=64, progress=shares.append
    )
    assert len(shares) == 15
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_clip_that_is_stopped_half_way_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(share: float) -> None:
        if share > 0.5:
            raise StopError

    path = tmp_path / "clip.mp4"
    path.write_bytes(b"the old one")
    with pytest.raises(StopError):
        render_clip(path, seed=1, seconds=1.0, width=64, height=64, progress=stop)
    assert path.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "clip.mp4"
    with pytest.raises(DataFolderUnusable, match="missing"):
        render_clip(path, seed=1, seconds=0.1, width=64, height=64)


@pytest.mark.parametrize(
    "change",
    [{"width": 321}, {"height": 181}, {"seconds": 0.0}, {"fps": -1.0}, {"width": 32}],
)
def test_a_clip_that_cannot_be_is_refused_and_nothing_is_written(
    tmp_path: Path, change: dict[str, float]
) -> None:
    asked = {"seed": 1, "seconds": 0.2, "width": 320, "height": 180, "fps": 15.0} | change
    with pytest.raises(BadInput):
        render_clip(tmp_path / "clip.mp4", **asked)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
