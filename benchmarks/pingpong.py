"""The far end of a bare ping-pong, in a process of its own: `python -m benchmarks.pingpong FD ...`.

Whatever packet comes goes back, cut or filled to the size of an answer; with a model, one inference
lies between. Nothing less can carry a request to another process and back.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from benchmarks.material import spec_of


def main(argv: list[str]) -> None:
    """Answer until the other end is closed."""
    sock, answer = socket.socket(fileno=int(argv[1])), bytes(int(argv[2]))
    if len(argv) == 3:
        sock.send(b"ready")
        while sock.recv(4096):
            sock.send(answer)
        return
    import numpy as np  # noqa: PLC0415 - the bare end stays bare

    from saccade.models.adapter import open_adapter  # noqa: PLC0415

    adapter = open_adapter(spec_of("tiny", Path(argv[3])), ["CPUExecutionProvider"], 1)
    adapter.load()
    frames = np.full((1, adapter.input.height, adapter.input.width, 3), 255, np.uint8)
    adapter.infer(frames)
    sock.send(b"ready")
    while sock.recv(4096):
        adapter.infer(frames)
        sock.send(answer)


if __name__ == "__main__":
    main(sys.argv)
