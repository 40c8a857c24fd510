"""The models page: what state each model is in and why, and what was measured on it."""

from __future__ import annotations

from nicegui import ui

from saccade.pages.contract import ModelReport, State
from saccade.pages.site import Site
from saccade.ui import format as fmt
from saccade.ui.components import Empty, moment, show_moment
from saccade.ui.elements import Badge, Facts, KeyedList, box, set_attribute, set_shown, text
from saccade.ui.words import MODEL, Tone, sentence

LATENCY_TERMS = ("Latency p50", "Latency p95", "Latency p99", "Throughput")
MEASURED_TERMS = (
    "Last inference",
    "Mean batch",
    "Requests",
    "Errors",
    "Load",
    "Warm-up",
)
ABOUT_TERMS = ("Kind", "Family", "Input", "Classes", "Device", "Host", "Defined in")

ORIGIN = {"settings": "saccade.yaml", "database": "the API", "demo": "the demo"}


def register(site: Site) -> None:
    """Add the page at `/models`."""

    @ui.page("/models", response_timeout=10)
    async def models() -> None:
        page = await site.open("Models", "/models")
        with page.shell.page():
            view = Models()
        page.go_live(view.show)


class Models:
    """The elements of the page."""

    def __init__(self) -> None:
        """Build it in the present slot."""
        self._cards: KeyedList[str, ModelReport] = KeyedList(box("div", "models"), ModelCard)
        self._empty = Empty(
            "hub", "No model yet", "Name one in saccade.yaml or register one through the API."
        )

    def show(self, state: State) -> None:
        """Show the models of a state."""
        self._cards.show(state.models.items())
        self._empty.show(not state.models)


class ModelCard:
    """One model."""

    def __init__(self, model: ModelReport) -> None:
        """Create it in the present slot."""
        heading_id = f"model-{model.name}"
        with box(
            "section", "card model", aria_labelledby=heading_id, data_model=model.name
        ) as self.root:
            with box("div", "model-head"):
                text("h2", model.name, id=heading_id)
                self._demo = text(
                    "span", "demo model", "chip", title="Made to show saccade, not to be relied on"
                )
                self._badge = Badge()
            with box("p", "muted"):
                self._reason = text("span", "")
                text("span", "In this state since ")
                self._since = moment(None)
                text("span", ".")
            self._error = text("p", "", "callout")
            self._latency = Facts(LATENCY_TERMS, "facts strong")
            self._measured = Facts(MEASURED_TERMS)
            box("hr")
            self._about = Facts(ABOUT_TERMS)

    def show(self, data: ModelReport) -> None:
        """Show what is reported of it."""
        metrics = data.metrics
        set_shown(self._demo, data.demo)
        self._badge.show(MODEL[data.status])
        reason = sentence(data.reason or "")
        self._reason.set_text(f"{reason} " if reason else "")
        show_moment(self._since, data.since)
        error = data.last_error
        self._error.set_text(
            f"Last error: {sentence(error.message)} ({error.code})" if error else ""
        )
        set_shown(self._error, error is not None)
        # An error that is over is history, not an alarm.
        is_over = MODEL[data.status].tone is not Tone.BAD
        set_attribute(self._error, "data-over", is_over or None)
        self._latency.show(
            {
                "Latency p50": fmt.milliseconds(metrics.p50_ms),
                "Latency p95": fmt.milliseconds(metrics.p95_ms),
                "Latency p99": fmt.milliseconds(metrics.p99_ms),
                "Throughput": fmt.rate(metrics.throughput, "frames/s"),
            }
        )
        self._measured.show(
            {
                "Last inference": fmt.milliseconds(metrics.last_infer_ms),
                "Mean batch": fmt.NOTHING
                if metrics.mean_batch is None
                else f"{fmt.number(metrics.mean_batch, digits=1)} frames",
                "Requests": fmt.number(metrics.requests),
                "Errors": fmt.number(metrics.errors),
                "Load": fmt.milliseconds(metrics.load_ms),
                "Warm-up": fmt.milliseconds(metrics.warmup_ms),
            }
        )
        size = data.input if data.input and len(data.input) == 2 else (None, None)
        self._about.show(
            {
                "Kind": data.kind or fmt.NOTHING,
                "Family": data.family or fmt.NOTHING,
                "Input": fmt.size_px(size[0], size[1]),
                "Classes": fmt.number(data.labels),
                "Device": data.device or fmt.NOTHING,
                "Host": data.host or fmt.NOTHING,
                "Defined in": ORIGIN.get(data.origin, data.origin),
            }
        )
