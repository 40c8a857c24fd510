"""What the door is compared with: `python -m benchmarks.other_servers {naive,bare} FD PID ...`.

`naive` is what most teams write first: one FastAPI route that decodes the image and runs the model
in the thread pool, all in one process. `bare` takes no part in the work: it drains the body and
sends a fixed answer, on the fastest loop and parser there are; nothing that reads a request in
Python can cost less.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, cast

from saccade.desired import ModelSpec
from saccade.spawn import die_with_parent

ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n"
    b'{"detections":0}'
)


@dataclass(frozen=True, slots=True)
class Server:
    """A running server of one process."""

    pid: int
    port: int


@contextlib.contextmanager
def running_server(kind: str, model: ModelSpec | None = None) -> Iterator[Server]:
    """Run one for the length of the block. Its listener is bound here: it queues from the start."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(512)
        port = listener.getsockname()[1]
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "benchmarks.other_servers",
                kind,
                str(listener.fileno()),
                str(os.getpid()),
                *([model.path] if model else []),
            ],
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
    try:
        yield Server(process.pid, port)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def naive(listener: socket.socket, model_path: str) -> None:
    """Serve `POST /api/detect` as one would without saccade."""
    from pathlib import Path  # noqa: PLC0415 - `bare` imports none of this

    import cv2  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415
    import uvicorn  # noqa: PLC0415
    from fastapi import FastAPI, HTTPException, Request  # noqa: PLC0415
    from fastapi.concurrency import run_in_threadpool  # noqa: PLC0415

    from benchmarks.material import spec_of  # noqa: PLC0415
    from saccade.models.adapter import open_adapter  # noqa: PLC0415
    from saccade.models.detect import detect_image  # noqa: PLC0415

    adapter = open_adapter(spec_of("model", Path(model_path)), ["CPUExecutionProvider"], 1)
    adapter.load()
    app = FastAPI()

    def work(data: bytes) -> dict[str, object]:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if picture is None:
            raise HTTPException(400)
        found = detect_image(adapter, np.asarray(picture, np.uint8))
        rows = zip(
            found.boxes_px.tolist(), found.scores.tolist(), found.classes.tolist(), strict=True
        )
        return {
            "detections": [
                {"label": adapter.labels[c], "confidence": s, "bbox": b} for b, s, c in rows
            ]
        }

    async def detect(request: Request) -> dict[str, object]:
        return await run_in_threadpool(work, await request.body())

    detect.__annotations__["request"] = Request  # a local import: FastAPI cannot resolve its name
    app.post("/api/detect")(detect)
    config = uvicorn.Config(app, log_level="error", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


def bare(listener: socket.socket) -> None:
    """Drain every body and answer the same."""
    import httptools  # noqa: PLC0415
    import uvloop  # noqa: PLC0415

    class Drain(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self._transport = cast(asyncio.Transport, transport)  # uvloop's are not its subclass
            self._parser = httptools.HttpRequestParser(self)

        def data_received(self, data: bytes) -> None:
            self._parser.feed_data(data)

        def on_message_complete(self) -> None:
            self._transport.write(ANSWER)

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Drain, sock=listener)
        await server.serve_forever()

    uvloop.run(serve())


def main(argv: list[str]) -> None:
    """Serve until killed."""
    die_with_parent(int(argv[3]))
    listener = socket.socket(fileno=int(argv[2]))
    if argv[1] == "naive":
        naive(listener, argv[4])
    else:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        bare(listener)


if __name__ == "__main__":
    main(sys.argv)
