"""Numbers as people read them: with a unit, and an em dash where nothing was measured. Pure."""

from __future__ import annotations

import math

#: What stands where there is no measurement: never a zero, which would be a measurement.
NOTHING = "—"

KIB = 1024


def number(value: float | None, *, digits: int = 0) -> str:
    """Return a number with thousands separated, or an em dash for None and what is not finite.

    Args:
        value: the number.
        digits: digits after the point.
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    text = f"{value:,.{digits}f}"
    # "-0.0" is what rounding a small negative number gives; nobody measured a negative zero.
    return text.lstrip("-") if text.strip("-0.,") == "" else text


def count(value: int | None, one: str, many: str = "") -> str:
    """Return `1 frame`, `2,000 frames` or an em dash.

    Args:
        value: how many.
        one: the thing counted, in the singular.
        many: its plural; empty adds an "s".
    """
    if value is None:
        return NOTHING
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def rate(value: float | None, unit: str) -> str:
    """Return `24.9 frames/s` or an em dash; a tenth is kept below 100."""
    shown = number(value, digits=1 if value is not None and abs(value) < 100 else 0)
    return shown if shown == NOTHING else f"{shown} {unit}"


def milliseconds(value: float | None) -> str:
    """Return `0.42 ms`, `7.3 ms`, `312 ms`, `2.4 s` or an em dash.

    Args:
        value: milliseconds; about three digits of it are shown.
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    if abs(value) >= 1000:
        return f"{number(value / 1000, digits=1)} s"
    digits = 2 if abs(value) < 1 else 1 if abs(value) < 100 else 0
    return f"{number(value, digits=digits)} ms"


def duration(seconds: float | None) -> str:
    """Return `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `4 d 3 h` or an em dash.

    Args:
        seconds: a length of time; a negative one is shown as 0 s, because a clock that
            jumped is no news about the thing shown.
    """
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    seconds = max(0.0, seconds)
    if seconds < 10:
        return f"{number(seconds, digits=1)} s"
    whole = int(seconds)
    for size, unit, smaller_size, smaller in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller_size
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


def data_size(value: int | None) -> str:
    """Return `812 B`, `1.5 KiB`, `64 MiB`, `2.1 GiB` or an em dash."""
    if value is None:
        return NOTHING
    size = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        # 1023.95 would be shown as "1024.0 KiB": the next unit says it better.
        if abs(size) < KIB - 0.05 or unit == "GiB":
            return f"{number(size, digits=0 if unit == 'B' or abs(size) >= 100 else 1)} {unit}"
        size /= KIB
    raise AssertionError("the last unit always fits")


def share(part: int, whole: int) -> str:
    """Return `12 %`, `<1 %` for a little and an em dash for a part of nothing."""
    if whole <= 0:
        return NOTHING
    percent = 100 * part / whole
    return "<1 %" if 0 < percent < 1 else f"{number(percent)} %"


def size_px(width: int | None, height: int | None) -> str:
    """Return `1280 × 720 px`, or an em dash while the size is not known (None or 0)."""
    return f"{width} × {height} px" if width and height else NOTHING


def labels(counts: dict[str, int]) -> str:
    """Return `2 person, 1 cup`, the most frequent first, or an empty text for nothing."""
    ranked = sorted(((n, label) for label, n in counts.items() if n), key=lambda p: (-p[0], p[1]))
    return ", ".join(f"{n} {label}" for n, label in ranked)
