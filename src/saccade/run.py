"""What each role of the process tree does: `python -m saccade.run FD`.

Each role imports only what it needs, inside its branch: the router must not pay for OpenCV, nor the
supervisor for anything but msgspec. `tests/engine/test_roles.py` holds every role to that.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

import msgspec
import setproctitle

from saccade.spawn import Boot, die_with_parent, read_memfd
from saccade.telemetry import logs
from saccade.telemetry.board import Board


def main(argv: list[str]) -> int:
    """Run the role that the boot message in descriptor `argv[1]` names."""
    boot = msgspec.msgpack.decode(read_memfd(int(argv[1])), type=Boot)
    die_with_parent(boot.supervisor_pid)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's
    part = f" {boot.name}" if boot.role in {"host", "camera"} else ""
    setproctitle.setproctitle(f"saccade: {boot.role}{part}")
    logs.configure(process=f"{boot.role}{part}", level=boot.desired.supervisor.log_level)
    page = Board(boot.board_fd).page(boot.page)
    control = socket.socket(fileno=boot.control_fd)
    control.setblocking(False)
    listeners = {name: socket.socket(fileno=fd) for name, fd in boot.listeners.items()}
    desired = boot.desired
    if boot.role == "host":
        from saccade.engine.host import Host  # noqa: PLC0415

        assert boot.host is not None
        Host(boot.host, listener=listeners["host"], control=control, page=page).run()
    elif boot.role == "camera":
        from saccade.cameras.process import CameraProcess  # noqa: PLC0415

        assert boot.camera is not None
        host = next((m.host for m in desired.models if m.name == boot.camera.model), None)
        CameraProcess(
            boot.camera, run_dir=desired.run_dir, host=host, control=control, page=page
        ).run()
    elif boot.role == "router":
        from saccade.router import Router  # noqa: PLC0415

        Router(desired, listener=listeners["router"], control=control, page=page).run()
    elif boot.role == "server":
        from saccade.server.main import serve  # noqa: PLC0415

        serve(desired, listeners=listeners, control=control, board_fd=boot.board_fd, page=page)
    elif boot.role == "pages":
        from saccade.pages.main import serve_pages  # noqa: PLC0415

        serve_pages(desired, listener=listeners["pages"], control=control, page=page)
    elif boot.role == "worker":
        from saccade.jobs.worker import Worker  # noqa: PLC0415

        Worker(desired, control=control, page=page).run()
    else:
        raise ValueError(f"no role {boot.role!r}")
    return 0


if __name__ == "__main__":
    status = main(sys.argv)
    # Interpreter shutdown with native threads (decoders, ONNX Runtime) has nothing left to save.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
