"""Trees that several tests look at, and what cameras and models they run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from saccade.demo.assets import demo_model_path
from saccade.demo.clips import render_clip
from tests.support.tree import Tree, running


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds of the demo's belt."""
    path = tmp_path_factory.mktemp("clips") / "belt.mp4"
    render_clip(path, seed=70_003, seconds=6.0)
    return path


@pytest.fixture(scope="session")
def kiosk(clip: Path) -> dict[str, Any]:
    """Settings with the demo model and two cameras, without pages."""
    return {
        "server": {"pages": False},
        "models": {"kiosk": {"path": str(demo_model_path()), "confidence": 0.35}},
        "cameras": {
            "one": {"source": str(clip), "loop": True},
            "two": {"source": str(clip), "loop": True},
        },
    }


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    """The demo, pages included, for tests that only look."""
    folder = tmp_path_factory.mktemp("demo")
    with running(folder, command="demo", data=folder / "data") as tree:
        tree.wait_served("intake", 5)
        yield tree
