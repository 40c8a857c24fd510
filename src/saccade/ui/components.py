"""The larger pieces pages are made of: section, figure, stacked bar, empty state, process table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from nicegui.element import Element

from saccade.ui import format as fmt
from saccade.ui.elements import (
    Badge,
    KeyedList,
    box,
    icon,
    set_attribute,
    set_shown,
    text,
)
from saccade.ui.words import INTENDED_DROPS, drop_text, process_word


@contextmanager
def section(title: str, *, link: tuple[str, str] | None = None) -> Iterator[Element]:
    """Open a card with a heading, which also names it as a region; yields the row of the heading.

    Args:
        title: its heading, unique on the page.
        link: text and address of a link beside the heading.
    """
    heading_id = "h-" + "".join(c if c.isalnum() else "-" for c in title.lower())
    with box("section", "card", aria_labelledby=heading_id):
        with box("div", "card-head") as head:
            text("h2", title, id=heading_id)
            if link:
                # The visible text comes first, so that speech control finds the link by it.
                with box("a", "more", href=link[1]):
                    text("span", link[0])
                    icon("chevron_right")
        yield head


def moment(wall: float | None, classes: str = "") -> Element:
    """Create a point in time, shown in the browser's own time zone (the script formats it).

    Args:
        wall: seconds since 1970, UTC; None shows an em dash.
        classes: class names, separated by spaces.
    """
    element = box("saccade-time", classes)
    show_moment(element, wall)
    return element


def show_moment(element: Element, wall: float | None) -> None:
    """Show another point in time in what `moment` created."""
    set_attribute(element, "wall", None if wall is None else f"{wall:.3f}")


class Figure:
    """One number with its name above and what it means below."""

    def __init__(self, name: str) -> None:
        """Create it in the present slot."""
        with box("div", "figure") as self.root:
            text("dt", name)
            with box("dd"):
                self._value = text("span", fmt.NOTHING, "value")
                self._note = text("span", "", "note")

    def show(self, value: str, note: str = "") -> None:
        """Show a value, with its unit, and a note."""
        number, _, unit = value.partition(" ")
        self._value.set_text(number if not unit else f"{number} {unit}")
        self._note.set_text(note)


class Empty:
    """What stands where there is nothing yet, and what to do about it."""

    def __init__(self, symbol: str, title: str, hint: str = "") -> None:
        """Create it in the present slot."""
        with box("div", "empty") as self.root:
            icon(symbol)
            self._title = text("p", title, "empty-title")
            self._hint = text("p", hint)
            set_shown(self._hint, bool(hint))

    def show(self, shown: bool) -> None:
        """Show or hide it."""
        set_shown(self.root, shown)

    def say(self, title: str, hint: str = "") -> None:
        """Change its words."""
        self._title.set_text(title)
        self._hint.set_text(hint)
        set_shown(self._hint, bool(hint))


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a stacked bar: frames dropped for one reason."""

    reason: str
    frames: int
    total: int


class _LegendRow:
    """One drop reason beside the bar."""

    def __init__(self, part: Part) -> None:
        with box("li") as self.root:
            box("span", "swatch", aria_hidden="true", data_reason=part.reason)
            text("span", drop_text(part.reason), "legend-text")
            self._frames = text("span", "", "num")
            self._share = text("span", "", "num muted")

    def show(self, part: Part) -> None:
        self._frames.set_text(fmt.number(part.frames))
        self._share.set_text(fmt.share(part.frames, part.total))


class _Slice:
    """One drop reason in the bar."""

    def __init__(self, part: Part) -> None:
        self.root = box("span", "slice", data_reason=part.reason)

    def show(self, part: Part) -> None:
        self.root.style(f"flex-grow: {part.frames}")


class DropsBar:
    """Frames dropped, by reason, as a stacked bar with a legend that says the same in numbers."""

    def __init__(self) -> None:
        """Create it in the present slot."""
        with box("div", "drops") as self.root:
            # The legend carries the facts; the bar repeats them for the eye only.
            self._bar = box("div", "bar", aria_hidden="true")
            self._legend = box("ul", "legend")
            self._nothing = text("p", "No frame was dropped.", "muted")
        self._slices: KeyedList[str, Part] = KeyedList(self._bar, _Slice)
        self._rows: KeyedList[str, Part] = KeyedList(self._legend, _LegendRow)

    def show(self, dropped: dict[str, int]) -> None:
        """Show the number of frames for each reason; what was asked for comes last."""
        total = sum(dropped.values())
        parts = [
            Part(reason, frames, total)
            for reason, frames in sorted(
                dropped.items(), key=lambda item: (item[0] in INTENDED_DROPS, -item[1], item[0])
            )
            if frames
        ]
        self._slices.show((part.reason, part) for part in parts)
        self._rows.show((part.reason, part) for part in parts)
        set_shown(self._bar, bool(parts))
        set_shown(self._legend, bool(parts))
        set_shown(self._nothing, not parts)


@dataclass(frozen=True, slots=True)
class ProcessLine:
    """What the process table shows of one process."""

    name: str
    role: str
    pid: int | None
    state: str
    restarts: int
    uptime_seconds: float | None
    rss_bytes: int | None
    reason: str


class _ProcessRow:
    """One process in the table."""

    def __init__(self, line: ProcessLine) -> None:
        with box("tr") as self.root:
            with box("th", scope="row"):
                text("span", line.name, "name")
                self._reason = text("span", "", "note")
            with box("td", data_label="State"):
                self._badge = Badge()
            self._cells = {
                label: text("td", "", "num", data_label=label)
                for label in ("Process id", "Up for", "Restarts", "Memory")
            }

    def show(self, line: ProcessLine) -> None:
        self._badge.show(process_word(line.state))
        self._reason.set_text(line.reason)
        set_shown(self._reason, bool(line.reason))
        self._cells["Process id"].set_text(fmt.NOTHING if line.pid is None else str(line.pid))
        self._cells["Up for"].set_text(fmt.duration(line.uptime_seconds))
        self._cells["Restarts"].set_text(fmt.number(line.restarts))
        self._cells["Memory"].set_text(fmt.data_size(line.rss_bytes))


class ProcessTable:
    """The process tree: state, age, restarts and memory of each process."""

    def __init__(self, caption: str) -> None:
        """Create it in the present slot.

        Args:
            caption: what the table holds, for screen readers.
        """
        with box("table", "table") as self.root:
            text("caption", caption, "sr-only")
            with box("thead"), box("tr"):
                text("th", "Process", scope="col")
                text("th", "State", scope="col")
                for label in ("Process id", "Up for", "Restarts", "Memory"):
                    text("th", label, "num", scope="col")
            body = box("tbody")
        self._rows: KeyedList[str, ProcessLine] = KeyedList(body, _ProcessRow)
        self._empty = Empty("memory", "No process is known yet")

    def show(self, lines: list[ProcessLine]) -> None:
        """Show these processes, in this order."""
        self._rows.show((line.name, line) for line in lines)
        set_shown(self.root, bool(lines))
        self._empty.show(not lines)
