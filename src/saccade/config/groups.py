"""The settings that come in groups: every default, bound and description, in one place each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from saccade.config.secret import SecretUrl
from saccade.types import NAME_PATTERN


@dataclass(frozen=True, slots=True)
class Unit:
    """What a number counts, for the documents."""

    name: str


@dataclass(frozen=True, slots=True)
class Hint:
    """What a setting accepts, where its type does not say it well."""

    text: str


def wrong(message: str) -> PydanticCustomError:
    """Return the error of a value that its type allows and its meaning does not."""
    # Braces would be read as placeholders.
    return PydanticCustomError("saccade", "{message}", {"message": message})


def _split(value: object) -> object:
    """Let a list be written `a, b` (the only way in an environment variable) or as one word."""
    return (
        [part.strip() for part in value.split(",") if part.strip()]
        if isinstance(value, str)
        else value
    )


Seconds = Annotated[float, Unit("seconds")]
Name = Annotated[str, Field(pattern=NAME_PATTERN), Hint("a name of a-z, 0-9, - and _")]
#: How JSON Schema sees a list that may be written as one word or `a, b`.
_LIST_OR_TEXT = WithJsonSchema(
    {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}
)
Words = Annotated[tuple[str, ...], BeforeValidator(_split), _LIST_OR_TEXT, Hint("a list of words")]

#: Short names for onnxruntime's execution providers.
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "dml": "DmlExecutionProvider",
}


def _provider_names(value: object) -> object:
    words = _split(value)
    if not isinstance(words, list | tuple):
        return words
    full = tuple(
        PROVIDERS.get(word.lower(), word) if isinstance(word, str) else word for word in words
    )
    for name in full:
        if isinstance(name, str) and name not in PROVIDERS.values():
            raise wrong(f"{name!r} is not an execution provider: use {', '.join(PROVIDERS)}")
    if not full:
        raise wrong("an empty list leaves nothing to run on: use null to choose by itself, or cpu")
    return full


Providers = Annotated[
    tuple[str, ...],
    BeforeValidator(_provider_names),
    _LIST_OR_TEXT,
    Hint("a list of " + ", ".join(PROVIDERS)),
]


class Group(BaseModel):
    """What all groups share: frozen, no unknown key, no guessing between types."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        coerce_numbers_to_str=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )

    @field_validator("*", mode="before")
    @classmethod
    def _no_bool_as_number(cls, value: object, info: ValidationInfo) -> object:
        # `port: true` would otherwise be port 1.
        if isinstance(value, bool) and info.field_name:
            annotation = cls.model_fields[info.field_name].annotation
            if annotation is not bool:
                raise PydanticCustomError("bool_given", "a switch where something else is wanted")
        return value


class Server(Group):
    """The HTTP and WebSocket door."""

    host: str = Field("127.0.0.1", min_length=1)
    """Address to listen on. Anything but loopback (127.0.0.1, ::1, localhost) makes every
    request need a key."""
    port: int = Field(8600, ge=1, le=65535)
    """TCP port to listen on."""
    allowed_hosts: Words = Field(())
    """Names, besides loopback and `host`, that a request's Host header may carry. Needed when
    people reach the server by a name; it stops DNS rebinding."""
    auth_required: bool = Field(False)
    """Ask for a key on loopback too. Away from loopback a key is always needed."""
    max_body_mb: Annotated[float, Unit("MiB")] = Field(32.0, gt=0, le=1024)
    """Largest request body. A larger one is answered 413."""
    max_image_megapixels: Annotated[float, Unit("megapixels")] = Field(50.0, gt=0, le=1000)
    """Largest picture that is decoded; its header is checked first, so that a small file cannot
    unpack to gigabytes."""
    slots: int = Field(8, ge=1, le=256)
    """Pictures of API requests that may wait for or be with a model at once. Each costs
    max_frame_width x max_frame_height x 1.5 bytes."""
    max_frame_width: Annotated[int, Unit("pixels")] = Field(1280, ge=64, le=8192)
    """Pictures of API requests wider than this are scaled down before the model; boxes come
    back in the original's pixels."""
    max_frame_height: Annotated[int, Unit("pixels")] = Field(1280, ge=64, le=8192)
    """The same for height."""
    request_timeout_seconds: Seconds = Field(10.0, gt=0, le=600)
    """Longest time a request waits for its answer, counted from its headers."""
    drain_seconds: Seconds = Field(3.0, ge=0, le=60)
    """How long requests under way may go on after a stop was asked for."""
    ws_queue: int = Field(64, ge=1, le=10_000)
    """Messages that may wait for one slow WebSocket client before the oldest are dropped, and
    counted."""
    stream_fps: Annotated[float, Unit("frames per second")] = Field(5.0, gt=0, le=30)
    """Pictures a second of `/stream/{camera}`."""
    session_hours: Annotated[float, Unit("hours")] = Field(12.0, gt=0, le=24 * 90)
    """How long a browser stays signed in."""
    pages: bool = Field(True)
    """Run the dashboard (a process of its own)."""


