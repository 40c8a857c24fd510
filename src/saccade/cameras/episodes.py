"""When something on a camera is worth an event: it appeared, it left. Pure.

One event for each frame would bury people; an episode is the time from a label's appearance on a
camera to its absence. `appear_frames` in a row start it, `leave_seconds` of silence end it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum


class EpisodeKind(StrEnum):
    """What happened; also the event's kind."""

    APPEARED = "object_appeared"
    LEFT = "object_left"


@dataclass(frozen=True, slots=True)
class Episode:
    """One fact about one label on one camera."""

    kind: EpisodeKind
    label: str
    at: float  # monotonic, when the label was first (or last) seen
    most: int  # the most of it at once so far
    confidence: float  # the best so far
    seconds: float  # how long it was there; 0 when it has just appeared
    frames: int  # observations with it so far


@dataclass(slots=True)
class _Presence:
    first_at: float
    last_at: float
    frames: int = 0
    is_there: bool = False
    most: int = 0
    confidence: float = 0.0


@dataclass(slots=True)
class Episodes:
    """What is there on one camera.

    Args:
        appear_frames: observations with the label, in a row, before it counts; raising it hides
            flickers and delays the event.
        leave_seconds: silence after which it counts as gone; raising it joins short gaps.
    """

    appear_frames: int
    leave_seconds: float
    _known: dict[str, _Presence] = field(default_factory=dict)

    def observe(self, at: float, seen: dict[str, tuple[int, float]]) -> list[Episode]:
        """Take one observation.

        Args:
            at: its capture time, monotonic seconds; an older one than before is ignored for time.
            seen: label -> (how many, best confidence).
        """
        facts = self.pass_time(at)
        for label, presence in list(self._known.items()):
            if not presence.is_there and label not in seen:
                del self._known[label]  # it flickered
        for label, (count, confidence) in sorted(seen.items()):
            presence = self._known.setdefault(label, _Presence(at, at))
            presence.last_at = max(presence.last_at, at)
            presence.frames += 1
            presence.most = max(presence.most, count)
            presence.confidence = max(presence.confidence, confidence)
            if not presence.is_there and presence.frames >= self.appear_frames:
                presence.is_there = True
                facts.append(_fact(EpisodeKind.APPEARED, label, presence, presence.first_at))
        return facts

    def pass_time(self, now: float) -> list[Episode]:
        """End what has been silent too long at `now`."""
        facts = []
        for label, presence in sorted(self._known.items()):
            if presence.is_there and now - presence.last_at > self.leave_seconds:
                facts.append(_fact(EpisodeKind.LEFT, label, presence, presence.last_at))
                del self._known[label]
        return facts

    @property
    def there(self) -> dict[str, int]:
        """Return what counts as there: label -> the most at once."""
        return {label: p.most for label, p in self._known.items() if p.is_there}

    def next_end(self) -> float:
        """Return when `pass_time` has something to say at the earliest; infinity for never."""
        ends = [p.last_at + self.leave_seconds for p in self._known.values() if p.is_there]
        return min(ends, default=math.inf)


def _fact(kind: EpisodeKind, label: str, presence: _Presence, at: float) -> Episode:
    seconds = presence.last_at - presence.first_at if kind is EpisodeKind.LEFT else 0.0
    return Episode(kind, label, at, presence.most, presence.confidence, seconds, presence.frames)
