"""Logs: one line for each fact, to the process's own file. Secrets and pictures never get here."""

from __future__ import annotations

import faulthandler
import logging
import time
from typing import Final

#: Attributes every record has; what else is on it was passed as `extra` and is a field.
_PLAIN: Final = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}


class FieldFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.123Z INFO host default engine.host: message camera=front n=3`."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with the fields passed as `extra` at its end."""
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields = "".join(
            f" {key}={value}" for key, value in record.__dict__.items() if key not in _PLAIN
        )
        line = (
            f"{at}.{int(record.msecs):03d}Z {record.levelname} {self._process} "
            f"{record.name.removeprefix('saccade.')}: {record.getMessage()}{fields}"
        )
        # What a camera, a client or a file is called may hold anything; a fact stays one line.
        line = line.replace("\n", "\\n").replace("\r", "\\r")
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def configure(*, process: str, level: str) -> None:
    """Send this process's log to its standard error, which the supervisor points to a file."""
    handler = logging.StreamHandler()
    handler.setFormatter(FieldFormatter(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs whole URLs at INFO
    faulthandler.enable()
