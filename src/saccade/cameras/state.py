"""What a camera's state may become, and how long to wait before the next try. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from saccade.types import CameraState as S

TRANSITIONS: Final[dict[S, frozenset[S]]] = {
    S.CONNECTING: frozenset({S.LIVE, S.RECONNECTING, S.ENDED, S.ERROR}),
    S.LIVE: frozenset({S.STALLED, S.RECONNECTING, S.ENDED, S.ERROR}),
    S.STALLED: frozenset({S.LIVE, S.RECONNECTING, S.ENDED, S.ERROR}),
    S.RECONNECTING: frozenset({S.LIVE, S.STALLED, S.ENDED, S.ERROR}),
    S.ERROR: frozenset({S.LIVE, S.RECONNECTING, S.ENDED}),
    S.ENDED: frozenset(),
}


def follows(before: S, after: S) -> bool:
    """Say whether a camera may go from `before` to `after`; staying is always allowed."""
    return before is after or after in TRANSITIONS[before]


@dataclass(slots=True)
class Backoff:
    """Growing waits between tries, with jitter so that a rebooted switch is not stormed.

    Args:
        initial_s: the first wait.
        maximum_s: no wait is longer, jitter included.
        jitter: share of the wait that is random; raising it spreads many cameras more.
    """

    initial_s: float
    maximum_s: float
    jitter: float = 0.25
    _tries: int = 0

    def next_s(self, chance: float) -> float:
        """Return the next wait in seconds.

        Args:
            chance: a random number in [0, 1).
        """
        whole = min(self.maximum_s, self.initial_s * 2.0 ** min(self._tries, 30))
        self._tries += 1
        return whole * (1.0 - self.jitter * chance)

    def reset(self) -> None:
        """Start small again: the source has proved that it works."""
        self._tries = 0


@dataclass(slots=True)
class FrozenCheck:
    """Says when a live picture has not changed for too long.

    A sensor's noise changes every picture; the same luma to the last bit for many seconds is a
    decoder or camera that repeats itself. `limit_s` 0 switches it off.
    """

    limit_s: float
    _signature: int = -1
    _since: float = 0.0

    def is_frozen(self, signature: int, now: float) -> bool:
        """Take the signature of a picture shown at `now` (monotonic seconds)."""
        if signature != self._signature:
            self._signature, self._since = signature, now
        return 0.0 < self.limit_s <= now - self._since

    def forget(self) -> None:
        """Start anew, after a reconnect."""
        self._signature = -1
