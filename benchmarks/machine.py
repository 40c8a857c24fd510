"""What the figures were measured on: the machine, its load, and the versions that matter."""

from __future__ import annotations

import os
import platform
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
    load_before: float  # 1-minute load average: above `cores` the machine had other work
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
        load_before=round(os.getloadavg()[0], 2),
        saccade=_versions(("saccade",))["saccade"],
    )


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
