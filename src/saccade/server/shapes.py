"""What the API answers with: the shapes of `/api/state` and its parts, and of a detection."""

from __future__ import annotations

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from saccade.types import CameraState, ModelKind, ModelStatus, SourceKind


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the server can do its work."""

    ready: bool
    reasons: list[str]


class CameraView(msgspec.Struct, frozen=True, kw_only=True):
    """One camera; `source` holds no secret."""

    id: str
    name: str
    state: CameraState
    reason: str
    since: float
    kind: SourceKind
    source: str
    model: str | None
    width: int
    height: int
    fps: float
    decode_fps: float
    produced: int
    served: int
    dropped: dict[str, int]
    in_flight: int
    reconnects: int
    stalls: int
    answer_ms: float | None
    frame_age_seconds: float | None
    objects: dict[str, int]
    origin: str


class ModelMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of a model; null: nothing was measured yet."""

    load_ms: float | None
    warmup_ms: float | None
    last_infer_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    throughput: float
    mean_batch: float | None
    requests: int
    errors: int
    queued: int


class LastError(msgspec.Struct, frozen=True, kw_only=True):
    """A model's last error."""

    code: str
    message: str
    at: float


class ModelView(msgspec.Struct, frozen=True, kw_only=True):
    """One model."""

    name: str
    kind: ModelKind
    status: ModelStatus
    reason: str
    since: float
    host: str
    family: str
    device: str
    loaded: bool
    ready: bool
    input: list[int]
    labels: int
    demo: bool
    origin: str
    metrics: ModelMetrics
    last_error: LastError | None


class ProcessView(msgspec.Struct, frozen=True, kw_only=True):
    """One process."""

    role: str
    pid: int
    state: str
    restarts: int
    uptime_seconds: float
    rss_bytes: int
    reason: str


class StateView(msgspec.Struct, frozen=True, kw_only=True):
    """The whole state; each application adds its key."""

    at: float
    version: str
    demo: bool
    health: Health
    cameras: dict[str, CameraView]
    models: dict[str, ModelView]
    processes: dict[str, ProcessView]


class Size(BaseModel):
    """A picture's size in pixels."""

    width: int
    height: int


class Found(BaseModel):
    """One detection, in pixels of the original image."""

    model_config = ConfigDict(populate_by_name=True)

    label: str = Field(serialization_alias="class", description="class name")
    confidence: float = Field(description="0 to 1, as the model says")
    bbox: tuple[float, float, float, float] = Field(description="x1, y1, x2, y2 in pixels")


class DetectAnswer(BaseModel):
    """The answer to one image."""

    model: str
    image: Size
    detections: list[Found]
    processing_time_ms: float = Field(description="in the server, decoding included")


class CameraIn(BaseModel):
    """A camera to add. Settings that are left out come from the `camera` group."""

    model_config = ConfigDict(extra="allow")

    id: str = Field(description="lower case letters, digits, - and _", examples=["front"])
    source: str = Field(description="rtsp://, http(s)://, /dev/videoN, a file or a folder")


class KeyIn(BaseModel):
    """A key to make."""

    name: str = Field(min_length=1, max_length=64)


class SessionIn(BaseModel):
    """A key, to be exchanged for the dashboard's cookie."""

    key: str = Field(max_length=256)
