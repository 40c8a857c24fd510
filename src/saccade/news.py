"""What happened in the tree and is not told to the router yet: bounded, oldest first."""

from __future__ import annotations

from collections import deque
from typing import Final

from saccade.engine import wire
from saccade.engine.outgoing import Outgoing
from saccade.types import CameraId, ModelName

#: Facts kept while the router is away.
NEWS_MOST: Final = 10_000


class News:
    """Facts that are worth an event, on their way to the router."""

    def __init__(self) -> None:
        self._waiting: deque[wire.Happened] = deque()
        self._lost = 0

    def add(
        self,
        kind: str,
        severity: str,
        message: str,
        *,
        camera: CameraId | None = None,
        model: ModelName | None = None,
        data: dict[str, str | int | float | None] | None = None,
    ) -> None:
        """Keep a fact; over the limit the oldest goes, and how many went is told later."""
        if len(self._waiting) >= NEWS_MOST:
            self._waiting.popleft()
            self._lost += 1
        self._waiting.append(
            wire.Happened(
                kind=kind,
                severity=severity,
                message=message,
                camera=camera,
                model=model,
                data=data or {},
            )
        )

    @property
    def waiting(self) -> tuple[wire.Happened, ...]:
        """Return what is not told yet, the oldest first."""
        return tuple(self._waiting)

    def tell(self, outgoing: Outgoing) -> None:
        """Say as much as the router takes without waiting."""
        if outgoing.is_idle and self._lost:
            lost, self._lost = self._lost, 0
            outgoing.say(
                wire.Happened(
                    kind="events_lost",
                    severity="error",
                    data={"lost": lost},
                    message=f"{lost} events were lost while the router was away",
                )
            )
        while self._waiting and outgoing.is_idle:
            outgoing.say(self._waiting.popleft())
