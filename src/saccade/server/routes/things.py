"""Cameras, models and events."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from saccade.errors import NotFound
from saccade.server.context import Parts
from saccade.server.hub import event_view
from saccade.server.routes.health import json
from saccade.server.shapes import CameraIn
from saccade.types import CameraId, ModelName

router = APIRouter(prefix="/api")


@router.get("/cameras", tags=["cameras"], summary="All cameras")
async def cameras(parts: Parts) -> Response:
    """Return every camera with its state and frame account."""
    return json({"cameras": list(parts.tree.view().cameras.values())})


@router.get("/cameras/{camera_id}", tags=["cameras"], summary="One camera")
async def camera(camera_id: str, parts: Parts) -> Response:
    """Return one camera."""
    found = parts.tree.camera(camera_id)
    if found is None:
        raise NotFound(f"no camera is named {camera_id!r}", fix="GET /api/cameras lists them")
    return json(found)


@router.post("/cameras", tags=["cameras"], status_code=201, summary="Add a camera")
async def add_camera(body: CameraIn, parts: Parts) -> Response:
    """Store a camera and start it; it is there after a restart too."""
    row = body.model_dump(exclude={"id"}, exclude_none=True)
    await asyncio.to_thread(parts.things.add_camera, body.id, row)
    return json({"id": body.id}, 201)


@router.patch("/cameras/{camera_id}", tags=["cameras"], summary="Change a camera")
async def change_camera(camera_id: str, body: dict[str, object], parts: Parts) -> Response:
    """Change settings of a camera that was added by the API or the command line."""
    await asyncio.to_thread(parts.things.change_camera, camera_id, body)
    return json({"id": camera_id})


@router.delete("/cameras/{camera_id}", tags=["cameras"], status_code=204, summary="Remove a camera")
async def remove_camera(camera_id: str, parts: Parts) -> Response:
    """Stop and forget a camera; its events stay."""
    await asyncio.to_thread(parts.things.remove_camera, camera_id)
    return Response(status_code=204)


@router.get("/models", tags=["models"], summary="All models")
async def models(parts: Parts) -> Response:
    """Return every model with its state and what was measured of it."""
    return json({"models": list(parts.tree.view().models.values())})


@router.get("/models/{name}", tags=["models"], summary="One model")
async def model(name: str, parts: Parts) -> Response:
    """Return one model."""
    found = parts.tree.model(name)
    if found is None:
        raise NotFound(f"no model is named {name!r}", fix="GET /api/models lists them")
    return json(found)


@router.post("/reconcile", tags=["cameras"], include_in_schema=False)
async def reconcile(parts: Parts) -> Response:
    """Take in what the command line wrote to the database."""
    await asyncio.to_thread(parts.things.apply)
    return Response(status_code=204)


@router.get("/events", tags=["events"], summary="Stored events, newest first")
async def events(
    parts: Parts,
    *,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[int | None, Query(description="only ids below this one")] = None,
    kind: str | None = None,
    camera: str | None = None,
    model: str | None = None,
) -> Response:
    """Return a page of events; `next` leads to the older ones."""
    found = await asyncio.to_thread(
        parts.events.list,
        before_id=before,
        limit=limit,
        kind=kind,
        camera=None if camera is None else CameraId(camera),
        model=None if model is None else ModelName(model),
    )
    following = found[-1].id if len(found) == limit else None
    return json({"events": [event_view(e) for e in found], "next": following})
