"""The dialogs that add and remove a camera; what the API refuses is said beside its field."""

from __future__ import annotations

import re
from typing import Final

import msgspec
from nicegui import ui
from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement
from nicegui.events import GenericEventArguments

from saccade.errors import SaccadeError
from saccade.pages.api import RequestRefused
from saccade.pages.contract import CameraReport, NewCamera, State
from saccade.pages.site import Site
from saccade.types import NAME_PATTERN
from saccade.ui.elements import box, set_attribute, set_shown, text

#: The form's fields as they are: no message for each key press, nothing half typed on the server.
_EMIT_FORM: Final = (
    "(event) => { event.preventDefault(); emit(Object.fromEntries(new FormData(event.target))); }"
)

#: Which field a problem is about, where its code says so by itself.
_FIELD_OF_CODE: Final = {"conflict": "id", "source_failed": "source", "not_found": "model"}

_FIELDS: Final = ("source", "model", "name", "loop", "id")


class CameraForm(msgspec.Struct):
    """What the browser sends when the form is submitted."""

    id: str = ""
    source: str = ""
    name: str = ""
    model: str = ""
    loop: str = ""  # "on" when ticked, absent when not

    def camera(self) -> NewCamera:
        """Return the request."""
        return NewCamera(
            id=self.id.strip(),
            source=self.source.strip(),
            name=self.name.strip() or None,
            model=self.model or None,
            loop=bool(self.loop),
        )


def check(camera: NewCamera) -> dict[str, str]:
    """Return, for each field that cannot work, why; the API checks everything again."""
    errors = {}
    if not re.fullmatch(NAME_PATTERN, camera.id):
        errors["id"] = "Use 1 to 63 small letters, digits, - and _, a letter or digit first."
    if not camera.source:
        errors["source"] = "Enter an address or a path."
    return errors


def field_of(error: SaccadeError) -> str:
    """Return which field of the form an error is about; empty for the form as a whole."""
    if not isinstance(error, RequestRefused):
        return ""
    problem = error.problem
    if problem.field in _FIELDS:
        return problem.field
    if problem.code in _FIELD_OF_CODE:
        return _FIELD_OF_CODE[problem.code]
    for field in _FIELDS:
        # The API names the member that it refuses.
        if re.search(rf"\b{field}\b", problem.detail):
            return field
    return ""


def error_text(error: SaccadeError) -> str:
    """Return what went wrong and what to do, as two sentences."""
    parts = [error.what.rstrip(".") + ".", error.fix and error.fix[0].upper() + error.fix[1:]]
    return " ".join(part if part[-1] in ".!?" else part + "." for part in parts if part)


