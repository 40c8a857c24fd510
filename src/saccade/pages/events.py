"""The events page: what happened, pushed on top, older ones by page, by kind and camera."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

from nicegui import background_tasks, ui

from saccade.errors import SaccadeError
from saccade.pages.contract import Event, EventId, State
from saccade.pages.event_rows import EventList
from saccade.pages.site import Site
from saccade.ui.components import Empty
from saccade.ui.elements import Badge, KeyedList, box, set_attribute, set_shown, text
from saccade.ui.words import Tone, Word

#: A change of a native select, as its value.
_EMIT_VALUE = "(event) => emit(event.target.value)"


def register(site: Site) -> None:
    """Add the page at `/events`."""

    @ui.page("/events", response_timeout=30)
    async def events(kind: str = "", camera: str = "") -> None:
        page = await site.open("Events", "/events")
        with page.shell.page():
            view = Events(site, kind=kind, camera=camera)
        await view.load()
        page.go_live(view.show, view.show_events)
        # What happened between building the page and its browser's connection was pushed to nobody.
        ui.context.client.on_connect(view.load)


class Events:
    """The elements of the page, its filter and how far back it has paged."""

    def __init__(self, site: Site, *, kind: str = "", camera: str = "") -> None:
        """Build it in the present slot.

        Args:
            site: the shared parts.
            kind: show only this kind at first; empty for all.
            camera: show only this camera at first; empty for all.
        """
        self._site = site
        self._kind, self._camera = kind, camera
        self._next: EventId | None = None
        self._load_number = 0
        with box("div", "filters", role="search", aria_label="Filter events"):
            self._kinds = _Choice("Kind", "All kinds", kind, self._choose_kind)
            self._cameras = _Choice("Camera", "All cameras", camera, self._choose_camera)
            with box("span", "live"):
                self._live = Badge()
        with box("section", "card", aria_label="Events"):
            self._list = EventList(box("ol", "rows events"), limit=site.settings.events_kept)
            self._empty = Empty("notifications_none", "Nothing has happened yet")
            self._problem = text("p", "", "callout", role="alert")
            set_shown(self._problem, False)
            with box("div", "more-row") as self._more_row:
                self._more = text("button", "Older events", "button", type="button")
                self._more.on("click", self.load_older)

    def show(self, state: State) -> None:
        """Offer the cameras of a state."""
        self._cameras.offer(state.cameras)

    def show_events(self, events: Sequence[Event], missed: bool) -> None:
        """Put pushed events on top.

        Args:
            events: oldest first.
            missed: there were more: the stored ones are asked for instead.
        """
        self._kinds.offer(event.kind for event in events)
        if missed:
            background_tasks.create(self.load(), name="load missed events")
            return
        self._list.push(
            [
                event
                for event in events
                if self._kind in ("", event.kind) and self._camera in ("", event.camera)
            ]
        )
        self._show_rest()

    async def load(self) -> None:
        """Show the newest stored events that match."""
        await self._ask(None)

    async def load_older(self) -> None:
        """Add the next older page."""
        if self._next is not None:
            await self._ask(self._next)

    async def _choose_kind(self, kind: str) -> None:
        self._kind = kind
        await self.load()

    async def _choose_camera(self, camera: str) -> None:
        self._camera = camera
        await self.load()

    async def _ask(self, before: EventId | None) -> None:
        self._load_number = number = self._load_number + 1
        set_attribute(self._more, "disabled", True)
        try:
            page = await self._site.api.events(
                limit=self._site.settings.events_page_size,
                before=before,
                kind=self._kind,
                camera=self._camera,
            )
        except SaccadeError as error:
            if number == self._load_number:
                self._problem.set_text(str(error))
                set_shown(self._problem, True)
                set_attribute(self._more, "disabled", None)
            return
        if number != self._load_number:
            return  # the filter changed meanwhile: this is the answer to another question
        set_shown(self._problem, False)
        self._next = page.next
        self._kinds.offer(event.kind for event in page.events)
        if before is None:
            self._list.replace(page.events)
        else:
            self._list.append(page.events)
        self._show_rest()

    def _show_rest(self) -> None:
        filtered = bool(self._kind or self._camera)
        self._empty.say(
            "No event matches" if filtered else "Nothing has happened yet",
            "Choose another kind or camera." if filtered else "",
        )
        self._empty.show(not len(self._list))
        is_full = len(self._list) >= self._site.settings.events_kept
        set_attribute(self._more, "disabled", is_full or None)
        self._more.set_text(
            f"The newest {len(self._list)} are shown; filter to see older ones"
            if is_full
            else "Older events"
        )
        set_shown(self._more_row, self._next is not None)
        self._live.show(Word("New events appear on top", Tone.GOOD))


class _Option:
    """One entry of a choice."""

    def __init__(self, entry: tuple[str, bool]) -> None:
        value, is_chosen = entry
        # Not `value` on the select: Vue would put it back at every update of anything.
        self.root = text("option", value, value=value, selected=is_chosen or None)

    def show(self, data: tuple[str, bool]) -> None:
        """Do nothing: another value is another entry."""


class _Choice:
    """A labelled native select that starts with "all" and only ever gains entries."""

    def __init__(
        self, label: str, everything: str, chosen: str, on_choose: Callable[[str], Awaitable[None]]
    ) -> None:
        select_id = f"filter-{label.lower()}"
        self._values: set[str] = set()
        self._chosen = chosen
        with box("div", "filter"):
            text("label", label, for_=select_id)
            with box("select", id=select_id) as select:
                text("option", everything, value="")
                # A group of its own: the list below keeps all children of its container.
                group = box("optgroup", label=label)
        self._options: KeyedList[str, tuple[str, bool]] = KeyedList(group, _Option)
        self.offer([chosen] if chosen else [])
        select.on("change", lambda e: on_choose(e.args), js_handler=_EMIT_VALUE)

    def offer(self, values: Iterable[str]) -> None:
        """Add these values, in alphabetical order."""
        before = len(self._values)
        self._values.update(values)
        if len(self._values) != before:
            self._options.show(
                (value, (value, value == self._chosen)) for value in sorted(self._values)
            )
