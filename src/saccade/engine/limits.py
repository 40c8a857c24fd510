"""What the settings tell the governor: its own limits and each model's. Nothing is decided here."""

from __future__ import annotations

import math
from typing import Final

import msgspec

from saccade.errors import SettingsInvalid
from saccade.types import HostName, ModelName

#: The steepest `cooldown_growth`.
GROWTH_MOST: Final = 10.0


class GovernorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Every limit of the governor and the ledger. Times are seconds, memory is MB of 2^20 bytes.

    Args:
        permit_seconds: how long a permit lasts. Raising it keeps models running longer after the
            supervisor has stopped; lowering it below two of its ticks makes gated models stutter.
        healthy_samples: fresh healthy samples in a row before a suspended model resumes.
        sample_spacing_seconds: samples closer than this count as one.
        minimum_dwell_seconds: the shortest measured suspension, and the least the cooldown grows
            from: with 30 or more no course of measurements suspends a model over 6 times in 30 min.
        cooldown_growth: each measured suspension waits this many times as long as the one before.
        cooldown_max_seconds: where growth ends; a model's own cooldown above it stays as it is.
        forgive_after_seconds: seen health, in a row, that takes one step of growth back.
        resume_margin_ratio: how far over its limit a measure must be before it is healthy again;
            between limit and margin a model stays what it is.
        resume_gap_seconds: the least time between two models that resume, so that one that brings
            the conflict back is found out before the next.
        stale_after_seconds: a reading older than this says nothing.
        gap_seconds: looks further apart than this are not "in a row": the supervisor slept.
        paced_floor_ratio: a camera that is asked for few frames is not held to more than this
            part of what it is asked for.
        oom_suspend_seconds: suspension after one out of memory; does not grow.
        oom_limit: this many in the window disable the model until a person enables it.
        oom_window_seconds: the window; it slides, and both its ends belong to it.
        oom_burst_seconds: out of memory again sooner than this is the same incident.
        host_death_grace_seconds: device errors this soon after a host died there are its echo.
        ledger_margin_mb: free VRAM that is never promised: contexts, displays, fragmentation.
        ledger_host_margin_mb: the same of the machine's memory.
        evict_equal_after_seconds: a model of the same priority may be evicted when idle this long.
    """

    permit_seconds: float = 2.0
    healthy_samples: int = 3
    sample_spacing_seconds: float = 0.5
    minimum_dwell_seconds: float = 30.0
    cooldown_growth: float = 2.0
    cooldown_max_seconds: float = 900.0
    forgive_after_seconds: float = 1800.0
    resume_margin_ratio: float = 0.1
    resume_gap_seconds: float = 5.0
    stale_after_seconds: float = 15.0
    gap_seconds: float = 5.0
    paced_floor_ratio: float = 0.8
    oom_suspend_seconds: float = 60.0
    oom_limit: int = 3
    oom_window_seconds: float = 600.0
    oom_burst_seconds: float = 1.0
    host_death_grace_seconds: float = 5.0
    ledger_margin_mb: float = 256.0
    ledger_host_margin_mb: float = 512.0
    evict_equal_after_seconds: float = 300.0

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            SettingsInvalid: a value is not finite, or outside of what makes sense.
        """
        least = {
            "permit_seconds": 0.1,
            "healthy_samples": 1,
            "cooldown_growth": 1.0,
            "oom_limit": 1,
        }
        for name in self.__struct_fields__:
            _at_least(f"governor.{name}", getattr(self, name), least.get(name, 0.0))
        if self.cooldown_growth > GROWTH_MOST:
            raise SettingsInvalid(
                f"governor.cooldown_growth is {self.cooldown_growth}",
                fix=f"use at most {GROWTH_MOST:g}",
            )
        if self.paced_floor_ratio * (1.0 + self.resume_margin_ratio) >= 1.0:
            raise SettingsInvalid(
                f"governor.paced_floor_ratio {self.paced_floor_ratio} with resume_margin_ratio "
                f"{self.resume_margin_ratio} asks a camera for more frames than it is to deliver",
                fix="lower one of them: ratio x (1 + margin) must stay below 1",
            )


class ModelLimits(msgspec.Struct, frozen=True, kw_only=True):
    """One model's settings, as the governor reads them. The defaults gate nothing.

    Args:
        name: the model.
        host: the host it is loaded in.
        gpu: index of its GPU; None for a CPU model, to which VRAM does not matter.
        needs_permit: run only on a permit that expires. True for what can do harm when nobody
            watches (a VLM); a detector goes on when the supervisor is stopped.
        min_fps_to_run: no live camera may be slower than this while the model runs; 0 for no gate.
        min_free_vram_mb: free VRAM below this suspends it; 0 for no gate.
        min_free_host_mb: free memory of the machine below this suspends it; 0 for no gate.
        analysis_cooldown_seconds: rest between the end of one inference and the next.
        cooldown_on_skip_seconds: the shortest suspension after a conflict.
        max_concurrency: inferences (batches) at once; 1 for a VLM.
        priority: the higher goes first: it resumes first and is evicted last.
        memory_reservation_mb: what to reserve before its cost has been measured.
        pauses_for_calibration: suspended while a calibration runs.
        pauses_for_training: suspended while a training job runs on the same device.
    """

    name: ModelName
    host: HostName
    gpu: int | None = None
    needs_permit: bool = False
    min_fps_to_run: float = 0.0
    min_free_vram_mb: float = 0.0
    min_free_host_mb: float = 0.0
    analysis_cooldown_seconds: float = 0.0
    cooldown_on_skip_seconds: float = 60.0
    max_concurrency: int = 1
    priority: int = 0
    memory_reservation_mb: float = 0.0
    pauses_for_calibration: bool = False
    pauses_for_training: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            SettingsInvalid: a limit is negative or not finite, or no inference may run.
        """
        for name in (
            "min_fps_to_run",
            "min_free_vram_mb",
            "min_free_host_mb",
            "analysis_cooldown_seconds",
            "cooldown_on_skip_seconds",
            "memory_reservation_mb",
        ):
            _at_least(f"model {self.name}: {name}", getattr(self, name), 0.0)
        _at_least(f"model {self.name}: max_concurrency", self.max_concurrency, 1)


def _at_least(name: str, value: float, least: float) -> None:
    if not (math.isfinite(value) and value >= least):
        raise SettingsInvalid(f"{name} is {value}", fix=f"use a number of at least {least:g}")
