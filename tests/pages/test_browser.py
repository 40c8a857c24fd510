"""The dashboard in a real browser, against a fake API server that speaks the contract."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.pages.conftest import PagesProcess, Tab
from tests.pages.fake_api import FakeApi
from tests.pages.fake_data import camera, problem

pytestmark = pytest.mark.browser

OpenTab = Callable[..., Tab]
PATHS = ("/", "/cameras", "/models", "/events", "/system", "/login")

#: The picture of one canvas, as text; black canvases give one and the same.
PICTURE = "(canvas) => canvas.toDataURL('image/png')"
CHANGED = """([selector, before]) =>
    document.querySelector(selector)?.toDataURL('image/png') !== before"""
IS_DRAWN = (
    "(selector) => document.querySelector(selector)?.closest('saccade-tile')?.dataset.seq > 0"
)


def canvas_of(camera_id: str) -> str:
    return f"[data-camera='{camera_id}'] canvas"


def test_the_tiles_of_the_wall_are_live(open_tab: OpenTab) -> None:
    page = open_tab().go("/cameras")
    for camera_id in ("front-door", "kiosk"):
        selector = canvas_of(camera_id)
        page.wait_for_function(IS_DRAWN, arg=selector)
        first = page.locator(selector).evaluate(PICTURE)
        page.wait_for_function(CHANGED, arg=[selector, first])
    # A camera that sends nothing says so, and shows no other camera's picture.
    stalled = page.locator("[data-camera='warehouse']")
    expect(stalled).to_contain_text("Waiting for a picture")
    expect(stalled).to_contain_text("No frame for 6 s.")
    assert page.locator("[data-camera='warehouse'] saccade-tile[data-seq]").count() == 0


def test_a_picture_that_stays_says_how_old_it_is(open_tab: OpenTab, api: FakeApi) -> None:
    page = open_tab().go("/cameras")
    page.wait_for_function(IS_DRAWN, arg=canvas_of("kiosk"))
    age = page.locator("[data-camera='kiosk'] .tile-age")
    expect(age).to_be_hidden()
    api.change(lambda a: setattr(a, "tiles_flow", False))
    expect(age).to_have_text(re.compile(r"^\d+ s old$"))
    api.change(lambda a: setattr(a, "tiles_flow", True))
    expect(age).to_be_hidden()


def test_only_what_is_seen_is_watched(open_tab: OpenTab, api: FakeApi) -> None:
    tab = open_tab(width=390, height=500)
    page = tab.go("/cameras")
    page.wait_for_function(IS_DRAWN, arg=canvas_of("front-door"))
    assert "back-yard" not in {w["camera"] for w in api.watched}
    page.locator("[data-camera='back-yard']").scroll_into_view_if_needed()
    api.wait_for(lambda a: "back-yard" in {w["camera"] for w in a.watched})
    assert "front-door" not in {w["camera"] for w in api.watched}
    page.evaluate(
        """Object.defineProperty(document, 'hidden', { get: () => true });
        document.dispatchEvent(new Event('visibilitychange'));"""
    )
    api.wait_for(lambda a: a.watched == [])


def test_a_lost_wall_says_so_and_comes_back(open_tab: OpenTab, api: FakeApi) -> None:
    tab = open_tab()
    page = tab.go("/cameras")
    page.wait_for_function(IS_DRAWN, arg=canvas_of("kiosk"))
    api.drop_tiles()
    age = page.locator("[data-camera='kiosk'] .tile-age")
    expect(age).to_have_text(re.compile(r"^Not connected, \d+ s old$"))
    expect(page.locator("[data-camera='warehouse']")).to_contain_text("Not connected")
    api.change(lambda a: setattr(a, "tiles_open", True))
    expect(age).to_be_hidden(timeout=10000)
    tab.errors.clear()  # the browser itself reports each try that was refused


def test_the_process_listens_only_while_a_browser_looks(open_tab: OpenTab, api: FakeApi) -> None:
    tab = open_tab()
    page = tab.go("/")
    expect(page.get_by_role("status", name="Health")).to_have_text("Not ready")
    api.change(lambda a: a.state["health"].update(ready=True))
    expect(page.get_by_role("status", name="Health")).to_have_text("Ready")
    page.close()
    api.wait_no_feed()


def test_a_camera_opens_full_screen_by_keyboard_and_closes_by_escape(
    open_tab: OpenTab, api: FakeApi
) -> None:
    page = open_tab().go("/cameras")
    page.get_by_role("button", name="Open Front door full screen").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Front door")
    expect(dialog).to_be_visible()
    expect(dialog).to_contain_text("1280 × 720 px")
    api.wait_for(lambda a: a.watched == [{"camera": "front-door", "size": "full"}])
    page.wait_for_function("document.querySelector('.full canvas')?.width === 1280")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    api.wait_for(lambda a: {"camera": "kiosk", "size": "tile"} in a.watched)
    # Focus is where it was: the keyboard goes on from there.
    expect(page.get_by_role("button", name="Open Front door full screen")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog).to_be_visible()
    api.change(lambda a: a.state["cameras"].pop("front-door"))
    expect(dialog).to_be_hidden()  # a camera that is gone is not shown as if it were there


def test_numbers_change_in_place(open_tab: OpenTab, api: FakeApi) -> None:
    page = open_tab().go("/")
    rate = page.locator(".figure", has_text="Frames answered per second")
    expect(rate).to_contain_text("9.8 frames/s")
    expect(page.get_by_role("status", name="Health")).to_have_text("Not ready")
    expect(page.get_by_text("camera back-yard is not live: connection refused.")).to_be_visible()
    expect(page.locator(".figure", has_text="Frames dropped")).to_contain_text("80 %")
    page.evaluate("window.notReloaded = document.querySelector('.figure')")

    def well(a: FakeApi) -> None:
        a.state["health"] = {"ready": True, "reasons": []}
        a.state["cameras"] = {"one": camera("one", fps=None, dropped={})}

    api.change(well)
    expect(page.get_by_role("status", name="Health")).to_have_text("Ready")
    expect(rate).to_contain_text("—")
    expect(page.get_by_text("No frame was dropped.")).to_be_visible()
    expect(page.get_by_text("Front door")).to_have_count(0)
    assert page.evaluate("window.notReloaded === document.querySelector('.figure')")


def test_an_event_appears_without_reload(open_tab: OpenTab, api: FakeApi) -> None:
    page = open_tab().go("/events")
    rows = page.locator(".events > li")
    expect(rows).to_have_count(20)
    new = api.push_event(message="can left the tray", severity="warning", camera="kiosk")
    expect(rows.first).to_contain_text("Can left the tray.")
    expect(rows.first).to_contain_text("Warning")
    assert rows.first.get_attribute("data-event") == str(new["id"])
    overview = open_tab().go("/")
    api.push_event(message="can came back")
    expect(overview.locator(".events > li").first).to_contain_text("Can came back.")


def test_events_can_be_filtered_and_paged(open_tab: OpenTab, api: FakeApi) -> None:
    page = open_tab().go("/events")
    rows = page.locator(".events > li")
    more = page.get_by_role("button", name=re.compile("Older events|shown"))
    more.click()
    expect(rows).to_have_count(40)
    ids = [int(i) for i in rows.evaluate_all("all => all.map(row => row.dataset.event)")]
    assert ids == sorted(ids, reverse=True)
    more.click()
    expect(rows).to_have_count(45)  # as many as one page keeps
    expect(more).to_be_disabled()
    page.get_by_label("Camera").select_option("back-yard")
    expect(rows).to_have_count(1)
    expect(page.get_by_label("Camera")).to_have_value("back-yard")
    api.push_event(message="somewhere else", camera="kiosk")
    api.push_event(message="here", camera="back-yard")
    expect(rows.first).to_contain_text("Here.")
    expect(rows).to_have_count(2)
    page.get_by_label("Kind").select_option("camera.state")
    expect(rows).to_have_count(1)
    expect(more).to_be_hidden()
    linked = open_tab().go("/events?camera=back-yard")
    expect(linked.get_by_label("Camera")).to_have_value("back-yard")
    expect(linked.locator(".events > li")).to_have_count(2)


def test_events_that_were_missed_are_asked_for(open_tab: OpenTab, api: FakeApi) -> None:
    page = open_tab().go("/events")
    expect(page.locator(".events > li")).to_have_count(20)
    promise = page.get_by_text("New events appear on top")
    expect(promise).to_be_visible()
    api.drop_feed()
    expect(page.get_by_text("Server not reachable since")).to_be_visible()
    expect(promise).to_be_hidden()
    api.push_event(message="nobody heard this")
    api.resume_feed()
    expect(page.locator(".events > li").first).to_contain_text("Nobody heard this.")


def test_a_lost_feed_is_said_and_recovers(open_tab: OpenTab, api: FakeApi) -> None:
    page = open_tab().go("/")
    banner = page.locator(".banner-feed")
    expect(banner).to_be_hidden()
    api.drop_feed()
    expect(banner).to_contain_text(re.compile(r"Server not reachable since \d+:\d\d:\d\d"))
    expect(page.get_by_role("status", name="Health")).to_have_text("Not reachable")
    expect(page.locator(".figure").first).to_contain_text("9.8 frames/s")  # what was known stays
    api.resume_feed()
    expect(banner).to_be_hidden()
    expect(page.get_by_role("status", name="Health")).to_have_text("Not ready")


def test_a_killed_pages_process_is_said_and_the_page_comes_back_by_itself(
    open_tab: OpenTab, pages: PagesProcess
) -> None:
    tab = open_tab()
    page = tab.go("/models")
    pages.end(signal.SIGKILL, within_s=5)
    expect(page.locator(".banner-offline")).to_contain_text("Server not reachable since")
    page.evaluate("window.before = true")
    pages.start()
    page.wait_for_function("window.before === undefined && window.did_handshake", timeout=20000)
    expect(page.locator(".banner-offline")).to_be_hidden()
    expect(page.get_by_role("heading", name="kiosk-v3")).to_be_visible()
    tab.errors.clear()  # the browser itself reports each try that failed


def test_the_theme_is_remembered(open_tab: OpenTab) -> None:
    tab = open_tab(scheme="light")
    page = tab.go("/")
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.get_by_role("button", name="Dark theme").click()
    expect(page.get_by_role("button", name="Dark theme")).to_have_attribute("aria-pressed", "true")
    dark = page.evaluate(background)
    assert dark != light
    page = tab.go("/models")
    assert page.evaluate(background) == dark
    assert page.evaluate("document.body.classList.contains('body--dark')")
    page.get_by_role("button", name="Theme of the device").click()
    page.wait_for_function(f"(light) => {background} === light", arg=light)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"(dark) => {background} === dark", arg=dark)


def test_a_key_logs_in_and_out(open_tab: OpenTab, api: FakeApi) -> None:
    api.change(lambda a: setattr(a, "key", "sk_good"))
    tab = open_tab()
    page = tab.go("/models")
    page.wait_for_url("**/login?next=/models")
    page.keyboard.type("sk_wrong")
    page.keyboard.press("Enter")
    error = page.get_by_role("alert")
    expect(error).to_have_text("This key is not known. Check its spelling.")
    expect(page.get_by_label("Key")).to_be_focused()
    tab.errors = [e for e in tab.errors if "401" not in e]  # the browser reports the refusal
    page.get_by_label("Key").fill("sk_good")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/models")
    expect(page.get_by_role("heading", name="kiosk-v3")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    tab.go("/")
    page.wait_for_url("**/login?next=/")


@pytest.mark.parametrize("target", ["https://example.org/", "//example.org", "javascript:alert(1)"])
def test_a_login_never_leads_to_another_server(
    open_tab: OpenTab, api: FakeApi, target: str
) -> None:
    api.change(lambda a: setattr(a, "key", "sk_good"))
    page = open_tab().go(f"/login?next={target}")
    page.get_by_label("Key").fill("sk_good")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{api.origin}/")


def test_a_camera_can_be_added_and_what_is_refused_is_said_by_its_field(
    open_tab: OpenTab, api: FakeApi
) -> None:
    page = open_tab().go("/cameras")
    page.get_by_role("button", name="Add camera").click()
    dialog = page.get_by_role("dialog", name="Add camera")
    expect(dialog.get_by_label("Source")).to_be_focused()
    dialog.get_by_label("Id", exact=True).fill("Front Door")
    page.keyboard.press("Enter")
    expect(dialog.get_by_label("Id", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(dialog.locator("#add-source-error")).to_have_text("Enter an address or a path.")
    assert api.added == []
    dialog.get_by_label("Source").fill("rtsp://192.168.1.99/1")
    dialog.get_by_label("Id", exact=True).fill("yard")
    dialog.get_by_label("Model").select_option("kiosk-v3")
    refusal = problem(502, "source_failed", "192.168.1.99:554 refused", "check the address")
    api.change(lambda a: setattr(a, "refuse", refusal))
    submit = dialog.get_by_role("button", name="Add camera")
    submit.click()
    said = "192.168.1.99:554 refused. Check the address."
    expect(dialog.locator("#add-source-error")).to_have_text(said)
    expect(dialog.get_by_label("Source")).to_be_focused()
    expect(dialog.get_by_label("Source")).to_have_value("rtsp://192.168.1.99/1")
    expect(dialog.locator("#add-id-error")).to_be_hidden()
    api.change(lambda a: setattr(a, "refuse", None))
    submit.click()
    expect(dialog).to_be_hidden()
    assert api.added == [{"id": "yard", "source": "rtsp://192.168.1.99/1", "model": "kiosk-v3"}]
    expect(page.locator("[data-camera='yard']")).to_be_visible()
    page.get_by_role("button", name="Add camera").click()
    expect(dialog.get_by_label("Source")).to_have_value("")
    page.keyboard.press("Escape")


def test_only_a_camera_made_at_run_time_can_be_removed(open_tab: OpenTab, api: FakeApi) -> None:
    page = open_tab().go("/cameras")
    expect(page.get_by_role("button", name="Remove Warehouse")).to_be_visible()
    expect(page.get_by_role("button", name="Remove Front door")).to_be_hidden()
    page.get_by_role("button", name="Remove Warehouse").click()
    dialog = page.get_by_role("alertdialog", name="Remove Warehouse?")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Remove Warehouse").click()
    dialog.get_by_role("button", name="Remove camera").click()
    expect(page.locator("[data-camera='warehouse']")).to_have_count(0)
    assert api.removed == ["warehouse"]


def test_a_model_says_what_it_is_and_what_was_measured(open_tab: OpenTab, api: FakeApi) -> None:
    page = open_tab().go("/models")
    ready = page.locator("[data-model='kiosk-v3']")
    for said in (
        "demo model",
        "Ready",
        "21.4 ms",
        "28.9 ms",
        "41.3 ms",
        "416 × 416 px",
        "9.8 frames/s",
    ):
        expect(ready).to_contain_text(said)
    failed = page.locator("[data-model='people']")
    expect(failed).to_contain_text("(model_load_failed)")
    expect(failed.locator(".facts.strong dd").first).to_have_text("—")
    api.change(
        lambda a: a.state["models"]["people"].update(status="loading", reason="trying again")
    )
    expect(failed).to_contain_text("Trying again.")
    expect(failed.locator(".badge")).to_have_text("Loading")


def test_the_environment_can_be_copied(open_tab: OpenTab) -> None:
    tab = open_tab()
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = tab.go("/system")
    page.get_by_role("button", name="Copy as JSON").click()
    expect(page.locator("#copy-status")).to_have_text("Copied.")
    assert '"python": "3.11.7"' in page.evaluate("navigator.clipboard.readText()")
    expect(page.get_by_role("row", name=re.compile("host cpu"))).to_contain_text("312 MiB")


def test_the_keyboard_reaches_the_content_first(open_tab: OpenTab) -> None:
    page = open_tab().go("/models")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_no_page_breaks_a_rule_of_accessibility(open_tab: OpenTab, api: FakeApi, axe: str) -> None:
    api.change(lambda a: setattr(a, "tiles_flow", False))  # pictures only cost time here
    tab = open_tab()
    found = []
    for path in PATHS:
        found += violations(tab.go(path), axe, path)
    page = tab.go("/cameras")
    page.get_by_role("button", name="Add camera").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    found += violations(page, axe, "add camera")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Open Kiosk full screen").click()
    expect(page.get_by_role("dialog", name="Kiosk")).to_be_visible()
    found += violations(page, axe, "full screen")
    assert found == []


def settle(page: Page) -> None:
    """Wait for the end of every running animation: half shown text has half its contrast."""
    page.evaluate("Promise.allSettled(document.getAnimations().map((a) => a.finished))")


def violations(page: Page, axe: str, where: str) -> list[tuple[Any, ...]]:
    """Every serious or critical violation that axe-core finds, in both themes."""
    page.evaluate(axe)
    found = []
    # The theme changes colours and nothing else: the other rules need no second look.
    for scheme, rules in (("light", ""), ("dark", "runOnly: ['color-contrast'],")):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.wait_for_function("(s) => document.documentElement.dataset.theme === s", arg=scheme)
        settle(page)
        results = page.evaluate(f"axe.run({{ {rules} resultTypes: ['violations'] }})")
        found += [
            (where, scheme, v["id"], [node["html"][:160] for node in v["nodes"]][:3])
            for v in results["violations"]
            if v["impact"] in ("serious", "critical")
        ]
    return found


@pytest.mark.parametrize("width", [390, 768])
def test_nothing_is_wider_than_a_small_screen(open_tab: OpenTab, width: int) -> None:
    tab = open_tab(width=width, height=844)
    for path in PATHS:
        page = tab.go(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    # The navigation is where a thumb is, all five places of it.
    tab.go("/")
    if width == 390:
        for link in tab.page.get_by_role("navigation").get_by_role("link").all():
            expect(link).to_be_in_viewport()
