"""`/metrics`: every counter of the board in Prometheus' text, read at the moment of the scrape.

Names follow Prometheus: base units, `_total` for counters.
Source: prometheus.io/docs/practices/naming.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from saccade import __version__
from saccade.engine import wire
from saccade.server.tree import TreeView, resident_bytes
from saccade.telemetry.board import (
    CameraWord,
    FrameCounts,
    ModelWord,
    RouterWord,
    ServerWord,
    WorkerWord,
    model_base,
)
from saccade.telemetry.gpu import GpuReading, GpuSampler
from saccade.types import CameraState, ModelStatus

MEDIA_TYPE = CONTENT_TYPE_LATEST
_GPU_GAUGES: Final[tuple[tuple[str, str, Callable[[GpuReading], float | None]], ...]] = (
    ("saccade_gpu_memory_used_bytes", "Memory in use", lambda g: g.memory_used_bytes),
    ("saccade_gpu_memory_total_bytes", "Memory there is", lambda g: g.memory_total_bytes),
    (
        "saccade_gpu_utilisation_ratio",
        "Share of the last period in which it worked",
        lambda g: None if g.utilisation_percent is None else g.utilisation_percent / 100,
    ),
    ("saccade_gpu_temperature_celsius", "Temperature", lambda g: g.temperature_celsius),
)


class BoardCollector(Collector):
    """Reads the board."""

    def __init__(self, tree: TreeView, gpus: GpuSampler) -> None:
        self._tree, self._gpus = tree, gpus

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        info = GaugeMetricFamily("saccade_build_info", "Version of saccade", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        ready = GaugeMetricFamily("saccade_ready", "1 when a model has proved itself")
        ready.add_metric([], float(self._tree.health().ready))
        yield ready
        yield from self._cameras()
        yield from self._models()
        yield from self._processes()
        yield from self._readings()

    def _cameras(self) -> Iterator[Metric]:
        produced = CounterMetricFamily(
            "saccade_frames_produced", "Frames decoded", labels=["camera"]
        )
        served = CounterMetricFamily(
            "saccade_frames_served", "Frames a model answered", labels=["camera"]
        )
        dropped = CounterMetricFamily(
            "saccade_frames_dropped", "Frames without an answer", labels=["camera", "reason"]
        )
        flying = GaugeMetricFamily(
            "saccade_frames_in_flight", "Frames neither answered nor dropped yet", labels=["camera"]
        )
        state = GaugeMetricFamily(
            "saccade_camera_state", "1 for the state the camera is in", labels=["camera", "state"]
        )
        seconds = CounterMetricFamily(
            "saccade_frame_answer_seconds", "Capture to answer, summed", labels=["camera"]
        )
        events = {
            CameraWord.RECONNECTS: CounterMetricFamily(
                "saccade_camera_reconnects", "Tries to open the source again", labels=["camera"]
            ),
            CameraWord.STALLS: CounterMetricFamily(
                "saccade_camera_stalls", "Times no picture came in time", labels=["camera"]
            ),
            CameraWord.FROZEN: CounterMetricFamily(
                "saccade_camera_frozen", "Times the picture did not change", labels=["camera"]
            ),
            CameraWord.UNHEARD: CounterMetricFamily(
                "saccade_observations_unheard",
                "Observations the router did not take",
                labels=["camera"],
            ),
            CameraWord.TILES: CounterMetricFamily(
                "saccade_tiles", "Pictures drawn for people", labels=["camera"]
            ),
        }
        for camera in self._tree.state.cameras:
            page = self._tree.board.page(camera.page)
            counts = FrameCounts(page)
            produced.add_metric([camera.id], counts.produced)
            served.add_metric([camera.id], counts.served)
            flying.add_metric([camera.id], counts.in_flight)
            seconds.add_metric([camera.id], page.get(CameraWord.ANSWER_SUM_NS) / 1e9)
            for reason, count in counts.dropped.items():
                dropped.add_metric([camera.id, reason], count)
            for one in CameraState:
                state.add_metric([camera.id, one], float(one is camera.state))
            for word, metric in events.items():
                metric.add_metric([camera.id], page.get(word))
        yield from (produced, served, dropped, flying, seconds, state, *events.values())

    def _models(self) -> Iterator[Metric]:
        status = GaugeMetricFamily(
            "saccade_model_status", "1 for the state the model is in", labels=["model", "status"]
        )
        counters = {
            ModelWord.REQUESTS: ("saccade_model_requests", "Frames given to the model", 1.0),
            ModelWord.ANSWERED: ("saccade_model_answers", "Frames answered", 1.0),
            ModelWord.FAILED: ("saccade_model_failures", "Frames the model failed on", 1.0),
            ModelWord.REFUSED: ("saccade_model_refusals", "Frames refused or failed", 1.0),
            ModelWord.BATCHES: ("saccade_model_batches", "Batches run", 1.0),
            ModelWord.BUSY_NS: ("saccade_model_busy_seconds", "Time spent in inference", 1e-9),
        }
        families = {
            word: CounterMetricFamily(name, text, labels=["model"])
            for word, (name, text, _scale) in counters.items()
        }
        latency = GaugeMetricFamily(
            "saccade_model_latency_seconds",
            "Arrival to answer, of the last frames",
            labels=["model", "quantile"],
        )
        queued = GaugeMetricFamily("saccade_model_queued", "Frames that wait", labels=["model"])
        for model in self._tree.state.models:
            for one in ModelStatus:
                status.add_metric([model.name, one], float(one is model.status))
            if model.page < 0 or model.fact is None:
                continue
            page, base = self._tree.board.page(model.page), model_base(model.fact.index)
            for word, family in families.items():
                family.add_metric([model.name], page.get(base + word) * counters[word][2])
            queued.add_metric([model.name], page.get(base + ModelWord.QUEUED))
            for quantile, word in (
                ("0.5", ModelWord.P50_NS),
                ("0.95", ModelWord.P95_NS),
                ("0.99", ModelWord.P99_NS),
            ):
                latency.add_metric([model.name, quantile], page.get(base + word) / 1e9)
        yield from (status, *families.values(), queued, latency)

    def _readings(self) -> Iterator[Metric]:
        for name, text, of in _GPU_GAUGES:
            gauge = GaugeMetricFamily(name, text, labels=["gpu", "name"])
            for gpu in self._gpus.newest:
                value = of(gpu)
                if value is not None:
                    gauge.add_metric([str(gpu.index), gpu.name], value)
            yield gauge

    def _processes(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("saccade_process_up", "1 while it runs", labels=["process"])
        restarts = CounterMetricFamily(
            "saccade_process_restarts", "Times it was started again", labels=["process"]
        )
        memory = GaugeMetricFamily(
            "saccade_process_resident_memory_bytes", "Resident memory", labels=["process"]
        )
        for process in self._tree.state.processes:
            up.add_metric([process.name], float(process.state == "running"))
            restarts.add_metric([process.name], process.restarts)
            memory.add_metric([process.name], resident_bytes(process.pid))
        yield from (up, restarts, memory, *self._role_counters())

    def _role_counters(self) -> Iterator[Metric]:
        for role, word, name, text in (
            ("router", RouterWord.OBSERVATIONS, "saccade_observations", "Observations taken"),
            ("router", RouterWord.EVENTS, "saccade_events", "Events stored"),
            ("router", RouterWord.FAILED_COMMITS, "saccade_failed_commits", "Commits that failed"),
            ("server", ServerWord.REQUESTS, "saccade_http_requests", "HTTP requests"),
            ("server", ServerWord.ERRORS, "saccade_http_errors", "HTTP answers of 500 and above"),
            ("server", ServerWord.WS_DROPPED, "saccade_ws_dropped", "Messages slow clients lost"),
            ("worker", WorkerWord.DELIVERED, "saccade_deliveries", "Outbox rows delivered"),
            ("worker", WorkerWord.FAILED, "saccade_delivery_failures", "Deliveries that failed"),
        ):
            counter = CounterMetricFamily(name, text)
            page = self._page_of(role)
            if page is not None:
                counter.add_metric([], self._tree.board.page(page.page).get(word))
            yield counter

    def _page_of(self, role: str) -> wire.ProcessState | None:
        return next((p for p in self._tree.state.processes if p.role == role), None)


class Metrics:
    """The exposition."""

    def __init__(self, tree: TreeView, gpus: GpuSampler) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(BoardCollector(tree, gpus))

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)
