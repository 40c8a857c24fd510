"""What the figures were measured on: the machine, its load, and the versions that matter."""

from __future__ import annotations

import os
import platform
import resource
import time
from importlib import metadata
from pathlib import Path

import msgspec

PACKAGES = (
    "numpy",
    "onnxruntime",
    "opencv-python-headless",
    "av",
    "uvicorn",
    "uvloop",
    "httptools",
    "fastapi",
    "msgspec",
)


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """One machine at one time."""

    processor: str
    cores: int
    memory_gib: float
    kernel: str
    python: str
    packages: dict[str, str]
    saccade: str


def this_machine() -> Machine:
    """Return the machine this runs on, as it is now."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(pages / 2**30, 1),
        kernel=platform.release(),
        python=platform.python_version(),
        packages=_versions(PACKAGES),
        saccade=_versions(("saccade",))["saccade"],
    )


class Neighbours:
    """How much of the machine others used while this process and its children measured."""

    def __init__(self) -> None:
        self._at = time.monotonic()
        self._busy_s, self._stolen_s = _machine_cpu_s()
        self._own_s = _own_cpu_s()

    def cores(self) -> tuple[float, float]:
        """Return the cores other programs used, and those the hypervisor kept, since the start.

        Children count once they have ended and were waited for.
        """
        passed_s = time.monotonic() - self._at
        busy_s, stolen_s = _machine_cpu_s()
        others_s = busy_s - self._busy_s - (_own_cpu_s() - self._own_s)
        return max(0.0, others_s / passed_s), (stolen_s - self._stolen_s) / passed_s


def _machine_cpu_s() -> tuple[float, float]:
    """Return the busy and the stolen seconds of all cores since boot."""
    first = Path("/proc/stat").read_text().splitlines()[0].split()
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(n) for n in first[1:9])
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    return (user + nice + system + irq + softirq) * tick_s, steal * tick_s


def _own_cpu_s() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in used)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _versions(names: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
