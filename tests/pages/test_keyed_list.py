"""Rows of a page: changed in place, in the order asked for, never built twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import given
from hypothesis import strategies as st
from nicegui import Client, ui
from nicegui.element import Element

from saccade.pages.contract import Event
from saccade.pages.event_rows import EventList
from saccade.types import Severity
from saccade.ui.elements import KeyedList, box, set_attribute, text

KEYS = st.lists(st.integers(0, 6), unique=True)


@contextmanager
def container() -> Iterator[Element]:
    """An element on a page that no browser has asked for."""
    client = Client(ui.page("/test"))
    try:
        with client:
            yield box("ul")
    finally:
        client.delete()


class Row:
    """Shows a number and counts how often one was built."""

    built = 0

    def __init__(self, _: int) -> None:
        Row.built += 1
        self.root = text("li", "")

    def show(self, data: int) -> None:
        self.root.set_text(str(data))


@given(st.lists(KEYS, max_size=6))
def test_rows_are_exactly_what_was_asked_for_and_survive(steps: list[list[int]]) -> None:
    with container() as parent:
        rows: KeyedList[int, int] = KeyedList(parent, Row)
        before: dict[int, Element] = {}
        for step, keys in enumerate(steps):
            Row.built = 0
            rows.show((key, 100 * step + key) for key in keys)
            children = list(parent)
            assert [child.text for child in children] == [str(100 * step + key) for key in keys]  # type: ignore[attr-defined]
            now = dict(zip(keys, children, strict=True))
            assert all(now[key] is before[key] for key in keys if key in before)
            assert Row.built == len([key for key in keys if key not in before])
            assert len(rows) == len(keys)
            before = now


def an_event(number: int) -> Event:
    return Event(id=number, kind="k", severity=Severity.INFO, at=0.0, message=str(number))


PUSHES = st.lists(st.lists(st.integers(0, 30), max_size=5), max_size=8)


@given(PUSHES, st.integers(1, 8))
def test_an_event_is_shown_once_and_the_list_stays_bounded(
    pushes: list[list[int]], limit: int
) -> None:
    with container() as parent:
        events = EventList(parent, limit=limit)
        for push in pushes:
            events.push([an_event(number) for number in push])
            ids = [child.props["data-event"] for child in parent]
            assert len(ids) == len(set(ids)) == len(events) <= limit


def test_the_newest_event_is_on_top() -> None:
    with container() as parent:
        events = EventList(parent, limit=4)
        events.replace([an_event(3), an_event(2)])
        events.push([an_event(4), an_event(5)])
        events.append([an_event(1)])
        events.push([an_event(5)])
        assert [child.props["data-event"] for child in parent] == ["5", "4", "3", "2"]


def test_an_attribute_that_did_not_change_sends_nothing() -> None:
    with container() as parent:
        updates = parent.client.outbox.updates
        set_attribute(parent, "title", "a")
        updates.clear()
        set_attribute(parent, "title", "a")
        set_attribute(parent, "lang", None)
        assert dict(updates) == {}
        set_attribute(parent, "title", None)
        assert list(updates) == [parent.id]
