"""What the API says to the pages, as typed messages; unknown fields are ignored."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from saccade.types import CameraState, ModelStatus, Severity

#: An event's id as the API gives it; the pages only compare it and hand it back.
EventId = int | str


class Origin(StrEnum):
    """Where an object was defined; only what is in the database can be removed at run time."""

    SETTINGS = "settings"
    DATABASE = "database"
    DEMO = "demo"


class Health(msgspec.Struct, frozen=True):
    """Whether the server can do its work, and why not."""

    ready: bool
    reasons: tuple[str, ...] = ()


class CameraReport(msgspec.Struct, frozen=True, kw_only=True):
    """One camera as the API reports it."""

    id: str
    state: CameraState
    name: str = ""
    reason: str | None = None
    kind: str | None = None
    source: str | None = None
    model: str | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None  # answered frames per second
    decode_fps: float | None = None
    produced: int = 0
    served: int = 0
    dropped: dict[str, int] = {}
    in_flight: int = 0
    frame_age_seconds: float | None = None
    objects: dict[str, int] = {}
    origin: str = Origin.SETTINGS

    @property
    def label(self) -> str:
        """Return what it is called on a page."""
        return self.name or self.id


class ModelMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured on one model; None where nothing was yet. Times are milliseconds."""

    load_ms: float | None = None
    warmup_ms: float | None = None
    last_infer_ms: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    throughput: float | None = None  # frames per second
    mean_batch: float | None = None
    requests: int | None = None
    errors: int | None = None


class LastError(msgspec.Struct, frozen=True):
    """The last thing that went wrong with a model."""

    code: str
    message: str
    at: float | None = None  # wall seconds


class ModelReport(msgspec.Struct, frozen=True, kw_only=True):
    """One model as the API reports it."""

    name: str
    status: ModelStatus
    kind: str | None = None
    reason: str | None = None
    host: str | None = None
    family: str | None = None
    device: str | None = None
    loaded: bool = False
    ready: bool = False
    input: tuple[int, ...] | None = None  # width, height
    labels: int | None = None
    demo: bool = False
    origin: str = Origin.SETTINGS
    since: float | None = None  # wall seconds
    metrics: ModelMetrics = ModelMetrics()
    last_error: LastError | None = None


class ProcessReport(msgspec.Struct, frozen=True, kw_only=True):
    """One process of the tree."""

    role: str
    state: str
    pid: int | None = None
    restarts: int = 0
    uptime_seconds: float | None = None
    rss_bytes: int | None = None
    reason: str | None = None


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the server knows at one moment."""

    at: float
    health: Health
    demo: bool = False
    version: str = ""
    cameras: dict[str, CameraReport] = {}
    models: dict[str, ModelReport] = {}
    processes: dict[str, ProcessReport] = {}


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A fact, stored by the server and pushed."""

    id: EventId
    kind: str
    severity: Severity
    at: float  # wall seconds
    message: str
    camera: str | None = None
    model: str | None = None
    data: dict[str, object] = {}  # whatever JSON holds; the pages only print it


class EventPage(msgspec.Struct, frozen=True):
    """Some events, the newest first, and where the older ones begin."""

    events: tuple[Event, ...]
    next: EventId | None = None


class Message(msgspec.Struct, frozen=True):
    """One message on `/ws`; a type this version does not know has neither state nor event."""

    type: str
    state: State | None = None
    event: Event | None = None


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An error of the API (RFC 9457 problem details, with our `code` and `fix`)."""

    title: str = ""
    detail: str = ""
    code: str = ""
    fix: str = ""
    field: str | None = None  # which member of the request it is about, where the API says so


class NewCamera(msgspec.Struct, frozen=True, omit_defaults=True):
    """The request to add a camera."""

    id: str
    source: str
    name: str | None = None
    model: str | None = None
    loop: bool = False
