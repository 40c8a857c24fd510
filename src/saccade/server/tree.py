"""What the server knows of the process tree: the supervisor's word joined with the counters."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from saccade import __version__
from saccade.desired import Desired
from saccade.engine import wire
from saccade.engine.outgoing import Outgoing
from saccade.server import shapes
from saccade.telemetry.board import (
    Board,
    CameraWord,
    FrameCounts,
    ModelWord,
    Page,
    model_base,
)
from saccade.types import CameraState, ModelStatus

log = logging.getLogger(__name__)

#: Rates are taken over this many samples, one each second.
RATE_SAMPLES: Final = 6
_PAGE_KB: Final = 4


@dataclass(slots=True)
class Rate:
    """A counter's growth per second over the last samples."""

    samples: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=RATE_SAMPLES))

    def take(self, now: float, value: int) -> None:
        """Take a sample; a counter that went back starts anew."""
        if self.samples and value < self.samples[-1][1]:
            self.samples.clear()
        self.samples.append((now, value))

    @property
    def per_second(self) -> float:
        """Return the rate; 0 while there is only one sample."""
        if len(self.samples) < 2:
            return 0.0
        (first_at, first), (last_at, last) = self.samples[0], self.samples[-1]
        return (last - first) / (last_at - first_at) if last_at > first_at else 0.0


