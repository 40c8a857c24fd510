"""A small API server that speaks the pages' contract, has controls, and leads to the pages.

It listens on a Unix-domain socket (as the pages see the server) and on a port (as a browser does).
"""

from __future__ import annotations

import asyncio
import copy
import json
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import unix_connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from tests.pages.fake_data import camera, event, problem, rich_state, tile

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "content-length"}
TILE_PERIOD_S = 0.12


class FakeApi:
    """The server, in a thread. Attributes may be changed through `change` while it runs."""

    def __init__(self, folder: Path) -> None:
        self.api_socket = str(folder / "api.sock")
        self.pages_socket = str(folder / "pages.sock")
        self.state = rich_state()
        self.events = [event(n) for n in range(1, 121)]
        self.events[-3] |= {"kind": "camera.state", "severity": "error", "camera": "back-yard",
                            "message": "camera back-yard is in error"}  # fmt: skip
        self.key: str | None = None  # with one, a browser needs its cookie
        self.refuse: Response | None = None  # what adding a camera is answered with
        self.added: list[dict[str, Any]] = []
        self.removed: list[str] = []
        self.feed_open = True
        self.feeds: set[WebSocket] = set()
        self._asked = threading.Condition()
        self._no_feed = threading.Event()
        self.feed_count = 0  # connections ever made to /ws
        self.watched: list[dict[str, str]] = []  # what the last browser asked to see
        self.tiles_flow = self.tiles_open = True
        self._tile_ends: set[asyncio.Event] = set()
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self._unix = socket.socket(socket.AF_UNIX)
        self._unix.bind(self.api_socket)
        self._unix.listen(64)
        self.port: int = self._tcp.getsockname()[1]
        self.origin = f"http://127.0.0.1:{self.port}"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._app(),
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=1,
            )
        )
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._started.wait(10)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        async def main() -> None:
            self._loop = asyncio.get_running_loop()
            self._proxy = httpx.AsyncClient(
                transport=httpx.AsyncHTTPTransport(uds=self.pages_socket),
                base_url="http://pages", timeout=20,
            )  # fmt: skip
            self._started.set()
            await self._server.serve(sockets=[self._unix, self._tcp])
            await self._proxy.aclose()

        asyncio.run(main())

    # -- controls, called from the test's thread -----------------------------------------

    def change(self, do: Callable[[FakeApi], None]) -> None:
        """Change something in the server's own thread and push the new state."""

        async def apply() -> None:
            do(self)
            self.state["at"] = time.time()
            await self._push({"type": "state_update", "state": self.state})

        self._in_loop(apply())

    def wait_for(self, is_so: Callable[[FakeApi], bool], *, within_s: float = 8.0) -> None:
        """Wait until something is so; looked at whenever a browser asks for other tiles."""
        deadline = time.monotonic() + within_s
        with self._asked:
            while not is_so(self):
                left = deadline - time.monotonic()
                assert left > 0, f"still not so; watched: {self.watched}"
                self._asked.wait(left)

    def push_event(self, **changes: Any) -> dict[str, Any]:
        """Store and push one event."""
        new = event(len(self.events) + 1, at=time.time(), **changes)

        async def apply() -> None:
            self.events.append(new)
            await self._push({"type": "event", "event": new})

        self._in_loop(apply())
        return new

    def push_raw(self, message: dict[str, Any]) -> None:
        """Push something that is not of the contract."""
        self._in_loop(self._push(message))

    def wait_no_feed(self) -> None:
        """Wait until nobody is connected to `/ws`."""
        assert self._no_feed.wait(5)

    def drop_feed(self) -> None:
        """Close every `/ws` and refuse new ones."""

        async def apply() -> None:
            self.feed_open = False
            for feed in list(self.feeds):
                await feed.close(1012)

        self._in_loop(apply())

    def drop_tiles(self) -> None:
        """Close every `/ws/tiles` and refuse new ones."""
        self.tiles_open = False

        def end(api: FakeApi) -> None:
            for gone in api._tile_ends:
                gone.set()

        self.change(end)

    def resume_feed(self) -> None:
        self.feed_open = True

    def reset(self) -> None:
        """Go back to the first state."""

        def first(api: FakeApi) -> None:
            api.state = copy.deepcopy(rich_state())
            api.key = api.refuse = None
            api.added, api.removed = [], []
            api.feed_open = api.tiles_flow = api.tiles_open = True

        self.change(first)

    def _in_loop(self, coroutine: Any) -> None:
        assert self._loop
        future: Future[None] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        future.result(10)

    async def _push(self, message: dict[str, Any]) -> None:
        for feed in list(self.feeds):
            await feed.send_json(message)

    # -- the doors -----------------------------------------------------------------------

    def _app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/api/state", self._get_state),
                Route("/api/events", self._get_events),
                Route("/api/environment", self._get_environment),
                Route("/api/cameras", self._post_camera, methods=["POST"]),
                Route("/api/cameras/{id}", self._delete_camera, methods=["DELETE"]),
                Route("/api/session", self._session, methods=["POST", "DELETE"]),
                WebSocketRoute("/ws", self._ws),
                WebSocketRoute("/ws/tiles", self._tiles),
                WebSocketRoute("/{path:path}", self._proxy_ws),
                Route("/{path:path}", self._proxy_http, methods=["GET", "POST"]),
            ]
        )

    async def _get_state(self, _: Request) -> Response:
        if not self.feed_open:
            return problem(503, "away", "the server is away", "wait")
        return JSONResponse(self.state)

    async def _get_events(self, request: Request) -> Response:
        query = request.query_params
        found = [
            e
            for e in reversed(self.events)
            if e["id"] < int(query.get("before", 10**9))
            and query.get("kind") in (None, e["kind"])
            and query.get("camera") in (None, e["camera"])
        ]
        limit = int(query.get("limit", 50))
        more = len(found) > limit
        return JSONResponse(
            {"events": found[:limit], "next": found[limit - 1]["id"] if more else None}
        )

    async def _get_environment(self, _: Request) -> Response:
        return JSONResponse(
            {"saccade": "0.1.0", "python": "3.11.7", "platform": "Linux 6.1 x86_64",
             "packages": {"onnxruntime": "1.20.1", "nicegui": "3.18.0"},
             "devices": [{"name": "CPU", "cores": 2}], "settings": {"cameras": 4, "models": 2}}
        )  # fmt: skip

    async def _post_camera(self, request: Request) -> Response:
        if self.refuse is not None:
            return self.refuse
        new = await request.json()
        self.added.append(new)
        self.state["cameras"][new["id"]] = camera(
            new["id"], name=new.get("name") or new["id"], source=new["source"], origin="database",
            model=new.get("model"),
        )  # fmt: skip
        await self._push({"type": "state_update", "state": self.state})
        return JSONResponse({"id": new["id"]}, 201)

    async def _delete_camera(self, request: Request) -> Response:
        self.removed.append(request.path_params["id"])
        del self.state["cameras"][request.path_params["id"]]
        await self._push({"type": "state_update", "state": self.state})
        return Response(status_code=204)

    async def _session(self, request: Request) -> Response:
        if request.method == "DELETE":
            response = Response(status_code=204)
            response.delete_cookie("saccade_session")
            return response
        if (await request.json())["key"] != self.key:
            return problem(401, "unauthorized", "This key is not known.", "Check its spelling.")
        response = Response(status_code=204)
        response.set_cookie("saccade_session", "good", httponly=True, samesite="strict")
        return response

    async def _ws(self, websocket: WebSocket) -> None:
        if not self.feed_open:
            await websocket.close(1013)
            return
        await websocket.accept()
        self.feed_count += 1
        await websocket.send_json({"type": "state_update", "state": self.state})
        self.feeds.add(websocket)
        self._no_feed.clear()
        try:
            while True:
                await websocket.receive()
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            self.feeds.discard(websocket)
            if not self.feeds:
                self._no_feed.set()

    async def _tiles(self, websocket: WebSocket) -> None:
        if not self.tiles_open:
            await websocket.close(1013)
            return
        await websocket.accept()
        watched: list[dict[str, str]] = []
        gone = asyncio.Event()
        self._tile_ends.add(gone)

        async def listen() -> None:
            nonlocal watched
            try:
                while True:
                    watched = json.loads(await websocket.receive_text())["watch"]
                    with self._asked:
                        self.watched = watched
                        self._asked.notify_all()
            except (WebSocketDisconnect, RuntimeError, KeyError):
                gone.set()

        listener = asyncio.create_task(listen())
        seq = 0
        try:
            while not gone.is_set():
                seq += 1
                for wish in watched:
                    shown = self.state["cameras"].get(wish["camera"], {})
                    if self.tiles_flow and shown.get("state") == "live":
                        await websocket.send_bytes(tile(wish["camera"], wish["size"], seq))
                try:
                    await asyncio.wait_for(gone.wait(), TILE_PERIOD_S)
                except TimeoutError:
                    continue
            if not self.tiles_open:
                await websocket.close(1012)
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            with self._asked:
                self.watched = []
                self._asked.notify_all()
            self._tile_ends.discard(gone)
            listener.cancel()

    def _may_pass(self, path: str, cookies: dict[str, str]) -> bool:
        return (
            self.key is None
            or path == "/login"
            or path.startswith("/_nicegui/")
            or cookies.get("saccade_session") == "good"
        )

    async def _proxy_http(self, request: Request) -> Response:
        path = request.url.path
        if not self._may_pass(path, request.cookies):
            return RedirectResponse(f"/login?next={path}", 303)
        try:
            answer = await self._proxy.send(
                self._proxy.build_request(
                    request.method,
                    path,
                    params=request.query_params,
                    headers=[(k, v) for k, v in request.headers.items() if k not in HOP_BY_HOP],
                    content=await request.body(),
                ),
                stream=True,
            )
        except httpx.HTTPError:
            return Response("pages away", 502)

        async def body() -> Any:
            async for part in answer.aiter_raw():
                yield part
            await answer.aclose()

        headers = {k: v for k, v in answer.headers.items() if k not in HOP_BY_HOP}
        return StreamingResponse(body(), answer.status_code, headers)

    async def _proxy_ws(self, browser: WebSocket) -> None:
        path, query = browser.url.path, browser.url.query
        if not self._may_pass(path, browser.cookies):
            await browser.close(1008)
            return
        try:
            pages = await unix_connect(
                self.pages_socket, f"ws://pages{path}?{query}", proxy=None, max_size=None
            )
        except (OSError, WebSocketException):
            await browser.close(1013)
            return
        await browser.accept()

        async def down() -> None:
            try:
                async for message in pages:
                    if isinstance(message, str):
                        await browser.send_text(message)
                    else:
                        await browser.send_bytes(message)
                await browser.close(1012)
            except (ConnectionClosed, RuntimeError, WebSocketDisconnect):
                pass

        downward = asyncio.create_task(down())
        try:
            while True:
                message = await browser.receive()
                if message["type"] == "websocket.disconnect":
                    break
                await pages.send(message.get("text") or message.get("bytes") or "")
        except (ConnectionClosed, RuntimeError):
            pass
        finally:
            downward.cancel()
            await pages.close()
