"""Tell from a camera's source what kind it is: a stream, a webcam, a file or a folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from saccade.config.secret import redact_url
from saccade.errors import BadInput
from saccade.types import SourceKind

_STREAMS = {
    "rtsp": SourceKind.RTSP,
    "rtsps": SourceKind.RTSP,
    "http": SourceKind.HTTP,
    "https": SourceKind.HTTP,
}
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*):(//)?")
_FIX = (
    "use rtsp://, rtsps://, http://, https://, a webcam's number, /dev/videoN, a file or a folder"
)


class Source(NamedTuple):
    """A source that was understood. `url` may hold a password, `display_url` does not."""

    kind: SourceKind
    url: str
    display_url: str


def parse_source(text: str, base_dir: Path) -> Source:
    """Return the kind and the absolute form of a camera's source.

    The disk is asked only whether a path is a folder; that it exists is `saccade check`'s to say.

    Args:
        text: a URL, a webcam's number, `/dev/videoN`, or the path of a file or folder.
        base_dir: what a relative path starts from.

    Raises:
        BadInput: it is none of these.
    """
    text = text.strip()
    if not text or "\0" in text or "\n" in text:
        raise BadInput("an empty source" if not text else "a line break in the source", fix=_FIX)
    if re.fullmatch(r"-\d+", text):
        raise BadInput("webcams are counted from 0", fix="use 0, 1, ...")
    if text.isdecimal() and text.isascii():
        device = f"/dev/video{int(text)}"
        return Source(SourceKind.WEBCAM, device, device)
    if re.fullmatch(r"/dev/video\d+", text):
        return Source(SourceKind.WEBCAM, text, text)
    scheme = _SCHEME.match(text)
    # One letter is a drive, two slashes make a URL; `a:b.mp4` is a file.
    if scheme and scheme.group(2):
        return _url(text, scheme.group(1).lower(), base_dir)
    if scheme and scheme.group(1).lower() in _STREAMS:
        raise BadInput(f"{redact_url(text)!r} has no // after its scheme", fix=_FIX)
    return _path(text, base_dir)


def _url(text: str, scheme: str, base_dir: Path) -> Source:
    shown = redact_url(text)
    if scheme == "file":
        return _path(unquote(text[len("file://") :]), base_dir)
    kind = _STREAMS.get(scheme)
    if kind is None:
        raise BadInput(f"{scheme}:// is not a source saccade reads", fix=_FIX)
    try:
        parts = urlsplit(text)
        good = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good or re.search(r"\s", text):
        raise BadInput(
            f"{shown!r} is not a URL with a host and a port that can be",
            fix="write scheme://user:password@host:port/path, with / ? # @ : of a password "
            "written as %2F %3F %23 %40 %3A",
        )
    return Source(kind, text, shown)


def _path(text: str, base_dir: Path) -> Source:
    path = Path(base_dir, Path(text).expanduser())
    is_folder = text.endswith("/") or path.is_dir()
    absolute = str(path.absolute())
    return Source(SourceKind.FOLDER if is_folder else SourceKind.FILE, absolute, absolute)
