"""The names every floor shares: ids and the states and reasons that travel between processes."""

from enum import StrEnum
from typing import NewType

CameraId = NewType("CameraId", str)
ModelName = NewType("ModelName", str)
HostName = NewType("HostName", str)

#: What a camera, model or host may be called: it becomes part of files, URLs and metric labels.
NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"


class SourceKind(StrEnum):
    """Where a camera's frames come from."""

    RTSP = "rtsp"
    HTTP = "http"
    WEBCAM = "webcam"
    FILE = "file"
    FOLDER = "folder"


class CameraState(StrEnum):
    """What a camera is doing. The transitions are in `cameras/state.py`."""

    CONNECTING = "connecting"
    LIVE = "live"
    STALLED = "stalled"
    RECONNECTING = "reconnecting"
    ENDED = "ended"
    ERROR = "error"


class ModelStatus(StrEnum):
    """The lifecycle every model obeys. The transitions are in `engine/lifecycle.py`."""

    CREATED = "created"
    LOADING = "loading"
    LOADED = "loaded"
    WARMING_UP = "warming_up"
    READY = "ready"
    SUSPENDED = "suspended"
    ERROR = "error"
    DISABLED = "disabled"


class ModelKind(StrEnum):
    """What a model answers."""

    DETECTOR = "detector"


class DropReason(StrEnum):
    """Why a decoded frame was not answered by a model. Every drop has exactly one."""

    PACED = "paced"  # process_fps asks for fewer
    SKIPPED = "skipped"  # inference.frame_skip asks for fewer
    SUPERSEDED = "superseded"  # a newer frame came while this one waited
    NO_MODEL = "no_model"  # the model is not ready, or the host is away
    BUSY = "busy"  # the host's queue did not take it
    STALE = "stale"  # it was too old by the time the model was free
    FAILED = "failed"  # the model raised on it
    HOST_DIED = "host_died"  # it was with the host when the host died
    DIED = "died"  # it was in the camera process when that died
    STOPPED = "stopped"  # the camera was stopped


class Severity(StrEnum):
    """How much an event wants to be seen."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
