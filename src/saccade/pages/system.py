"""The system page: the process tree, and the environment as a bug report needs it."""

from __future__ import annotations

from nicegui import ui

from saccade.errors import SaccadeError
from saccade.pages.contract import State
from saccade.pages.site import Site, process_lines
from saccade.ui import format as fmt
from saccade.ui.components import Empty, ProcessTable, section
from saccade.ui.elements import Facts, box, icon, text


def register(site: Site) -> None:
    """Add the page at `/system`."""

    @ui.page("/system", response_timeout=30)
    async def system() -> None:
        page = await site.open("System", "/system")
        try:
            environment = await site.api.environment()
            problem = None
        except SaccadeError as error:
            environment, problem = "", error
        with page.shell.page():
            view = System(environment, problem)
        page.go_live(view.show)


class System:
    """The elements of the page."""

    def __init__(self, environment: str, problem: SaccadeError | None) -> None:
        """Build it in the present slot.

        Args:
            environment: indented JSON; it was made when the page was asked for.
            problem: why there is none.
        """
        with section("Server"):
            self._facts = Facts(("Version", "Processes", "Memory", "Restarts"))
        with section("Processes"):
            self._processes = ProcessTable("Processes with state, uptime, restarts and memory")
        with section("Environment") as head:
            text("p", "What a bug report needs. It holds no key, password or picture.", "muted")
            if problem is not None:
                Empty("error_outline", str(problem.what), problem.fix)
                return
            with head, box("div", "button-row"):
                text("span", "", "muted", id="copy-status", role="status")
                with box(
                    "button",
                    "button",
                    type="button",
                    data_action="copy",
                    data_target="environment-json",
                    data_status="copy-status",
                ):
                    icon("content_copy")
                    text("span", "Copy as JSON")
            # Focusable, because it scrolls: the keyboard must reach what is below the fold.
            text(
                "pre",
                environment,
                "json",
                id="environment-json",
                tabindex="0",
                role="region",
                aria_label="Environment as JSON",
            )

    def show(self, state: State) -> None:
        """Show the processes of a state."""
        processes = state.processes
        known = [p.rss_bytes for p in processes.values() if p.rss_bytes is not None]
        self._facts.show(
            {
                "Version": state.version or fmt.NOTHING,
                "Processes": fmt.number(len(processes)),
                "Memory": fmt.data_size(sum(known) if known else None),
                "Restarts": fmt.number(sum(p.restarts for p in processes.values())),
            }
        )
        self._processes.show(process_lines(processes))