class AddDialog:
    """Asks for a new camera."""

    def __init__(self, site: Site) -> None:
        """Build it closed."""
        self._site = site
        self._errors: dict[str, TextElement] = {}
        self._inputs: dict[str, Element] = {}
        with ui.dialog() as self._dialog:
            set_attribute(self._dialog, "aria-labelledby", "add-title")
            with box("div", "sheet"):
                text("h2", "Add camera", id="add-title")
                with box("form", novalidate=True) as form:
                    self._field(
                        "source",
                        "Source",
                        "A stream's address (rtsp, http, https), or the path of a video file, "
                        "folder or device on the server.",
                        placeholder="rtsp://192.168.1.20/stream1",
                    )
                    self._field(
                        "id",
                        "Id",
                        "Small letters, digits, - and _. It cannot change later.",
                        placeholder="front-door",
                    )
                    self._field("name", "Name", "Optional. What people call it.")
                    self._model = self._select("model", "Model", "Which model answers its frames.")
                    with box("div", "check"):
                        box("input", type="checkbox", name="loop", id="add-loop")
                        text("label", "Start a video file again at its end", for_="add-loop")
                    self._errors[""] = text("p", "", "callout", role="alert")
                    with box("div", "button-row"):
                        text("button", "Cancel", "button", type="button").on(
                            "click", self._dialog.close
                        )
                        self._submit = text("button", "Add camera", "button primary", type="submit")
                form.on("submit", self._add, js_handler=_EMIT_FORM)

    def open(self, state: State | None) -> None:
        """Open it empty, with the models of this state to choose from."""
        self._show_errors({})
        self._busy(False)
        self._model.clear()
        with self._model:
            text("option", "No model", value="")
            for name in state.models if state else ():
                text("option", name, value=name)
        self._dialog.open()

    def _field(self, name: str, label: str, hint: str, *, placeholder: str | None = None) -> None:
        with box("div", "field"):
            text("label", label, for_=f"add-{name}")
            self._inputs[name] = box(
                "input",
                type="text",
                name=name,
                id=f"add-{name}",
                placeholder=placeholder,
                data_autofocus="true" if name == "source" else None,
                autocomplete="off",
                autocapitalize="off",
                spellcheck="false",
                aria_describedby=f"add-{name}-error add-{name}-hint",
            )
            text("p", hint, "hint", id=f"add-{name}-hint")
            self._errors[name] = text("p", "", "error", id=f"add-{name}-error", role="alert")

    def _select(self, name: str, label: str, hint: str) -> Element:
        with box("div", "field"):
            text("label", label, for_=f"add-{name}")
            select = self._inputs[name] = box(
                "select",
                name=name,
                id=f"add-{name}",
                aria_describedby=f"add-{name}-error add-{name}-hint",
            )
            text("p", hint, "hint", id=f"add-{name}-hint")
            self._errors[name] = text("p", "", "error", id=f"add-{name}-error", role="alert")
        return select

    def _busy(self, busy: bool) -> None:
        set_attribute(self._submit, "disabled", busy or None)
        self._submit.set_text("Adding…" if busy else "Add camera")

    def _show_errors(self, errors: dict[str, str]) -> None:
        for name, element in self._errors.items():
            said = errors.get(name, "")
            element.set_text(said)
            set_shown(element, bool(said))
            if name in self._inputs:
                set_attribute(self._inputs[name], "aria-invalid", "true" if said else None)
        first = next((name for name in self._inputs if errors.get(name)), None)
        if first:
            ui.run_javascript(f'document.getElementById("add-{first}")?.focus()')

    async def _add(self, event: GenericEventArguments) -> None:
        try:
            camera = msgspec.convert(event.args, CameraForm).camera()
        except msgspec.ValidationError:
            return  # not our form: nobody to answer
        errors = check(camera)
        self._show_errors(errors)
        if errors:
            return
        self._busy(True)
        try:
            await self._site.api.add_camera(camera)
        except SaccadeError as error:
            field = field_of(error)
            self._show_errors({field if field in self._errors else "": error_text(error)})
            return
        finally:
            self._busy(False)
        self._dialog.close()
        ui.notify(f"Camera {camera.name or camera.id} added", position="top")


class RemoveDialog:
    """Asks before a camera is removed."""

    def __init__(self, site: Site) -> None:
        """Build it closed."""
        self._site = site
        self._camera_id = ""
        with ui.dialog() as self._dialog:
            set_attribute(self._dialog, "aria-labelledby", "remove-title")
            set_attribute(self._dialog, "role", "alertdialog")
            with box("div", "sheet"):
                self._title = text("h2", "", id="remove-title")
                text("p", "Its events stay. Its frames are no longer read.", "muted")
                self._error = text("p", "", "callout", role="alert")
                with box("div", "button-row"):
                    text("button", "Keep", "button", type="button").on("click", self._dialog.close)
                    self._confirm = text("button", "Remove camera", "button danger", type="button")
                    self._confirm.on("click", self._remove)

    def open(self, camera: CameraReport) -> None:
        """Ask about this camera."""
        self._camera_id = camera.id
        self._title.set_text(f"Remove {camera.label}?")
        self._say("")
        self._dialog.open()

    def _say(self, error: str) -> None:
        self._error.set_text(error)
        set_shown(self._error, bool(error))

    async def _remove(self) -> None:
        set_attribute(self._confirm, "disabled", True)
        try:
            await self._site.api.remove_camera(self._camera_id)
        except SaccadeError as error:
            self._say(error_text(error))
            return
        finally:
            set_attribute(self._confirm, "disabled", None)
        self._dialog.close()
        ui.notify("Camera removed", position="top")
