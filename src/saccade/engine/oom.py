"""Whether an error is the device's memory, a broken device, or neither; and how often. Pure.

A host calls `recognise` where it still holds the exception's text and sends a typed code; the
governor calls it again on what arrives, so that a remote or older host that sends only text is
understood too. The order is: typed codes, what breaks the process's context, what is a wrong
set-up, what is memory, and last the plain words `cuda` and `cublas` of the requirement.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class DeviceFault(StrEnum):
    """What an error says of the device."""

    NONE = "none"  # the model's or the caller's fault: nothing for the governor
    OUT_OF_MEMORY = "out_of_memory"  # counts
    DEVICE_ERROR = "device_error"  # the device failed and did not say why: counts as memory
    CONTEXT_LOST = "context_lost"  # every later call in that process fails: replace the host
    MISCONFIGURED = "misconfigured"  # would fail on an empty device too: never counts

    @property
    def is_strike(self) -> bool:
        """Say whether it is one of the three that disable a model."""
        return self in {DeviceFault.OUT_OF_MEMORY, DeviceFault.DEVICE_ERROR}


#: Codes and exception names that say what they are. The text is not read.
TYPED: Final[dict[str, DeviceFault]] = {
    "device_out_of_memory": DeviceFault.OUT_OF_MEMORY,
    "OutOfMemoryError": DeviceFault.OUT_OF_MEMORY,  # torch.cuda and torch
    "MemoryError": DeviceFault.OUT_OF_MEMORY,
    "CUDA_ERROR_OUT_OF_MEMORY": DeviceFault.OUT_OF_MEMORY,
    "cudaErrorMemoryAllocation": DeviceFault.OUT_OF_MEMORY,
    "CUBLAS_STATUS_ALLOC_FAILED": DeviceFault.OUT_OF_MEMORY,
    "device_broken": DeviceFault.CONTEXT_LOST,
    "CUDA_ERROR_ILLEGAL_ADDRESS": DeviceFault.CONTEXT_LOST,
    "cudaErrorIllegalAddress": DeviceFault.CONTEXT_LOST,
    "CUDA_ERROR_ASSERT": DeviceFault.CONTEXT_LOST,
    "cudaErrorAssert": DeviceFault.CONTEXT_LOST,
    "extra_missing": DeviceFault.MISCONFIGURED,
    "model_file_invalid": DeviceFault.MISCONFIGURED,
    "settings_invalid": DeviceFault.MISCONFIGURED,
    "ModuleNotFoundError": DeviceFault.MISCONFIGURED,
    "ImportError": DeviceFault.MISCONFIGURED,
    "FileNotFoundError": DeviceFault.MISCONFIGURED,
}

#: saccade's codes that have nothing to do with a device, whatever their text quotes. Under the
#: others (`infer_failed`, `model_load_failed`, `internal`) an adapter passes on what its runtime
#: said; there, and under codes saccade does not know, the text decides.
OTHER_CODES: Final = frozenset({
    "bad_input", "conflict", "data_folder_unusable", "database_busy", "deadline_exceeded",
    "disk_full", "forbidden", "host_lost", "image_invalid", "model_not_ready",
    "network_unreachable", "not_found", "not_supported", "out_of_slots", "overloaded",
    "port_in_use", "schema_mismatch", "source_failed", "too_large", "unauthorized",
})  # fmt: skip

# What a message may name without saying that it failed: hints, switches, libraries, places. torch
# ends every CUDA error, out of memory too, with "Compile with `TORCH_USE_CUDA_DSA` to enable
# device-side assertions"; read as a failed assertion it would replace a healthy host.
_NAMES: Final = re.compile(
    r"compile with `?torch_use_cuda_dsa`?[^\n]*?device-side assertions"
    r"|for debugging consider passing cuda_launch_blocking\S*"
    r"|\b(?:pytorch_|torch_use_)?cuda_(?:visible_devices|launch_blocking|alloc_conf|dsa|path|home)\b"
    r"|\bcuda:\d+"  # a place, as in "found two devices, cuda:0 and cpu"
    r"|\btorch\.cuda\.(?!outofmemory)\w+"
    r"|(?<![\w.-])[~.]{0,2}/[\w./-]+"  # a path: /models/cuda/net.onnx
    r"|(?<![\w./-])[\w-]+(?:/[\w.-]+)*/[\w-]+\.\w+"  # or core/providers/cuda/call.cc
)

# Sticky errors: the context of the process is gone and every later call fails with the same.
# Source: CUDA Runtime API, cudaError_t, "the process must be terminated and relaunched".
_CONTEXT_LOST: Final = re.compile(
    r"device[- ]side assert(?!ion)|cuda_?error_?assert\b|assert triggered"
    r"|illegal (?:memory access|address|instruction)|cuda_?error_?illegal_?(?:address|instruction)"
    r"|misaligned address|unspecified launch failure|hardware stack error|invalid program counter"
    r"|uncorrectable (?:ecc|nvlink) error|fallen off the bus|context is destroyed"
)

_MISCONFIGURED: Final = re.compile(
    r"is not in available provider|is not available|no nvidia driver|driver version is insufficient"
    r"|no cuda-capable device|no cuda gpus are|not compiled with cuda|invalid device (?:ordinal|id)"
    r"|no kernel image|incompatible with (?:this|the current) |unsupported (?:ptx|toolchain)"
    r"|cannot open shared object|failed to load library|static tls block|undefined symbol"
    r"|require[sd]? cud(?:nn|a)|forward compatibility"
    r"|attempting to deserialize object on a cuda device|on the same device"
    r"|arguments from the 'cuda'"
    r"|no such file|file (?:does not|doesn't) exist|not a (?:file|directory)|invalid path"
    r"|no_?suchfile|invalid_?(?:argument|protobuf|graph)|invalid (?:argument|configuration)"
    r"|not implemented|unexpected input|expected scalar type|got invalid dimensions"
)

_OUT_OF_MEMORY: Final = re.compile(
    r"out[ _-]?of[ _-]?memory|cu(?:blas|dnn)_status_alloc_failed|cuda_?error_?memory_?allocation"
    r"|failed to allocate memory|(?:cannot|can't|could not|unable to) allocate|bad_alloc"
    r"|not enough memory|insufficient memory"
)

# `(?<![a-z])` lets `barracuda` live.
_DEVICE_WORDS: Final = re.compile(r"(?<![a-z])(?:cuda(?!executionprovider)|cublas|cudnn_status)")

#: Of a text of any length this much is read; what runtimes say first is what happened.
READ_CHARACTERS: Final = 4096


def recognise(code: str, text: str) -> DeviceFault:
    """Say what an error means for the device.

    Args:
        code: a saccade error code, or the name of an exception or status of a runtime, with or
            without its module; an unknown one is no answer, then the text decides.
        text: what the runtime said; only its first `READ_CHARACTERS` are read.
    """
    typed = TYPED.get(code) or TYPED.get(code.rpartition(".")[2])
    if typed is not None:
        return typed
    if code in OTHER_CODES:
        return DeviceFault.NONE
    said = _NAMES.sub(" ", text[:READ_CHARACTERS].lower())
    for pattern, fault in (
        (_CONTEXT_LOST, DeviceFault.CONTEXT_LOST),
        (_MISCONFIGURED, DeviceFault.MISCONFIGURED),
        (_OUT_OF_MEMORY, DeviceFault.OUT_OF_MEMORY),
        (_DEVICE_WORDS, DeviceFault.DEVICE_ERROR),
    ):
        if pattern.search(said):
            return fault
    return DeviceFault.NONE


@dataclass(frozen=True, slots=True)
class Strikes:
    """When a model ran out of memory, oldest first, in monotonic seconds."""

    at: tuple[float, ...] = ()

    def count(self, *, now: float, window_s: float) -> int:
        """Return how many lie in the last `window_s` seconds; exactly `window_s` ago still does."""
        return sum(1 for at in self.at if now - at <= window_s)

    def struck(self, *, now: float, window_s: float, burst_s: float) -> Strikes:
        """Record one.

        Args:
            now: monotonic seconds.
            window_s: what is older is forgotten.
            burst_s: less than this after the last that counted it is the same incident: a batch
                that is split and tried again fails once for each part.
        """
        if self.at and now - self.at[-1] < burst_s:
            return self
        return Strikes((*(at for at in self.at if now - at <= window_s), now))
