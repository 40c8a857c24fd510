"""Probes, metrics, state and the environment for a bug report."""

from __future__ import annotations

import platform
import sys
from importlib import metadata

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from saccade import __version__
from saccade.server.context import Parts
from saccade.server.metrics import MEDIA_TYPE

router = APIRouter(tags=["health"])

#: Whose versions a bug report needs.
_LIBRARIES = (
    "numpy",
    "onnxruntime",
    "opencv-python-headless",
    "av",
    "fastapi",
    "uvicorn",
    "nicegui",
    "sqlalchemy",
    "msgspec",
    "pydantic",
)


def json(value: object, status: int = 200) -> Response:
    """Return msgspec-encoded JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


@router.get("/livez", summary="The process answers")
async def livez() -> dict[str, str]:
    """Return 200 while the server's process works."""
    return {"status": "alive"}


@router.get("/readyz", summary="A model has proved itself")
async def readyz(parts: Parts) -> Response:
    """Return 200 when requests can be answered, else 503 with the reasons."""
    health = parts.tree.health()
    is_ready = health.ready and not parts.stopping
    reasons = [*health.reasons, *(["the server is stopping"] if parts.stopping else [])]
    return json({"ready": is_ready, "reasons": reasons}, 200 if is_ready else 503)


@router.get("/metrics", summary="Prometheus metrics")
async def metrics(parts: Parts) -> Response:
    """Return every counter in Prometheus' text format."""
    return Response(parts.metrics.text(), media_type=MEDIA_TYPE)


@router.get("/api/state", summary="Everything that runs, now")
async def state(parts: Parts) -> Response:
    """Return what `state_update` pushes."""
    return json(parts.tree.view())


@router.get("/api/environment", summary="A snapshot for a bug report")
async def environment(parts: Parts) -> Response:
    """Return versions, devices, models and cameras. Holds no secret: safe to paste."""
    view = parts.tree.view()
    return json(
        {
            "saccade": __version__,
            "python": sys.version.split()[0],
            "platform": platform.platform(),
            "processor": platform.machine(),
            "libraries": {name: _version(name) for name in _LIBRARIES},
            "devices": {"gpus": parts.gpus.newest, "providers": _providers(parts)},
            "health": view.health,
            "cameras": view.cameras,
            "models": view.models,
            "processes": view.processes,
            "storage": parts.database.display_url.split("?")[0].split("://")[0],
        }
    )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _providers(parts: Parts) -> dict[str, list[str]]:
    return {host.name: list(host.providers) for host in parts.desired.hosts}
