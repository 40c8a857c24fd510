"""The whole tree of settings: the groups, and the maps of cameras, models, hosts and webhooks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from saccade.config.groups import (
    CameraDefaults,
    Catalogue,
    Group,
    Hint,
    HostDefaults,
    Inference,
    Logging,
    Name,
    Seconds,
    Server,
    Storage,
    Supervisor,
    Words,
    wrong,
)
from saccade.config.secret import SecretText, SecretUrl, WebhookUrl
from saccade.config.source import parse_source
from saccade.errors import BadInput
from saccade.types import ModelKind

#: What a camera answers to `model` when it wants none although `inference.model` names one.
NO_MODEL = "none"

#: The host that always exists.
DEFAULT_HOST = "default"

SHORTEST_SIDE_PX, LONGEST_SIDE_PX = 32, 4096


def _number_as_text(value: object) -> object:
    """Let a webcam be a plain number."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if is_number else value


def _readable_source(value: SecretUrl) -> SecretUrl:
    try:
        parse_source(value.get_secret_value(), Path("/"))
    except BadInput as error:
        # The line names the value already.
        reason = error.what.removeprefix(f"{str(value)!r} ")
        raise wrong(f"{reason}: {error.fix}") from None
    return value


def _postable(value: WebhookUrl) -> WebhookUrl:
    """Check that a webhook can be posted to, without saying its URL (it is often the secret)."""
    text = value.get_secret_value()
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or re.search(r"\s", text):
        raise wrong("must be a URL like https://host/path")
    return value


def _size(value: object) -> object:
    """Read `640`, `640x480` and `[640, 480]`, width first."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,5}(x\d{1,5})?", value.strip()):
        value = [int(side) for side in value.strip().split("x")]
    sides = value if isinstance(value, list | tuple) else [value]
    if len(sides) == 1:
        sides = [sides[0], sides[0]]
    if len(sides) != 2 or not all(
        type(side) is int and SHORTEST_SIDE_PX <= side <= LONGEST_SIDE_PX for side in sides
    ):
        raise wrong(
            f"must be a side such as 640, or 640x480 (width x height), "
            f"each from {SHORTEST_SIDE_PX} to {LONGEST_SIDE_PX}"
        )
    return tuple(sides)


def _labels(value: object) -> object:
    """Accept a preset's name, a path, or a list of names, so that the union cannot fail."""
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, list | tuple) and value:
        names = tuple(
            str(item).strip() if type(item) in {str, int, float} else "" for item in value
        )
        if all(names):
            return names
    raise wrong("must be a preset's name, a file's path, or a list of names")


Source = Annotated[
    SecretUrl,
    BeforeValidator(_number_as_text),
    AfterValidator(_readable_source),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}]}),
    Hint("a URL, a webcam's number, or the path of a file or folder"),
]
InputSize = Annotated[
    tuple[int, int],
    BeforeValidator(_size),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer"},
                {"type": "string", "pattern": r"^\d{1,5}(x\d{1,5})?$"},
                {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2},
            ]
        }
    ),
    Hint("a side, or width x height"),
]
Labels = Annotated[
    str | tuple[str, ...],
    BeforeValidator(_labels),
    Hint("a preset's name, a file's path, or a list of names"),
]


class CameraEntry(CameraDefaults):
    """One camera. What it does not say comes from `camera` and `inference`."""

    source: Source
    """Where its frames come from: rtsp(s)://, http(s)://, a webcam's number or /dev/videoN, a
    video file, or a folder of pictures. A relative path starts from this file's folder."""
    name: str | None = Field(None, min_length=1, max_length=120)
    """What people call it. null: its id."""
    model: Name | None = Field(None)
    """The model that looks at its frames. null: `inference.model`; none: pictures only."""
    loop: bool = Field(False)
    """Start a file or folder again at its end."""
    realtime: bool = Field(True)
    """Read a file at its own speed. false: as fast as the model answers, losing no frame."""
    frame_skip: int | None = Field(None, ge=0, le=1000)
    """The same as `inference.frame_skip`, for this camera."""

    @model_validator(mode="before")
    @classmethod
    def _nothing_said_is_the_default(cls, value: Any) -> Any:
        return _without_empty(value, CameraDefaults)

    @model_validator(mode="after")
    def _backoff_grows(self) -> CameraEntry:
        # Replaces the check of `CameraDefaults`: what is not said here is not the class's default
        # but the settings', see `contradiction`.
        return self

    def over(self, defaults: CameraDefaults) -> dict[str, Any]:
        """Return the values of `CameraDefaults` for this camera: its own, else the defaults'."""
        return {
            key: getattr(self if key in self.model_fields_set else defaults, key)
            for key in CameraDefaults.model_fields
        }

    def contradiction(self, defaults: CameraDefaults) -> str:
        """Return what does not fit together once defaults are filled in, or an empty text."""
        initial, most = (
            self.over(defaults)[f"backoff_{key}_seconds"] for key in ("initial", "max")
        )
        if initial <= most:
            return ""
        return (
            f"backoff_initial_seconds is {initial:g}: must not be above "
            f"backoff_max_seconds ({most:g})"
        )


