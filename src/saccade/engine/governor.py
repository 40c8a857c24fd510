"""The one place that decides which model may run now: what the gates say, over time. Pure.

The supervisor holds one `GovernorState`. It calls `step` about once a second and after every fact,
and does what the decisions say; it calls `fault`, `canary_failed`, `host_died`, `let_go` and
`enable` when those happen. A decision follows from where the governor wants the model and where
the lifecycle has it, so one that was not carried out comes again, without a second skip event.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from saccade.engine import suspension
from saccade.engine.gates import ModelFacts, Sample, SkipReason, assess
from saccade.engine.limits import GovernorSettings, ModelLimits
from saccade.engine.oom import DeviceFault, recognise
from saccade.engine.permits import Holder, Permit
from saccade.engine.suspension import Governed
from saccade.errors import ErrorInfo
from saccade.types import HostName, ModelName, ModelStatus

#: Where the lifecycle has a model that the governor may run or suspend.
GOVERNED: Final = frozenset({ModelStatus.READY, ModelStatus.SUSPENDED})


class Verdict(StrEnum):
    """What to do with one model."""

    RUN = "run"  # hand its holder the permit
    SUSPEND = "suspend"  # ready -> suspended, take the permit away
    STAY = "stay"  # change nothing, give no permit
    RESUME = "resume"  # suspended -> ready, hand the permit
    DISABLE = "disable"  # -> disabled, and remember it over restarts


class FaultAction(StrEnum):
    """What an error of a model leads to."""

    NONE = "none"  # an ordinary failure of one inference or load
    STRIKE = "strike"  # counted; call `step` for the suspension, or the end
    EXCUSED = "excused"  # the echo of a host's death: not counted
    REPLACE_HOST = "replace_host"  # end the host's process; the supervisor starts another


@dataclass(frozen=True, slots=True)
class GovernorState:
    """Everything the governor remembers. It starts empty; nothing of it needs to be stored.

    That a model is disabled is stored by the caller, as its lifecycle's status.
    """

    models: Mapping[ModelName, Governed] = field(default_factory=dict)
    stepped_at: float = -math.inf
    resumed_at: float = -math.inf
    deaths: Mapping[HostName, tuple[int, float]] = field(default_factory=dict)  # life, when

    def of(self, model: ModelName) -> Governed:
        """Return what is remembered of a model; a new one has a clean record."""
        return self.models.get(model, Governed())

    def with_model(self, model: ModelName, governed: Governed) -> GovernorState:
        """Return the state with one model's record replaced."""
        return replace(self, models={**self.models, model: governed})


