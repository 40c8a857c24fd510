"""What should run: the resolved settings as the process tree reads them (msgspec only).

`saccade up` builds a `Desired` from the settings and the database and hands it to the supervisor;
the server sends a new one when a camera or model is added, changed or removed. Nothing here is read
from the environment, and the supervisor imports nothing heavier than this.
"""

from __future__ import annotations

import msgspec

from saccade.types import CameraId, HostName, ModelKind, ModelName, SourceKind


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One model to keep loaded. Paths are absolute."""

    name: ModelName
    kind: ModelKind
    path: str
    sha256: str
    host: HostName
    family: str = "auto"  # auto, yolo, yolo_end2end, yolox
    labels: tuple[str, ...] = ()  # empty: from the model's metadata
    confidence: float = 0.25
    iou: float = 0.45
    input_width: int = 0  # 0: from the model, else the default of its family
    input_height: int = 0
    max_batch: int = 1
    demo: bool = False
    origin: str = "settings"  # settings (read-only at run time), database, demo


class HostSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One host process."""

    name: HostName
    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    threads: int = 1
    batch_wait_ms: float = 2.0
    queue_limit: int = 64
    hang_seconds: float = 60.0


class CameraSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One camera process. `url` may hold a password: never log it, use `display_url`."""

    id: CameraId
    name: str
    kind: SourceKind
    url: str
    display_url: str  # the same without secrets
    model: ModelName | None
    process_fps: float = 5.0
    frame_skip: int = 0
    max_frame_width: int = 1280
    max_frame_height: int = 720
    loop: bool = False
    realtime: bool = True  # files only: False reads as fast as the model answers
    connect_timeout_seconds: float = 5.0
    read_timeout_seconds: float = 3.0
    stall_seconds: float = 4.0
    frozen_seconds: float = 30.0
    backoff_initial_seconds: float = 0.25
    backoff_max_seconds: float = 2.0
    slots: int = 3
    staleness_seconds: float = 1.0
    answer_timeout_seconds: float = 10.0
    tile_width: int = 640
    tile_height: int = 360
    tile_fps: float = 5.0
    jpeg_quality: int = 80
    appear_frames: int = 2  # frames in which a class must be seen before it counts as there
    leave_seconds: float = 1.5  # silence after which it counts as gone
    origin: str = "settings"
    #: Changes with every edit, so that the supervisor knows which processes to replace.
    revision: str = ""


class ServerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The HTTP door."""

    host: str = "127.0.0.1"
    port: int = 8600
    allowed_hosts: tuple[str, ...] = ()
    auth_required: bool = False
    max_body_bytes: int = 32 * 1024 * 1024
    max_image_pixels: int = 50_000_000
    slots: int = 8
    max_frame_width: int = 1280
    max_frame_height: int = 1280
    request_timeout_seconds: float = 10.0
    drain_seconds: float = 3.0
    ws_queue: int = 64
    stream_fps: float = 5.0
    session_hours: float = 12.0


class StorageSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Where facts are kept."""

    url: str  # SQLAlchemy URL; may hold a password
    commit_ms: int = 100
    event_days: float = 30.0
    outbox_days: float = 7.0
    purge_seconds: float = 300.0


class WebhookSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One receiver of events, served by the worker from the outbox."""

    name: str
    url: str
    kinds: tuple[str, ...] = ()  # empty: every kind
    secret: str = ""
    timeout_seconds: float = 10.0


class SupervisorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How the tree is watched."""

    backoff_initial_seconds: float = 0.1
    backoff_max_seconds: float = 10.0
    restart_budget: int = 5  # deaths in a row before a first good answer
    hang_seconds: float = 10.0
    stop_seconds: float = 4.5
    gpu_poll_seconds: float = 5.0
    log_max_bytes: int = 10 * 1024 * 1024
    log_level: str = "INFO"


class Desired(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the supervisor needs to know."""

    data_dir: str
    run_dir: str
    server: ServerSpec
    storage: StorageSpec
    supervisor: SupervisorSpec
    hosts: tuple[HostSpec, ...]
    models: tuple[ModelSpec, ...]
    cameras: tuple[CameraSpec, ...]
    webhooks: tuple[WebhookSpec, ...] = ()
    pages: bool = True
    demo: bool = False
    remove_data_on_exit: bool = False
    #: What the server needs to resolve a camera that is added while it runs: the settings with
    #: their secrets (`config.pack`), the folder relative paths start from, and the machine.
    settings: bytes = b""
    base_dir: str = ""
    cores: int = 1
    providers: tuple[str, ...] = ("CPUExecutionProvider",)
