"""Run the real program in a folder of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import saccade as saccade_package

Saccade = Callable[..., subprocess.CompletedProcess[str]]

#: The code that is tested, also where another saccade is installed.
SOURCE = str(Path(saccade_package.__file__).parents[1])

#: What the console script does.
PROGRAM = "from saccade.cli.main import main; main()"


@pytest.fixture
def saccade(tmp_path: Path) -> Saccade:
    """Run `saccade ...` in `tmp_path`, without this machine's SACCADE_ variables."""

    def run(
        *arguments: str, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SACCADE_")}
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments],
            cwd=tmp_path,
            env=kept | {"COLUMNS": "200", "PYTHONPATH": SOURCE} | dict(env or {}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def program() -> str:
    """Answer with the Python text that the console script runs."""
    return PROGRAM
