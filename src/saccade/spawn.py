"""How a child of the supervisor starts: what it is told, what it inherits, how it dies with us.

A child is a fresh interpreter (`python -m saccade.run FD`), not a fork: it shares no lock and no
thread with anybody. Its orders come in a memfd, so that no secret is in its arguments or
environment.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from saccade.desired import CameraSpec, Desired, HostSpec

_PR_SET_PDEATHSIG: Final = 1
#: What a child runs, with the descriptor of its boot message as the last argument.
PROGRAM: Final = (sys.executable, "-m", "saccade.run")
#: Settings are read once, by the parent: a child that decodes strangers' streams must not find the
#: passwords of all others in its environment.
_SETTINGS_PREFIX: Final = "SACCADE_"
_SETTINGS_ALIASES: Final = frozenset({"DATABASE_URL"})  # of those, the one that holds a secret


class Boot(msgspec.Struct, frozen=True, kw_only=True):
    """What a child reads first."""

    role: str
    name: str
    supervisor_pid: int
    control_fd: int
    board_fd: int
    page: int
    listeners: dict[str, int] = {}
    desired: Desired
    host: HostSpec | None = None
    camera: CameraSpec | None = None


@dataclass(slots=True, eq=False)
class Child:
    """A running child, from the supervisor's side."""

    pid: int
    pidfd: int
    control: socket.socket
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """End it now. It may be gone already."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def reap(self) -> int:
        """Collect a dead child; return its exit status (negative: the signal)."""
        status = self.process.wait()
        os.close(self.pidfd)
        self.control.close()
        return status


def memfd_with(data: bytes, name: str) -> int:
    """Return an inheritable descriptor to read `data` from."""
    fd = os.memfd_create(name, 0)
    try:
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(data)
        os.lseek(fd, 0, os.SEEK_SET)
        os.set_inheritable(fd, True)
    except OSError:
        os.close(fd)
        raise
    return fd


def read_memfd(fd: int) -> bytes:
    """Read all of a descriptor made by `memfd_with`, and close it."""
    with os.fdopen(fd, "rb") as file:
        return file.read()


def start_child(boot: Boot, *, log_path: Path, program: Sequence[str] = PROGRAM) -> Child:
    """Start one child; called from the main thread only.

    A child whose starting thread ends gets its death signal then, so a thread must not start one.

    Args:
        boot: everything but `control_fd`, which is made here.
        log_path: where its output and log go, appended.
        program: the command, without its last argument.

    Raises:
        OSError: there is no memory, descriptor, process or disk left for it; nothing is left over.
    """
    with contextlib.ExitStack() as undo, contextlib.ExitStack() as theirs:
        ours, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        undo.callback(ours.close)
        theirs.callback(other.close)
        ours.setblocking(False)
        boot = msgspec.structs.replace(boot, control_fd=other.fileno())
        boot_fd = memfd_with(msgspec.msgpack.encode(boot), "saccade-boot")
        theirs.callback(os.close, boot_fd)
        passed = (boot_fd, other.fileno(), boot.board_fd, *boot.listeners.values())
        log = theirs.enter_context(log_path.open("ab", buffering=0))
        process = subprocess.Popen(
            [*program, str(boot_fd)],
            pass_fds=passed,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=_environment(),
        )
        undo.callback(_end, process)
        pidfd = os.pidfd_open(process.pid)
        undo.pop_all()
        return Child(process.pid, pidfd, ours, process)


def _environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_SETTINGS_PREFIX) and name not in _SETTINGS_ALIASES
    }


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def die_with_parent(parent_pid: int) -> None:
    """Ask the kernel to end this process with its parent; end at once if that is gone already.

    Source: prctl(2), PR_SET_PDEATHSIG. The check after it closes the race with a parent that died
    before the call.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent_pid:
        os._exit(1)
