"""A supervisor in miniature around the governor: it shows how the real one drives it.

Time is its own. It carries decisions out the way the lifecycle allows, hands permits to hosts,
starts an inference wherever a host lets it, and keeps every event.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from saccade.engine import governor
from saccade.engine.gates import CameraRate, FreeMemory, ModelFacts, Sample, TrainingJob
from saccade.engine.governor import Decision, FaultAction, GovernorState, Skip, Verdict
from saccade.engine.lifecycle import Lifecycle
from saccade.engine.limits import GovernorSettings, ModelLimits
from saccade.engine.permits import Flight, Holder
from saccade.errors import ErrorInfo
from saccade.types import CameraId, HostName, ModelName, ModelStatus

VLM = ModelName("vlm")
GPU_HOST = HostName("gpu0")
OOM = ErrorInfo("device_out_of_memory", "CUDA out of memory", "free memory")


def vlm(
    name: str = "vlm",
    *,
    min_fps_to_run: float = 5.0,
    min_free_vram_mb: float = 2000.0,
    cooldown_on_skip_seconds: float = 60.0,
    analysis_cooldown_seconds: float = 0.0,
    priority: int = 0,
    max_concurrency: int = 1,
    gpu: int | None = 0,
) -> ModelLimits:
    """Return the limits of a model behind every gate."""
    return ModelLimits(
        name=ModelName(name),
        host=GPU_HOST,
        gpu=gpu,
        needs_permit=True,
        min_fps_to_run=min_fps_to_run,
        min_free_vram_mb=min_free_vram_mb,
        min_free_host_mb=500.0,
        cooldown_on_skip_seconds=cooldown_on_skip_seconds,
        priority=priority,
        analysis_cooldown_seconds=analysis_cooldown_seconds,
        max_concurrency=max_concurrency,
        pauses_for_calibration=True,
        pauses_for_training=True,
        memory_reservation_mb=4000.0,
    )


def camera(
    fps: float,
    at: float,
    *,
    name: str = "door",
    floor: float | None = None,
    paced: float | None = None,
) -> CameraRate:
    """Return one live camera."""
    return CameraRate(CameraId(name), fps, at, floor, paced)


@dataclass
class Box:
    """One machine with some models, all ready at the start."""

    limits: list[ModelLimits] = field(default_factory=lambda: [vlm()])
    settings: GovernorSettings = field(default_factory=GovernorSettings)
    now: float = 1000.0
    # what the machine is like
    vram_mb: float | None = 8000.0
    has_gpu: bool = True
    fps: float = 25.0
    host_mb: float = 8000.0
    is_calibrating: bool = False
    training: tuple[TrainingJob, ...] = ()
    life: int = 1

    def __post_init__(self) -> None:
        self.state = GovernorState()
        self.lives = {m.name: Lifecycle(ModelStatus.READY) for m in self.limits}
        self.flights = {m.name: Flight() for m in self.limits}
        self.ended_at: dict[ModelName, float] = {}
        self.skips: list[tuple[float, ModelName, Skip]] = []
        self.changes: list[tuple[float, ModelName, ModelStatus]] = []
        self.last: dict[ModelName, Decision] = {}

    def sample(self) -> Sample:
        """Look at the machine now."""
        return Sample(
            models=tuple(
                ModelFacts(name, life.status, self.life, self.ended_at.get(name))
                for name, life in self.lives.items()
            ),
            cameras=(camera(self.fps, self.now),),
            vram=(FreeMemory(self.vram_mb, self.now, 0),) if self.has_gpu else (),
            host=FreeMemory(self.host_mb, self.now),
            is_calibrating=self.is_calibrating,
            training=self.training,
        )

    def step(self, sample: Sample | None = None) -> Decision:
        """Ask the governor once and do what it says; return the first model's decision."""
        self.state, decisions = governor.step(
            self.state,
            sample or self.sample(),
            limits=self.limits,
            settings=self.settings,
            now=self.now,
        )
        for decision in decisions:
            self.carry_out(decision)
        return decisions[0]

    def carry_out(self, decision: Decision) -> None:
        """Do what a decision says; an illegal transition raises."""
        name, self.last[decision.model] = decision.model, decision
        if decision.skip is not None:
            self.skips.append((self.now, name, decision.skip))
        to = {
            Verdict.SUSPEND: ModelStatus.SUSPENDED,
            Verdict.RESUME: ModelStatus.READY,
            Verdict.DISABLE: ModelStatus.DISABLED,
        }.get(decision.verdict)
        if to is not None:
            self.lives[name] = self.lives[name].to(to, reason=decision.text, at_wall=0.0)
            self.changes.append((self.now, name, to))
        if decision.verdict is not Verdict.STAY:
            self.flights[name] = self.flights[name].renewed(decision.permit)

    def tick(self, seconds: float = 1.0) -> Decision:
        """Let time pass, then look."""
        self.now += seconds
        return self.step()

    def ticks(self, count: int, *, every: float = 1.0) -> Decision:
        """Let time pass in several looks; return the last decision."""
        return [self.tick(every) for _ in range(count)][-1]

    def fault(self, error: ErrorInfo = OOM, *, model: ModelName = VLM) -> FaultAction:
        """Report an error of the host that lives now, and look."""
        self.state, outcome = governor.fault(
            self.state,
            model,
            error,
            holder=Holder(GPU_HOST, self.life),
            limits=self.limits,
            settings=self.settings,
            now=self.now,
        )
        self.step()
        return outcome.action

    def suspensions(self, model: ModelName = VLM) -> list[float]:
        """Return when a model was suspended."""
        return [
            at for at, name, to in self.changes if name == model and to is ModelStatus.SUSPENDED
        ]

    def status(self, model: ModelName = VLM) -> ModelStatus:
        """Return where a model is."""
        return self.lives[model].status

    def seconds_until_ready(
        self, model: ModelName = VLM, *, every: float = 1.0, most: float = 4000.0
    ) -> float:
        """Look on until a model is ready; return how long it took, inf for never."""
        began_at = self.now
        while self.now - began_at <= most:
            self.tick(every)
            if self.status(model) is ModelStatus.READY:
                return self.now - began_at
        return math.inf
