"""Where pictures come from: streams and files (FFmpeg), webcams (V4L2), folders of images.

Every source yields `Picture`s in I420 with even sides, at most the size asked for; what a header
says of length or rate is never believed.
"""

from __future__ import annotations

import contextlib
import logging
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from saccade.desired import CameraSpec
from saccade.errors import BadInput, SourceFailed
from saccade.guards.images import decode_image
from saccade.types import SourceKind
from saccade.vision.pixels import bgr_to_i420

log = logging.getLogger(__name__)

IMAGE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
#: A folder's picture may be this large; more is skipped with a warning.
FOLDER_MAX_BYTES: Final = 64 * 1024 * 1024
FOLDER_MAX_PIXELS: Final = 64_000_000
#: What a stream's address may lead FFmpeg to: a playlist must not name files of this machine.
_NETWORK_PROTOCOLS: Final = "rtsp,rtp,udp,tcp,tls,rtsps,http,https,crypto,httpproxy"
_FULL_RANGE: Final = 2  # AVCOL_RANGE_JPEG


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded picture.

    Args:
        native_width, native_height: as the source sent it.
        width, height: of the I420 that `write` gives; even.
        media_s: its time in a file, None for live sources.
        write: copies the I420 into a (height * 3 / 2, width) uint8 array.
        signature: of its luma, to tell a frozen picture.
    """

    native_width: int
    native_height: int
    width: int
    height: int
    media_s: float | None
    write: Callable[[NDArray[np.uint8]], None]
    signature: Callable[[], int]


class Source(Protocol):
    """An open source. One thread uses it."""

    def pictures(self) -> Iterator[Picture]:
        """Yield pictures until the end. Raises SourceFailed."""
        ...

    def close(self) -> None:
        """Let it go; twice is harmless."""
        ...


def fit(width: int, height: int, most_width: int, most_height: int) -> tuple[int, int]:
    """Return even sides of at most the given size, in the picture's proportion, never enlarged."""
    scale = min(1.0, most_width / width, most_height / height)
    return max(2, round(width * scale) // 2 * 2), max(2, round(height * scale) // 2 * 2)


def open_source(spec: CameraSpec) -> Source:
    """Open a camera's source.

    Raises:
        SourceFailed: it cannot be reached or is not what it should be.
    """
    if spec.kind is SourceKind.WEBCAM:
        return WebcamSource(spec)
    if spec.kind is SourceKind.FOLDER:
        return FolderSource(spec)
    return StreamSource(spec)


class StreamSource:
    """RTSP, HTTP and video files, decoded by FFmpeg in this process."""

    def __init__(self, spec: CameraSpec) -> None:
        self._spec = spec
        self._is_file = spec.kind is SourceKind.FILE
        options = {"protocol_whitelist": "file" if self._is_file else _NETWORK_PROTOCOLS}
        if not self._is_file:
            # Probing the default 5 s of stream would make every reconnect that slow.
            options |= {
                "fflags": "nobuffer",
                "flags": "low_delay",
                "analyzeduration": "500000",
                "probesize": "500000",
            }
        if spec.kind is SourceKind.RTSP:
            options["rtsp_transport"] = "tcp"
        if self._is_file and not Path(spec.url).is_file():
            raise SourceFailed(
                f"{spec.display_url} is not a file", fix="check the path in the camera's source"
            )
        try:
            self._container = av.open(
                spec.url,
                options=options,
                mode="r",
                timeout=(spec.connect_timeout_seconds, spec.read_timeout_seconds),
            )
            video = self._container.streams.video
            if not video:
                raise SourceFailed(
                    f"{spec.display_url} has no video",
                    fix="give the address of a video stream or file",
                )
            self._stream = video[0]
            self._stream.thread_count = 1  # frame threads would add frames of delay
        except (av.FFmpegError, OSError, ValueError) as error:
            raise _failed(spec, "cannot open", error) from None

    def pictures(self) -> Iterator[Picture]:
        """Yield pictures until the end of the file or stream."""
        try:
            for frame in self._container.decode(self._stream):
                yield self._picture(frame)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise _failed(self._spec, "cannot read", error) from None

    def close(self) -> None:
        """Close the connection or file."""
        with contextlib.suppress(av.FFmpegError, OSError):
            self._container.close()

    def _picture(self, frame: av.VideoFrame) -> Picture:
        native_width, native_height = frame.width, frame.height
        width, height = fit(
            native_width, native_height, self._spec.max_frame_width, self._spec.max_frame_height
        )
        media_s = frame.time if self._is_file else None

        def planes() -> av.VideoFrame:
            full = frame.format.name.startswith("yuvj") or frame.color_range == _FULL_RANGE
            if full:
                return frame.reformat(
                    width, height, "yuv420p", src_color_range="JPEG", dst_color_range="MPEG"
                )
            return frame.reformat(width, height, "yuv420p")  # the same object when it fits already

        def write(out: NDArray[np.uint8]) -> None:
            flat, start = out.reshape(-1), 0
            try:
                converted = planes().planes
            except (av.FFmpegError, OSError, ValueError) as error:
                raise _failed(self._spec, "cannot use a picture of", error) from None
            for plane in converted:
                size = plane.width * plane.height
                rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
                flat[start : start + size].reshape(plane.height, plane.width)[:] = rows[
                    : plane.height, : plane.width
                ]
                start += size

        def signature() -> int:
            plane = frame.planes[0]
            rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
            return hash(rows[::16, ::16].tobytes())

        return Picture(native_width, native_height, width, height, media_s, write, signature)


class WebcamSource:
    """A V4L2 device of this machine, by number or path."""

    def __init__(self, spec: CameraSpec) -> None:
        self._spec = spec
        number = spec.url.removeprefix("/dev/video")
        device = Path(f"/dev/video{number}" if number.isdigit() else spec.url)
        if not device.exists() or not stat.S_ISCHR(device.stat().st_mode):
            raise SourceFailed(
                f"there is no webcam at {device}",
                fix="plug it in, or list devices with `ls /dev/video*`",
            )
        self._capture = cv2.VideoCapture(str(device), cv2.CAP_V4L2)
        if not self._capture.isOpened():
            raise SourceFailed(
                f"the webcam at {device} cannot be opened",
                fix="close the program that uses it, and allow group `video`",
            )
        self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, spec.max_frame_width)
        self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, spec.max_frame_height)

    def pictures(self) -> Iterator[Picture]:
        """Yield pictures until the device goes away."""
        while True:
            is_read, bgr = self._capture.read()
            if not is_read:
                raise SourceFailed("the webcam gives no pictures", fix="plug it in again")
            yield from_bgr(np.asarray(bgr, np.uint8), self._spec, media_s=None)

    def close(self) -> None:
        """Release the device."""
        self._capture.release()


