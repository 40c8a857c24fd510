"""API keys and the dashboard's session."""

from __future__ import annotations

import asyncio
import time

from fastapi import APIRouter, Request
from starlette.responses import Response

from saccade.errors import Unauthorized
from saccade.server.context import Parts
from saccade.server.routes.health import json
from saccade.server.shapes import KeyIn, SessionIn
from saccade.web.access import COOKIE, Access

router = APIRouter(prefix="/api", tags=["keys"])


@router.get("/keys", summary="All keys, without their secrets")
async def keys(parts: Parts) -> Response:
    """Return every key."""
    found = await asyncio.to_thread(parts.keys.list)
    return json(
        {
            "keys": [
                {
                    "id": k.id,
                    "name": k.name,
                    "prefix": k.prefix,
                    "scopes": k.scopes,
                    "created": k.created_wall,
                    "revoked": k.revoked_wall,
                }
                for k in found
            ]
        }
    )


@router.post("/keys", status_code=201, summary="Make a key; its secret is shown once")
async def create_key(body: KeyIn, parts: Parts) -> Response:
    """Make a key."""
    key, secret = await asyncio.to_thread(parts.keys.create, body.name, now_wall=time.time())
    return json({"id": key.id, "name": key.name, "prefix": key.prefix, "secret": secret}, 201)


@router.delete("/keys/{key_id}", status_code=204, summary="Revoke a key")
async def revoke_key(key_id: int, request: Request, parts: Parts) -> Response:
    """Revoke a key; its sessions end with it."""
    await asyncio.to_thread(parts.keys.revoke, key_id, now_wall=time.time())
    _forget(request)
    return Response(status_code=204)


@router.post("/session", summary="Exchange a key for the dashboard's cookie")
async def log_in(body: SessionIn, request: Request, parts: Parts) -> Response:
    """Open a session."""
    key = await asyncio.to_thread(parts.keys.verify, body.key)
    if key is None:
        raise Unauthorized(
            "the key is wrong or was revoked", fix="make a new one with `saccade keys create NAME`"
        )
    hours = parts.desired.server.session_hours
    token = await asyncio.to_thread(parts.keys.open_session, key, hours=hours, now_wall=time.time())
    response = json({"name": key.name})
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(hours * 3600),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


@router.delete("/session", status_code=204, summary="Log out")
async def log_out(request: Request, parts: Parts) -> Response:
    """End the session."""
    token = request.cookies.get(COOKIE)
    if token:
        await asyncio.to_thread(parts.keys.close_session, token)
        _forget(request)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE)
    return response


def _forget(request: Request) -> None:
    access: Access = request.app.state.access
    access.forget()
