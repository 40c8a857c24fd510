"""Errors as RFC 9457 problem+json, for every door."""

from __future__ import annotations

import logging
from http import HTTPStatus

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from saccade.errors import ErrorInfo, Overloaded, SaccadeError

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


def problem(
    status: int, error: ErrorInfo, *, path: str = "", headers: dict[str, str] | None = None
) -> Response:
    """Return an error as a response.

    Args:
        status: of HTTP.
        error: what to say.
        path: of the request. Clients of `/v2` read one member, `error`: there it is added.
        headers: of the response.

    Source: RFC 9457; `code` and `fix` are our extension members. Open Inference Protocol v2,
    "Errors", for `error`.
    """
    body: dict[str, str | int] = {
        "type": f"urn:saccade:problem:{error.code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": error.what,
        "code": error.code,
        "fix": error.fix,
    }
    if is_v2(path):
        body["error"] = f"{error.what} ({error.fix})"
    return Response(msgspec.json.encode(body), status, headers=headers, media_type=MEDIA_TYPE)


def is_v2(path: str) -> bool:
    """Say whether a path is of the Open Inference Protocol."""
    return path == "/v2" or path.startswith("/v2/")


def of(error: SaccadeError, *, path: str = "") -> Response:
    """Return one of our errors as a response to a request of `path`."""
    headers = {"Retry-After": "1"} if isinstance(error, Overloaded) or error.status == 503 else None
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers = {"WWW-Authenticate": "Bearer"}
    return problem(error.status, error.info(), path=path, headers=headers)


def install(app: FastAPI) -> None:
    """Make every error of the app a problem; no traceback leaves the process."""

    @app.exception_handler(SaccadeError)
    async def ours(request: Request, error: SaccadeError) -> Response:
        return of(error, path=request.url.path)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        said = "; ".join(
            f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
            for item in error.errors()
        )
        info = ErrorInfo("bad_input", said, "see /docs for what is expected")
        return problem(422, info, path=request.url.path)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        fixes = {404: "see /docs for what there is", 405: "see /docs for the method"}
        info = ErrorInfo(
            HTTPStatus(error.status_code).phrase.lower().replace(" ", "_"),
            f"{request.method} {request.url.path}: {error.detail}",
            fixes.get(error.status_code, "see /docs"),
        )
        headers = dict(error.headers or {})
        return problem(error.status_code, info, path=request.url.path, headers=headers)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, _error: Exception) -> Response:
        log.error("a request failed", extra={"path": request.url.path})
        info = ErrorInfo(
            "internal",
            "the server failed on this request",
            "see the server's log; please report it",
        )
        return problem(500, info, path=request.url.path)
