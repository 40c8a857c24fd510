"""The server's process: joins the parts, listens, and stops when the supervisor says so."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Final

import uvicorn
import uvloop
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from saccade import __version__
from saccade.desired import Desired
from saccade.engine import wire
from saccade.errors import NotFound
from saccade.server.context import Context, context_of
from saccade.server.detect import DetectService
from saccade.server.hub import Hub
from saccade.server.metrics import Metrics
from saccade.server.proxy import PagesProxy
from saccade.server.routes import detect, health, keys, live, things, v2
from saccade.server.things import Things
from saccade.server.tree import TreeView
from saccade.server.view import ViewHub
from saccade.storage.database import Database
from saccade.storage.events import EventStore
from saccade.storage.keys import KeyStore
from saccade.telemetry.board import Board, Page, ServerWord, Word
from saccade.telemetry.gpu import GpuSampler
from saccade.web import problems
from saccade.web.access import Access

log = logging.getLogger(__name__)

#: Seconds between two heartbeats.
HEARTBEAT_S: Final = 0.5
#: What is the API's; everything else is the dashboard's.
API_PREFIXES: Final = ("/api/", "/ws", "/stream/", "/v1/", "/v2/")


class Uvicorn(uvicorn.Server):
    """uvicorn without its signal handlers: the supervisor tells us when to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def build_context(desired: Desired, *, control: socket.socket, board: Board, page: Page) -> Context:
    """Join the server's parts. Needs a running event loop."""
    database = Database(desired.storage.url)
    tree = TreeView(desired, control=control, board=board)
    gpus = GpuSampler(desired.supervisor.gpu_poll_seconds)
    return Context(
        desired=desired,
        tree=tree,
        view=ViewHub(),
        detect=DetectService(desired, tree),
        hub=Hub(tree, database, queue=desired.server.ws_queue, page=page),
        proxy=PagesProxy(desired.run_dir),
        metrics=Metrics(tree, gpus),
        gpus=gpus,
        database=database,
        events=EventStore(database),
        keys=KeyStore(database),
        things=Things(desired, tree, database),
        page=page,
    )


def build_app(context: Context) -> FastAPI:
    """Return the FastAPI application over the parts."""

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        hub = asyncio.create_task(context.hub.run())
        gpus = asyncio.create_task(context.gpus.run())
        yield
        gpus.cancel()
        hub.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await hub
        context.detect.close()
        await context.proxy.close()
        context.database.close()

    app = FastAPIOffline(
        title="saccade",
        version=__version__,
        lifespan=lifespan,
        redoc_url=None,
        description="Cameras in, detections out. Errors are RFC 9457 problem+json.",
    )
    app.state.context = context
    problems.install(app)
    for part in (health, things, detect, v2, live, keys):
        app.include_router(part.router)

    @app.websocket("/{path:path}")
    async def pages_socket(websocket: WebSocket) -> None:
        await context_of(websocket).proxy.websocket(websocket)

    @app.api_route(
        "/{path:path}",
        include_in_schema=False,
        methods=["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"],
    )
    async def pages(request: Request) -> Response:
        path = request.url.path
        if f"{path}/".startswith(API_PREFIXES) or not context.desired.pages:
            raise NotFound(f"{request.method} {path} is not here", fix="see /docs")
        return await context_of(request).proxy.http(request)

    return app


class Count:
    """Counts requests and failures, around everything else."""

    def __init__(self, app: Access, page: Page) -> None:
        self._app, self._page = app, page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on and count."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._page.add(ServerWord.REQUESTS)

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 500:
                self._page.add(ServerWord.ERRORS)
            await send(message)

        await self._app(scope, receive, counted)


def serve(
    desired: Desired,
    *,
    listeners: dict[str, socket.socket],
    control: socket.socket,
    board_fd: int,
    page: Page,
) -> None:
    """Serve until the supervisor says stop or is gone."""
    uvloop.run(_serve(desired, listeners, control, Board(board_fd), page))


async def _serve(
    desired: Desired,
    listeners: dict[str, socket.socket],
    control: socket.socket,
    board: Board,
    page: Page,
) -> None:
    context = build_context(desired, control=control, board=board, page=page)
    app = build_app(context)
    access = Access(app, server=desired.server, keys=context.keys)
    app.state.access = access
    server = Uvicorn(
        uvicorn.Config(
            Count(access, page),
            http="httptools",
            ws="websockets-sansio",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=int(max(1, desired.server.drain_seconds)),
            ws_max_size=64 * 1024,
            timeout_keep_alive=30,
        )
    )

    def stop(reason: str) -> None:
        """End what is open first, then let what is admitted finish."""
        log.info("stopping", extra={"reason": reason})
        context.stopping = True
        context.view.close()
        context.hub.close()
        server.should_exit = True

    context.tree.on_stop.append(stop)
    context.tree.start(asyncio.get_running_loop())
    view = await asyncio.start_unix_server(context.view.serve, sock=listeners["view"])
    beat = asyncio.create_task(_beat(context, server))
    await server.serve(sockets=[listeners["http"], listeners["admin"]])
    beat.cancel()
    view.close()


async def _beat(context: Context, server: Uvicorn) -> None:
    told = False
    while True:
        context.page.add(Word.HEARTBEAT)
        context.tree.flush()
        if server.started and not told:
            told = True
            context.tree.tell(wire.Good())
        await asyncio.sleep(HEARTBEAT_S if told else 0.02)
