"""What is pushed to WebSocket clients, and the follower of the event table that feeds it.

Each client has a bounded queue; one that does not read loses what does not fit and gets a fresh
state instead, so it costs nothing and is never wrong for long.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Iterator
from typing import Final

import msgspec

from saccade.server.tree import TreeView
from saccade.storage.database import Database
from saccade.storage.events import EventStore, StoredEvent
from saccade.telemetry.board import Page, ServerWord

log = logging.getLogger(__name__)

#: Seconds between two looks whether events were stored.
FOLLOW_S: Final = 0.2
#: Seconds between two samples of the counters, and so between two ordinary state updates.
SAMPLE_S: Final = 1.0
#: Events read at once.
EVENTS_MOST: Final = 200


class EventView(msgspec.Struct, frozen=True, kw_only=True):
    """One event as the API says it."""

    id: int
    kind: str
    severity: str
    camera: str | None
    model: str | None
    at: float
    message: str
    data: dict[str, object]


class _StateUpdate(msgspec.Struct, frozen=True, tag_field="type", tag="state_update"):
    state: msgspec.Raw


class _EventPush(msgspec.Struct, frozen=True, tag_field="type", tag="event"):
    event: EventView


def event_view(event: StoredEvent) -> EventView:
    """Return an event as the API says it."""
    return EventView(
        id=event.id,
        kind=event.kind,
        severity=event.severity,
        camera=event.camera,
        model=event.model,
        at=event.at_wall,
        message=event.message,
        data=event.data,
    )


class Client:
    """One WebSocket's queue."""

    def __init__(self, limit: int, page: Page) -> None:
        self._limit, self._page = limit, page
        self._messages: deque[str] = deque()
        self._state: str | None = None
        self._ready = asyncio.Event()
        self.closed = False

    def put(self, message: str) -> None:
        """Queue an event; over the limit the oldest goes, counted."""
        if len(self._messages) >= self._limit:
            self._messages.popleft()
            self._page.add(ServerWord.WS_DROPPED)
        self._messages.append(message)
        self._ready.set()

    def put_state(self, message: str) -> None:
        """Leave the newest state: it replaces one that was not sent yet."""
        self._state = message
        self._ready.set()

    def close(self) -> None:
        """End the client's loop."""
        self.closed = True
        self._ready.set()

    async def take(self) -> list[str]:
        """Return what there is to send, waiting for something; empty when closed."""
        await self._ready.wait()
        self._ready.clear()
        if self.closed:
            return []
        messages = list(self._messages)
        self._messages.clear()
        if self._state is not None:
            messages.append(self._state)
            self._state = None
        return messages


class Hub:
    """All clients, and what they are told."""

    def __init__(self, tree: TreeView, database: Database, *, queue: int, page: Page) -> None:
        self._tree, self._queue, self._page = tree, queue, page
        self._database, self._events = database, EventStore(database)
        self._clients: set[Client] = set()
        self._last_id = 0
        self._there: dict[str, dict[str, int]] = {}
        self._changed = asyncio.Event()
        tree.on_change.append(self._changed.set)

    async def run(self) -> None:
        """Sample, follow and push until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._push_states())
            tasks.create_task(self._follow_events())

    @contextlib.contextmanager
    def join(self) -> Iterator[Client]:
        """Add a client for the length of the block; it gets a state at once."""
        client = Client(self._queue, self._page)
        client.put_state(self._state_message())
        self._clients.add(client)
        self._page.set(ServerWord.WS_CLIENTS, len(self._clients))
        try:
            yield client
        finally:
            self._clients.discard(client)
            self._page.set(ServerWord.WS_CLIENTS, len(self._clients))

    def close(self) -> None:
        """End every client: the server stops."""
        for client in list(self._clients):
            client.close()

    def _state_message(self) -> str:
        raw = msgspec.Raw(msgspec.json.encode(self._tree.view()))
        return msgspec.json.encode(_StateUpdate(raw)).decode()

    async def _push_states(self) -> None:
        next_sample = time.monotonic()
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(
                    self._changed.wait(), max(0.0, next_sample - time.monotonic())
                )
            self._changed.clear()
            if time.monotonic() >= next_sample:
                self._tree.sample()
                next_sample = time.monotonic() + SAMPLE_S
            if self._clients:
                message = self._state_message()
                for client in self._clients:
                    client.put_state(message)

    async def _follow_events(self) -> None:
        """Tell clients of every stored event, in order, each once."""
        token = None
        while True:
            try:
                if token is None:
                    await asyncio.to_thread(self._catch_up)
                fresh = await asyncio.to_thread(self._database.change_token)
                if fresh != token:
                    token = fresh
                    for event in await asyncio.to_thread(self._fresh_events):
                        self._tell(event)
            except Exception:  # the database may be away for a while
                log.exception("events cannot be followed")
                await asyncio.sleep(1.0)
            await asyncio.sleep(FOLLOW_S)

    def _catch_up(self) -> None:
        """Start after the newest event, knowing what the last ones said is there."""
        newest = self._events.list(limit=EVENTS_MOST)
        for event in reversed(newest):
            self._note_objects(event)
        self._last_id = newest[0].id if newest else 0

    def _fresh_events(self) -> list[StoredEvent]:
        fresh: list[StoredEvent] = []
        while batch := self._events.list(after_id=self._last_id, limit=EVENTS_MOST):
            self._last_id = batch[-1].id
            fresh += batch
        return fresh

    def _tell(self, event: StoredEvent) -> None:
        self._note_objects(event)
        message = msgspec.json.encode(_EventPush(event_view(event))).decode()
        for client in self._clients:
            client.put(message)

    def _note_objects(self, event: StoredEvent) -> None:
        if event.camera is None or event.kind not in {"object_appeared", "object_left"}:
            return
        there = self._there.setdefault(event.camera, {})
        label, most = str(event.data.get("label", "")), event.data.get("most", 1)
        if event.kind == "object_appeared":
            there[label] = most if isinstance(most, int) else 1
        else:
            there.pop(label, None)
        self._tree.set_objects(event.camera, dict(there))
