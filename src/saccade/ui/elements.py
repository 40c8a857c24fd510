"""Plain HTML elements on NiceGUI, and changing them only when something did change."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, Protocol, TypeVar

from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement

from saccade.ui.words import Tone, Word

AttributeValue = str | int | float | bool | None


def box(tag: str, classes: str = "", /, **attributes: AttributeValue) -> Element:
    """Create an HTML element for children in the present slot.

    Args:
        tag: name of the element.
        classes: class names, separated by spaces.
        attributes: its attributes; an underscore becomes a hyphen, one at the end goes away
            (`for_`), None leaves the attribute out.
    """
    element = Element(tag)
    _dress(element, classes, attributes)
    return element


def text(tag: str, value: str, classes: str = "", /, **attributes: AttributeValue) -> TextElement:
    """Create an HTML element that holds one text, escaped. Arguments as in `box`."""
    element = TextElement(tag=tag, text=value)
    _dress(element, classes, attributes)
    return element


def _dress(element: Element, classes: str, attributes: dict[str, AttributeValue]) -> None:
    if classes:
        element.classes(classes)
    for name, value in attributes.items():
        set_attribute(element, name.rstrip("_").replace("_", "-"), value)


def set_attribute(element: Element, name: str, value: AttributeValue) -> None:
    """Give an element an attribute, or take it away with None; an equal value sends nothing."""
    if value is None:
        if name in element.props:
            del element.props[name]
            element.update()
    elif element.props.get(name) != value:
        element.props[name] = value


def set_shown(element: Element, shown: bool) -> None:
    """Show or hide an element, also from assistive technology."""
    set_attribute(element, "hidden", None if shown else True)


def icon(name: str, classes: str = "") -> TextElement:
    """Create a Material icon of NiceGUI's bundled font: decoration, hidden from screen readers."""
    return text("span", name, f"icon material-icons {classes}".strip(), aria_hidden="true")


class Badge:
    """A state as a coloured dot and its word: the colour is never the only sign."""

    def __init__(self, word: Word | None = None) -> None:
        """Create it in the present slot."""
        with box("span", "badge") as self.root:
            box("span", "dot", aria_hidden="true")
            self._text = text("span", "")
        self.show(word or Word("", Tone.QUIET))

    def show(self, word: Word) -> None:
        """Show another word."""
        self._text.set_text(word.text)
        set_attribute(self.root, "data-tone", word.tone.value)


class Facts:
    """A list of terms and values (`dl`) whose values change in place."""

    def __init__(self, terms: Iterable[str], classes: str = "facts") -> None:
        """Create it in the present slot, with empty values."""
        self._values: dict[str, TextElement] = {}
        with box("dl", classes) as self.root:
            for term in terms:
                with box("div"):
                    text("dt", term)
                    self._values[term] = text("dd", "")

    def show(self, values: dict[str, str]) -> None:
        """Change the values of these terms.

        Raises:
            KeyError: a term that the list was not created with.
        """
        for term, value in values.items():
            self._values[term].set_text(value)


Data_contra = TypeVar("Data_contra", contravariant=True)


class Row(Protocol[Data_contra]):
    """One item of a `KeyedList`: an element that can show new data."""

    @property
    def root(self) -> Element:
        """Return its outermost element."""
        ...

    def show(self, data: Data_contra) -> None:
        """Show this data."""
        ...


Item = TypeVar("Item")
KeyT = TypeVar("KeyT", bound=Hashable)


class KeyedList(Generic[KeyT, Item]):
    """Keeps one row for each key: changed in place, added, removed and moved only where needed.

    The page is never built again: focus, scroll position and canvases survive an update.
    """

    def __init__(self, container: Element, make: Callable[[Item], Row[Item]]) -> None:
        """Keep the children of `container`, which must have no others.

        Args:
            container: the parent of all rows.
            make: builds a row in the present slot.
        """
        self._container = container
        self._make = make
        self._rows: dict[KeyT, Row[Item]] = {}
        self._order: list[KeyT] = []

    def show(self, items: Iterable[tuple[KeyT, Item]]) -> None:
        """Show exactly these items, in this order; of two with the same key the last counts."""
        wanted = dict(items)
        for key in [key for key in self._order if key not in wanted]:
            self._rows.pop(key).root.delete()
            self._order.remove(key)
        for index, (key, item) in enumerate(wanted.items()):
            row = self._rows.get(key)
            if row is None:
                with self._container:
                    row = self._rows[key] = self._make(item)
                self._order.append(key)
            row.show(item)
            # Comparing first: a move sends the whole container again.
            if self._order[index] != key:
                self._order.remove(key)
                self._order.insert(index, key)
                row.root.move(self._container, index)

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self._order)
