"""What the routes share, built once when the server starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.requests import HTTPConnection

from saccade.desired import Desired
from saccade.server.detect import DetectService
from saccade.server.hub import Hub
from saccade.server.metrics import Metrics
from saccade.server.proxy import PagesProxy
from saccade.server.things import Things
from saccade.server.tree import TreeView
from saccade.server.view import ViewHub
from saccade.storage.database import Database
from saccade.storage.events import EventStore
from saccade.storage.keys import KeyStore
from saccade.telemetry.board import Page
from saccade.telemetry.gpu import GpuSampler


@dataclass(slots=True)
class Context:
    """The server's parts."""

    desired: Desired
    tree: TreeView
    hub: Hub
    view: ViewHub
    detect: DetectService
    proxy: PagesProxy
    metrics: Metrics
    database: Database
    events: EventStore
    keys: KeyStore
    things: Things
    page: Page
    gpus: GpuSampler
    stopping: bool = False


def context_of(connection: HTTPConnection) -> Context:
    """Return the server's parts for a route."""
    context: Context = connection.app.state.context
    return context


async def of_request(request: Request) -> Context:
    """Return the server's parts for a request; async, or FastAPI would ask a thread for it."""
    return context_of(request)


Parts = Annotated[Context, Depends(of_request)]
