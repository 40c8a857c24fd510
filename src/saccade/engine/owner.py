"""The supervisor's book of models: what should be loaded where, and what became of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from saccade.desired import ModelSpec
from saccade.engine import wire
from saccade.engine.lifecycle import IllegalTransition, Lifecycle, path
from saccade.errors import ErrorInfo
from saccade.types import HostName, ModelStatus

log = logging.getLogger(__name__)

Tell = Callable[..., None]


@dataclass(slots=True)
class Entry:
    """One model."""

    spec: ModelSpec
    lifecycle: Lifecycle = field(default_factory=lambda: Lifecycle(since_wall=time.time()))
    fact: wire.ModelFact | None = None
    page: int = -1
    last_error: ErrorInfo | None = None
    last_error_wall: float | None = None


class ModelsOwner:
    """All models of the tree.

    Args:
        specs: what should be loaded.
        tell: called with every transition: kind, severity, message, and `model`, `data` by keyword.
    """

    def __init__(self, specs: Iterable[ModelSpec], *, tell: Tell) -> None:
        self._entries = {spec.name: Entry(spec) for spec in specs}
        self._tell = tell

    def of_host(self, host: HostName) -> list[ModelSpec]:
        """Return what a host that starts is to load."""
        return [e.spec for e in self._entries.values() if e.spec.host == host]

    def take(self, fact: wire.ModelFact, *, page: int) -> None:
        """Move a model's lifecycle by what its host says of it."""
        entry = self._entries.get(fact.name)
        if entry is None:  # it was removed while the host was loading it
            return
        before = entry.fact
        if before is not None and fact.status is not ModelStatus.LOADING:
            fact = _keep_measurements(fact, before)
        entry.fact, entry.page = fact, page
        if fact.error is not None:
            entry.last_error, entry.last_error_wall = fact.error, time.time()
        self._move(entry, fact.status, fact.reason)

    def host_died(self, host: HostName, reason: str) -> None:
        """Every model that was on the host is in error until the next host loads it."""
        for entry in self._entries.values():
            if entry.spec.host == host and entry.lifecycle.status is not ModelStatus.CREATED:
                self._move(entry, ModelStatus.ERROR, reason)

    def reconcile(
        self, wanted: Iterable[ModelSpec]
    ) -> list[tuple[HostName, wire.Load | wire.Unload]]:
        """Take a new wish; return what to order of which host."""
        orders: list[tuple[HostName, wire.Load | wire.Unload]] = []
        specs = {spec.name: spec for spec in wanted}
        for name, entry in list(self._entries.items()):
            if name not in specs:
                orders.append((entry.spec.host, wire.Unload(name)))
                del self._entries[name]
        for name, spec in specs.items():
            known = self._entries.get(name)
            if known is not None and known.spec == spec:
                continue
            if known is not None and known.spec.host != spec.host:
                orders.append((known.spec.host, wire.Unload(name)))
            if known is None:
                self._entries[name] = Entry(spec)
            else:
                known.spec = spec
                self._move(known, ModelStatus.CREATED, "a new version is loaded")
            orders.append((spec.host, wire.Load(spec)))
        return orders

    def report(self) -> tuple[wire.ModelState, ...]:
        """Return every model for the state that is pushed."""
        return tuple(
            wire.ModelState(
                name=name,
                host=e.spec.host,
                status=e.lifecycle.status,
                reason=e.lifecycle.reason,
                since_wall=e.lifecycle.since_wall,
                fact=e.fact,
                spec=e.spec,
                page=e.page,
                last_error=e.last_error,
                last_error_wall=e.last_error_wall,
            )
            for name, e in self._entries.items()
        )

    def _move(self, entry: Entry, status: ModelStatus, reason: str) -> None:
        try:
            steps = path(entry.lifecycle.status, status)
        except IllegalTransition:
            log.exception("a fact that cannot follow", extra={"model": entry.spec.name})
            return
        for step in steps:
            before = entry.lifecycle.status
            entry.lifecycle = entry.lifecycle.to(step, reason=reason, at_wall=time.time())
            self._tell(
                "model_status_change",
                "error" if step is ModelStatus.ERROR else "info",
                f"model {entry.spec.name} is {step}: {reason}",
                model=entry.spec.name,
                data={"from": before, "to": step, "reason": reason},
            )


def _keep_measurements(fact: wire.ModelFact, before: wire.ModelFact) -> wire.ModelFact:
    """Return the fact with what an earlier one of the same load had measured."""
    return wire.ModelFact(
        name=fact.name,
        status=fact.status,
        reason=fact.reason,
        index=fact.index,
        device=fact.device or before.device,
        family=fact.family or before.family,
        width=fact.width or before.width,
        height=fact.height or before.height,
        labels=fact.labels or before.labels,
        load_ms=before.load_ms if fact.load_ms is None else fact.load_ms,
        warmup_ms=before.warmup_ms if fact.warmup_ms is None else fact.warmup_ms,
        error=fact.error,
    )
