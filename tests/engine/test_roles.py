"""What each process pays for: the modules a role has after its import, counted in a fresh one."""

from __future__ import annotations

import subprocess
import sys

import pytest

PAGES = {"nicegui", "fastapi", "uvicorn", "starlette"}
VISION = {"cv2", "av"}
MODELS = {"onnxruntime", "onnx", "torch"}
STORAGE = {"sqlalchemy", "alembic"}

#: role -> (what it imports, what must not be there)
ROLES = {
    "supervisor": (
        "saccade.supervisor",
        {"numpy", "pydantic", "httpx", *PAGES, *VISION, *MODELS, *STORAGE},
    ),
    "start of every child": (
        "saccade.run",
        {"numpy", "pydantic", "httpx", *PAGES, *VISION, *MODELS, *STORAGE},
    ),
    "router": ("saccade.router", {"pydantic", "httpx", *PAGES, *VISION, *MODELS}),
    "host": ("saccade.engine.host", {"pydantic", "httpx", "av", "cv2", *PAGES, *STORAGE, "torch"}),
    "camera": ("saccade.cameras.process", {"pydantic", "httpx", *PAGES, *MODELS, *STORAGE}),
    "worker": ("saccade.jobs.worker", {"pydantic", *PAGES, *VISION, *MODELS}),
}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_imports_nothing_it_does_not_need(role: str) -> None:
    module, forbidden = ROLES[role]
    script = f"import {module}, sys; print(*sorted(m.split('.')[0] for m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert forbidden & set(done.stdout.split()) == set()
