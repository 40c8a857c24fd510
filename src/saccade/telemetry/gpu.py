"""What the GPU says of itself through NVML. No GPU is a normal case."""

from __future__ import annotations

import asyncio

import msgspec
import pynvml


class GpuReading(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU, now."""

    index: int
    name: str
    memory_total_bytes: int
    memory_used_bytes: int
    utilisation_percent: float | None
    temperature_celsius: float | None


def read_gpus() -> list[GpuReading]:
    """Return every GPU; empty when there is none or its driver does not answer."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [_read(index) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def _read(index: int) -> GpuReading:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    try:
        utilisation = float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    except pynvml.NVMLError:  # MIG slices and some drivers do not tell
        utilisation = None
    try:
        celsius = float(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))
    except pynvml.NVMLError:
        celsius = None
    return GpuReading(
        index=index,
        name=str(pynvml.nvmlDeviceGetName(handle)),
        memory_total_bytes=int(memory.total),
        memory_used_bytes=int(memory.used),
        utilisation_percent=utilisation,
        temperature_celsius=celsius,
    )


class GpuSampler:
    """The newest reading of every GPU, taken each `period_s` while there is one.

    A machine without a GPU is asked once: looking for a driver that is not there costs a file
    search each time.

    Args:
        period_s: seconds between two readings; shorter is fresher and wakes the driver more often.
    """

    def __init__(self, period_s: float) -> None:
        self.period_s = period_s
        self.newest: tuple[GpuReading, ...] = ()

    async def run(self) -> None:
        """Take readings until cancelled, or until none comes: there is no GPU."""
        while True:
            # In a thread: a driver that is busy or resets may take seconds to answer.
            self.newest = tuple(await asyncio.to_thread(read_gpus))
            if not self.newest:
                return
            await asyncio.sleep(self.period_s)
