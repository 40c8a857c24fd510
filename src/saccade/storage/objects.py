"""Where files are kept: the seam, and the local folder behind it."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from saccade.errors import BadInput, DataFolderUnusable, DiskFull, NotFound

CHUNK_BYTES: Final = 1024 * 1024
MAX_KEY_BYTES: Final = 900  # S3 allows 1024, and a prefix of the bucket's owner may come before
MAX_SEGMENT_BYTES: Final = 200  # most file systems allow 255
#: Half-written files; no key has a segment that begins with a dot.
TEMPORARY: Final = ".writing"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_PUBLISH_TRIES: Final = 100
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What was stored."""

    key: str
    size_bytes: int
    sha256: str


class ObjectStore(Protocol):
    """Files by key. Keys are segments joined by slashes, checked by `check_key`."""

    def put(self, key: str, data: bytes | BinaryIO) -> ObjectInfo:
        """Store an object whole, replacing one of the same key, or leave everything as it was.

        Raises:
            BadInput: the key is not safe.
            DiskFull: there is no space; nothing partial is left.
        """
        ...

    def get(self, key: str) -> bytes:
        """Return an object's bytes. Raises NotFound, BadInput."""
        ...

    def open(self, key: str) -> BinaryIO:
        """Return an object as a stream that the caller closes. Raises NotFound, BadInput."""
        ...

    def delete(self, key: str) -> bool:
        """Remove an object; False when there is none. Raises BadInput."""
        ...

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that begin with `prefix`, in order."""
        ...


def check_key(key: str) -> tuple[str, ...]:
    r"""Split a key into its segments.

    Raises:
        BadInput: a segment is empty, begins with a dot (so `..` too), is too long, or holds a
            backslash or a control character; so no absolute path, no escape, no NUL.
    """
    segments = tuple(key.split("/"))
    fix = "use segments of letters, digits, '.', '_' and '-', joined by '/'"
    if not key.isprintable() or "\\" in key:
        raise BadInput(f"the object key {key!r} holds a character that is not allowed", fix=fix)
    if any(not segment or segment.startswith(".") for segment in segments):
        raise BadInput(f"the object key {key!r} has an empty segment or one with a dot", fix=fix)
    longest = max(len(segment.encode()) for segment in segments)
    if len(key.encode()) > MAX_KEY_BYTES or longest > MAX_SEGMENT_BYTES:
        raise BadInput(f"the object key {key[:60]!r}... is too long", fix="use a shorter key")
    return segments


class LocalObjects:
    """A folder. Every step into it is taken without following links, so none can lead outside.

    Args:
        folder: made when it is missing; its parent must exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, key: str, data: bytes | BinaryIO) -> ObjectInfo:
        """Store an object; see `ObjectStore.put`. It is on the disk when this returns."""
        segments = check_key(key)
        source = io.BytesIO(data) if isinstance(data, bytes) else data
        name = secrets.token_hex(16)
        with ExitStack() as stack:
            with self._problems(key):
                writing = stack.enter_context(self._open_folder((TEMPORARY,), create=True))
            try:
                size_bytes, digest = self._copy(key, source, name, writing)
                with self._problems(key):
                    self._publish(name, writing, segments)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=writing)
                raise
        return ObjectInfo(key, size_bytes, digest)

    def _copy(self, key: str, source: BinaryIO, name: str, folder: int) -> tuple[int, str]:
        """Copy a stream into a new file; return its size in bytes and its SHA-256.

        An error of the stream is the caller's and goes through as it is.
        """
        digest, size_bytes = hashlib.sha256(), 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with self._problems(key):
            file = os.fdopen(os.open(name, flags, 0o600, dir_fd=folder), "wb", buffering=0)
        with file:
            while chunk := source.read(CHUNK_BYTES):
                digest.update(chunk)
                size_bytes += len(chunk)
                view = memoryview(chunk)
                with self._problems(key):
                    while view:
                        view = view[file.write(view) :]
            with self._problems(key):
                os.fsync(file.fileno())
        return size_bytes, digest.hexdigest()

    def _publish(self, name: str, writing: int, segments: tuple[str, ...]) -> None:
        for _ in range(_PUBLISH_TRIES):
            try:
                with self._open_folder(segments[:-1], create=True) as target:
                    os.rename(name, segments[-1], src_dir_fd=writing, dst_dir_fd=target)
                    os.fsync(target)
                    return
            except FileNotFoundError:
                # A deletion took the empty folder away in between: make it again. Unless it is our
                # file that went, which only `sweep` does.
                os.stat(name, dir_fd=writing)
            except (NotADirectoryError, IsADirectoryError):
                raise BadInput(
                    f"the object key {'/'.join(segments)!r} crosses another object's key",
                    fix="an object's key cannot be the folder of another one",
                ) from None
        raise FileNotFoundError(errno.ENOENT, "the folder was removed again and again")

    def get(self, key: str) -> bytes:
        """Return an object's bytes. Raises NotFound, BadInput."""
        with self.open(key) as stream:
            return stream.read()

    def open(self, key: str) -> BinaryIO:
        """Return an object as a stream that the caller closes. Raises NotFound, BadInput."""
        segments = check_key(key)
        with self._problems(key), self._open_folder(segments[:-1]) as folder:
            descriptor = os.open(
                segments[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder
            )
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                raise FileNotFoundError(key)
            return os.fdopen(descriptor, "rb")

    def delete(self, key: str) -> bool:
        """Remove an object and the folders it leaves empty; False when there is none."""
        segments = check_key(key)
        try:
            with self._problems(key), self._open_folder(segments[:-1]) as folder:
                os.unlink(segments[-1], dir_fd=folder)
        except NotFound:
            return False
        # A folder's name can be a person's: it goes with the last file in it.
        for depth in range(len(segments) - 1, 0, -1):
            try:
                with self._open_folder(segments[: depth - 1]) as folder:
                    os.rmdir(segments[depth - 1], dir_fd=folder)
            except OSError:
                break
        return True

    def list(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that begin with `prefix`, in order."""
        if self._folder.is_dir():
            yield from _walk(self._folder, "", prefix)

    def sweep(self) -> int:
        """Remove what killed writers left half-written; return how many files.

        Call it before any process writes: it cannot tell a dead writer's file from a live one's.
        """
        removed = 0
        with suppress(NotFound), self._problems(""), self._open_folder((TEMPORARY,)) as writing:
            for name in os.listdir(writing):  # noqa: PTH208 (a descriptor, not a path)
                os.unlink(name, dir_fd=writing)
                removed += 1
        return removed

    @contextmanager
    def _open_folder(self, segments: tuple[str, ...], *, create: bool = False) -> Iterator[int]:
        """Open a folder below the root step by step, as a descriptor."""
        if create:
            try:
                self._folder.mkdir(mode=0o700)
            except FileExistsError:
                pass
            except OSError as error:
                raise self._unusable(error) from error
        # The root itself may be a link: the person who runs the server put it there.
        current = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for segment in segments:
                current = _step(current, segment, create=create)
            yield current
        finally:
            os.close(current)

    @contextmanager
    def _problems(self, key: str) -> Iterator[None]:
        """Turn the system's errors into ours."""
        try:
            yield
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            if self._folder.exists() and not self._folder.is_dir():
                raise self._unusable(error) from error
            raise NotFound(
                f"no object has the key {key!r}", fix="list the keys there are"
            ) from None
        except OSError as error:
            if error.errno in _FULL:
                raise DiskFull(
                    f"no space left in {self._folder} to write {key!r}; nothing of it was kept",
                    fix="free space on that disk, or keep objects for fewer days",
                ) from error
            if error.errno == errno.ELOOP:
                raise BadInput(
                    f"the object key {key!r} leads through a link", fix="remove the link"
                ) from error
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> DataFolderUnusable:
        return DataFolderUnusable(
            f"the object folder {self._folder} cannot be used: {error.strerror}",
            fix="name a folder that this user may write",
        )


def _step(current: int, segment: str, *, create: bool) -> int:
    """Go one folder down; the descriptor that was given is closed when that worked."""
    if create:
        with suppress(FileExistsError):
            os.mkdir(segment, mode=0o700, dir_fd=current)
    try:
        below = os.open(segment, _FOLDER, dir_fd=current)
    except NotADirectoryError:
        # What O_DIRECTORY | O_NOFOLLOW says about a link; a plain file is only in the way.
        if stat.S_ISLNK(os.lstat(segment, dir_fd=current).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
        raise
    os.close(current)
    return below


def _walk(folder: Path, path: str, prefix: str) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            # As whole keys sort: `a-b` comes before what is in the folder `a`.
            found = sorted(entries, key=lambda entry: entry.name + "/" * entry.is_dir())
    except FileNotFoundError:  # deleted while we walked
        return
    for entry in found:
        key = f"{path}{entry.name}"
        if entry.name.startswith(".") or entry.is_symlink():
            continue
        if entry.is_dir(follow_symlinks=False):
            below = f"{key}/"
            # Only into folders that lead to the prefix or lie below it.
            if below.startswith(prefix) or prefix.startswith(below):
                yield from _walk(folder / entry.name, below, prefix)
        elif key.startswith(prefix):
            yield key
