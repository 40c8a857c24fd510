"""When a suspension begins, how long it lasts at least, and what may end it. Pure.

Against flapping there are four brakes: a margin between "too little" and "enough again", healthy
samples in a row, a shortest suspension, and a cooldown that doubles and is forgiven slowly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Final

from saccade.engine.gates import Assessment, Health, SkipReason
from saccade.engine.limits import GovernorSettings, ModelLimits
from saccade.engine.oom import Strikes
from saccade.engine.permits import Holder

#: More steps of growth than this change no cooldown, and a growth to their power stays a number.
GROWTH_STEPS: Final = 32


@dataclass(frozen=True, slots=True)
class Suspension:
    """Why a model does not run, and what it waits for. Times are monotonic seconds.

    Args:
        reason: the cause.
        text: figures and limits, for a person.
        since: when it began.
        until: the earliest end.
        healthy_row: fresh healthy samples in a row so far.
        counted_at: time of the newest reading that was counted.
        is_told: its one skip event is out.
        seen: what keeps it suspended now, for a person; empty when the last look was healthy.
    """

    reason: SkipReason
    text: str
    since: float
    until: float
    healthy_row: int = 0
    counted_at: float = -math.inf
    is_told: bool = False
    seen: str = ""

    def may_end(self, *, settings: GovernorSettings, now: float) -> bool:
        """Say whether the cooldown is over and enough samples in a row were healthy."""
        return now >= self.until and self.healthy_row >= settings.healthy_samples

    def explain(self, *, settings: GovernorSettings, now: float) -> str:
        """Say why the model does not run and what it waits for, for a person."""
        left_s = self.until - now
        waits = f"{left_s:,.0f} s of cooldown left" if left_s > 0 else "cooldown over"
        row = min(self.healthy_row, settings.healthy_samples)
        seen = f"; now {self.seen}" if self.seen and self.seen != self.text else ""
        return (
            f"{self.text} ({waits}, {row} of {settings.healthy_samples} healthy samples in a "
            f"row{seen})"
        )


@dataclass(frozen=True, slots=True)
class Governed:
    """What the governor remembers of one model.

    Args:
        suspension: the present one; None while it may run.
        growth: measured suspensions that are not forgiven yet.
        healthy_s: seconds it was seen to run without conflict since growth last changed.
        strikes: when it ran out of memory.
        disabled: why it is disabled, for a person; empty when it is not.
        holder: who has its permits.
    """

    suspension: Suspension | None = None
    growth: int = 0
    healthy_s: float = 0.0
    strikes: Strikes = field(default_factory=Strikes)
    disabled: str = ""
    holder: Holder | None = None


def observe(
    governed: Governed,
    seen: Assessment,
    model: ModelLimits,
    *,
    runs: bool,
    settings: GovernorSettings,
    now: float,
    gap_s: float,
) -> Governed:
    """Take one assessment into a record: begin a suspension, count towards its end, forgive.

    Args:
        governed: the record.
        seen: the assessment.
        model: its limits.
        runs: the lifecycle has it ready or suspended; what is not loaded is not suspended.
        settings: the governor's own.
        now: monotonic seconds.
        gap_s: seconds since the look before; infinite when that is no look "in a row".
    """
    if governed.disabled:
        return governed
    if governed.suspension is not None:
        return replace(governed, suspension=_count(governed.suspension, seen, settings, gap_s))
    if runs and seen.reason is not None:
        return suspend(governed, seen.reason, seen.text, model, settings=settings, now=now)
    if runs and seen.health is not Health.UNKNOWN and not math.isinf(gap_s):
        return _forgive(governed, gap_s, settings)
    return governed


def _forgive(governed: Governed, gap_s: float, settings: GovernorSettings) -> Governed:
    if governed.growth == 0:
        return governed
    healthy_s = governed.healthy_s + gap_s
    if healthy_s >= settings.forgive_after_seconds:
        return replace(governed, growth=governed.growth - 1, healthy_s=0.0)
    return replace(governed, healthy_s=healthy_s)


def _count(
    suspension: Suspension, seen: Assessment, settings: GovernorSettings, gap_s: float
) -> Suspension:
    if seen.health is not Health.HEALTHY:
        return replace(suspension, healthy_row=0, seen=seen.text)
    row = 0 if math.isinf(gap_s) else suspension.healthy_row
    # Every reading must be newer than all that were counted: VRAM is read every five seconds, and
    # the same figure looked at three times is one sample.
    if seen.oldest_at - suspension.counted_at < settings.sample_spacing_seconds:
        return replace(suspension, healthy_row=row, seen="")
    return replace(suspension, healthy_row=row + 1, counted_at=seen.newest_at, seen="")


def suspend(
    governed: Governed,
    reason: SkipReason,
    text: str,
    model: ModelLimits,
    *,
    settings: GovernorSettings,
    now: float,
) -> Governed:
    """Begin a suspension; the cooldown of a measured conflict grows with those before it.

    Args:
        governed: the record, of a model that is not suspended.
        reason: the cause.
        text: figures and limits.
        model: its limits.
        settings: the governor's own.
        now: monotonic seconds.
    """
    wait_s = max(model.cooldown_on_skip_seconds, settings.minimum_dwell_seconds)
    growth = governed.growth
    if reason.grows:
        longest_s = max(wait_s, settings.cooldown_max_seconds)
        wait_s = min(longest_s, wait_s * settings.cooldown_growth**growth)
        if wait_s < longest_s:  # what would change no cooldown would only be slow to forgive
            growth = min(GROWTH_STEPS, growth + 1)
    return replace(
        governed,
        growth=growth,
        healthy_s=0.0,
        suspension=Suspension(reason, text, now, now + wait_s, counted_at=now),
    )


def strike(governed: Governed, *, settings: GovernorSettings, now: float) -> tuple[Governed, str]:
    """Count one out of memory: suspend the model, or disable it at the last that is allowed.

    Args:
        governed: the record.
        settings: window, limit and length of the suspension.
        now: monotonic seconds.

    Returns:
        The record after it, and the count for a person.
    """
    if governed.disabled:
        return governed, governed.disabled
    window_s = settings.oom_window_seconds
    strikes = governed.strikes.struck(
        now=now, window_s=window_s, burst_s=settings.oom_burst_seconds
    )
    count = strikes.count(now=now, window_s=window_s)
    text = f"out of memory, {count} of {settings.oom_limit} times in {window_s / 60:g} minutes"
    if count >= settings.oom_limit:
        text += ": disabled until somebody enables it"
        return replace(
            governed, strikes=strikes, suspension=None, healthy_s=0.0, disabled=text
        ), text
    until, was = now + settings.oom_suspend_seconds, governed.suspension
    if was is None:
        after = Suspension(SkipReason.OUT_OF_MEMORY, text, now, until, counted_at=now)
    else:  # the same suspension, longer: an inference that began before it has failed
        after = replace(was, until=max(was.until, until), healthy_row=0, counted_at=now)
    return replace(governed, strikes=strikes, suspension=after, healthy_s=0.0), text
