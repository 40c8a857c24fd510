"""Which decoded frames are offered to the model. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from saccade.types import DropReason

#: Seconds, and share of a period, by which a frame may be early. Without it a frame that arrives a
#: millisecond before it is due is left out, and the one taken instead is late by a whole frame of
#: the source. Below the period of a 60 fps source, so that no earlier frame is taken for it.
EARLY_S: Final = 0.010
EARLY_SHARE: Final = 0.1


@dataclass(slots=True)
class Pacer:
    """Thins a stream to `process_fps`, then to one frame of `frame_skip + 1`.

    Args:
        process_fps: frames per second that are worth looking at; 0 takes every frame.
        frame_skip: frames left out after each one that is taken (2 = one frame of 3).
    """

    process_fps: float
    frame_skip: int
    _due_at: float = float("-inf")
    _skipped: int = 0
    _any: bool = False

    def judge(self, at: float) -> DropReason | None:
        """Return why the frame taken at `at` is left out, or None when it is due.

        Args:
            at: seconds on one clock, never less than in the call before.
        """
        if self.process_fps > 0:
            period = 1.0 / self.process_fps
            if at < self._due_at - min(EARLY_S, EARLY_SHARE * period):
                return DropReason.PACED
            # Keep the phase, so that 15 fps thinned to 5 is 5 and not 4.8; start anew after a gap.
            following = self._due_at + period
            self._due_at = following if following > at else at + period
        if self._any and self._skipped < self.frame_skip:
            self._skipped += 1
            return DropReason.SKIPPED
        self._any, self._skipped = True, 0
        return None

    def restart(self) -> None:
        """Forget the past, when the stream's clock starts anew."""
        self._due_at = float("-inf")
