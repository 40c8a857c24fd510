"""A camera on the network: MJPEG over HTTP that flows, falls silent, ends or sends rubbish."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np


class MjpegCamera:
    """One camera. `manner` may change at any time: flow, silent, frozen, rubbish, end."""

    def __init__(self) -> None:
        self.manner = "flow"
        self.opened = 0
        self._stop = threading.Event()
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                camera.opened += 1
                camera.serve(self)

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.address = f"127.0.0.1:{self._server.server_port}/x.mjpg"

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        try:
            handler.send_response(200)
            handler.send_header("content-type", "multipart/x-mixed-replace; boundary=frame")
            handler.end_headers()
            n = 0
            while not self._stop.wait(0.02):
                n += self.manner != "frozen"
                if self.manner in {"end"}:
                    return
                if self.manner == "silent":
                    continue
                self._send(handler, n)
        except OSError:
            return

    def _send(self, handler: BaseHTTPRequestHandler, n: int) -> None:
        if self.manner == "rubbish":
            handler.wfile.write(b"\xff\x00nonsense" * 100)
            return
        picture = np.full((48, 64, 3), n % 200, np.uint8)
        jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
        handler.wfile.write(
            b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
            + jpeg
            + b"\r\n"
        )

    def close(self) -> None:
        self._stop.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
