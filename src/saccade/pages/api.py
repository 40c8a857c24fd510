"""The API server as the pages ask it: HTTP on its Unix-domain socket, answers typed."""

from __future__ import annotations

from typing import Final, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from saccade.errors import SaccadeError
from saccade.pages.contract import EventId, EventPage, NewCamera, Problem, State

#: No page shows an answer larger than this; more is a fault of the server.
MAX_ANSWER_BYTES: Final = 8 * 1024 * 1024

Answer = TypeVar("Answer")


class ServerUnreachable(SaccadeError):
    """The API server does not answer on its socket."""

    code, status = "server_unreachable", 503


class AnswerInvalid(SaccadeError):
    """The API server answered something this version does not understand."""

    code, status = "answer_invalid", 502


class RequestRefused(SaccadeError):
    """The API server refused, with a problem that says why.

    Args:
        problem: what it answered.
        status: the HTTP status it answered with.
    """

    code = "request_refused"

    def __init__(self, problem: Problem, *, status: int) -> None:
        what = problem.detail or problem.title or f"The server answered {status}"
        super().__init__(what, fix=problem.fix)
        self.problem = problem
        self.answered_status = status


class ApiClient:
    """Asks the API server. Trusted there without a key: the socket belongs to this user alone."""

    def __init__(
        self, api_socket: str, *, timeout_seconds: float, read_timeout_seconds: float
    ) -> None:
        """Prepare; the first request connects.

        Args:
            api_socket: path of the API server's Unix-domain socket.
            timeout_seconds: longest wait for the answer to a change.
            read_timeout_seconds: longest wait for the answer to a question.
        """
        self._read_timeout_seconds = read_timeout_seconds
        self._http = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=api_socket),
            base_url="http://localhost",
            timeout=timeout_seconds,
            trust_env=False,
        )

    async def state(self, *, timeout_seconds: float) -> State:
        """Return the present state.

        Args:
            timeout_seconds: longest wait; a page that is being built cannot wait for long.

        Raises:
            ServerUnreachable, RequestRefused, AnswerInvalid: no state came back.
        """
        return _decode(await self._send("GET", "/api/state", timeout=timeout_seconds), State)

    async def events(
        self,
        *,
        limit: int,
        before: EventId | None = None,
        kind: str = "",
        camera: str = "",
    ) -> EventPage:
        """Return stored events, the newest first.

        Args:
            limit: how many at most.
            before: only events older than this one.
            kind: only events of this kind; empty for all.
            camera: only events of this camera; empty for all.

        Raises:
            ServerUnreachable, RequestRefused, AnswerInvalid: no events came back.
        """
        query: dict[str, str | int] = {"limit": limit}
        if before is not None:
            query["before"] = before
        if kind:
            query["kind"] = kind
        if camera:
            query["camera"] = camera
        answer = await self._send(
            "GET", "/api/events", params=query, timeout=self._read_timeout_seconds
        )
        return _decode(answer, EventPage)

    async def environment(self) -> str:
        """Return what a bug report needs, as indented JSON.

        Raises:
            ServerUnreachable, RequestRefused, AnswerInvalid: it did not come back.
        """
        answer = await self._send("GET", "/api/environment", timeout=self._read_timeout_seconds)
        try:
            return msgspec.json.format(answer, indent=2).decode()
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _not_understood(error) from error

    async def add_camera(self, camera: NewCamera) -> None:
        """Ask for a new camera.

        Raises:
            RequestRefused: the API says why not.
            ServerUnreachable: it does not answer.
        """
        await self._send(
            "POST",
            "/api/cameras",
            content=msgspec.json.encode(camera),
            headers={"content-type": "application/json"},
        )

    async def remove_camera(self, camera_id: str) -> None:
        """Ask that a camera be removed. Raises as `add_camera`."""
        await self._send("DELETE", f"/api/cameras/{quote(camera_id, safe='')}")

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _send(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str | int] | None = None,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpx ends the request itself
    ) -> bytes:
        try:
            async with self._http.stream(
                method,
                path,
                params=params,
                content=content,
                headers=headers,
                timeout=httpx.USE_CLIENT_DEFAULT if timeout is None else timeout,
            ) as response:
                body = bytearray()
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > MAX_ANSWER_BYTES:
                        raise AnswerInvalid(
                            f"the answer to {path} is larger than {MAX_ANSWER_BYTES} bytes",
                            fix="report it with the server's version",
                        )
        except httpx.HTTPError as error:
            # Some httpx errors have no text of their own; their name is the news.
            raise ServerUnreachable(
                f"The server did not answer: {error or type(error).__name__}",
                fix="try again in a moment",
            ) from error
        if response.is_error:
            raise RequestRefused(_problem(bytes(body)), status=response.status_code)
        return bytes(body)


def _decode(answer: bytes, shape: type[Answer]) -> Answer:
    try:
        return msgspec.json.decode(answer, type=shape)
    except msgspec.DecodeError as error:
        raise _not_understood(error) from error


def _not_understood(error: Exception) -> AnswerInvalid:
    return AnswerInvalid(
        f"The server's answer was not understood: {error}",
        fix="check that the server and the pages are of the same version",
    )


def _problem(body: bytes) -> Problem:
    try:
        return msgspec.json.decode(body, type=Problem)
    except msgspec.DecodeError:
        return Problem()  # not ours, for instance of a proxy: the status has to do
