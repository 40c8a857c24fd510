"""What one model has done, in its host's page: batches, times, and until when it may be busy."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import Final

import numpy as np

from saccade.telemetry.board import ModelWord, Page, model_base

#: Latencies kept for the percentiles.
LATENCIES: Final = 512
#: Batches between two updates of the percentiles.
PERCENTILE_EVERY: Final = 16


class ModelRecord:
    """One model's times. Its thread writes, anyone may read the page.

    Args:
        page: the host's counters.
        index: which of the page's models this is.
    """

    def __init__(self, page: Page, index: int) -> None:
        self._page, self._base = page, model_base(index)
        self._latencies: deque[int] = deque(maxlen=LATENCIES)

    def begin(self, limit_s: float) -> None:
        """Say that work begins which hangs if it is not over in `limit_s` seconds."""
        until_ns = time.monotonic_ns() + int(limit_s * 1e9)
        self._page.set(self._base + ModelWord.BUSY_UNTIL_NS, until_ns)

    def end(self) -> None:
        """Say that it is over."""
        self._page.set(self._base + ModelWord.BUSY_UNTIL_NS, 0)

    def batch(self, took_ns: int, arrived_at: Iterable[float]) -> int:
        """Book a batch; return how many there were.

        Args:
            took_ns: of inference.
            arrived_at: when each of its requests came, monotonic seconds.
        """
        page, base, now = self._page, self._base, time.monotonic()
        page.add(base + ModelWord.BATCHES)
        page.add(base + ModelWord.BUSY_NS, took_ns)
        page.set(base + ModelWord.LAST_NS, took_ns)
        self._latencies.extend(int((now - at) * 1e9) for at in arrived_at)
        batches = page.get(base + ModelWord.BATCHES)
        if batches % PERCENTILE_EVERY == 1:
            p50, p95, p99 = np.percentile(np.asarray(self._latencies), (50, 95, 99))
            page.set(base + ModelWord.P50_NS, int(p50))
            page.set(base + ModelWord.P95_NS, int(p95))
            page.set(base + ModelWord.P99_NS, int(p99))
        return batches
