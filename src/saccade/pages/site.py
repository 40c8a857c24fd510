"""What all pages of this process share, and how one page is joined to the feed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from nicegui import ui

from saccade.clock import Clock
from saccade.errors import SaccadeError
from saccade.pages.api import ApiClient
from saccade.pages.contract import Event, ProcessReport, State
from saccade.pages.feed import FeedView, Link, StateFeed
from saccade.pages.settings import PagesSettings
from saccade.ui.components import ProcessLine
from saccade.ui.shell import Shell
from saccade.ui.words import Tone, Word

ShowState = Callable[[State], None]
ShowEvents = Callable[[Sequence[Event], bool], None]


@dataclass(frozen=True, slots=True)
class Site:
    """The one feed, the one API client, the settings."""

    api: ApiClient
    feed: StateFeed
    settings: PagesSettings
    clock: Clock

    async def first_view(self) -> FeedView:
        """Return what a page can be sent with, so that it never opens empty without need."""
        view = self.feed.view
        if view.link is Link.LIVE:
            return view
        try:
            state = await self.api.state(timeout_seconds=self.settings.first_state_seconds)
        except SaccadeError:
            lost = view.lost_wall or self.clock.wall()
            return replace(view, link=Link.LOST, lost_wall=lost)
        self.feed.offer(state)
        return FeedView(Link.CONNECTING, None, state)

    async def open(self, title: str, path: str) -> LivePage:
        """Build the frame of the page that the present client asked for.

        Args:
            title: the page's name.
            path: its entry in the navigation.
        """
        view = await self.first_view()
        shell = Shell(
            title,
            path=path,
            has_session=self.settings.auth_required,
            is_demo=view.state is not None and view.state.demo,
        )
        return LivePage(self, shell, view)


class LivePage:
    """One page in one browser: a listener of the feed for as long as the browser is connected."""

    def __init__(self, site: Site, shell: Shell, view: FeedView) -> None:
        """Wrap the frame; `go_live` joins it to the feed.

        Args:
            site: the shared parts.
            shell: the page's frame.
            view: what it is sent with.
        """
        self._site = site
        self._view = view
        self._show_state: ShowState = lambda _: None
        self._show_events: ShowEvents | None = None
        self.shell = shell

    @property
    def state(self) -> State | None:
        """Return the newest state this page knows."""
        return self._view.state

    def go_live(self, show_state: ShowState, show_events: ShowEvents | None = None) -> None:
        """Show the first state now and every later one while the browser is connected.

        Args:
            show_state: changes the page's elements in place.
            show_events: takes pushed events, oldest first, and whether some were missed.
        """
        self._show_state, self._show_events = show_state, show_events
        self.on_view(self._view)
        client = ui.context.client
        feed = self._site.feed

        def leave() -> None:
            # A browser that came back may be here already when its old connection is noticed gone.
            if not client.has_socket_connection:
                feed.remove(self)

        def join() -> None:
            feed.add(self)

        def end() -> None:
            feed.remove(self)

        client.on_connect(join)
        client.on_disconnect(leave)
        client.on_delete(end)

    def on_view(self, view: FeedView) -> None:
        """Show health, the banner and the state."""
        # A page built from an answer of the API keeps it until the feed has something newer.
        if view.state is None:
            view = replace(view, state=self._view.state)
        self._view = view
        word = health_word(view)
        self.shell.show_health(word.text, word.tone)
        self.shell.show_lost(view.lost_wall if view.link is Link.LOST else None)
        if view.state is not None:
            self._show_state(view.state)

    def on_events(self, events: Sequence[Event], *, missed: bool) -> None:
        """Hand pushed events to the page."""
        if self._show_events is not None:
            self._show_events(events, missed)


def health_word(view: FeedView) -> Word:
    """Return the server's health in a word or two."""
    if view.link is Link.LOST:
        return Word("Not reachable", Tone.WARN)
    if view.state is None:
        return Word("Waiting for the server", Tone.QUIET)
    return Word("Ready", Tone.GOOD) if view.state.health.ready else Word("Not ready", Tone.BAD)


def process_lines(processes: dict[str, ProcessReport]) -> list[ProcessLine]:
    """Return the processes as the table shows them, the supervisor first, then by name."""
    return [
        ProcessLine(
            name=name,
            role=report.role,
            pid=report.pid,
            state=report.state,
            restarts=report.restarts,
            uptime_seconds=report.uptime_seconds,
            rss_bytes=report.rss_bytes,
            reason=report.reason or "",
        )
        for name, report in sorted(
            processes.items(), key=lambda item: (item[1].role != "supervisor", item[0])
        )
    ]
