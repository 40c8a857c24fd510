"""Finds the real models and pictures that tests marked `real` use; they are never committed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).resolve().parents[2]


def real_path(relative: str) -> Path:
    """Return a file or folder of the real material, or skip the test and say why."""
    root = Path(os.environ.get("SACCADE_REAL_DIR") or _REPOSITORY.parent / "shared" / "real")
    path = root / relative
    if not path.exists():
        pytest.skip(f"no {relative} in {root} (SACCADE_REAL_DIR or ../shared/real)")
    return path