class FolderSource:
    """The images of a folder in the order of their names, one each `1 / process_fps` seconds."""

    def __init__(self, spec: CameraSpec) -> None:
        self._spec = spec
        folder = Path(spec.url)
        if not folder.is_dir():
            raise SourceFailed(
                f"{spec.display_url} is not a folder", fix="check the path in the camera's source"
            )
        self._paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        if not self._paths:
            raise SourceFailed(
                f"{spec.display_url} holds no images",
                fix=f"put {', '.join(sorted(IMAGE_SUFFIXES))} files in it",
            )

    def pictures(self) -> Iterator[Picture]:
        """Yield each image once; one that cannot be read is skipped with a warning."""
        period = 1.0 / self._spec.process_fps if self._spec.process_fps > 0 else 0.0
        good = 0
        for path in self._paths:
            try:
                bgr = decode_image(
                    path.read_bytes(), max_bytes=FOLDER_MAX_BYTES, max_pixels=FOLDER_MAX_PIXELS
                )
            except (BadInput, OSError) as error:
                log.warning("an image was skipped", extra={"file": path.name, "why": str(error)})
                continue
            yield from_bgr(bgr, self._spec, media_s=good * period)
            good += 1
        if not good:
            raise SourceFailed(
                f"none of the images in {self._spec.display_url} can be read",
                fix="see the camera's log for each of them",
            )

    def close(self) -> None:
        """Nothing is open between pictures."""


def from_bgr(bgr: NDArray[np.uint8], spec: CameraSpec, *, media_s: float | None) -> Picture:
    """Return a picture from (height, width, 3) BGR."""
    native_height, native_width = bgr.shape[:2]
    width, height = fit(native_width, native_height, spec.max_frame_width, spec.max_frame_height)

    def write(out: NDArray[np.uint8]) -> None:
        small = (
            bgr
            if (width, height) == (native_width, native_height)
            else cv2.resize(bgr, (width, height), interpolation=cv2.INTER_AREA)
        )
        bgr_to_i420(np.asarray(small, np.uint8), out)

    return Picture(
        native_width,
        native_height,
        width,
        height,
        media_s,
        write,
        lambda: hash(bgr[::16, ::16].tobytes()),
    )


def _failed(spec: CameraSpec, what: str, error: Exception) -> SourceFailed:
    # The library's own text may repeat the address with its password: take only the reason.
    reason = getattr(error, "strerror", None) or type(error).__name__
    return SourceFailed(
        f"{what} {spec.display_url}: {reason}", fix="check the address, the camera and the network"
    )
