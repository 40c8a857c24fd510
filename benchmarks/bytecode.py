"""Gives the processes of a block compiled bytecode, as `make` installs it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_CHANGED = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")


@contextlib.contextmanager
def compiled_into(folder: Path) -> Iterator[None]:
    """Let processes that are started in the block keep their bytecode in a folder.

    Whether the environment at hand was compiled, or may write beside its sources, then changes
    nothing: the first start of a program compiles, the next ones read.
    """
    before = {name: os.environ.get(name) for name in _CHANGED}
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
