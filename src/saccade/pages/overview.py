"""The overview: is the server well, what does it do, what was dropped, what happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from nicegui import ui

from saccade.errors import SaccadeError
from saccade.pages.contract import CameraReport, Event, ModelReport, State
from saccade.pages.event_rows import EventList
from saccade.pages.site import Site, process_lines
from saccade.ui import format as fmt
from saccade.ui.components import DropsBar, Empty, Figure, ProcessTable, section
from saccade.ui.elements import (
    Badge,
    KeyedList,
    box,
    set_attribute,
    set_shown,
    text,
)
from saccade.ui.words import CAMERA, MODEL, Tone, sentence

LATEST_EVENTS = 6


def register(site: Site) -> None:
    """Add the page at `/`."""

    @ui.page("/", response_timeout=10)
    async def overview() -> None:
        page = await site.open("Overview", "/")
        with page.shell.page():
            view = Overview()
        try:
            first = await site.api.events(limit=LATEST_EVENTS)
            view.events.replace(first.events)
        except SaccadeError:
            pass  # the banner says that the server is away; pushed events still come
        page.go_live(view.show, view.show_events)
        view.show_no_events()


class Overview:
    """The elements of the page."""

    def __init__(self) -> None:
        """Build it in the present slot."""
        with box("section", "card health-card", aria_labelledby="health-title") as self._health:
            self._health_title = text("h2", "Waiting for the server", id="health-title")
            self._health_text = text("p", "", "muted")
            self._reasons_box = box("ul", "reasons")
        self._reasons: KeyedList[str, str] = KeyedList(self._reasons_box, _Reason)
        with box("dl", "card figures"):
            self._rate = Figure("Frames answered per second")
            self._decoded = Figure("Frames decoded per second")
            self._served = Figure("Frames answered")
            self._dropped = Figure("Frames dropped")
            self._in_flight = Figure("In flight")
            self._age = Figure("Age of the newest picture")
        with box("div", "two"):
            with box("div", "column-stack"):
                self._build_cameras()
            with box("div", "column-stack"):
                self._build_models()
        with section("Processes", link=("System", "/system")):
            self._processes = ProcessTable("Processes with state, uptime, restarts and memory")

    def _build_cameras(self) -> None:
        with section("Cameras", link=("All cameras", "/cameras")):
            self._cameras = KeyedList[str, CameraReport](box("ul", "rows"), _CameraRow)
            self._no_camera = Empty("videocam_off", "No camera yet", "Add one on the cameras page.")
        with section("Dropped frames by reason"):
            self._drops = DropsBar()

    def _build_models(self) -> None:
        with section("Models", link=("All models", "/models")):
            self._models = KeyedList[str, ModelReport](box("ul", "rows"), _ModelRow)
            self._no_model = Empty("hub", "No model yet", "Name one in saccade.yaml.")
        with section("Latest events", link=("All events", "/events")):
            self.events = EventList(box("ol", "rows events"), limit=LATEST_EVENTS)
            self._no_event = Empty("notifications_none", "Nothing has happened yet")

    def show(self, state: State) -> None:
        """Show a state."""
        self._show_health(state)
        cameras = list(state.cameras.values())
        self._show_figures(cameras)
        self._cameras.show(state.cameras.items())
        self._no_camera.show(not state.cameras)
        self._models.show(state.models.items())
        self._no_model.show(not state.models)
        self._drops.show(drops_by_reason(cameras))
        self._processes.show(process_lines(state.processes))

    def show_events(self, events: Sequence[Event], missed: bool) -> None:
        """Put pushed events on top.

        Args:
            events: oldest first.
            missed: there were more; they are on the events page, here the newest count.
        """
        del missed
        self.events.push(events)
        self.show_no_events()

    def show_no_events(self) -> None:
        """Say so when there is no event."""
        self._no_event.show(not len(self.events))

    def _show_health(self, state: State) -> None:
        health = state.health
        live = sum(CAMERA[camera.state].tone is Tone.GOOD for camera in state.cameras.values())
        ready = sum(MODEL[model.status].tone is Tone.GOOD for model in state.models.values())
        parts = [
            f"{live} of {fmt.count(len(state.cameras), 'camera')} live" if state.cameras else "",
            f"{ready} of {fmt.count(len(state.models), 'model')} ready" if state.models else "",
        ]
        self._health_title.set_text("Ready" if health.ready else "Not ready")
        set_attribute(self._health, "data-tone", "good" if health.ready else "bad")
        summary = ", ".join(part for part in parts if part)
        if state.demo:
            summary = f"This is the demo. {summary}" if summary else "This is the demo"
        self._health_text.set_text(sentence(summary))
        set_shown(self._health_text, bool(summary))
        self._reasons.show((reason, reason) for reason in health.reasons)
        set_shown(self._reasons_box, bool(health.reasons))

    def _show_figures(self, cameras: list[CameraReport]) -> None:
        produced = sum(camera.produced for camera in cameras)
        served = sum(camera.served for camera in cameras)
        dropped = sum(drops_by_reason(cameras).values())
        self._rate.show(fmt.rate(total_rate([c.fps for c in cameras]), "frames/s"), "all cameras")
        self._decoded.show(
            fmt.rate(total_rate([c.decode_fps for c in cameras]), "frames/s"), "all cameras"
        )
        if not cameras:
            for figure in (self._served, self._dropped, self._in_flight, self._age):
                figure.show(fmt.NOTHING)
            return
        self._served.show(
            fmt.number(served), f"{fmt.share(served, produced)} of {fmt.number(produced)} produced"
        )
        self._dropped.show(fmt.number(dropped), f"{fmt.share(dropped, produced)} of produced")
        in_flight = sum(camera.in_flight for camera in cameras)
        self._in_flight.show(fmt.count(in_flight, "frame"), "waiting for or with a model")
        ages = [c.frame_age_seconds for c in cameras if c.frame_age_seconds is not None]
        self._age.show(fmt.duration(max(ages, default=None)), "of the camera furthest behind")


def drops_by_reason(cameras: list[CameraReport]) -> dict[str, int]:
    """Return how many frames all these cameras dropped, for each reason."""
    total: Counter[str] = Counter()
    for camera in cameras:
        total.update(camera.dropped)
    return dict(total)


def total_rate(rates: list[float | None]) -> float | None:
    """Return the sum of the rates that were measured, or None when none was."""
    measured = [rate for rate in rates if rate is not None]
    return sum(measured) if measured else None


class _Reason:
    """One reason why the server is not ready."""

    def __init__(self, reason: str) -> None:
        self.root = text("li", sentence(reason))

    def show(self, data: str) -> None:
        """Do nothing: another reason is another row."""


class _CameraRow:
    """One camera in the summary."""

    def __init__(self, camera: CameraReport) -> None:
        with box("li") as self.root:
            self._name = text("span", camera.label, "name")
            self._badge = Badge()
            self._note = text("span", "", "note")

    def show(self, data: CameraReport) -> None:
        self._name.set_text(data.label)
        self._badge.show(CAMERA[data.state])
        objects = fmt.labels(data.objects)
        parts = [
            fmt.rate(data.fps, "frames/s"),
            data.model or "no model",
            objects,
            sentence(data.reason or "") if CAMERA[data.state].tone is not Tone.GOOD else "",
        ]
        self._note.set_text(" · ".join(part for part in parts if part))


class _ModelRow:
    """One model in the summary."""

    def __init__(self, model: ModelReport) -> None:
        with box("li") as self.root:
            with box("span", "name"):
                text("span", model.name)
                self._demo = text("span", " demo model", "muted")
            self._badge = Badge()
            self._note = text("span", "", "note")

    def show(self, data: ModelReport) -> None:
        set_shown(self._demo, data.demo)
        self._badge.show(MODEL[data.status])
        metrics = data.metrics
        if data.ready:
            parts = [
                f"p50 {fmt.milliseconds(metrics.p50_ms)}",
                fmt.rate(metrics.throughput, "frames/s"),
                data.device or "",
            ]
        else:
            parts = [sentence(data.reason or "")]
        self._note.set_text(" · ".join(part for part in parts if part))
