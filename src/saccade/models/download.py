"""Downloads one file so that an interrupted transfer goes on where it stopped."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import httpx

from saccade.errors import Conflict, DataFolderUnusable, NetworkUnreachable, TooLarge

#: Called with (bytes so far, bytes in all or None when the server does not say).
Progress = Callable[[int, int | None], None]

_CHUNK_BYTES = 1024 * 1024
#: How often in a row a connection may break without one new byte, and how often at all.
_FRUITLESS_LIMIT = 3
_BREAKS_LIMIT = 50
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


def no_progress(_done: int, _total: int | None) -> None:
    """Ignore the progress."""


@contextmanager
def locked_part(part: Path) -> Iterator[BinaryIO]:
    """Open a partial file for one process alone; the lock ends with the process.

    Raises:
        Conflict: another process has it.
    """
    with part.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The other may have finished and renamed the file between our open and our lock.
            mine = os.fstat(file.fileno()).st_ino == part.stat().st_ino
        except (BlockingIOError, FileNotFoundError):
            mine = False
        if not mine:
            raise Conflict(
                f"{part.name} is being downloaded by another process",
                fix="wait for it to finish, then try again",
            )
        yield file


def download(
    url: str,
    file: BinaryIO,
    *,
    client: httpx.Client,
    max_bytes: int,
    progress: Progress = no_progress,
) -> str:
    """Bring a partial file to its end and return its SHA-256, in hex.

    What the file holds already is kept if the server still has the same version (Range with
    If-Range); what identifies the version is kept beside it. A connection that breaks is resumed at
    once, while it brings new bytes.

    Args:
        url: http or https.
        file: from `locked_part`.
        client: makes the requests; its timeouts and proxies hold.
        max_bytes: the longest file that is taken.
        progress: see `Progress`.

    Source: RFC 9110, sections 13.1.5 (If-Range), 14 (range requests).

    Raises:
        NetworkUnreachable: no connection, a broken one, or an answer that is not the file.
        TooLarge: the file is over `max_bytes`.
        DataFolderUnusable: the disk refuses.
    """
    return _Download(url, file, client, max_bytes, progress).run()


def shown(url: str) -> str:
    """Return a URL as it may be shown: without user, password and query."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"


class _Download:
    """One call of `download`: the file, and the hash of what is in it."""

    def __init__(
        self, url: str, file: BinaryIO, client: httpx.Client, max_bytes: int, progress: Progress
    ) -> None:
        self._url = url
        self._file = file
        self._client = client
        self._max_bytes = max_bytes
        self._progress = progress
        self._version_path = Path(f"{file.name}.version")
        self._hash = hashlib.sha256()
        self._size = 0

    def run(self) -> str:
        try:
            self._take_stock()
            self._fetch_all()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._version_path.unlink(missing_ok=True)
        except OSError as error:
            raise DataFolderUnusable(
                f"{self._file.name} cannot be written: {error.strerror or error}",
                fix="check the folder's permissions and the free space on its disk",
            ) from error
        return self._hash.hexdigest()

    def _take_stock(self) -> None:
        """Hash what an earlier call left, if its version is known; else begin anew."""
        if not self._version():
            self._restart()
            return
        self._file.seek(0)
        while chunk := self._file.read(_CHUNK_BYTES):
            self._hash.update(chunk)
            self._size += len(chunk)

    def _fetch_all(self) -> None:
        fruitless = 0
        for _ in range(_BREAKS_LIMIT):
            before = self._size
            try:
                if self._fetch():
                    return
            except (httpx.ReadError, httpx.RemoteProtocolError, httpx.ReadTimeout) as error:
                fruitless = 0 if self._size > before else fruitless + 1
                if fruitless == _FRUITLESS_LIMIT:
                    raise self._unreachable(f"the connection broke: {_reason(error)}") from error
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise self._unreachable(_reason(error)) from error
        raise self._unreachable(f"the connection broke {_BREAKS_LIMIT} times")

    def _fetch(self) -> bool:
        """Make one request; return whether the file is whole now."""
        headers = {"Accept-Encoding": "identity"}  # a range of a compressed body is no use
        if self._size:
            headers |= {"Range": f"bytes={self._size}-", "If-Range": self._version()}
        with self._client.stream("GET", self._url, headers=headers, follow_redirects=True) as reply:
            if self._url.startswith("https:") and reply.url.scheme != "https":
                raise self._unreachable("it was redirected to an address without TLS")
            if reply.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                return self._is_whole(reply)
            total = self._begin(reply)
            if total is not None and total > self._max_bytes:
                raise self._too_large(total)
            self._progress(self._size, total)
            # As they arrive: gathered into larger ones, a break would lose what was gathered.
            for chunk in reply.iter_raw():
                if self._size + len(chunk) > self._max_bytes:
                    raise self._too_large(self._size + len(chunk))
                self._write(chunk)
                self._progress(self._size, total)
        return True

    def _begin(self, reply: httpx.Response) -> int | None:
        """Place the file for a reply's body; return the whole file's length if it is told."""
        if reply.headers.get("Content-Encoding", "identity") != "identity":
            raise self._unreachable("the server compresses the file although asked not to")
        if reply.status_code == httpx.codes.PARTIAL_CONTENT:
            start, total = _content_range(reply)
            if start != self._size:
                raise self._unreachable(f"the server sent from byte {start}, not {self._size}")
            return total
        if reply.status_code != httpx.codes.OK:
            raise self._unreachable(f"the server answered {reply.status_code}")
        self._restart()
        etag = reply.headers.get("ETag", "")
        # A weak ETag says "much the same", which is not enough to join two halves.
        version = reply.headers.get("Last-Modified", "") if etag[:2] in ("", "W/") else etag
        if version:
            self._version_path.write_text(version, "utf-8")
        length = reply.headers.get("Content-Length", "")
        return int(length) if length.isdecimal() else None

    def _is_whole(self, reply: httpx.Response) -> bool:
        """Handle "range not satisfiable": nothing is left to send, or the file is another now."""
        if self._size and _content_range(reply)[1] == self._size:
            return True
        self._restart()
        return False

    def _write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._hash.update(chunk)
        self._size += len(chunk)

    def _restart(self) -> None:
        self._file.truncate(0)
        self._version_path.unlink(missing_ok=True)
        self._hash = hashlib.sha256()
        self._size = 0

    def _version(self) -> str:
        try:
            return self._version_path.read_text("utf-8")
        except (FileNotFoundError, UnicodeDecodeError):
            return ""

    def _unreachable(self, why: str) -> NetworkUnreachable:
        return NetworkUnreachable(
            f"{shown(self._url)} could not be downloaded: {why}",
            fix="check the network or proxy, or set a mirror; without a network copy the file by "
            "hand and give its path",
        )

    def _too_large(self, size: int) -> TooLarge:
        self._restart()
        return TooLarge(
            f"{shown(self._url)} has {size:,} bytes or more, at most {self._max_bytes:,} are taken",
            fix="check that the address is the model's, or raise the limit",
        )


def _content_range(reply: httpx.Response) -> tuple[int | None, int | None]:
    """Return (first byte, whole length) of a Content-Range, None for what it does not tell."""
    match = _CONTENT_RANGE.fullmatch(reply.headers.get("Content-Range", ""))
    if match is None:
        return None, None
    start, total = match.groups()
    return (int(start) if start else None), (int(total) if total != "*" else None)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
