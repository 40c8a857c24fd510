"""What can go wrong, one class per situation a caller treats differently."""

from __future__ import annotations

import msgspec


class ErrorInfo(msgspec.Struct, frozen=True):
    """An error as it travels between processes: never an exception object."""

    code: str
    what: str
    fix: str


class SaccadeError(Exception):
    """An expected failure that teaches: what was wrong with which value, and what to do.

    Args:
        what: what was wrong, with the value.
        fix: what the reader can do about it.
    """

    code = "internal"
    #: The HTTP status a door answers with.
    status = 500

    def __init__(self, what: str, *, fix: str) -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what} ({self.fix})"

    def info(self) -> ErrorInfo:
        """Return the part that may leave the process."""
        return ErrorInfo(self.code, self.what, self.fix)


class SettingsInvalid(SaccadeError):
    """A setting has an unknown key or a value that cannot work."""

    code, status = "settings_invalid", 422


class BadInput(SaccadeError):
    """A request, argument or file is not what it must be."""

    code, status = "bad_input", 422


class ImageInvalid(BadInput):
    """Bytes that should be a picture are not, or are more than the limits allow."""

    code, status = "image_invalid", 422


class ModelFileInvalid(BadInput):
    """A file that should be a model is not, or is of a kind saccade does not run."""

    code, status = "model_file_invalid", 422


class TooLarge(BadInput):
    """A body or file is over its limit."""

    code, status = "too_large", 413


class NotFound(SaccadeError):
    """Nothing has that name."""

    code, status = "not_found", 404


class Conflict(SaccadeError):
    """The name is taken, or the object is read-only at run time."""

    code, status = "conflict", 409


class Unauthorized(SaccadeError):
    """A key is needed and none, or a wrong one, was given."""

    code, status = "unauthorized", 401


class Forbidden(SaccadeError):
    """The caller is known, or its origin is, and this is not allowed."""

    code, status = "forbidden", 403


class ModelNotReady(SaccadeError):
    """The model has not proved itself, or no longer does."""

    code, status = "model_not_ready", 503


class ModelLoadFailed(SaccadeError):
    """The model's file could not be brought to the device."""

    code, status = "model_load_failed", 500


class InferFailed(SaccadeError):
    """The model raised, or its answer did not validate."""

    code, status = "infer_failed", 500


class DeviceOutOfMemory(SaccadeError):
    """The device, or the machine, had not the memory an inference or a load asked for."""

    code, status = "device_out_of_memory", 503


class DeviceBroken(SaccadeError):
    """The device's context is lost: nothing in this process can use the device any more."""

    code, status = "device_broken", 503


class HostLost(SaccadeError):
    """The host's connection ended while a request was with it."""

    code, status = "host_lost", 503


class Overloaded(SaccadeError):
    """The queue is full; the caller should come back later."""

    code, status = "overloaded", 429


class DeadlineExceeded(SaccadeError):
    """No answer came in the time the caller allowed."""

    code, status = "deadline_exceeded", 504


class OutOfSlots(SaccadeError):
    """Not one slot of shared memory fits."""

    code, status = "out_of_slots", 507


class SourceFailed(SaccadeError):
    """A camera's source could not be opened or read."""

    code, status = "source_failed", 502


class DataFolderUnusable(SaccadeError):
    """The data folder is in use, read-only or not a folder."""

    code, status = "data_folder_unusable", 500


class PortInUse(SaccadeError):
    """Something else listens on the address."""

    code, status = "port_in_use", 500


class ExtraMissing(SaccadeError):
    """An optional part is not installed."""

    code, status = "extra_missing", 501


class NotSupported(SaccadeError):
    """The protocol has it, saccade does not."""

    code, status = "not_supported", 501


class NetworkUnreachable(SaccadeError):
    """A download could not be made."""

    code, status = "network_unreachable", 502


class DatabaseBusy(SaccadeError):
    """Another writer, or every connection, took longer than the caller may wait."""

    code, status = "database_busy", 503


class DiskFull(SaccadeError):
    """There is no space left; nothing partial was kept."""

    code, status = "disk_full", 507


class SchemaMismatch(SaccadeError):
    """The database's tables are not those this version of saccade works with."""

    code, status = "schema_mismatch", 500
