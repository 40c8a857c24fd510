"""States and reasons in plain English, each with the tone it is shown in. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from saccade.types import CameraState, DropReason, ModelStatus, Severity


class Tone(StrEnum):
    """How a thing stands, as colour and icon; the style sheet knows these names."""

    GOOD = "good"
    BUSY = "busy"
    WARN = "warn"
    BAD = "bad"
    QUIET = "quiet"


@dataclass(frozen=True, slots=True)
class Word:
    """What a state is called on a page, and its tone."""

    text: str
    tone: Tone


CAMERA: dict[CameraState, Word] = {
    CameraState.CONNECTING: Word("Connecting", Tone.BUSY),
    CameraState.LIVE: Word("Live", Tone.GOOD),
    CameraState.STALLED: Word("Stalled", Tone.WARN),
    CameraState.RECONNECTING: Word("Reconnecting", Tone.WARN),
    CameraState.ENDED: Word("Ended", Tone.QUIET),
    CameraState.ERROR: Word("Error", Tone.BAD),
}

MODEL: dict[ModelStatus, Word] = {
    ModelStatus.CREATED: Word("Created", Tone.QUIET),
    ModelStatus.LOADING: Word("Loading", Tone.BUSY),
    ModelStatus.LOADED: Word("Loaded", Tone.BUSY),
    ModelStatus.WARMING_UP: Word("Warming up", Tone.BUSY),
    ModelStatus.READY: Word("Ready", Tone.GOOD),
    ModelStatus.SUSPENDED: Word("Suspended", Tone.WARN),
    ModelStatus.ERROR: Word("Error", Tone.BAD),
    ModelStatus.DISABLED: Word("Disabled", Tone.QUIET),
}

PROCESS: dict[str, Word] = {
    "starting": Word("Starting", Tone.BUSY),
    "running": Word("Running", Tone.GOOD),
    "backoff": Word("Waiting to restart", Tone.WARN),
    "error": Word("Error", Tone.BAD),
    "stopped": Word("Stopped", Tone.QUIET),
}

SEVERITY: dict[Severity, Word] = {
    Severity.INFO: Word("Info", Tone.QUIET),
    Severity.WARNING: Word("Warning", Tone.WARN),
    Severity.ERROR: Word("Error", Tone.BAD),
}

DROP: dict[str, str] = {
    DropReason.PACED: "paced: process_fps asks for fewer",
    DropReason.SKIPPED: "skipped: frame_skip asks for fewer",
    DropReason.SUPERSEDED: "superseded by a newer frame",
    DropReason.NO_MODEL: "no model was ready",
    DropReason.BUSY: "the host's queue was full",
    DropReason.STALE: "too old when the model was free",
    DropReason.FAILED: "the model failed on it",
    DropReason.HOST_DIED: "the host died with it",
    DropReason.DIED: "the camera process died with it",
    DropReason.STOPPED: "the camera was stopped",
}

#: Drops that somebody asked for: nothing is wrong when there are many.
INTENDED_DROPS = frozenset({DropReason.PACED, DropReason.SKIPPED, DropReason.STOPPED})


def process_word(state: str) -> Word:
    """Return the word of a process state; one this version does not know is shown as it came."""
    return PROCESS.get(state) or Word(state.replace("_", " ").capitalize(), Tone.QUIET)


def drop_text(reason: str) -> str:
    """Return a drop reason in words; one this version does not know is shown as it came."""
    return DROP.get(reason) or reason.replace("_", " ")


def sentence(text: str) -> str:
    """Return a reason as a sentence: a capital first, a full stop last, nothing else changed.

    A first word that is no plain word (`people.onnx:`, `back-yard`, `rtsp://…`) stays as it is.
    """
    text = text.strip()
    if not text:
        return ""
    if text.split(maxsplit=1)[0].rstrip(",:;.").isalpha():
        text = text[0].upper() + text[1:]
    return text if text[-1] in ".!?…" else text + "."
