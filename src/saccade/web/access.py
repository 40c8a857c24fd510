"""Who may come in: Host and Origin checks, API keys and the dashboard's session cookie.

One ASGI middleware before everything else. Requests on the server's own Unix socket (in a folder
only its owner can enter) come from this machine's administrator and need nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from saccade.desired import ServerSpec
from saccade.errors import Forbidden, SaccadeError, Unauthorized
from saccade.storage.keys import ApiKey, KeyStore
from saccade.web import problems

COOKIE: Final = "saccade_session"
#: Paths that need no key: probes of a load balancer, and what the login page is made of.
PUBLIC: Final = (
    "/livez",
    "/readyz",
    "/v2/health/live",
    "/v2/health/ready",
    "/login",
    "/api/session",
    "/_nicegui/",
    "/static/",
    "/favicon.ico",
)
#: Messages that may go on for hours after the door was passed.
_FLOWS: Final = frozenset({"http.response.body", "websocket.send"})
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
#: A verified key is believed this long without asking the database again, seconds.
KEY_CACHE_S: Final = 5.0
KEY_CACHE_MOST: Final = 1024


class Access:
    """The middleware.

    Args:
        app: what comes after.
        server: the bind address decides whether keys are needed.
        keys: the key store.
    """

    def __init__(self, app: ASGIApp, *, server: ServerSpec, keys: KeyStore) -> None:
        self._app, self._server, self._keys = app, server, keys
        self._known: dict[str, tuple[ApiKey | None, float]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through, or answer why not."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        if is_local(scope):
            state["user"] = "local"
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            check_host(headers.get("host", ""), self._server)
            check_origin(scope, headers, self._server)
            state["user"] = await self._user(scope["path"], headers)
        except SaccadeError as error:
            await self._refuse(scope, receive, send, error, headers)
            return
        if self._server.auth_required and state["user"] != "anonymous":
            send = self._while_valid(scope, headers, send)
        await self._app(scope, receive, send)

    def _while_valid(self, scope: Scope, headers: Headers, send: Send) -> Send:
        """Return a `send` that ends a stream or WebSocket whose key was revoked meanwhile."""
        secret, is_session = credentials(headers)

        async def checked(message: Message) -> None:
            if (
                message["type"] in _FLOWS
                and await self._verify(secret, is_session=is_session) is None
            ):
                if scope["type"] == "websocket":
                    await send({"type": "websocket.close", "code": 4401, "reason": "revoked"})
                raise OSError("the key was revoked")  # what a client that left looks like
            await send(message)

        return checked

    async def _user(self, path: str, headers: Headers) -> str:
        if not self._server.auth_required:
            return "loopback"
        secret, is_session = credentials(headers)
        key = await self._verify(secret, is_session=is_session) if secret else None
        if key is not None:
            return f"key {key.name}"
        if any(path == p or (p.endswith("/") and path.startswith(p)) for p in PUBLIC):
            return "anonymous"
        if secret and not is_session:
            raise Unauthorized(
                "the API key is wrong or was revoked",
                fix="make a new one with `saccade keys create NAME`",
            )
        raise Unauthorized(
            "an API key is needed: the server is not bound to loopback",
            fix="send X-API-Key or Authorization: Bearer, or log in at /login",
        )

    async def _verify(self, secret: str, *, is_session: bool) -> ApiKey | None:
        now = time.monotonic()
        known = self._known.get(secret)
        if known is not None and now < known[1]:
            return known[0]
        if is_session:
            key = await asyncio.to_thread(self._keys.session, secret, now_wall=time.time())
        else:
            key = await asyncio.to_thread(self._keys.verify, secret)
        if len(self._known) >= KEY_CACHE_MOST:
            self._known.clear()
        self._known[secret] = (key, now + KEY_CACHE_S)
        return key

    def forget(self) -> None:
        """Ask the database again at the next request: a key was revoked or a session ended."""
        self._known.clear()

    async def _refuse(
        self, scope: Scope, receive: Receive, send: Send, error: SaccadeError, headers: Headers
    ) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send(
                {
                    "type": "websocket.close",
                    "code": 4401 if error.status == 401 else 4403,
                    "reason": error.what[:120],
                }
            )
            return
        response: Response = problems.of(error, path=scope["path"])
        if isinstance(error, Unauthorized) and "text/html" in headers.get("accept", ""):
            response = RedirectResponse(f"/login?next={quote(scope['path'])}", 303)
        await response(scope, receive, send)


def is_local(scope: Scope) -> bool:
    """Say whether the request came over the server's own Unix socket."""
    server = scope.get("server")
    return scope.get("client") is None and (server is None or server[1] is None)


def credentials(headers: Headers) -> tuple[str, bool]:
    """Return the key or session token of a request, and whether it is a session's."""
    if key := headers.get("x-api-key"):
        return key, False
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value:
        return value.strip(), False
    try:
        cookies: Mapping[str, object] = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return "", False
    morsel = cookies.get(COOKIE)
    return (getattr(morsel, "value", ""), True) if morsel is not None else ("", False)


def hostname(authority: str) -> str:
    """Return the host of `host[:port]`, lower case, without brackets."""
    host = authority.rsplit(":", 1)[0] if not authority.endswith("]") else authority
    if authority.count(":") > 1 and not authority.startswith("["):
        host = authority
    return host.strip("[]").lower()


def check_host(authority: str, server: ServerSpec) -> None:
    """Refuse a Host header that is not ours: a page that rebinds its name to us would have one.

    Raises:
        Forbidden: the name is not this server's.
    """
    host = hostname(authority)
    named = {server.host.lower(), *(h.lower() for h in server.allowed_hosts)}
    if host in named or host in _LOOPBACK_NAMES:
        return
    if not _is_loopback(server.host) and (_is_address(host) or not server.allowed_hosts):
        return  # an address cannot be rebound, and names are free until allowed_hosts lists them
    raise Forbidden(
        f"the Host header names {authority!r}, which is not this server",
        fix="open it by its address, or list the name in server.allowed_hosts",
    )


def check_origin(scope: Scope, headers: Headers, server: ServerSpec) -> None:
    """Refuse what another site's page sends: writes and WebSockets.

    Raises:
        Forbidden: the request comes from a page of another origin.
    """
    if scope["type"] == "http" and scope["method"] in _SAFE_METHODS:
        return
    if headers.get("sec-fetch-site") == "cross-site":
        raise Forbidden(
            "the request comes from another site's page", fix="use the dashboard, or an API client"
        )
    origin = headers.get("origin")
    if origin is None:
        return
    authority = origin.partition("://")[2]
    if authority == headers.get("host") or hostname(authority) in server.allowed_hosts:
        return
    raise Forbidden(
        f"the request comes from a page of {origin}",
        fix="list its host in server.allowed_hosts if it is yours",
    )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host in _LOOPBACK_NAMES or (_is_address(host) and ipaddress.ip_address(host).is_loopback)
