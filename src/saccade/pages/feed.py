"""The one subscription to the server's pushed state, shared by all browsers of this process."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Protocol

import msgspec
from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.exceptions import WebSocketException

from saccade.clock import Clock
from saccade.pages.contract import Event, Message, State
from saccade.pages.settings import PagesSettings

log = logging.getLogger(__name__)

#: One state with hundreds of cameras is far below; more is a fault of the server.
MAX_MESSAGE_BYTES: Final = 8 * 1024 * 1024

#: Messages the connection holds before it stops reading: the server then drops for us.
MAX_QUEUED_MESSAGES: Final = 16

_MESSAGE: Final = msgspec.json.Decoder(Message)


class Link(StrEnum):
    """How the subscription stands."""

    IDLE = "idle"  # nobody looks
    CONNECTING = "connecting"
    LIVE = "live"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class FeedView:
    """What is known now, and how far it can be trusted."""

    link: Link = Link.IDLE
    lost_wall: float | None = None  # since when the server is away
    state: State | None = None


class Listener(Protocol):
    """A page that is open in a browser. Both calls come from the event loop and must be quick."""

    def on_view(self, view: FeedView) -> None:
        """Show this; called with the present view first, then when it has changed."""
        ...

    def on_events(self, events: Sequence[Event], *, missed: bool) -> None:
        """Show these events, oldest first.

        Args:
            events: what was pushed since the last call.
            missed: there were more than these; what is stored must be asked for again.
        """
        ...


class StateFeed:
    """Subscribes while a browser is connected, reconnects, never holds more than it may."""

    def __init__(self, api_socket: str, *, clock: Clock, settings: PagesSettings) -> None:
        """Prepare; the first listener starts it.

        Args:
            api_socket: path of the API server's Unix-domain socket.
            clock: labels since when the server is away.
            settings: back-off, linger and bounds.
        """
        self._api_socket = api_socket
        self._clock = clock
        self._settings = settings
        self._view = FeedView()
        self._listeners: list[Listener] = []
        self._task: asyncio.Task[None] | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._flush: asyncio.TimerHandle | None = None
        self._events: deque[Event] = deque(maxlen=settings.feed_max_events)
        self._missed = False
        self._view_changed = False

    @property
    def view(self) -> FeedView:
        """Return what is known now."""
        return self._view

    def offer(self, state: State) -> None:
        """Take a state that was asked for, unless a pushed one is there, which is newer."""
        if self._view.link is not Link.LIVE:
            self._view = replace(self._view, state=state)

    def add(self, listener: Listener) -> None:
        """Send the view to this listener from now on, and connect if it is the first."""
        if listener in self._listeners:
            return
        self._listeners.append(listener)
        if self._linger:
            self._linger.cancel()
            self._linger = None
        if self._task is None:
            self._set(FeedView(Link.CONNECTING, None, self._view.state))
            self._task = asyncio.get_running_loop().create_task(self._run(), name="state feed")
        self._tell(listener, [], missed=False, view=True)

    def remove(self, listener: Listener) -> None:
        """Forget this listener; after the last one the subscription ends, a little later."""
        if listener not in self._listeners:
            return
        self._listeners.remove(listener)
        if not self._listeners and self._linger is None:
            # Going from one page to the next is a leave and a join: no reason to reconnect.
            self._linger = asyncio.get_running_loop().call_later(
                self._settings.feed_linger_seconds, self._end
            )

    async def close(self) -> None:
        """End the subscription and forget all listeners."""
        self._listeners.clear()
        task = self._task
        self._end()
        if task:
            await asyncio.gather(task, return_exceptions=True)

    def _end(self) -> None:
        for timer in (self._linger, self._flush):
            if timer:
                timer.cancel()
        self._linger = self._flush = None
        if self._task:
            self._task.cancel()
            self._task = None
        self._events.clear()
        self._missed = self._view_changed = False
        self._view = FeedView(Link.IDLE, None, self._view.state)

    async def _run(self) -> None:
        delay = self._settings.feed_backoff_initial_seconds
        while True:
            try:
                async with unix_connect(
                    self._api_socket,
                    "ws://localhost/ws",
                    open_timeout=self._settings.feed_ping_seconds,
                    ping_interval=self._settings.feed_ping_seconds,
                    ping_timeout=self._settings.feed_ping_seconds,
                    close_timeout=1,
                    max_size=MAX_MESSAGE_BYTES,
                    max_queue=MAX_QUEUED_MESSAGES,
                    proxy=None,
                ) as connection:
                    await self._receive(connection)
            except (OSError, WebSocketException, TimeoutError) as error:
                log.debug("state feed not connected", extra={"code": type(error).__name__})
            if self._view.link is Link.LIVE:
                # It had worked: the next try may come at once.
                delay = self._settings.feed_backoff_initial_seconds
            self._lose()
            await asyncio.sleep(delay)
            delay = min(delay * 2, self._settings.feed_backoff_max_seconds)

    async def _receive(self, connection: ClientConnection) -> None:
        async for raw in connection:
            try:
                message = _MESSAGE.decode(raw)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                # One message of another version must not blank the page: the others still count.
                log.warning("message not understood", extra={"code": type(error).__name__})
                continue
            if message.state is not None:
                if self._view.link is Link.LOST:
                    log.info("server reachable again")
                    self._missed = True  # what happened in between was pushed to nobody
                self._set(FeedView(Link.LIVE, None, message.state))
            if message.event is not None:
                self._missed |= len(self._events) == self._events.maxlen
                self._events.append(message.event)
                self._schedule()

    def _lose(self) -> None:
        if self._view.link is not Link.LOST:
            log.warning("server not reachable")
            self._set(replace(self._view, link=Link.LOST, lost_wall=self._clock.wall()))

    def _set(self, view: FeedView) -> None:
        self._view = view
        self._view_changed = True
        self._schedule()

    def _schedule(self) -> None:
        # A burst becomes one update: a page is changed a few times a second, not a thousand.
        if self._flush is None:
            self._flush = asyncio.get_running_loop().call_later(
                self._settings.feed_flush_seconds, self._deliver
            )

    def _deliver(self) -> None:
        self._flush = None
        events, missed, view = list(self._events), self._missed, self._view_changed
        self._events.clear()
        self._missed = self._view_changed = False
        for listener in list(self._listeners):
            self._tell(listener, events, missed=missed, view=view)

    def _tell(self, listener: Listener, events: list[Event], *, missed: bool, view: bool) -> None:
        # The outermost edge towards a page: one that fails must not take the others' news away.
        try:
            if view:
                listener.on_view(self._view)
            if events or missed:
                listener.on_events(events, missed=missed)
        except Exception:
            log.exception("a page could not show news")
