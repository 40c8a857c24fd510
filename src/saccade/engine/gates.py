"""Whether one look at the machine lets a model run: the governor's gates, without memory. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

from saccade.engine.limits import GovernorSettings, ModelLimits
from saccade.types import CameraId, ModelName, ModelStatus


class SkipReason(StrEnum):
    """Why a model is suspended. It travels in the skip event."""

    CALIBRATION = "calibration"
    TRAINING = "training"
    LOW_VRAM = "low_vram"
    LOW_HOST_MEMORY = "low_host_memory"
    LOW_FPS = "low_fps"
    OUT_OF_MEMORY = "out_of_memory"
    CANARY_FAILED = "canary_failed"

    @property
    def grows(self) -> bool:
        """Say whether suspensions for it wait longer each time.

        What a person starts (calibration, training) ends when it is over: six calibrations in a
        row are no flapping. Out of memory has its own count of three.
        """
        return self in _GROWS


_GROWS: Final = frozenset({SkipReason.LOW_VRAM, SkipReason.LOW_HOST_MEMORY, SkipReason.LOW_FPS,
                           SkipReason.CANARY_FAILED})  # fmt: skip


class Health(IntEnum):
    """What a gate, or all of them, say; the greatest decides."""

    HEALTHY = 0
    IN_BAND = 1  # over the limit, under the margin: change nothing
    UNKNOWN = 2  # the reading is old or missing: change nothing
    CONFLICT = 3


@dataclass(frozen=True, slots=True)
class CameraRate:
    """How fast one live camera runs. A camera that is not live is left out: its source is at fault.

    Args:
        camera: the camera.
        fps: frames per second that it now delivers and has answered.
        at: when that was measured, monotonic seconds.
        floor_fps: its own least, which replaces the model's `min_fps_to_run`; None for none.
        paced_fps: what its settings ask for; None when it is as fast as it can be.
    """

    camera: CameraId
    fps: float
    at: float
    floor_fps: float | None = None
    paced_fps: float | None = None


@dataclass(frozen=True, slots=True)
class FreeMemory:
    """Free memory of one GPU, or of the machine.

    Args:
        free_mb: MB of 2^20 bytes; None when it is there and could not be read now.
        at: when it was read, monotonic seconds.
        gpu: the GPU's index; None for the machine.
    """

    free_mb: float | None
    at: float
    gpu: int | None = None


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """A training that runs now. `gpu` is None for one on the CPU."""

    id: str
    gpu: int | None = None


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What the supervisor knows of one model now.

    Args:
        name: the model.
        status: its place in the lifecycle.
        host_life: which start of its host this is, growing; a restarted host is another holder.
        last_ended_at: when its last inference ended, monotonic seconds; None before the first.
        borrowed_mb: VRAM that its running inference takes above what it costs at rest. It counts as
            free for this model: otherwise each of its inferences would suspend it.
    """

    name: ModelName
    status: ModelStatus
    host_life: int = 0
    last_ended_at: float | None = None
    borrowed_mb: float = 0.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at the machine. No GPU means no entry in `vram`; that is a normal case."""

    models: tuple[ModelFacts, ...]
    cameras: tuple[CameraRate, ...] = ()
    vram: tuple[FreeMemory, ...] = ()
    host: FreeMemory | None = None
    is_calibrating: bool = False
    training: tuple[TrainingJob, ...] = ()


@dataclass(frozen=True, slots=True)
class Assessment:
    """What all gates of one model say together.

    Args:
        health: the worst of them.
        reason: of the first conflict; None without.
        text: figures and limits of whatever is not healthy, for a person.
        oldest_at: time of the oldest reading used; `now` when none was.
        newest_at: time of the newest.
    """

    health: Health
    reason: SkipReason | None
    text: str
    oldest_at: float
    newest_at: float


@dataclass(frozen=True, slots=True)
class _Finding:
    health: Health
    reason: SkipReason
    text: str = ""
    at: float | None = None  # None: a flag, true now


def assess(
    limits: ModelLimits, sample: Sample, *, settings: GovernorSettings, now: float
) -> Assessment:
    """Hold one model's limits against one sample.

    Args:
        limits: the model's.
        sample: what is known; each reading has its own time.
        settings: margin, staleness and pace.
        now: monotonic seconds.
    """
    findings = [
        *_flags(limits, sample),
        *_memory(limits, sample, settings, now),
        *_rates(limits, sample, settings, now),
    ]
    health = max((f.health for f in findings), default=Health.HEALTHY)
    decisive = [f for f in findings if f.health is health and f.text]
    times = [f.at for f in findings if f.at is not None] or [now]
    return Assessment(
        health,
        decisive[0].reason if health is Health.CONFLICT else None,
        "; ".join(f.text for f in decisive),
        min(times),
        max(times),
    )


def _flags(limits: ModelLimits, sample: Sample) -> Iterator[_Finding]:
    if limits.pauses_for_calibration and sample.is_calibrating:
        yield _Finding(Health.CONFLICT, SkipReason.CALIBRATION, "a calibration is running")
    if limits.pauses_for_training:
        where = "the CPU" if limits.gpu is None else f"GPU {limits.gpu}"
        for job in sample.training:
            if job.gpu == limits.gpu:
                yield _Finding(
                    Health.CONFLICT, SkipReason.TRAINING, f"training job {job.id} runs on {where}"
                )


def _memory(
    limits: ModelLimits, sample: Sample, settings: GovernorSettings, now: float
) -> Iterator[_Finding]:
    vram = next((m for m in sample.vram if m.gpu == limits.gpu), None)
    if limits.gpu is not None and limits.min_free_vram_mb > 0 and vram is not None:
        own_mb = next((m.borrowed_mb for m in sample.models if m.name == limits.name), 0.0)
        free_mb = None if vram.free_mb is None else vram.free_mb + own_mb
        yield _measure(
            f"free VRAM of GPU {limits.gpu}",
            free_mb,
            limits.min_free_vram_mb,
            SkipReason.LOW_VRAM,
            unit="MB",
            at=vram.at,
            settings=settings,
            now=now,
        )
    if limits.min_free_host_mb > 0 and sample.host is not None:
        yield _measure(
            "free memory of the machine",
            sample.host.free_mb,
            limits.min_free_host_mb,
            SkipReason.LOW_HOST_MEMORY,
            unit="MB",
            at=sample.host.at,
            settings=settings,
            now=now,
        )


def _rates(
    limits: ModelLimits, sample: Sample, settings: GovernorSettings, now: float
) -> Iterator[_Finding]:
    if limits.min_fps_to_run <= 0:
        return
    for rate in sample.cameras:
        least = limits.min_fps_to_run if rate.floor_fps is None else rate.floor_fps
        if rate.paced_fps is not None:  # a camera asked for 5 cannot be held to 10
            least = min(least, rate.paced_fps * settings.paced_floor_ratio)
        yield _measure(
            f"camera {rate.camera}",
            rate.fps,
            least,
            SkipReason.LOW_FPS,
            unit="FPS",
            at=rate.at,
            settings=settings,
            now=now,
        )


def _measure(
    name: str,
    value: float | None,
    limit: float,
    reason: SkipReason,
    *,
    unit: str,
    at: float,
    settings: GovernorSettings,
    now: float,
) -> _Finding:
    if value is None or not math.isfinite(value):
        return _Finding(Health.UNKNOWN, reason, f"{name} could not be read", at)
    age_s = now - at
    if age_s > settings.stale_after_seconds:
        return _Finding(
            Health.UNKNOWN,
            reason,
            f"{name} was read {age_s:,.0f} s ago, {settings.stale_after_seconds:g} s is the most",
            at,
        )
    healthy_from = limit * (1.0 + settings.resume_margin_ratio)
    shown, least = f"{value:,.1f} {unit}", f"{limit:,.1f} {unit}"
    if value < limit:
        return _Finding(Health.CONFLICT, reason, f"{name}: {shown}, the limit is {least}", at)
    if value < healthy_from:
        return _Finding(
            Health.IN_BAND,
            reason,
            f"{name}: {shown}, over the limit of {least}, "
            f"but a suspended model resumes from {healthy_from:,.1f} {unit}",
            at,
        )
    return _Finding(Health.HEALTHY, reason, "", at)