class ModelEntry(Group):
    """One model to keep loaded."""

    path: str = Field(min_length=1)
    """Its ONNX file. A relative path starts from this file's folder."""
    kind: ModelKind = Field(ModelKind.DETECTOR)
    """What it answers."""
    family: Literal["auto", "yolo", "yolo_end2end", "yolox"] = Field("auto")
    """How its output is read. auto: told from the file."""
    labels: Labels | None = Field(None)
    """Its classes' names. null: from the file's metadata."""
    confidence: float | None = Field(None, ge=0, le=1)
    """Least score of a box. null: `inference.confidence`."""
    iou: float | None = Field(None, ge=0, le=1)
    """Overlap above which the weaker box goes. null: `inference.iou`."""
    input_size: InputSize | None = Field(None)
    """Pixels it is given. null: the file's own, or its family's usual where the file leaves it
    open."""
    max_batch: int | None = Field(None, ge=1, le=256)
    """Frames in one inference. null: `inference.max_batch`."""
    host: Name = Field(DEFAULT_HOST)
    """The host that loads it. Models in one host share its fate."""


class HostEntry(HostDefaults):
    """One process that holds models. What it does not say comes from `inference`."""

    @model_validator(mode="before")
    @classmethod
    def _nothing_said_is_the_default(cls, value: Any) -> Any:
        return _without_empty(value, HostDefaults)


class WebhookEntry(Group):
    """One receiver of events."""

    url: Annotated[WebhookUrl, AfterValidator(_postable), Hint("a URL like https://host/path")]
    """Where events are posted to, with retries, from the outbox."""
    kinds: Words = Field(())
    """Kinds of events it gets. Empty: all."""
    secret: SecretText | None = Field(None)
    """Signs each message (HMAC-SHA256), so that the receiver knows who sent it."""
    timeout_seconds: Seconds = Field(10.0, gt=0, le=120)
    """Longest wait for its answer."""


class Settings(Group):
    """Everything that can be set, once it was found to be right."""

    data: str = Field("./saccade-data", min_length=1)
    """Folder of the database, logs, models and pictures. A relative path starts from this file's
    folder."""
    server: Server = Server()
    camera: CameraDefaults = CameraDefaults()
    inference: Inference = Inference()
    cameras: Mapping[Name, CameraEntry] = {}
    """Cameras by id. Any key of `camera` may be said again for one camera."""
    models: Mapping[Name, ModelEntry] = {}
    """Models by name. `saccade models` installs some."""
    hosts: Mapping[Name, HostEntry] = {}
    """Processes that hold models, by name. `default` always exists; a further one keeps a model
    that may crash or block away from the others."""
    storage: Storage = Storage()
    webhooks: Mapping[Name, WebhookEntry] = {}
    """Receivers of events, by name."""
    supervisor: Supervisor = Supervisor()
    logging: Logging = Logging()
    catalogue: Catalogue = Catalogue()


def _without_empty(value: Any, defaults: type[Group]) -> Any:
    """Leave out keys with nothing behind them, so that they count as not said."""
    if not isinstance(value, Mapping):
        return value
    return {k: v for k, v in value.items() if v is not None or k not in defaults.model_fields}


def contradictions(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what does not fit together though each value may be: the setting, and why."""
    for name, camera in settings.cameras.items():
        what = camera.contradiction(settings.camera)
        if what:
            yield ("cameras", name), what
    if NO_MODEL in settings.models:
        yield ("models", NO_MODEL), f"is no name for a model: {NO_MODEL!r} stands for no model"
    drain, stop = settings.server.drain_seconds, settings.supervisor.stop_seconds
    if drain >= stop:
        yield (
            ("server", "drain_seconds"),
            f"is {drain:g}: must be below supervisor.stop_seconds ({stop:g}), or the server is "
            "killed while it drains",
        )