@dataclass(frozen=True, slots=True)
class Skip:
    """The one skip event of a suspension."""

    reason: SkipReason
    text: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with one model now.

    Args:
        model: the model.
        verdict: what to do.
        text: why, with figures and limits, for a person; empty for a plain RUN.
        permit: with RUN and RESUME, what its host needs.
        skip: the skip event to publish, at most one for each suspension.
        resume_at: while suspended, the earliest it may run, load or be asked again, monotonic
            seconds: the `Retry-After` of its typed errors. None otherwise.
    """

    model: ModelName
    verdict: Verdict
    text: str = ""
    permit: Permit | None = None
    skip: Skip | None = None
    resume_at: float | None = None


@dataclass(frozen=True, slots=True)
class FaultOutcome:
    """What an error leads to, and why, for a person."""

    action: FaultAction
    fault: DeviceFault
    text: str = ""


def step(
    state: GovernorState,
    sample: Sample,
    *,
    limits: Sequence[ModelLimits],
    settings: GovernorSettings,
    now: float,
) -> tuple[GovernorState, tuple[Decision, ...]]:
    """Look once, and decide for every model.

    A suspension begins at the first conflict. It ends when its cooldown is over and enough fresh
    samples in a row were healthy; of several models that may resume, the one with the highest
    priority goes first and the next waits `resume_gap_seconds`.

    Args:
        state: what was returned last, or an empty one.
        sample: what is known now. Handing in the same readings again is harmless.
        limits: of every model that exists; records of others are forgotten.
        settings: the governor's own.
        now: monotonic seconds. Less than at the last call counts as no time passed.

    Returns:
        The state to keep, and one decision for each of `limits`, in that order.
    """
    now = max(now, state.stepped_at)
    gap_s = now - state.stepped_at
    if gap_s > settings.gap_seconds:  # the first look, or the supervisor slept: nothing was seen
        gap_s = math.inf
    facts = {f.name: f for f in sample.models}
    facts_of = {m.name: facts.get(m.name, ModelFacts(m.name, ModelStatus.CREATED)) for m in limits}
    models: dict[ModelName, Governed] = {}
    for model in limits:
        seen = assess(model, sample, settings=settings, now=now)
        governed, status = state.of(model.name), facts_of[model.name].status
        models[model.name] = suspension.observe(
            governed, seen, model, runs=status in GOVERNED, settings=settings, now=now, gap_s=gap_s
        )
    resumed_at = _lift(
        models, facts_of, limits, settings=settings, now=now, resumed_at=state.resumed_at
    )
    decisions: list[Decision] = []
    for model in limits:
        governed, decision = _decide(
            models[model.name], model, facts_of[model.name], settings=settings, now=now
        )
        models[model.name] = governed
        decisions.append(decision)
    after = GovernorState(models, now, resumed_at, state.deaths)
    return after, tuple(decisions)


def fault(
    state: GovernorState,
    model: ModelName,
    error: ErrorInfo,
    *,
    holder: Holder,
    limits: Sequence[ModelLimits],
    settings: GovernorSettings,
    now: float,
) -> tuple[GovernorState, FaultOutcome]:
    """Take an error of an inference or a load; call `step` afterwards.

    Args:
        state: what was returned last.
        model: whose error it is.
        error: as it came from the host.
        holder: which life of which host it came from.
        limits: of every model, to know which hosts share a GPU.
        settings: how long a suspension, how many strikes, in which window.
        now: monotonic seconds.
    """
    kind = recognise(error.code, error.what)
    if kind in {DeviceFault.NONE, DeviceFault.MISCONFIGURED}:
        return state, FaultOutcome(FaultAction.NONE, kind)
    said = error.what[:200]
    if state.deaths.get(holder.host, (-1, 0.0))[0] >= holder.life:
        return state, FaultOutcome(FaultAction.EXCUSED, kind, f"host {holder.host} has died since")
    if kind is DeviceFault.CONTEXT_LOST:
        return state, FaultOutcome(
            FaultAction.REPLACE_HOST, kind, f"host {holder.host} lost the device: {said}"
        )
    died = _death_beside(
        state, model, holder.host, limits, now=now, grace_s=settings.host_death_grace_seconds
    )
    if died is not None:
        return state, FaultOutcome(FaultAction.EXCUSED, kind, f"{died}: not counted")
    governed, text = suspension.strike(state.of(model), settings=settings, now=now)
    return state.with_model(model, governed), FaultOutcome(FaultAction.STRIKE, kind, text)


def canary_failed(
    state: GovernorState, model: ModelLimits, text: str, *, settings: GovernorSettings, now: float
) -> GovernorState:
    """Suspend a model whose canary failed, as a conflict would; call `step` afterwards.

    Args:
        state: what was returned last.
        model: its limits.
        text: what the canary found.
        settings: the governor's own.
        now: monotonic seconds.
    """
    governed = state.of(model.name)
    if governed.suspension is not None or governed.disabled:
        return state
    return state.with_model(
        model.name,
        suspension.suspend(
            governed,
            SkipReason.CANARY_FAILED,
            f"its canary failed: {text}",
            model,
            settings=settings,
            now=now,
        ),
    )


def host_died(state: GovernorState, host: HostName, *, life: int, now: float) -> GovernorState:
    """Take a host's death: it holds no permits any more, and device errors are its echo a while.

    Args:
        state: what was returned last.
        host: its name.
        life: which start of it has ended.
        now: monotonic seconds.
    """
    models = {
        name: replace(g, holder=None) if _is_of(g.holder, host, life) else g
        for name, g in state.models.items()
    }
    last_life = max(life, state.deaths.get(host, (life, now))[0])
    return replace(state, models=models, deaths={**state.deaths, host: (last_life, now)})


def let_go(state: GovernorState, model: ModelName, *, holder: Holder) -> GovernorState:
    """Take a holder's word that it unloaded the model and nothing of it runs any more."""
    governed = state.of(model)
    if governed.holder != holder:
        return state
    return state.with_model(model, replace(governed, holder=None))


