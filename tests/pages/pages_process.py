"""Runs the real pages process for a test.

usage: pages_process.py PAGES_SOCKET API_SOCKET SETTINGS_JSON; writes a line when it listens.
"""

import signal
import socket
import sys
import threading

import msgspec

from saccade.pages.app import serve
from saccade.pages.settings import PagesSettings


def main() -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen(64)
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    settings = msgspec.json.decode(sys.argv[3], type=PagesSettings)
    serve(listener, sys.argv[2], settings, stop)


if __name__ == "__main__":
    main()
