"""What surrounds every page: skip link, header, navigation, health, theme, banner, heading."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from nicegui import ui

from saccade.ui.components import moment, show_moment
from saccade.ui.elements import Badge, box, icon, set_shown, text
from saccade.ui.theme import LOGO_SVG
from saccade.ui.words import Tone, Word


@dataclass(frozen=True, slots=True)
class Place:
    """One entry of the navigation."""

    path: str
    name: str
    icon: str


PLACES = (
    Place("/", "Overview", "dashboard"),
    Place("/cameras", "Cameras", "videocam"),
    Place("/models", "Models", "hub"),
    Place("/events", "Events", "notifications"),
    Place("/system", "System", "memory"),
)


class Shell:
    """The frame of one page; the page's own content goes into `with shell.page():`."""

    def __init__(self, title: str, *, path: str, has_session: bool, is_demo: bool) -> None:
        """Build it for the client whose page is being built.

        Args:
            title: the page's name, its main heading.
            path: which entry of the navigation is the present page.
            has_session: show the button that logs out.
            is_demo: say that this is the demo.
        """
        ui.page_title(f"{title} · saccade")
        layout = ui.context.client.layout
        with layout:
            skip = text("a", "Skip to content", "skip-link", href="#content")
            with box("header", "top") as header:
                self._header(path, has_session=has_session, is_demo=is_demo)
        # Before the page container: header first is the order of reading and of the Tab key.
        skip.move(layout, 0)
        header.move(layout, 1)
        with box("div", "banner banner-feed", role="alert") as self._banner:
            icon("cloud_off")
            with box("p"):
                self._banner_text = text("span", "")
                self._banner_since = moment(None)
                self._banner_end = text("span", "")
        set_shown(self._banner, False)
        with box("div", "page-head") as self.head:
            text("h1", title, id="content", tabindex="-1")

    def _header(self, path: str, *, has_session: bool, is_demo: bool) -> None:
        with box("a", "brand", href="/", aria_label="saccade, overview"):
            ui.html(LOGO_SVG, sanitize=False)
            text("span", "saccade", "brand-name", aria_hidden="true")
        if is_demo:
            text("span", "Demo", "chip")
        with box("nav", "main-nav", aria_label="Main"), box("ul"):
            for place in PLACES:
                with (
                    box("li"),
                    box("a", href=place.path, aria_current="page" if place.path == path else None),
                ):
                    icon(place.icon)
                    text("span", place.name)
        with box("div", "top-end"):
            with box("div", "health", role="status", aria_label="Health"):
                self._health = Badge()
            box("saccade-theme")
            if has_session:
                with box(
                    "button", "icon-button", type="button", data_action="logout", title="Log out"
                ):
                    icon("logout")
                    text("span", "Log out", "sr-only")

    @contextmanager
    def page(self) -> Iterator[None]:
        """Open the place for the page's own content."""
        with box("div", "page-body"):
            yield

    def show_health(self, text_: str, tone: Tone) -> None:
        """Show the health in the header; screen readers say it only when it changes."""
        self._health.show(Word(text_, tone))

    def show_lost(self, since_wall: float | None) -> None:
        """Show or, with None, hide the banner that says since when the numbers are old."""
        if since_wall is not None:
            self._banner_text.set_text("Server not reachable since ")
            show_moment(self._banner_since, since_wall)
            self._banner_end.set_text(". What is shown is older than that. Trying again.")
        set_shown(self._banner, since_wall is not None)
