"""Starts the RTSP server for a test, or says why it cannot."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SERVER = Path(__file__).parent / "rtsp_server.py"
SYSTEM_PYTHON = "/usr/bin/python3"
CHECK = (
    'import gi; gi.require_version("GstRtspServer", "1.0"); from gi.repository import GstRtspServer'
)


class Rtsp:
    """A server of test pictures that can be killed and started again on the same port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._process: subprocess.Popen[str] | None = None

    def url(self, path: str) -> str:
        """Return a stream's address."""
        return f"rtsp://127.0.0.1:{self.port}/{path}"

    def start(self) -> None:
        """Start it and wait until it listens."""
        self._process = subprocess.Popen(
            [SYSTEM_PYTHON, str(SERVER), str(self.port), "ball=ball", "still=black"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == "ready"

    def send(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None


def require() -> None:
    """Skip the test when GStreamer's RTSP server is not there; in CI as root that is an error."""
    try:
        there = subprocess.run([SYSTEM_PYTHON, "-c", CHECK], capture_output=True, check=False)
        missing = there.returncode != 0
    except FileNotFoundError:
        missing = True
    if missing:
        said = "no RTSP server of GStreamer: tools/install-test-tools.sh installs it as root"
        if os.environ.get("CI") and os.geteuid() == 0:
            pytest.fail(said)
        pytest.skip(said)
