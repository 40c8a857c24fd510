"""When a dead process starts again, and when it has died too often. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

#: An end this soon after the first good answer says that something is wrong, seconds.
SHORT_LIFE_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How patient the supervisor is.

    Args:
        initial_s: wait before the second start in a row that did no good.
        maximum_s: the longest wait.
        budget: deaths in a row before a first good answer after which the part is `error`.
    """

    initial_s: float
    maximum_s: float
    budget: int


@dataclass(frozen=True, slots=True)
class Restarts:
    """One process's record."""

    bad_starts: int = 0  # in a row
    total: int = 0
    has_been_good: bool = False  # since the last start
    short_lives: int = 0  # in a row, good ones that ended within a breath

    def good(self) -> Restarts:
        """Record a first good answer: what was before is forgiven."""
        return replace(self, bad_starts=0, has_been_good=True)

    def died(
        self, policy: RestartPolicy, *, good_for_s: float = math.inf
    ) -> tuple[Restarts, float | None]:
        """Record a death; return the wait before the next start, None when the budget is spent.

        A process that had worked starts again at once: making its users wait would not help it.
        One that dies again and again just after its first good answer is no strike, but waits: it
        would cost a core.

        Args:
            policy: how patient to be.
            good_for_s: from its first good answer to its death.
        """
        if self.has_been_good:
            short = self.short_lives + 1 if good_for_s < SHORT_LIFE_S else 0
            after = replace(
                self, total=self.total + 1, has_been_good=False, bad_starts=0, short_lives=short
            )
            if short < 2:
                return after, 0.0
            return after, min(policy.maximum_s, policy.initial_s * 2.0 ** min(short - 2, 30))
        bad = self.bad_starts + 1
        after = replace(self, total=self.total + 1, bad_starts=bad)
        if bad >= policy.budget:
            return after, None
        return after, min(policy.maximum_s, policy.initial_s * 2 ** (bad - 1))
