"""The one state machine every model obeys. Pure.

The supervisor owns a `Lifecycle` for each model and moves it by the facts a host reports; nobody
else does. An illegal transition is a fault of ours and raises.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from saccade.types import ModelStatus as S

#: What may follow what. `created` is also where a model returns to when it is unloaded.
TRANSITIONS: Final[dict[S, frozenset[S]]] = {
    S.CREATED: frozenset({S.LOADING, S.DISABLED}),
    S.LOADING: frozenset({S.LOADED, S.ERROR, S.DISABLED, S.CREATED}),
    S.LOADED: frozenset({S.WARMING_UP, S.READY, S.ERROR, S.DISABLED, S.CREATED}),
    S.WARMING_UP: frozenset({S.READY, S.LOADED, S.ERROR, S.DISABLED, S.CREATED}),
    S.READY: frozenset({S.SUSPENDED, S.ERROR, S.DISABLED, S.CREATED}),
    S.SUSPENDED: frozenset({S.READY, S.ERROR, S.DISABLED, S.CREATED}),
    S.ERROR: frozenset({S.LOADING, S.DISABLED, S.CREATED}),
    S.DISABLED: frozenset({S.CREATED}),
}

#: States in which the weights are on the device.
LOADED_STATES: Final = frozenset({S.LOADED, S.WARMING_UP, S.READY, S.SUSPENDED})


class IllegalTransition(Exception):  # noqa: N818 - a fact, named as one
    """A transition that the table does not have."""


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """One model's state, since when, and why."""

    status: S = S.CREATED
    reason: str = ""
    since_wall: float = 0.0

    @property
    def is_ready(self) -> bool:
        """Say whether the model may serve."""
        return self.status is S.READY

    @property
    def is_loaded(self) -> bool:
        """Say whether the weights are on the device."""
        return self.status in LOADED_STATES

    def to(self, status: S, *, reason: str, at_wall: float) -> Lifecycle:
        """Return the lifecycle after a transition.

        Raises:
            IllegalTransition: the table does not allow it.
        """
        if status not in TRANSITIONS[self.status]:
            raise IllegalTransition(f"{self.status} -> {status} ({reason})")
        return replace(self, status=status, reason=reason, since_wall=at_wall)


def path(start: S, end: S) -> tuple[S, ...]:
    """Return the shortest legal way from `start` to `end`, without `start`; empty when there.

    A host that was replaced reports only where it is now; the states between were passed through.
    """
    if start is end:
        return ()
    ways: list[tuple[S, ...]] = [(start,)]
    seen = {start}
    while ways:
        way = ways.pop(0)
        for following in sorted(TRANSITIONS[way[-1]]):
            if following is end:
                return (*way[1:], following)
            if following not in seen:
                seen.add(following)
                ways.append((*way, following))
    raise IllegalTransition(f"no way from {start} to {end}")