def enable(state: GovernorState, model: ModelName) -> GovernorState:
    """Enable a disabled model by a person's wish: its record is clean again."""
    return state.with_model(model, Governed(holder=state.of(model).holder))


def _lift(
    models: dict[ModelName, Governed],
    facts: Mapping[ModelName, ModelFacts],
    limits: Sequence[ModelLimits],
    *,
    settings: GovernorSettings,
    now: float,
    resumed_at: float,
) -> float:
    """End the suspensions that may end, in `models`; return when a model was last resumed."""
    for model in sorted(limits, key=lambda m: (-m.priority, m.name)):
        governed = models[model.name]
        held = governed.suspension
        if held is None or not held.may_end(settings=settings, now=now):
            continue
        runs_then = facts[model.name].status in GOVERNED
        if runs_then and now - resumed_at < settings.resume_gap_seconds:
            continue
        models[model.name] = replace(governed, suspension=None, healthy_s=0.0)
        resumed_at = now if runs_then else resumed_at
    return resumed_at


def _decide(
    governed: Governed,
    model: ModelLimits,
    facts: ModelFacts,
    *,
    settings: GovernorSettings,
    now: float,
) -> tuple[Governed, Decision]:
    """Compare where the governor wants a model with where the lifecycle has it."""
    name, status = model.name, facts.status
    if governed.disabled:
        verdict = Verdict.STAY if status is ModelStatus.DISABLED else Verdict.DISABLE
        return governed, Decision(name, verdict, governed.disabled)
    held = governed.suspension
    if held is not None:
        verdict = Verdict.SUSPEND if status is ModelStatus.READY else Verdict.STAY
        text = held.explain(settings=settings, now=now)
        if verdict is Verdict.STAY or held.is_told:
            return governed, Decision(name, verdict, text, resume_at=held.until)
        skip = Skip(held.reason, held.text)
        told = replace(governed, suspension=replace(held, is_told=True))
        return told, Decision(name, verdict, text, skip=skip, resume_at=held.until)
    if status not in GOVERNED:
        return governed, Decision(name, Verdict.STAY, f"it is {status}, not ready")
    holder = Holder(model.host, facts.host_life)
    if governed.holder not in {None, holder}:
        return governed, Decision(
            name,
            Verdict.STAY,
            f"host {_name(governed.holder)} still holds it: it has neither died nor let go",
        )
    verdict = Verdict.RUN if status is ModelStatus.READY else Verdict.RESUME
    permit = _permit(model, facts, settings, now)
    return replace(governed, holder=holder), Decision(name, verdict, permit=permit)


def _permit(
    model: ModelLimits, facts: ModelFacts, settings: GovernorSettings, now: float
) -> Permit:
    rest_s, ended_at = model.analysis_cooldown_seconds, facts.last_ended_at
    return Permit(
        model=model.name,
        concurrency=model.max_concurrency,
        expires_at=now + settings.permit_seconds if model.needs_permit else math.inf,
        not_before=-math.inf if ended_at is None else ended_at + rest_s,
        cooldown_s=rest_s,
    )


def _death_beside(
    state: GovernorState,
    model: ModelName,
    host: HostName,
    limits: Sequence[ModelLimits],
    *,
    grace_s: float,
    now: float,
) -> str | None:
    """Name the host whose death, a moment ago, explains a device error; None for none."""
    gpus = {m.gpu for m in limits if m.name == model and m.gpu is not None}
    beside = {host} | {m.host for m in limits if m.gpu in gpus}
    for other, (_life, at) in state.deaths.items():
        if other in beside and now - at <= grace_s:
            return f"host {other} died {now - at:.1f} s ago"
    return None


def _is_of(holder: Holder | None, host: HostName, life: int) -> bool:
    return holder is not None and holder.host == host and holder.life <= life


def _name(holder: Holder | None) -> str:
    return "nobody" if holder is None else f"{holder.host} (start {holder.life})"