class CameraDefaults(Group):
    """What holds for every camera that does not say otherwise."""

    process_fps: Annotated[float, Unit("frames per second")] = Field(5.0, gt=0, le=60)
    """Frames a second that are offered to the model. The others are counted as dropped
    (paced)."""
    max_frame_width: Annotated[int, Unit("pixels")] = Field(1280, ge=64, le=7680)
    """Wider frames are scaled down for the model; boxes come back in the original's pixels."""
    max_frame_height: Annotated[int, Unit("pixels")] = Field(720, ge=64, le=4320)
    """The same for height."""
    connect_timeout_seconds: Seconds = Field(5.0, gt=0, le=120)
    """Longest wait for a source to open."""
    read_timeout_seconds: Seconds = Field(3.0, gt=0, le=120)
    """Longest wait for data from an open source, then it is opened again."""
    stall_seconds: Seconds = Field(4.0, gt=0, le=600)
    """Time without a new frame after which the camera counts as stalled."""
    frozen_seconds: Seconds = Field(30.0, gt=0, le=3600)
    """Time with exactly the same picture after which the camera counts as frozen."""
    backoff_initial_seconds: Seconds = Field(0.25, gt=0, le=60)
    """Wait before the first new attempt to connect; it doubles each time."""
    backoff_max_seconds: Seconds = Field(2.0, gt=0, le=600)
    """Longest wait between attempts to connect."""
    slots: int = Field(3, ge=2, le=32)
    """Frames in shared memory. Three let one be with the model, one wait and one be written."""
    tile_width: Annotated[int, Unit("pixels")] = Field(640, ge=64, le=1920)
    """Width of the picture on the camera wall."""
    tile_height: Annotated[int, Unit("pixels")] = Field(360, ge=36, le=1080)
    """Height of the picture on the camera wall."""
    tile_fps: Annotated[float, Unit("frames per second")] = Field(5.0, gt=0, le=30)
    """Pictures a second on the camera wall. Drawn only while somebody watches."""
    jpeg_quality: int = Field(80, ge=10, le=100)
    """JPEG quality of wall and stream pictures. Higher is sharper and larger."""
    appear_frames: int = Field(2, ge=1, le=100)
    """Frames in which a class must be seen before it counts as there. Raising it hides flicker
    and delays the event."""
    leave_seconds: Seconds = Field(1.5, gt=0, le=3600)
    """Silence after which a class counts as gone. Raising it bridges gaps and delays the
    event."""

    @model_validator(mode="after")
    def _backoff_grows(self) -> CameraDefaults:
        if self.backoff_initial_seconds > self.backoff_max_seconds:
            raise wrong(
                f"backoff_initial_seconds is {self.backoff_initial_seconds:g}: must not be above "
                f"backoff_max_seconds ({self.backoff_max_seconds:g})"
            )
        return self


class HostDefaults(Group):
    """What holds for every host that does not say otherwise."""

    threads: int | None = Field(None, ge=1, le=256)
    """CPU threads of one inference. null: 1 beside a GPU, else half of this machine's cores."""
    providers: Providers | None = Field(None)
    """What to run on, best first. null: CUDA where onnxruntime offers it, then the CPU."""
    batch_wait_ms: Annotated[float, Unit("milliseconds")] = Field(2.0, ge=0, le=1000)
    """How long a batch that is not full may wait for more frames."""
    queue_limit: int = Field(64, ge=1, le=10_000)
    """Requests that may wait for one model. A further one is refused at once (429, or dropped:
    busy)."""
    hang_seconds: Seconds = Field(60.0, gt=0, le=3600)
    """Longest time one batch may take before the host counts as hung and is replaced."""


