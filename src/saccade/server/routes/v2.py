"""`/v2`: the Open Inference Protocol (KServe v2), so that its clients work here unchanged.

Not ready is 503, where Triton says 400: clients take anything but 200 for not ready, and 503 is
what a balancer understands.
Source: KServe, Open Inference Protocol v2; Triton's extensions for binary data, model
configuration, statistics and the repository.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from saccade import __version__
from saccade.engine import wire
from saccade.errors import BadInput, ModelNotReady, NotFound, NotSupported, Overloaded
from saccade.server import detector_tensors, tensors
from saccade.server.context import Context, Parts
from saccade.server.detect import Image
from saccade.server.detector_tensors import VERSION
from saccade.server.routes.health import json
from saccade.types import ModelStatus
from saccade.web import problems
from saccade.web.bodies import decompress, read_body

router = APIRouter(prefix="/v2", tags=["open inference protocol"])

_EXTENSIONS = ("binary_tensor_data", "model_configuration", "statistics")
#: A request of the index is a few words.
_INDEX_BYTES_MOST = 1024


def _find(model: str, request: Request, parts: Parts) -> wire.ModelState:
    """Return the model of a path, with a version or without."""
    for state in parts.tree.state.models:
        if state.name == model:
            break
    else:
        known = ", ".join(m.name for m in parts.tree.state.models) or "none"
        raise NotFound(f"no model is named {model!r}", fix=f"known models: {known}")
    version = request.path_params.get("version", VERSION)
    if version != VERSION:
        raise NotFound(
            f"model {model} has no version {version!r}", fix=f"its only version is {VERSION!r}"
        )
    return state


Model = Annotated[wire.ModelState, Depends(_find)]


def _versioned(path: str) -> str:
    return f"/models/{{model}}/versions/{{version}}{path}"


@router.get("", summary="Name, version and extensions")
def server_metadata() -> Response:
    """Return who answers."""
    return json({"name": "saccade", "version": __version__, "extensions": _EXTENSIONS})


@router.get("/health/live", summary="The process answers")
def live() -> Response:
    """Return 200 while the server's process works."""
    return json({"live": True})


@router.get("/health/ready", summary="A model has proved itself")
def ready(parts: Parts) -> Response:
    """Return what `/readyz` does."""
    health = parts.tree.health()
    if parts.stopping or not health.ready:
        reasons = ["the server is stopping"] if parts.stopping else health.reasons
        raise ModelNotReady("; ".join(reasons) or "the router is not running", fix="see /readyz")
    return json({"ready": True})


@router.get("/models/stats", summary="Statistics of all models")
def all_stats(parts: Parts) -> Response:
    """Return what was counted of every model."""
    return json({"model_stats": [_stats(parts, model) for model in parts.tree.state.models]})


@router.get("/models/{model}", summary="A model's inputs and outputs")
@router.get(_versioned(""), include_in_schema=False)
def model_metadata(model: Model) -> Response:
    """Return the tensors a model takes and gives."""
    return json(detector_tensors.metadata(model.name))


@router.get("/models/{model}/ready", summary="The model has proved itself")
@router.get(_versioned("/ready"), include_in_schema=False)
def model_ready(model: Model, parts: Parts) -> Response:
    """Return 200 when the model answers, 503 when it does not."""
    if parts.stopping:
        raise ModelNotReady("the server is stopping", fix="ask again when it is back")
    if model.status is not ModelStatus.READY:
        raise ModelNotReady(
            f"model {model.name} is {model.status}: {model.reason}",
            fix="wait, or see the model's page",
        )
    return json({"name": model.name, "ready": True})


@router.get("/models/{model}/config", summary="A model's configuration")
@router.get(_versioned("/config"), include_in_schema=False)
def model_config(model: Model, parts: Parts) -> Response:
    """Return the configuration in Triton's words."""
    return json(detector_tensors.config(model.name, most_images=_most_images(parts)))


