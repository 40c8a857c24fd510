"""`POST /api/detect`: an image in, what a model sees on it out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.datastructures import UploadFile
from starlette.responses import Response

from saccade.errors import BadInput, Overloaded
from saccade.server.context import Parts
from saccade.server.shapes import DetectAnswer, Found, Size
from saccade.web import problems
from saccade.web.bodies import check_announced, read_body, too_large

router = APIRouter(prefix="/api", tags=["detect"])

_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "string", "format": "binary"}},
                    "required": ["file"],
                }
            },
            "image/jpeg": {"schema": {"type": "string", "format": "binary"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


@router.post(
    "/detect",
    response_model=DetectAnswer,
    openapi_extra=_BODY,
    summary="Detect objects on an image",
)
async def detect(
    request: Request,
    parts: Parts,
    model: Annotated[str | None, Query(description="its name; without one the first")] = None,
    confidence: Annotated[float, Query(ge=0.0, le=1.0, description="leave out less sure ones")] = 0,
) -> Response | DetectAnswer:
    """Answer an image sent as multipart field `file` or as the raw body."""
    try:
        data = await _image(request, parts.desired.server.max_body_bytes)
        name, seen = await parts.detect.detect(data, model=model, confidence=confidence)
    except Overloaded as error:
        retry = {"Retry-After": str(parts.detect.retry_after_s)}
        return problems.problem(error.status, error.info(), headers=retry)
    found = seen.found
    return DetectAnswer(
        model=name,
        image=Size(width=seen.width, height=seen.height),
        detections=[
            Found(
                label=seen.label(int(c)),
                confidence=round(float(s), 4),
                bbox=(round(b[0], 2), round(b[1], 2), round(b[2], 2), round(b[3], 2)),
            )
            for b, s, c in zip(found.boxes_px.tolist(), found.scores, found.classes, strict=True)
        ],
        processing_time_ms=round(seen.took_ms, 2),
    )


async def _image(request: Request, most_bytes: int) -> bytes:
    """Return the image's bytes, never reading more than the limit."""
    check_announced(request, most_bytes)
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        async with request.form(max_files=1, max_fields=4, max_part_size=most_bytes) as form:
            files = [value for value in form.values() if isinstance(value, UploadFile)]
            if not files:
                raise BadInput("the form holds no file", fix="send the image as field `file`")
            if (files[0].size or 0) > most_bytes:
                raise too_large(files[0].size or 0, most_bytes)
            return await files[0].read()
    return await read_body(request, most_bytes)