class TreeView:
    """The newest state, and who wants to hear of a new one.

    Args:
        desired: the settings.
        control: the supervisor.
        board: everybody's counters.
    """

    def __init__(self, desired: Desired, *, control: socket.socket, board: Board) -> None:
        self.desired = desired
        self.board = board
        self._control, self._outgoing = control, Outgoing(control)
        self.state = wire.TreeState(version=0, processes=(), models=(), cameras=())
        self._rates: dict[tuple[str, str], Rate] = {}
        self._objects: dict[str, dict[str, int]] = {}
        self.on_change: list[Callable[[], None]] = []
        self.on_stop: list[Callable[[str], None]] = []

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to hear the supervisor."""
        loop.add_reader(self._control.fileno(), self._hear)

    def tell(self, word: wire.Good | wire.Wanted) -> None:
        """Say something to the supervisor."""
        self._outgoing.say(word)

    def flush(self) -> None:
        """Send what the supervisor did not take before; called with each heartbeat."""
        self._outgoing.flush()

    def _hear(self) -> None:
        while True:
            try:
                packet, _fds = wire.receive(self._control)
            except BlockingIOError:
                return
            word = wire.to_child(packet) if packet else wire.Stop("the supervisor is gone")
            if isinstance(word, wire.Stop):
                asyncio.get_running_loop().remove_reader(self._control.fileno())
                for stop in self.on_stop:
                    stop(word.reason)
                return
            if isinstance(word, wire.TreeState):
                self.state = word
                for change in self.on_change:
                    change()

    # ------------------------------------------------------------ what it says

    def sample(self) -> None:
        """Take one sample of the counters; called each second."""
        now = time.monotonic()
        for camera in self.state.cameras:
            page = self.board.page(camera.page)
            self._rate(camera.id, "served").take(now, page.get(CameraWord.SERVED))
            self._rate(camera.id, "produced").take(now, page.get(CameraWord.PRODUCED))
        for model in self.state.models:
            if model.page >= 0 and model.fact is not None:
                words, base = self.board.page(model.page), model_base(model.fact.index)
                answered = words.get(base + ModelWord.ANSWERED)
                self._rate(f"model {model.name}", "answered").take(now, answered)

    def set_objects(self, camera: str, objects: dict[str, int]) -> None:
        """Take what counts as there on a camera, from its events."""
        self._objects[camera] = objects

    def camera(self, camera_id: str) -> shapes.CameraView | None:
        """Return one camera."""
        found = next((c for c in self.state.cameras if c.id == camera_id), None)
        return self._camera(found) if found is not None else None

    def model(self, name: str) -> shapes.ModelView | None:
        """Return one model."""
        found = next((m for m in self.state.models if m.name == name), None)
        return self._model(found) if found is not None else None

    def view(self) -> shapes.StateView:
        """Return everything, as `/api/state` and `state_update` say it."""
        return shapes.StateView(
            at=time.time(),
            version=__version__,
            demo=self.desired.demo,
            health=self.health(),
            cameras={c.id: self._camera(c) for c in self.state.cameras},
            models={m.name: self._model(m) for m in self.state.models},
            processes={p.name: self._process(p) for p in self.state.processes},
        )

    def health(self) -> shapes.Health:
        """Say whether the server can do its work, and if not, why."""
        reasons = [
            f"model {m.name} is {m.status}: {m.reason}"
            for m in self.state.models
            if m.status not in {ModelStatus.READY, ModelStatus.DISABLED, ModelStatus.SUSPENDED}
        ]
        if not self.state.version:
            reasons.append("the supervisor has not said what runs")
        elif not self.state.models:
            reasons.append("no model is registered: add one with `saccade models add`")
        has_ready = any(m.status is ModelStatus.READY for m in self.state.models)
        reasons += [
            f"{p.name} is not running: {p.reason}"
            for p in self.state.processes
            if p.state == "error" and p.role != "camera"
        ]
        return shapes.Health(ready=has_ready and self._router_runs(), reasons=reasons)

    def _router_runs(self) -> bool:
        return any(p.role == "router" and p.state == "running" for p in self.state.processes)

    def _rate(self, name: str, what: str) -> Rate:
        return self._rates.setdefault((name, what), Rate())

    def _camera(self, camera: wire.CameraStatus) -> shapes.CameraView:
        page, spec = self.board.page(camera.page), camera.spec
        counts = FrameCounts(page)
        newest_ns = page.get(CameraWord.LAST_FRAME_NS)
        age_s = time.monotonic() - newest_ns / 1e9 if newest_ns else None
        is_live = camera.state is CameraState.LIVE
        return shapes.CameraView(
            id=camera.id,
            name=spec.name,
            state=camera.state,
            reason=camera.reason,
            since=camera.since_wall,
            kind=spec.kind,
            source=spec.display_url,
            model=spec.model,
            width=page.get(CameraWord.WIDTH),
            height=page.get(CameraWord.HEIGHT),
            fps=round(self._rate(camera.id, "served").per_second, 2),
            decode_fps=round(self._rate(camera.id, "produced").per_second, 2),
            produced=counts.produced,
            served=counts.served,
            dropped={reason: n for reason, n in counts.dropped.items() if n},
            in_flight=counts.in_flight,
            reconnects=page.get(CameraWord.RECONNECTS),
            stalls=page.get(CameraWord.STALLS),
            answer_ms=_mean_ms(page.get(CameraWord.ANSWER_SUM_NS), counts.served),
            frame_age_seconds=None if age_s is None else round(age_s, 3),
            objects=self._objects.get(camera.id, {}) if is_live else {},
            origin=spec.origin,
        )

    def _model(self, model: wire.ModelState) -> shapes.ModelView:
        fact, spec = model.fact, model.spec
        words = self.words(model)
        return shapes.ModelView(
            name=model.name,
            kind=spec.kind,
            status=model.status,
            reason=model.reason,
            since=model.since_wall,
            host=model.host,
            family=fact.family if fact else "",
            device=fact.device if fact else "",
            loaded=_is_loaded(model.status),
            ready=model.status is ModelStatus.READY,
            input=[fact.width, fact.height] if fact else [0, 0],
            labels=fact.labels if fact else len(spec.labels),
            demo=spec.demo,
            origin=spec.origin,
            metrics=self._metrics(model, words),
            last_error=None
            if model.last_error is None
            else shapes.LastError(
                code=model.last_error.code,
                message=model.last_error.what,
                at=model.last_error_wall or 0.0,
            ),
        )

    def words(self, model: wire.ModelState) -> dict[ModelWord, int]:
        """Return a model's counters; none before its host said where they are."""
        if model.page < 0 or model.fact is None:
            return {}
        page, base = self.board.page(model.page), model_base(model.fact.index)
        return {word: page.get(base + word) for word in ModelWord}

    def _metrics(self, model: wire.ModelState, words: dict[ModelWord, int]) -> shapes.ModelMetrics:
        batches = words.get(ModelWord.BATCHES, 0)
        answered = words.get(ModelWord.ANSWERED, 0)

        def ms(word: ModelWord) -> float | None:
            return round(words[word] / 1e6, 3) if batches else None

        return shapes.ModelMetrics(
            load_ms=_rounded(model.fact.load_ms if model.fact else None),
            warmup_ms=_rounded(model.fact.warmup_ms if model.fact else None),
            last_infer_ms=ms(ModelWord.LAST_NS),
            p50_ms=ms(ModelWord.P50_NS),
            p95_ms=ms(ModelWord.P95_NS),
            p99_ms=ms(ModelWord.P99_NS),
            throughput=round(self._rate(f"model {model.name}", "answered").per_second, 2),
            mean_batch=round(answered / batches, 2) if batches else None,
            requests=words.get(ModelWord.REQUESTS, 0),
            errors=words.get(ModelWord.FAILED, 0),
            queued=words.get(ModelWord.QUEUED, 0),
        )

    def _process(self, process: wire.ProcessState) -> shapes.ProcessView:
        return shapes.ProcessView(
            role=process.role,
            pid=process.pid,
            state=process.state,
            restarts=process.restarts,
            uptime_seconds=round(max(0.0, time.monotonic() - process.started_at), 1)
            if process.pid
            else 0.0,
            rss_bytes=resident_bytes(process.pid),
            reason=process.reason,
        )

    def pages(self) -> dict[str, tuple[wire.ProcessState, Page]]:
        """Return every process with its counters."""
        return {p.name: (p, self.board.page(p.page)) for p in self.state.processes if p.page >= 0}


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process; 0 when it is gone."""
    if not pid:
        return 0
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0
    return int(fields[1]) * _PAGE_KB * 1024


def _is_loaded(status: ModelStatus) -> bool:
    return status in {
        ModelStatus.LOADED,
        ModelStatus.WARMING_UP,
        ModelStatus.READY,
        ModelStatus.SUSPENDED,
    }


def _mean_ms(total_ns: int, count: int) -> float | None:
    return round(total_ns / count / 1e6, 3) if count else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