@router.get("/models/{model}/stats", summary="A model's statistics")
@router.get(_versioned("/stats"), include_in_schema=False)
def model_stats(model: Model, parts: Parts) -> Response:
    """Return what was counted of a model."""
    return json({"model_stats": [_stats(parts, model)]})


@router.post("/models/{model}/infer", summary="Tensors in, tensors out")
@router.post(_versioned("/infer"), include_in_schema=False)
async def infer(model: Model, request: Request, parts: Parts) -> Response:
    """Have a model look at one image or several."""
    server = parts.desired.server
    body = await read_body(request, server.max_body_bytes)
    # In a thread: unpacking and reading megabytes of numbers would stop every other request.
    said, asked, images = await asyncio.to_thread(
        _parse,
        body,
        encoding=request.headers.get("content-encoding", ""),
        header_length=request.headers.get(tensors.HEADER_LENGTH),
        most_bytes=server.max_body_bytes,
        limits=tensors.Limits(texts=_most_images(parts), numbers=server.max_image_pixels * 3),
    )
    try:
        _name, seen = await parts.detect.detect_all(
            images, model=model.name, confidence=said.confidence, timeout_s=said.timeout_s
        )
    except Overloaded as error:
        retry = {"Retry-After": str(parts.detect.retry_after_s)}
        return problems.problem(error.status, error.info(), path=request.url.path, headers=retry)
    outputs = detector_tensors.outputs_of(seen)
    answer, json_bytes = tensors.encode_response(
        [(outputs[one.name], one.is_binary) for one in asked],
        model=model.name,
        version=VERSION,
        request_id=said.id,
    )
    if json_bytes is None:
        return Response(answer, media_type="application/json")
    headers = {tensors.HEADER_LENGTH: str(json_bytes)}
    return Response(answer, headers=headers, media_type="application/octet-stream")


def _parse(
    body: bytes,
    *,
    encoding: str,
    header_length: str | None,
    most_bytes: int,
    limits: tensors.Limits,
) -> tuple[tensors.Request, tuple[tensors.Asked, ...], list[Image]]:
    plain = decompress(body, encoding, most_bytes)
    said = tensors.parse_request(plain, header_length, limits=limits)
    asked = detector_tensors.check_asked(said)
    images = detector_tensors.images_of(said)
    if len(images) > limits.texts:
        raise BadInput(
            f"the request has {len(images)} images, at most {limits.texts} are taken at once",
            fix="send several requests, or raise server.slots",
        )
    return said, asked, images


class _IndexAsked(msgspec.Struct):
    ready: bool = False


@router.post("/repository/index", summary="All models and their states")
async def repository_index(request: Request, parts: Parts) -> Response:
    """Return every model; with `{"ready": true}` only those that are ready."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _INDEX_BYTES_MOST:
            raise BadInput(f"the body has over {_INDEX_BYTES_MOST} bytes", fix="send {} or nothing")
    try:
        asked = msgspec.json.decode(body or b"{}", type=_IndexAsked)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadInput(f"the body: {error}", fix='send {"ready": true}, {} or nothing') from None
    models = parts.tree.state.models
    return json(
        [
            detector_tensors.index_entry(model)
            for model in models
            if model.status is ModelStatus.READY or not asked.ready
        ]
    )


@router.post("/repository/models/{model}/load", summary="Not there yet: 501")
@router.post("/repository/models/{model}/unload", summary="Not there yet: 501")
def repository_control(model: str) -> Response:
    """Say how models are added here."""
    raise NotSupported(
        f"model {model[:63]!r} cannot be loaded or unloaded through this protocol yet",
        fix="use `saccade models add` or `saccade models remove`, or edit saccade.yaml",
    )


def _most_images(parts: Context) -> int:
    """Return how many images one request may have: as many as can be under way at once."""
    return parts.desired.server.slots


def _stats(parts: Context, model: wire.ModelState) -> detector_tensors.ModelStats:
    return detector_tensors.statistics(model.name, parts.tree.words(model))
