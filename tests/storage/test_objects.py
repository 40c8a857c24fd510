"""Objects on a local folder: whole or not at all, and never outside of it."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.errors import BadInput, DataFolderUnusable, DiskFull, NotFound
from saccade.storage import LocalObjects, check_key

Python = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
def store(folder: Path) -> LocalObjects:
    return LocalObjects(folder)


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("data", [b"", b"x", b"ab" * 1_500_000], ids=["empty", "one", "3 MB"])
@pytest.mark.parametrize("as_stream", [False, True])
def test_what_was_put_is_got_with_its_size_and_digest(
    store: LocalObjects, data: bytes, as_stream: bool
) -> None:
    info = store.put("captures/door/1.jpg", io.BytesIO(data) if as_stream else data)
    assert (info.size_bytes, info.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert store.get("captures/door/1.jpg") == data
    with store.open("captures/door/1.jpg") as stream:
        assert stream.read() == data


def test_objects_are_for_their_owner_only(store: LocalObjects, folder: Path) -> None:
    store.put("a/b.jpg", b"x")
    assert stat.S_IMODE((folder / "a/b.jpg").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "a").stat().st_mode) == 0o700


def test_a_second_put_replaces_the_first(store: LocalObjects) -> None:
    store.put("a/b", b"old")
    store.put("a/b", b"new")
    assert store.get("a/b") == b"new"
    assert list(store.list()) == ["a/b"]


def test_what_is_not_there_is_not_found(store: LocalObjects) -> None:
    for key in ("a", "a/b"):
        with pytest.raises(NotFound, match=repr(key)):
            store.get(key)
        assert store.delete(key) is False
    store.put("a/b", b"x")
    with pytest.raises(NotFound):
        store.get("a")  # a folder is no object
    with pytest.raises(NotFound):
        store.get("a/b/c")
    assert store.delete("a/b/c") is False


def test_a_deleted_object_leaves_nothing_not_even_the_name_of_its_folder(
    store: LocalObjects, folder: Path
) -> None:
    store.put("faces/ann/1.jpg", b"x")
    store.put("faces/bob/1.jpg", b"x")
    assert store.delete("faces/ann/1.jpg") is True
    assert sorted(path.name for path in (folder / "faces").iterdir()) == ["bob"]
    assert store.delete("faces/bob/1.jpg") is True
    assert not (folder / "faces").exists()


def test_keys_are_listed_in_order_by_prefix(store: LocalObjects) -> None:
    keys = ["a", "b/1", "b-1", "b/2/x", "b/10", "b.c", "ba", "c/d/e"]
    for key in keys:
        if key != "b":
            store.put(key, b"")
    assert list(store.list()) == sorted(keys)
    assert list(store.list("b/")) == ["b/1", "b/10", "b/2/x"]
    assert list(store.list("b")) == sorted(key for key in keys if key.startswith("b"))
    assert list(store.list("b/2")) == ["b/2/x"]
    assert list(store.list("nothing")) == []


def test_a_store_that_was_never_written_is_empty(store: LocalObjects) -> None:
    assert list(store.list()) == []
    assert store.sweep() == 0


@pytest.mark.parametrize(
    "key",
    ["", "/", "/etc/passwd", "..", "../x", "a/../b", "a/..", ".", "./a", "a//b", "a/", "a\0b",
     "a\\b", "a\nb", ".writing/x", "a/.hidden", "x" * 201, "a/" * 500 + "a", "\ud800", "a\u202eb"],
)  # fmt: skip
def test_a_key_that_is_not_safe_is_refused_by_everything(store: LocalObjects, key: str) -> None:
    for use in (store.get, store.open, store.delete, lambda key: store.put(key, b"x")):
        with pytest.raises(BadInput):
            use(key)


@given(st.text(max_size=40))
def test_a_key_that_passes_leads_to_a_place_below_the_folder(key: str) -> None:
    try:
        segments = check_key(key)
    except BadInput:
        return
    below = os.path.normpath(os.path.join("/root-folder", *segments))
    assert below == "/root-folder/" + key


class TestLinks:
    """A link inside the folder must not lead out of it, in whatever place it is."""

    @pytest.fixture
    def outside(self, tmp_path: Path, folder: Path) -> Path:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "secret").write_bytes(b"secret")
        folder.mkdir()
        (folder / "dir").symlink_to(outside)
        (folder / "file").symlink_to(outside / "secret")
        return outside

    def test_nothing_is_read_through_one(self, store: LocalObjects, outside: Path) -> None:
        for key in ("dir/secret", "file"):
            with pytest.raises(BadInput, match="link"):
                store.get(key)
        assert list(store.list()) == []

    def test_nothing_is_written_or_deleted_through_one(
        self, store: LocalObjects, outside: Path
    ) -> None:
        with pytest.raises(BadInput, match="link"):
            store.put("dir/new", b"x")
        with pytest.raises(BadInput, match="link"):
            store.delete("dir/secret")
        assert files(outside) == ["secret"]

    def test_a_put_replaces_the_link_and_not_what_it_points_to(
        self, store: LocalObjects, outside: Path, folder: Path
    ) -> None:
        store.put("file", b"mine")
        assert (outside / "secret").read_bytes() == b"secret"
        assert not (folder / "file").is_symlink()


def test_keys_that_cross_each_other_are_refused(store: LocalObjects, folder: Path) -> None:
    store.put("a/b", b"x")
    for key in ("a", "a/b/c"):
        with pytest.raises(BadInput, match="crosses"):
            store.put(key, b"y")
    assert files(folder) == ["a/b"]


class Failing(io.RawIOBase):
    """A stream that breaks after its first bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def read(self, size: int = -1) -> bytes:
        self.reads += 1
        if self.reads > 1:
            raise ConnectionResetError("the sender went away")
        return b"x" * 100


