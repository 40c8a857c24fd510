"""What numbers and states look like as text."""

from __future__ import annotations

import math
import re
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.types import CameraState, DropReason, ModelStatus, Severity
from saccade.ui import format as fmt
from saccade.ui import words


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (fmt.number(None), "—"),
        (fmt.number(math.nan), "—"),
        (fmt.number(math.inf), "—"),
        (fmt.number(0), "0"),
        (fmt.number(-0.001, digits=1), "0.0"),
        (fmt.number(-2.5, digits=1), "-2.5"),
        (fmt.number(1234567), "1,234,567"),
        (fmt.count(None, "frame"), "—"),
        (fmt.count(1, "frame"), "1 frame"),
        (fmt.count(0, "frame"), "0 frames"),
        (fmt.count(2, "process", "processes"), "2 processes"),
        (fmt.rate(None, "frames/s"), "—"),
        (fmt.rate(0, "frames/s"), "0.0 frames/s"),
        (fmt.rate(24.94, "frames/s"), "24.9 frames/s"),
        (fmt.rate(1240, "frames/s"), "1,240 frames/s"),
        (fmt.milliseconds(None), "—"),
        (fmt.milliseconds(0.424), "0.42 ms"),
        (fmt.milliseconds(7.31), "7.3 ms"),
        (fmt.milliseconds(312.4), "312 ms"),
        (fmt.milliseconds(2412), "2.4 s"),
        (fmt.duration(None), "—"),
        (fmt.duration(-5), "0.0 s"),
        (fmt.duration(0.44), "0.4 s"),
        (fmt.duration(12.9), "12 s"),
        (fmt.duration(60), "1 min"),
        (fmt.duration(200), "3 min 20 s"),
        (fmt.duration(7500), "2 h 5 min"),
        (fmt.duration(7230), "2 h"),
        (fmt.duration(4 * 86400 + 3 * 3600), "4 d 3 h"),
        (fmt.data_size(None), "—"),
        (fmt.data_size(812), "812 B"),
        (fmt.data_size(1536), "1.5 KiB"),
        (fmt.data_size(1024 * 1024 - 1), "1.0 MiB"),
        (fmt.data_size(64 * 1024 * 1024), "64.0 MiB"),
        (fmt.data_size(3 * 1024**4), "3,072 GiB"),
        (fmt.share(1, 0), "—"),
        (fmt.share(0, 10), "0 %"),
        (fmt.share(1, 1000), "<1 %"),
        (fmt.share(12, 100), "12 %"),
        (fmt.size_px(None, 720), "—"),
        (fmt.size_px(1280, 720), "1280 × 720 px"),
        (fmt.labels({"cup": 1, "person": 2, "can": 1, "cat": 0}), "2 person, 1 can, 1 cup"),
        (fmt.labels({}), ""),
        (words.sentence(""), ""),
        (words.sentence("no frame for 6 s"), "No frame for 6 s."),
        (words.sentence("Done!"), "Done!"),
        (words.sentence("people.onnx: is not a model"), "people.onnx: is not a model."),
        (words.sentence("back-yard is not live"), "back-yard is not live."),
    ],
)
def test_a_value_is_shown_with_its_unit_or_as_a_dash(shown: str, expected: str) -> None:
    assert shown == expected


@given(st.floats(0, 1e8))
def test_a_duration_never_shows_a_unit_that_is_full(seconds: float) -> None:
    shown = dict(
        reversed(pair) for pair in re.findall(r"([\d.]+) (d|h|min|s)", fmt.duration(seconds))
    )
    assert float(shown.get("s", 0)) < 60
    assert float(shown.get("min", 0)) < 60
    assert float(shown.get("h", 0)) < 24


@given(st.integers(0, 2**45))
def test_a_size_below_the_last_unit_never_shows_1024(size: int) -> None:
    number, unit = fmt.data_size(size).split()
    assert unit == "GiB" or float(number.replace(",", "")) < 1024


@given(st.floats() | st.none())
def test_no_number_is_shown_for_what_is_not_one(value: float | None) -> None:
    measured = value is not None and math.isfinite(value)
    for text in (fmt.number(value), fmt.rate(value, "x/s"), fmt.milliseconds(value)):
        assert (text == fmt.NOTHING) == (not measured)


@pytest.mark.parametrize(
    ("table", "members"),
    [
        (words.CAMERA, CameraState),
        (words.MODEL, ModelStatus),
        (words.SEVERITY, Severity),
        (words.DROP, DropReason),
    ],
)
def test_every_state_and_reason_has_words(table: dict[str, object], members: type[StrEnum]) -> None:
    assert set(table) == set(members)


def test_a_reason_of_a_newer_server_is_shown_as_it_came() -> None:
    assert words.drop_text("too_dark") == "too dark"
    assert words.process_word("moving_house").text == "Moving house"
