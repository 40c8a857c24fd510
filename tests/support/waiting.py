"""Wait for something to become true, with a deadline: no test sleeps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

ValueT = TypeVar("ValueT")


def until(
    predicate: Callable[[], ValueT],
    within_s: float = 5.0,
    *,
    why: str = "it became true",
    look_s: float = 0.005,
) -> ValueT:
    """Return the first true value of `predicate`; fail when there is none within `within_s`."""
    pause, end = threading.Event(), time.monotonic() + within_s
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= end:
            raise AssertionError(f"not within {within_s:g} s: {why}")
        pause.wait(look_s)