def test_a_stream_that_breaks_leaves_the_old_object_and_nothing_partial(
    store: LocalObjects, folder: Path
) -> None:
    store.put("a/b", b"old")
    with pytest.raises(ConnectionResetError):
        store.put("a/b", Failing())  # type: ignore[arg-type]
    assert store.get("a/b") == b"old"
    assert files(folder) == ["a/b"]


FULL = """
import resource, signal, sys
from pathlib import Path
from saccade.errors import DiskFull
from saccade.storage import LocalObjects
store = LocalObjects(Path(sys.argv[1]))
store.put("a/small", b"fits")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    store.put("a/big", b"x" * 200_000)
except DiskFull as error:
    print(error)
print(sorted(str(p.relative_to(sys.argv[1])) for p in Path(sys.argv[1]).rglob("*") if p.is_file()))
"""


def test_a_file_size_limit_is_one_clear_error_and_no_partial_object(
    python: Python, folder: Path
) -> None:
    out, err = python(FULL, str(folder)).communicate(timeout=60)
    assert err == ""
    said, left = out.splitlines()
    assert "no space left" in said
    assert "'a/big'" in said
    assert left == "['a/small']"


def test_a_full_disk_is_one_clear_error_and_no_partial_object(tmp_path: Path, folder: Path) -> None:
    """On a real small file system."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(small)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs root")
    try:
        store = LocalObjects(small / "objects")
        store.put("a/fits", b"x" * 1000)
        with pytest.raises(DiskFull, match="nothing of it was kept"):
            store.put("a/fits", b"y" * 1_000_000)
        assert store.get("a/fits") == b"x" * 1000
        assert files(small / "objects") == ["a/fits"]
        store.put("a/second", b"z")
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path / "no" / "such", tmp_path / "file", Path("/proc/objects")):
        with pytest.raises(DataFolderUnusable, match=str(place)):
            LocalObjects(place).put("a/b", b"x")


def test_what_a_killed_writer_left_is_swept_and_objects_stay(
    store: LocalObjects, folder: Path
) -> None:
    store.put("a/b", b"x")
    (folder / ".writing" / "0123").write_bytes(b"half")
    assert list(store.list()) == ["a/b"]
    assert store.sweep() == 1
    assert files(folder) == ["a/b"]


def test_putting_and_deleting_in_the_same_folder_at_once_loses_nothing(
    store: LocalObjects,
) -> None:
    """A deletion that takes an empty folder away must not fail a put into it."""
    failures: list[BaseException] = []

    def work(me: int) -> None:
        try:
            for turn in range(60):
                key = f"shared/deep/{me}"
                store.put(key, b"%d" % turn)
                assert store.get(key) == b"%d" % turn
                assert store.delete(key)
        except BaseException as error:  # noqa: BLE001 (handed to the test)
            failures.append(error)

    threads = [threading.Thread(target=work, args=(me,)) for me in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
