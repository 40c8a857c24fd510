"""A local HTTP server of one file that can misbehave as real ones do."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    """What the server holds and how it behaves; a test may change it between requests.

    Args:
        content: the file.
        cut_after: bytes after which a body's connection is cut, one entry per request; used up.
        status: what to answer instead of the file.
        ranges: whether Range is honoured.
        validator: whether an ETag is sent; "weak" for a weak one.
        length: whether Content-Length is sent.
        redirect_to: a path the file is redirected to first.
    """

    content: bytes
    cut_after: list[int] = field(default_factory=list)
    status: int = 200
    ranges: bool = True
    validator: str = "strong"
    length: bool = True
    redirect_to: str | None = None
    #: (path, Range header or None) of each request, in order.
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""

    @property
    def etag(self) -> str:
        digest = f'"{hashlib.md5(self.content, usedforsecurity=False).hexdigest()}"'
        return {"strong": digest, "weak": f"W/{digest}"}.get(self.validator, "")


@contextmanager
def serving(server: FileServer) -> Iterator[FileServer]:
    """Serve on a free port of the loopback until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.requests.append((self.path, self.headers.get("Range")))
            if server.redirect_to is not None and self.path != server.redirect_to:
                self.send_response(302)
                self.send_header("Location", server.redirect_to)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self._send_file()

        def _send_file(self) -> None:
            start, status = self._start(), server.status
            if start >= len(server.content) and start:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(server.content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = server.content[start:]
            self.send_response(206 if start else status)
            if start:
                last = len(server.content) - 1
                self.send_header("Content-Range", f"bytes {start}-{last}/{len(server.content)}")
            if server.etag:
                self.send_header("ETag", server.etag)
            if server.length:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if server.cut_after:
                body = body[: server.cut_after.pop(0)]
                self.close_connection = True
            self.wfile.write(body)

        def _start(self) -> int:
            asked = self.headers.get("Range", "")
            same = self.headers.get("If-Range") == server.etag
            if not (server.ranges and asked and same):
                return 0
            return int(asked.removeprefix("bytes=").removesuffix("-"))

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = False
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    server.url = f"http://127.0.0.1:{httpd.server_port}"
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()
