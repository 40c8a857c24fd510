"""The process of the dashboard: NiceGUI on uvicorn, on a socket that somebody else has bound."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Iterator

import uvicorn
from fastapi import FastAPI
from nicegui import app as nicegui_app
from nicegui import ui
from starlette.requests import Request
from starlette.responses import HTMLResponse

from saccade.clock import SystemClock
from saccade.pages import cameras, events, models, overview, plain, system
from saccade.pages.api import ApiClient
from saccade.pages.feed import StateFeed
from saccade.pages.settings import PagesSettings
from saccade.pages.site import Site
from saccade.ui.theme import LOGO_SVG, STATIC_PREFIX, HashedStaticFiles, head_html, static_hash

#: A browser that was away for no longer than this keeps its page (seconds).
RECONNECT_SECONDS = 10.0


def serve(
    listener: socket.socket, api_socket: str, settings: PagesSettings, stop: threading.Event
) -> None:
    """Serve the dashboard until `stop` is set. Call it once in a process, from its main thread.

    Args:
        listener: a bound and listening stream socket; it is closed on return. Whoever can reach
            it is trusted: the API server stands before it and has checked host, origin and key.
        api_socket: path of the API server's Unix-domain socket, trusted without a key.
        settings: how the dashboard behaves.
        stop: set it to end; open pages are told so and the process is free within about
            `settings.drain_seconds`.
    """
    app = build(api_socket, settings)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        # The API server hands the browser's headers on; it alone can reach this socket.
        proxy_headers=True,
        forwarded_allow_ips="*",
        timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
    )
    listener.setblocking(False)
    asyncio.run(_Server(config, stop).serve(sockets=[listener]))


def build(api_socket: str, settings: PagesSettings) -> FastAPI:
    """Return the application. NiceGUI has one per process, so this can be called once.

    Args:
        api_socket: path of the API server's Unix-domain socket.
        settings: how the dashboard behaves.
    """
    clock = SystemClock()
    api = ApiClient(
        api_socket,
        timeout_seconds=settings.request_timeout_seconds,
        read_timeout_seconds=settings.read_timeout_seconds,
    )
    feed = StateFeed(api_socket, clock=clock, settings=settings)
    site = Site(api=api, feed=feed, settings=settings, clock=clock)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await feed.close()
        await api.close()

    app = FastAPI(lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)
    app.mount(f"{STATIC_PREFIX}/{static_hash()}", HashedStaticFiles())

    @app.get("/login", include_in_schema=False)
    async def login() -> HTMLResponse:
        return HTMLResponse(plain.login_page(), headers={"Cache-Control": "no-store"})

    @nicegui_app.exception_handler(404)
    async def not_found(_: Request, __: Exception) -> HTMLResponse:
        return HTMLResponse(plain.not_found_page(), status_code=404)

    @nicegui_app.exception_handler(Exception)
    async def failed(_: Request, __: Exception) -> HTMLResponse:
        return HTMLResponse(plain.failed_page(), status_code=500)

    # Quasar's bar for requests has no name for a screen reader and no news for anybody.
    nicegui_app.config.quasar_config["loadingBar"] = {"skipHijack": True}
    ui.add_head_html(head_html(), shared=True)
    for page in (overview, cameras, models, events, system):
        page.register(site)
    ui.run_with(
        app,
        title="saccade",
        favicon=LOGO_SVG,
        dark=None,
        language="en-US",
        tailwind=False,
        reconnect_timeout=RECONNECT_SECONDS,
        show_welcome_message=False,
    )
    return app


class _Server(uvicorn.Server):
    """Ends when an event is set; signals are the business of the process it runs in."""

    def __init__(self, config: uvicorn.Config, stop: threading.Event) -> None:
        super().__init__(config)
        self._stop = stop

    async def on_tick(self, counter: int) -> bool:
        return self._stop.is_set() or await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn would answer SIGTERM by killing the process with it after the shutdown.
        yield
