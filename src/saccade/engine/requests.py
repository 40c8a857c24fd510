"""One client's request at a model, and its answer: a batch that fails is run again one by one."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from saccade.engine import wire
from saccade.engine.ring import RingView
from saccade.errors import ErrorInfo, InferFailed, SaccadeError
from saccade.models.adapter import ModelAdapter
from saccade.vision.detections import Detections

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Connection:
    """One client of this model."""

    client: str
    sock: socket.socket
    view: RingView | None = None
    admitted: int = 0  # requests under way there, without those we have answered since it said so

    @property
    def is_open(self) -> bool:
        """Say whether it has not ended."""
        return self.sock.fileno() >= 0


@dataclass(frozen=True, slots=True)
class Request:
    """One slot on loan to us."""

    connection: Connection
    submit: wire.Submit
    at: float = field(default_factory=time.monotonic)


def infer_each(adapter: ModelAdapter, requests: Sequence[Request]) -> list[Detections | ErrorInfo]:
    """Return an answer, or an error, for each request, in order.

    When the batch fails each is run alone, so that only the culprit fails.
    """
    spec = adapter.input
    try:
        views = [_view(r).input(r.submit.slot, spec.height, spec.width) for r in requests]
        frames = views[0][None] if len(views) == 1 else np.stack(views)
        answers = adapter.infer(frames)
        if len(answers) != len(requests):
            raise InferFailed(
                f"{len(answers)} answers to {len(requests)} frames",
                fix="the adapter must return one answer per frame",
            )
    except Exception as error:
        if len(requests) > 1:
            return [outcome for r in requests for outcome in infer_each(adapter, [r])]
        log.warning(
            "a frame failed",
            extra={"client": requests[0].connection.client},
            exc_info=not isinstance(error, SaccadeError),
        )
        if isinstance(error, SaccadeError):
            return [error.info()]
        what = f"the model raised {type(error).__name__}"
        return [ErrorInfo("infer_failed", what, "see the host's log; other frames go on")]
    return list(answers)


def _view(request: Request) -> RingView:
    if request.connection.view is None:
        raise InferFailed("a slot without a ring", fix="the client must lend its ring first")
    return request.connection.view
