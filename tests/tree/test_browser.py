"""A person's browser in front of the real server: pictures move, boxes are drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser, expect, sync_playwright

from saccade.vision.draw import class_color
from tests.pages.conftest import CHROMIUM, CHROMIUM_ARGS, Tab, axe
from tests.pages.test_browser import violations
from tests.support.tree import Tree, until

pytestmark = [pytest.mark.tree, pytest.mark.browser, pytest.mark.slow]

__all__ = ["axe"]  # a fixture

PATHS = ("/", "/cameras", "/models", "/events", "/system")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"no Chromium at {CHROMIUM}: tools/install-test-tools.sh installs it as root")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=CHROMIUM_ARGS)
        yield browser
        browser.close()


@pytest.fixture
def open_tab(demo: Tree, browser: Browser) -> Iterator[Callable[[], Tab]]:
    """Open tabs; at the end none may have had an error or asked another server for anything."""
    tabs: list[Tab] = []

    def open_one() -> Tab:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        tabs.append(Tab(context, demo.url))
        return tabs[-1]

    yield open_one
    errors = [error for tab in tabs for error in tab.errors]
    foreign = [url for tab in tabs for url in tab.foreign if not url.startswith("ws://127.0.0.1")]
    for tab in tabs:
        tab.context.close()
    assert errors == []
    assert foreign == []


def shot(tab: Tab, index: int) -> NDArray[np.uint8]:
    """Return what a canvas shows, as (height, width, 3) BGR."""
    data = tab.page.locator("canvas").nth(index).screenshot()
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(picture, np.uint8)


def has_picture(tab: Tab, index: int) -> bool:
    return float(shot(tab, index).std()) > 10


def has_changed(tab: Tab, index: int, first: NDArray[np.uint8]) -> bool:
    return not np.array_equal(shot(tab, index), first)


def box_pixels(picture: NDArray[np.uint8]) -> int:
    """Count pixels in a box's colour."""
    colors = [np.array(class_color(index)) for index in range(3)]
    return sum(
        int((np.abs(picture.astype(int) - color).max(axis=2) < 60).sum()) for color in colors
    )


def test_both_cameras_move_on_the_wall(demo: Tree, open_tab: Callable[[], Tab]) -> None:
    tab = open_tab()
    tab.go("/cameras")
    expect(tab.page.locator("canvas")).to_have_count(2)
    for index in (0, 1):
        until(partial(has_picture, tab, index), 10, "a picture")
        until(partial(has_changed, tab, index, shot(tab, index)), 10, "another picture")


def test_boxes_are_drawn_on_what_passes(demo: Tree, open_tab: Callable[[], Tab]) -> None:
    # The belt has colours of its own, but between two things that pass it has no more of a box's
    # colour than without boxes: what comes and goes are the lines and labels.
    tab = open_tab()
    tab.go("/cameras")
    counts: list[int] = []

    def comes_and_goes() -> bool:
        counts.append(box_pixels(shot(tab, 0)))
        return max(counts) - min(counts) > 600

    until(comes_and_goes, 30, "lines in a box's colour")


def test_a_tile_opens_full_screen_by_keyboard(demo: Tree, open_tab: Callable[[], Tab]) -> None:
    tab = open_tab()
    page = tab.go("/cameras")
    opener = page.get_by_role("button", name="Open Kiosk intake full screen")
    opener.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Kiosk intake")
    expect(dialog).to_be_visible()
    canvas = dialog.locator("canvas")
    until(lambda: canvas.evaluate("c => c.width") == 640, 10, "the full size of the clip")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_the_numbers_and_events_come_by_themselves(demo: Tree, open_tab: Callable[[], Tab]) -> None:
    tab = open_tab()
    page = tab.go("/events")
    before = page.locator("main").inner_text()
    until(lambda: page.locator("main").inner_text() != before, 30, "an event without reload")


def test_the_demo_model_is_marked_as_one(demo: Tree, open_tab: Callable[[], Tab]) -> None:
    page = open_tab().go("/models")
    expect(page.get_by_text("demo model", exact=False).first).to_be_visible()
    expect(page.get_by_text("Ready").first).to_be_visible()


def test_no_page_breaks_a_rule_of_accessibility(
    demo: Tree, open_tab: Callable[[], Tab], axe: str
) -> None:
    tab = open_tab()
    found = []
    for path in PATHS:
        found += violations(tab.go(path), axe, path)
    assert found == []
