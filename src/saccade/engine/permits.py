"""Permits: who may start an inference, how many at once, until when. Pure.

A permit is a lease that the supervisor renews. It is about starting: an inference that began on a
permit may end after it. One holder has a model's permits at a time, and another gets one only when
the first has died or has said that nothing of it runs any more; so no two hosts, an old and a new
one, ever run a single-flight model together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import msgspec

from saccade.types import HostName, ModelName


class Permit(msgspec.Struct, frozen=True, kw_only=True):
    """Leave to start inferences. It goes to the host as it is: monotonic time is one per machine.

    Args:
        model: the model.
        concurrency: inferences that may run at once.
        expires_at: none may start from then on, monotonic seconds; infinite for a model that
            needs no permit.
        not_before: none may start earlier: the rest after the last one, monotonic seconds.
        cooldown_s: the rest after each one that the holder starts itself, seconds.
    """

    model: ModelName
    concurrency: int
    expires_at: float
    not_before: float = -math.inf
    cooldown_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Holder:
    """One life of one host. A host that starts again is another holder."""

    host: HostName
    life: int = 0


class Refusal(StrEnum):
    """Why an inference may not start now."""

    NO_PERMIT = "no_permit"
    EXPIRED = "expired"
    BUSY = "busy"
    RESTING = "resting"


@dataclass(frozen=True, slots=True)
class Flight:
    """What a host knows of one model: its permit and what runs. The host asks before each start."""

    permit: Permit | None = None
    running: int = 0
    rest_until: float = -math.inf

    def renewed(self, permit: Permit | None) -> Flight:
        """Take what the supervisor sent last; None takes the permit away, not what runs."""
        return replace(self, permit=permit)

    def refusal(self, *, now: float) -> Refusal | None:
        """Say why no inference may start at `now`, monotonic seconds; None when one may."""
        if self.permit is None:
            return Refusal.NO_PERMIT
        if now >= self.permit.expires_at:
            return Refusal.EXPIRED
        if self.running >= self.permit.concurrency:
            return Refusal.BUSY
        if now < max(self.permit.not_before, self.rest_until):
            return Refusal.RESTING
        return None

    def began(self, *, now: float) -> tuple[Flight, Refusal | None]:
        """Start one inference, or say why not; then nothing has changed."""
        refusal = self.refusal(now=now)
        return (replace(self, running=self.running + 1) if refusal is None else self), refusal

    def ended(self, *, now: float) -> Flight:
        """End one inference, well or badly; the rest counts from here.

        Raises:
            ValueError: none was running, a fault of ours.
        """
        if self.running < 1:
            raise ValueError("an inference ended that never began")
        rest_s = 0.0 if self.permit is None else self.permit.cooldown_s
        return replace(
            self, running=self.running - 1, rest_until=max(self.rest_until, now + rest_s)
        )
