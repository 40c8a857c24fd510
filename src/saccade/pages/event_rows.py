"""How one event looks in a list, and a bounded list of them that the newest lead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from nicegui.element import Element

from saccade.pages.contract import Event, EventId
from saccade.ui.components import moment
from saccade.ui.elements import Badge, KeyedList, box, text
from saccade.ui.words import SEVERITY, sentence


class EventRow:
    """One event: severity, what happened, where, when. An event never changes."""

    def __init__(self, event: Event) -> None:
        """Create it in the present slot."""
        with box("li", data_event=str(event.id)) as self.root:
            Badge(SEVERITY[event.severity])
            text("span", sentence(event.message), "message")
            moment(event.at, "when")
            with box("span", "note"):
                text("span", event.kind, "code")
                if event.camera:
                    text("span", f" · camera {event.camera}")
                if event.model:
                    text("span", f" · model {event.model}")
                if event.data:
                    text("span", f" · {data_text(event)}")

    def show(self, data: Event) -> None:
        """Do nothing: what happened stays as it happened."""


def data_text(event: Event) -> str:
    """Return an event's data as `key value, key value`; a nested value stays JSON."""
    return ", ".join(
        f"{key} {value if isinstance(value, str) else msgspec.json.encode(value).decode()}"
        for key, value in event.data.items()
    )


class EventList:
    """Events on a page, the newest first, each once, never more than a limit."""

    def __init__(self, container: Element, *, limit: int) -> None:
        """Keep the children of `container`.

        Args:
            container: the parent of all rows.
            limit: how many are kept; the oldest leave first.
        """
        self._limit = limit
        self._events: dict[EventId, Event] = {}
        self._rows: KeyedList[EventId, Event] = KeyedList(container, EventRow)

    def __len__(self) -> int:
        """Return how many are shown."""
        return len(self._events)

    def replace(self, events: Iterable[Event]) -> None:
        """Show these instead, the newest first."""
        self._show(events)

    def push(self, events: Sequence[Event]) -> None:
        """Put these on top, oldest of them first; one that is there already stays where it is."""
        fresh = {event.id: event for event in events if event.id not in self._events}
        if fresh:
            self._show([*reversed(fresh.values()), *self._events.values()])

    def append(self, events: Sequence[Event]) -> None:
        """Put these below, the newest of them first."""
        self._show([*self._events.values(), *events])

    def _show(self, events: Iterable[Event]) -> None:
        kept: dict[EventId, Event] = {}
        for event in events:
            if len(kept) == self._limit:
                break
            kept.setdefault(event.id, event)
        self._events = kept
        self._rows.show(kept.items())
