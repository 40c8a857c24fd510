"""Who may load: a reservation before every load, and whom to evict for it. Pure.

What is free is measured, so it holds whatever else runs on the machine. The ledger adds what the
measure cannot know: what is promised to loads under way, and what each loaded model would give
back. A load under way is counted in full although part of it may show in the measure already: the
error is on the safe side and lasts as long as the load.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from saccade.engine.limits import GovernorSettings, ModelLimits
from saccade.types import HostName, ModelName


class Answer(StrEnum):
    """What a request for memory gets."""

    GRANTED = "granted"  # reserved: load
    EVICT = "evict"  # nothing is reserved: unload those named, then ask again
    REFUSED = "refused"  # not even with every eviction that is allowed


@dataclass(frozen=True, slots=True)
class Entry:
    """One model that is loaded, or being loaded.

    Args:
        model: the model.
        host: where.
        gpu: its GPU; None for the machine's memory.
        priority: the higher is evicted later.
        cost_mb: measured when it is loaded, before that what is reserved; MB of 2^20 bytes.
        is_loaded: its memory shows in the measure of what is free.
    """

    model: ModelName
    host: HostName
    gpu: int | None
    priority: int
    cost_mb: float
    is_loaded: bool = False


@dataclass(frozen=True, slots=True)
class Use:
    """How a loaded model is used. One without is taken as busy: nobody is evicted by ignorance.

    Args:
        is_busy: an inference runs or waits.
        used_at: when the last one ended, or it was loaded, monotonic seconds.
    """

    is_busy: bool
    used_at: float


@dataclass(frozen=True, slots=True)
class Admission:
    """The answer, with its figures.

    Args:
        answer: what to do.
        text: why, for a person.
        evict: with EVICT, whom to unload, in this order.
    """

    answer: Answer
    text: str
    evict: tuple[ModelName, ...] = ()


@dataclass(frozen=True, slots=True)
class Ledger:
    """Reservations and measured costs.

    Args:
        entries: of every model that is loaded or being loaded.
        measured_mb: the newest measured cost of every model ever loaded, MB; it outlives unloading.
    """

    entries: Mapping[ModelName, Entry] = field(default_factory=dict)
    measured_mb: Mapping[ModelName, float] = field(default_factory=dict)

    def cost_of(self, model: ModelLimits) -> float:
        """Return what to reserve, MB: measured, else the setting, else 0."""
        return self.measured_mb.get(model.name, model.memory_reservation_mb)

    def promised_mb(self, gpu: int | None) -> float:
        """Return what loads under way may still take on a GPU (None: of the machine), MB."""
        return sum(e.cost_mb for e in self.entries.values() if e.gpu == gpu and not e.is_loaded)

    def loaded(self, model: ModelName, *, cost_mb: float) -> Ledger:
        """Take the measured cost of a model that is loaded and warm.

        Args:
            model: the model; one without a reservation is ignored.
            cost_mb: its process's memory on the device with it, less that before, at full batch.
        """
        entry = self.entries.get(model)
        if entry is None:
            return self
        return Ledger(
            {**self.entries, model: replace(entry, cost_mb=cost_mb, is_loaded=True)},
            {**self.measured_mb, model: cost_mb},
        )

    def released(self, model: ModelName) -> Ledger:
        """Forget a model that was unloaded, or whose load failed; its measured cost stays known."""
        return replace(self, entries={n: e for n, e in self.entries.items() if n != model})

    def host_died(self, host: HostName) -> Ledger:
        """Forget whatever a dead host held or was about to hold."""
        return replace(self, entries={n: e for n, e in self.entries.items() if e.host != host})

    def changed(self, model: ModelName) -> Ledger:
        """Forget a model's measured cost: its file is another now."""
        return replace(self, measured_mb={n: c for n, c in self.measured_mb.items() if n != model})


def reserve(
    ledger: Ledger,
    model: ModelLimits,
    *,
    free_mb: float | None,
    uses: Mapping[ModelName, Use],
    settings: GovernorSettings,
    now: float,
) -> tuple[Ledger, Admission]:
    """Ask for the memory of a model that is to be loaded.

    Never named for eviction: a busy model, one of a higher priority, one of the same priority that
    was used less than `evict_equal_after_seconds` ago, one still loading, the model itself.

    Args:
        ledger: the present one.
        model: which; if it has an entry already, that is given up for the new one when granted.
        free_mb: measured free memory of its GPU, or of the machine for a CPU model; None when
            nothing could be measured: then nothing is refused, and the text says so.
        uses: of the loaded models.
        settings: margins and patience.
        now: monotonic seconds.

    Returns:
        The ledger, with the reservation if it was granted, and the answer.
    """
    others = ledger.released(model.name)
    mine, need_mb = ledger.entries.get(model.name), ledger.cost_of(model)
    entry = Entry(model.name, model.host, model.gpu, model.priority, need_mb)
    granted = replace(others, entries={**others.entries, model.name: entry})
    where = "the machine" if model.gpu is None else f"GPU {model.gpu}"
    if free_mb is None:
        return granted, Admission(
            Answer.GRANTED, f"free memory of {where} is not known: not held against any limit"
        )
    margin_mb = settings.ledger_host_margin_mb if model.gpu is None else settings.ledger_margin_mb
    room_mb = free_mb - margin_mb - others.promised_mb(model.gpu)
    if mine is not None and mine.is_loaded and mine.gpu == model.gpu and mine.host == model.host:
        room_mb += mine.cost_mb  # a reload in place: the old goes before the new comes
    figures = f"it needs {need_mb:,.0f} MB and {where} has {max(0.0, room_mb):,.0f} MB to give"
    if need_mb <= room_mb:
        return granted, Admission(Answer.GRANTED, figures)
    victims = _victims(others, model, uses, settings, now)
    chosen = _fewest(victims, need_mb - room_mb)
    if chosen is None:
        could_mb = sum(v.cost_mb for v in victims)
        return ledger, Admission(
            Answer.REFUSED,
            f"{figures}; idle models of no higher priority would give back {could_mb:,.0f} MB",
        )
    names = tuple(v.model for v in chosen)
    return ledger, Admission(Answer.EVICT, f"{figures}; unload {', '.join(names)} first", names)


def _victims(
    ledger: Ledger,
    model: ModelLimits,
    uses: Mapping[ModelName, Use],
    settings: GovernorSettings,
    now: float,
) -> list[Entry]:
    """Return who may be evicted for a model, the first to go first."""
    may_go: list[tuple[int, float, ModelName, Entry]] = []
    for name, entry in ledger.entries.items():
        use = uses.get(name)
        if entry.gpu != model.gpu or not entry.is_loaded or entry.cost_mb <= 0:
            continue
        if use is None or use.is_busy or entry.priority > model.priority:
            continue
        idle_s = now - use.used_at
        if entry.priority < model.priority or idle_s >= settings.evict_equal_after_seconds:
            may_go.append((entry.priority, use.used_at, name, entry))
    return [entry for *_order, entry in sorted(may_go, key=lambda each: each[:3])]


def _fewest(victims: list[Entry], missing_mb: float) -> list[Entry] | None:
    """Take victims in order until it is enough, then spare who is not needed, the best first."""
    chosen: list[Entry] = []
    for victim in victims:
        if sum(c.cost_mb for c in chosen) >= missing_mb:
            break
        chosen.append(victim)
    if sum(c.cost_mb for c in chosen) < missing_mb:
        return None
    for victim in reversed(list(chosen)):
        rest = [c for c in chosen if c is not victim]
        if sum(c.cost_mb for c in rest) >= missing_mb:
            chosen = rest
    return chosen
