"""A kiosk scene as a video file, for the demo's cameras."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2

from saccade.demo.scene import KioskScene
from saccade.errors import BadInput, DataFolderUnusable

#: Shorter clips end with a jump: a belt that went round in less would race.
_MIN_LOOP_SECONDS = 12.0
#: Quality that keeps the print on a can readable; about half a Mbit/s at 640x360.
_X264 = {"preset": "veryfast", "crf": "22", "bf": "0", "threads": "1", "movflags": "+faststart"}
_MPEG4_BITS = 5_000_000


def render_clip(
    path: Path,
    *,
    seed: int,
    seconds: float = 20.0,
    width: int = 640,
    height: int = 360,
    fps: float = 15.0,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Write a scene as an MP4 (H.264, or MPEG-4 where x264 is missing; yuv420p).

    The file appears under its name only when it is whole. From 12 seconds on the clip can be
    played in a loop without a jump.

    Args:
        path: where to; its folder must exist, a file there is replaced.
        seed: of the scene.
        seconds: length; at least one frame is written.
        width: of the picture, pixels; even.
        height: of the picture, pixels; even.
        fps: frames in a second.
        progress: called with the share done, 0..1, after each frame.

    Raises:
        BadInput: a size that is odd or under 64 pixels, a length or rate that is not positive.
        DataFolderUnusable: the file cannot be written.
    """
    if width % 2 or height % 2:
        raise BadInput(f"a clip of {width}x{height} pixels", fix="use an even width and height")
    if seconds <= 0 or fps <= 0:
        raise BadInput(f"a clip of {seconds} s at {fps} fps", fix="both must be positive")
    count = max(1, round(seconds * fps))
    loop = count if seconds >= _MIN_LOOP_SECONDS else None
    scene = KioskScene(seed, width, height, fps, loop_frames=loop)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        _encode(part, scene, count, progress)
        part.replace(path)
    except (OSError, av.FFmpegError) as error:
        raise DataFolderUnusable(
            f"the clip {path} cannot be written: {error}",
            fix="check that its folder exists, is writable and has room",
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _encoder() -> tuple[str, dict[str, str]]:
    """Return the best encoder this build of FFmpeg has, and its options."""
    try:
        av.codec.Codec("libx264", "w")
    except av.codec.codec.UnknownCodecError:
        return "mpeg4", {"movflags": "+faststart"}
    return "libx264", dict(_X264)


def _encode(
    path: Path, scene: KioskScene, count: int, progress: Callable[[float], None] | None
) -> None:
    """Write `count` frames of `scene` to `path`."""
    codec, options = _encoder()
    container = {"movflags": options.pop("movflags")}
    rate = Fraction(scene.fps).limit_denominator(1001)  # 29.97 is 30000/1001
    with av.open(str(path), "w", format="mp4", options=container) as out:
        stream = out.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = scene.width, scene.height, "yuv420p"
        if codec == "mpeg4":
            stream.bit_rate = _MPEG4_BITS
        stream.gop_size = max(
            1, round(scene.fps * 2)
        )  # a reader that joins waits two seconds at most
        for index in range(count):
            picture, _ = scene.render(index)
            planes = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts = index
            out.mux(stream.encode(frame))
            if progress is not None:
                progress((index + 1) / count)
        out.mux(stream.encode(None))