class Inference(HostDefaults):
    """How models run, and what is asked of them."""

    frame_skip: int = Field(0, ge=0, le=1000)
    """Paced frames left out after each one given to the model: 2 means one frame of three."""
    model: Name | None = Field(None)
    """The model of every camera that names none. null: the first model there is."""
    confidence: float = Field(0.25, ge=0, le=1)
    """Least score of a box, for models that set none. Raising it loses weak objects and false
    ones."""
    iou: float = Field(0.45, ge=0, le=1)
    """Overlap (intersection over union) above which the weaker of two boxes of a class is
    removed."""
    max_batch: int | None = Field(None, ge=1, le=256)
    """Frames in one inference, for models that set none. null: 1 on a CPU, 8 on a GPU."""
    staleness_seconds: Seconds = Field(1.0, gt=0, le=60)
    """A camera's frame older than this when the model is free is dropped (stale) instead of
    answered late."""
    answer_timeout_seconds: Seconds = Field(10.0, gt=0, le=600)
    """Longest wait of a camera for the answer to one frame."""


class Storage(Group):
    """Where facts are kept, and for how long."""

    url: SecretUrl | None = Field(None)
    """Database, as a SQLAlchemy URL such as postgresql://user:password@host/saccade. null:
    SQLite in the data folder."""
    commit_ms: Annotated[int, Unit("milliseconds")] = Field(100, ge=1, le=10_000)
    """The router's events are committed together this often. Lower loses less on a power cut
    and writes more."""
    event_days: Annotated[float, Unit("days")] = Field(30.0, gt=0, le=36_500)
    """Events older than this are deleted."""
    outbox_days: Annotated[float, Unit("days")] = Field(7.0, gt=0, le=3650)
    """Delivered or given-up messages older than this are deleted."""
    purge_seconds: Seconds = Field(300.0, ge=1, le=86_400)
    """Time between two looks for what is too old."""

    @field_validator("url")
    @classmethod
    def _known_database(cls, url: SecretUrl | None) -> SecretUrl | None:
        if url is not None:
            scheme, mark, _ = url.get_secret_value().partition("://")
            if not mark or scheme.split("+")[0] not in {"sqlite", "postgresql", "postgres"}:
                raise wrong("must be a URL of sqlite:///... or postgresql://...")
        return url


class Supervisor(Group):
    """How processes are watched and started again."""

    backoff_initial_seconds: Seconds = Field(0.1, gt=0, le=60)
    """Wait before a process that died is started again; it doubles each time."""
    backoff_max_seconds: Seconds = Field(10.0, gt=0, le=3600)
    """Longest wait before a process is started again."""
    restart_budget: int = Field(5, ge=1, le=1000)
    """Deaths in a row before a first good answer, after which a process is left alone and
    reported."""
    hang_seconds: Seconds = Field(10.0, gt=0, le=600)
    """Silence after which a process counts as hung and is killed."""
    stop_seconds: Seconds = Field(4.5, gt=0, le=120)
    """Time processes have to stop by themselves before they are killed."""
    gpu_poll_seconds: Seconds = Field(5.0, ge=0.5, le=3600)
    """Time between two readings of the GPU's memory, load and temperature."""

    @model_validator(mode="after")
    def _backoff_grows(self) -> Supervisor:
        if self.backoff_initial_seconds > self.backoff_max_seconds:
            raise wrong(
                f"backoff_initial_seconds is {self.backoff_initial_seconds:g}: must not be above "
                f"backoff_max_seconds ({self.backoff_max_seconds:g})"
            )
        return self


#: Weights of a log line, as `logging` names them.
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def _upper(value: object) -> Any:
    is_level = isinstance(value, str) and value.upper() in LEVELS
    return str(value).upper() if is_level else value


class Logging(Group):
    """What is written to the log files in the data folder."""

    level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_upper)] = Field(
        "INFO"
    )
    """Least weight of a line that is written. DEBUG writes a line per frame."""
    max_mb: Annotated[float, Unit("MiB")] = Field(10.0, ge=0.1, le=10_000)
    """Size at which a process's log file is replaced; one old one is kept."""


class Catalogue(Group):
    """Where `saccade models` finds models to install."""

    mirror: SecretUrl | None = Field(None)
    """URL that takes the place of scheme and host in the addresses of catalogue files, for
    machines without the internet: https://mirror.example/models."""

    @field_validator("mirror")
    @classmethod
    def _is_http(cls, mirror: SecretUrl | None) -> SecretUrl | None:
        if mirror and not re.match(r"https?://[^/?#\s]+[^?#\s]*$", mirror.get_secret_value()):
            raise wrong("must be a URL like https://host/path")
        return mirror
