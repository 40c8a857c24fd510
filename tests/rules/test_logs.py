"""A fact is one line of a log, whatever its values hold."""

from __future__ import annotations

import logging
import sys

from saccade.telemetry.logs import FieldFormatter


def line(message: str, *args: object, **fields: object) -> str:
    record = logging.LogRecord("saccade.engine.host", logging.INFO, "", 1, message, args, None)
    record.created, record.msecs = 0.5, 500.0
    record.__dict__.update(fields)
    return FieldFormatter("host a").format(record)


def test_a_line_has_time_level_process_place_message_and_fields() -> None:
    assert line("took %d", 3, camera="front", n=2) == (
        "1970-01-01T00:00:00.500Z INFO host a engine.host: took 3 camera=front n=2"
    )


def test_a_name_with_a_line_break_cannot_forge_a_second_line() -> None:
    forged = line("hello", client="a\n1970-01-01T00:00:00.000Z ERROR host a: all is lost\r")
    assert "\n" not in forged
    assert "\r" not in forged
    assert r"client=a\n1970" in forged


def test_a_traceback_stays_readable() -> None:
    try:
        raise ValueError("no")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 1, "failed", (), sys.exc_info())
    text = FieldFormatter("p").format(record)
    assert text.splitlines()[-1] == "ValueError: no"
    assert len(text.splitlines()) > 2
