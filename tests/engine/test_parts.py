"""Parts and pages of the tree, how a child starts, logs: what can be seen without a whole tree."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tests.engine.rig import descriptors
from tests.engine.tiny_tree import camera

from saccade.desired import (
    CameraSpec,
    Desired,
    HostSpec,
    ServerSpec,
    StorageSpec,
    SupervisorSpec,
    WebhookSpec,
)
from saccade.parts import PageBook, Part, PartState, trim_log, without_secrets
from saccade.spawn import Boot, Child, start_child
from saccade.supervisor import Supervisor
from saccade.telemetry.board import PAGES, Board, CameraWord, ModelWord, Word, model_base
from saccade.types import HostName


def desired(*cameras: CameraSpec, folder: str = "/nowhere") -> Desired:
    return Desired(
        data_dir=f"{folder}/data",
        run_dir=f"{folder}/run",
        server=ServerSpec(),
        storage=StorageSpec(url="postgresql://u:database-secret@x/y"),
        supervisor=SupervisorSpec(),
        hosts=(),
        models=(),
        cameras=cameras,
        settings=b"settings-secret",
        webhooks=(WebhookSpec(name="w", url="https://x/url-secret", secret="hook-secret"),),
    )


def test_no_role_knows_more_secrets_than_it_needs() -> None:
    whole = desired(camera("a", "rtsp://user:camera-secret@x/"))
    knows = {
        role: {
            s
            for s in ("camera", "database", "settings", "url", "hook")
            if f"{s}-secret".encode() in msgspec.msgpack.encode(without_secrets(whole, role))
        }
        for role in ("server", "router", "worker", "host", "camera", "pages")
    }
    assert knows == {
        "server": {"camera", "database", "settings", "url", "hook"},
        "router": {"database"},
        "worker": {"database", "url", "hook"},
        "host": set(),
        "camera": set(),
        "pages": set(),
    }


def test_a_page_that_is_given_again_is_clean_and_none_is_given_twice() -> None:
    board, book = Board.create(), PageBook()
    pages = [book.take(f"p{n}", board) for n in range(PAGES)]
    assert sorted(p for p in pages if p is not None) == list(range(PAGES))
    assert book.take("p3", board) == pages[3]
    assert book.take("one too many", board) is None
    board.page(7).set(CameraWord.PRODUCED, 5)
    book.free("p7")
    assert book.take("another", board) == 7
    assert board.page(7).get(CameraWord.PRODUCED) == 0


def test_more_cameras_than_there_is_room_for_are_refused_and_the_tree_is_planned() -> None:
    supervisor = Supervisor(desired(*(camera(f"c{n}") for n in range(PAGES + 5))))
    supervisor._plan()
    assert len(supervisor._parts) == PAGES
    refused = [news for news in supervisor._news.waiting if news.kind == "process_refused"]
    assert len(refused) == PAGES + 5 - len(supervisor._cameras)
    assert set(supervisor._cameras) == {p.camera.id for p in supervisor._parts.values() if p.camera}


class NoChild(Child):
    """A child that cannot be killed."""

    def kill(self) -> None:
        """It is not there."""


def host_part(board: Board) -> tuple[Part, socket.socket]:
    part = Part("host-h", "host", host=HostSpec(name=HostName("h")))
    ours, theirs = socket.socketpair()
    theirs.close()
    page = board.page(0)
    part.started(NoChild(1, -1, ours, None), 0.0, page)  # type: ignore[arg-type]
    return part, ours


def ticks_until_hung(part: Part, board: Board, *, hang_s: float, now: float = 100.0) -> int:
    for tick in range(1, 500):
        if part.is_hung(board.page(0), 0.5, hang_s, now + tick * 0.5):
            return tick
    return 500


def test_silence_is_a_hang_only_after_its_time_and_a_start_has_longer() -> None:
    board = Board.create()
    part, sock = host_part(board)
    page = board.page(0)
    assert ticks_until_hung(part, board, hang_s=2.0) == 121  # 60 s until the first heartbeat
    page.add(Word.HEARTBEAT)
    assert not part.is_hung(page, 0.5, 2.0, 1.0)
    assert part.state is PartState.RUNNING
    assert ticks_until_hung(part, board, hang_s=2.0) == 5
    sock.close()


def test_a_model_at_work_is_judged_by_its_deadline_and_not_by_silence() -> None:
    board = Board.create()
    part, sock = host_part(board)
    page, until = board.page(0), model_base(3) + ModelWord.BUSY_UNTIL_NS
    page.add(Word.HEARTBEAT)
    assert not part.is_hung(page, 0.5, 2.0, 99.0)
    page.set(until, int(120e9))  # it may work until 120 s: silent or not, it is no hang till then
    assert ticks_until_hung(part, board, hang_s=2.0, now=100.0) == 42  # two ticks after 120 s
    page.set(until, 0)
    page.add(Word.HEARTBEAT)
    assert not part.is_hung(page, 0.5, 2.0, 130.0)
    page.set(until, int(120e9))
    page.add(Word.HEARTBEAT)
    assert not part.is_hung(page, 0.5, 2.0, 130.0)  # late once: it may be about to end
    page.add(Word.HEARTBEAT)
    assert part.is_hung(page, 0.5, 2.0, 130.5)  # its heart beats, its model is stuck
    sock.close()


def test_a_log_over_its_limit_keeps_its_newest_part(tmp_path: Path) -> None:
    log = tmp_path / "camera-a.log"
    lines = [f"line {n:05d}\n" for n in range(1000)]
    with log.open("a") as child:
        child.writelines(lines)
        child.flush()
        trim_log(log, 20_000)
        assert log.stat().st_size == 11_000  # below the limit: untouched
        trim_log(log, 2_200)
        child.write("after\n")
    assert log.read_text() == "after\n"
    assert (tmp_path / "camera-a.log.1").read_text() == "".join(lines[-200:])


LIMITED = """
import os, resource, sys
from pathlib import Path
from saccade.parts import trim_log
log = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # as a full disk: writing fails
trim_log(log, 2000)
print(log.stat().st_size, log.with_suffix(".log.1").exists())
"""


def test_a_full_disk_costs_old_lines_and_not_the_tree(tmp_path: Path) -> None:
    log = tmp_path / "camera-a.log"
    log.write_text("x" * 5000)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(log)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.stdout.strip() == "0 False", done.stderr
    trim_log(tmp_path / "no such log", 10)


def boot(board: Board) -> Boot:
    return Boot(
        role="tiny",
        name="tiny",
        supervisor_pid=os.getpid(),
        control_fd=-1,
        board_fd=board.fd,
        page=0,
        desired=desired(),
    )


def test_a_child_that_cannot_be_started_leaves_nothing_behind(tmp_path: Path) -> None:
    board = Board.create()
    before = descriptors()
    with pytest.raises(OSError, match="no such program"):
        start_child(boot(board), log_path=tmp_path / "x.log", program=("/no such program",))
    with pytest.raises(OSError, match="No such file"):
        start_child(boot(board), log_path=tmp_path / "no folder" / "x.log")
    assert descriptors() == before


def test_a_child_finds_no_secret_in_its_arguments_or_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SACCADE_STORAGE__URL", "postgresql://u:env-secret@x/y")
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:env-secret@x/y")
    script = "import os, sys; print(sys.argv, dict(os.environ))"
    child = start_child(
        boot(Board.create()), log_path=tmp_path / "x.log", program=(sys.executable, "-c", script)
    )
    assert child.reap() == 0
    said = (tmp_path / "x.log").read_text()
    assert "PATH" in said
    assert "env-secret" not in said
