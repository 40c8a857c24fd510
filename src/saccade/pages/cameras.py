"""The cameras page: a live wall, one camera full screen, adding and removing."""

from __future__ import annotations

from nicegui import ui

from saccade.pages.camera_dialogs import AddDialog, RemoveDialog
from saccade.pages.contract import CameraReport, Origin, State
from saccade.pages.site import LivePage, Site
from saccade.types import CameraState
from saccade.ui import format as fmt
from saccade.ui.components import Empty
from saccade.ui.elements import (
    Badge,
    KeyedList,
    box,
    icon,
    set_attribute,
    set_shown,
    text,
)
from saccade.ui.theme import static_url
from saccade.ui.words import CAMERA, Tone, sentence


def register(site: Site) -> None:
    """Add the page at `/cameras`."""

    @ui.page("/cameras", response_timeout=10)
    async def cameras() -> None:
        ui.add_head_html(f'<script defer src="{static_url("wall.js")}"></script>')
        page = await site.open("Cameras", "/cameras")
        view = Cameras(site, page)
        page.go_live(view.show)


class Cameras:
    """The elements of the page."""

    def __init__(self, site: Site, page: LivePage) -> None:
        """Build it in the frame of `page`."""
        self._add = AddDialog(site)
        self._remove = RemoveDialog(site)
        self._full = FullScreen()
        with page.shell.head, box("button", "button primary", type="button") as add:
            icon("add")
            text("span", "Add camera")
        add.on("click", lambda: self._add.open(page.state))
        with page.shell.page():
            wall = box("div", "wall")
            self._empty = Empty(
                "videocam_off",
                "No camera yet",
                "Add one: a stream's address or a video file's path.",
            )
        self._tiles: KeyedList[str, CameraReport] = KeyedList(
            wall, lambda camera: CameraTile(camera, self._full, self._remove)
        )

    def show(self, state: State) -> None:
        """Show the cameras of a state."""
        self._tiles.show(state.cameras.items())
        self._empty.show(not state.cameras)
        self._full.show(state)


class CameraTile:
    """One camera on the wall: picture, state, rate, what is seen."""

    def __init__(self, camera: CameraReport, full: FullScreen, remove: RemoveDialog) -> None:
        """Create it in the present slot.

        Args:
            camera: its first report.
            full: opens on click or Enter.
            remove: asks before the camera is removed.
        """
        self._camera = camera
        heading_id = f"camera-{camera.id}"
        with box(
            "section", "card camera", aria_labelledby=heading_id, data_camera=camera.id
        ) as self.root:
            with box("div", "camera-picture"):
                self._tile = box("saccade-tile", camera=camera.id, size="tile")
                # Over the picture, not around it: what the tile says stays readable by itself.
                self._open = box("button", "camera-open", type="button")
            self._open.on("click", lambda: full.open(self._camera))
            with box("div", "camera-text"):
                self._name = text("h2", camera.label, id=heading_id)
                self._badge = Badge()
                self._line = text("p", "", "line")
                with box("button", "icon-button end", type="button") as self._remove:
                    icon("delete_outline")
                self._remove.on("click", lambda: remove.open(self._camera))
                self._objects = text("p", "", "objects")
                self._why = text("p", "", "callout why")

    def show(self, data: CameraReport) -> None:
        """Show what is reported of it."""
        self._camera = data
        word = CAMERA[data.state]
        set_attribute(self._open, "aria-label", f"Open {data.label} full screen")
        set_attribute(self._tile, "name", data.label)
        # Only what was made at run time can be removed at run time: offering more would be a lie.
        set_shown(self._remove, data.origin == Origin.DATABASE)
        set_attribute(self._remove, "aria-label", f"Remove {data.label}")
        set_attribute(self._remove, "title", "Remove camera")
        self._name.set_text(data.label)
        self._badge.show(word)
        self._line.set_text(camera_line(data))
        self._objects.set_text(objects_line(data))
        self._why.set_text(sentence(data.reason or ""))
        set_shown(self._why, bool(data.reason) and word.tone is not Tone.GOOD)
        set_attribute(self._why, "data-over", word.tone is not Tone.BAD or None)


class FullScreen:
    """One camera over the whole window, at full size; Esc closes, focus goes back to its tile."""

    def __init__(self) -> None:
        """Build it closed. Its words stay up to date while it is open."""
        self._camera_id = ""
        with ui.dialog().props("maximized no-shake transition-duration=120") as self._dialog:
            set_attribute(self._dialog, "aria-labelledby", "full-title")
            with box("div", "full"):
                with box("div", "full-head"):
                    self._name = text("h2", "", id="full-title")
                    self._badge = Badge()
                    self._line = text("span", "", "line")
                    self._objects = text("span", "", "line")
                    with box(
                        "button",
                        "icon-button",
                        type="button",
                        aria_label="Close",
                        title="Close (Esc)",
                        data_autofocus="true",
                    ) as close:
                        icon("close")
                    close.on("click", self._dialog.close)
                self._tile = box("saccade-tile", size="full")

    def open(self, camera: CameraReport) -> None:
        """Show this camera."""
        self._camera_id = camera.id
        set_attribute(self._tile, "camera", camera.id)
        self._describe(camera)
        self._dialog.open()

    def show(self, state: State) -> None:
        """Keep the words up to date; close when the camera is gone."""
        if not self._dialog.value:
            return
        camera = state.cameras.get(self._camera_id)
        if camera is None:
            self._dialog.close()
        else:
            self._describe(camera)

    def _describe(self, camera: CameraReport) -> None:
        set_attribute(self._tile, "name", camera.label)
        self._name.set_text(camera.label)
        self._badge.show(CAMERA[camera.state])
        parts = [camera_line(camera), fmt.size_px(camera.width, camera.height)]
        if camera.frame_age_seconds is not None:
            parts.append(f"newest frame {fmt.duration(camera.frame_age_seconds)} old")
        self._line.set_text(" · ".join(parts))
        self._objects.set_text(objects_line(camera))


def camera_line(camera: CameraReport) -> str:
    """Return how fast a camera's frames are answered, by which model."""
    return f"{fmt.rate(camera.fps, 'frames/s')} · {camera.model or 'no model'}"


def objects_line(camera: CameraReport) -> str:
    """Return what is in the picture now, in words."""
    # A camera that is not live sees nothing at all; saying so would read like an answer.
    if camera.state is not CameraState.LIVE or camera.model is None:
        return ""
    return f"Sees {fmt.labels(camera.objects) or 'nothing it knows'}"
