"""`saccade check`: say line by line what is there and what is missing, before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnxruntime
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from saccade.assemble import Rows, assemble, this_machine
from saccade.cli.findings import Finding, State, everything
from saccade.cli.options import ConfigOption, JsonOption, print_json
from saccade.config import SettingsProblems, load
from saccade.errors import SaccadeError

#: Exit status when something is wrong.
WRONG = 1

_STYLES = {State.OK: "green", State.NOTE: "yellow", State.WRONG: "bold red"}


def check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Say line by line what is right, wrong or missing. Nothing is started or changed.

    The exit status is 1 when something is wrong. Cameras and models that were added while the
    server ran are in its database and are not looked at.

    Example:
      saccade check
      saccade check --config /srv/saccade/saccade.yaml --json
    """
    findings = find(config)
    is_right = all(finding.state is not State.WRONG for finding in findings)
    if as_json:
        print_json({"ok": is_right, "findings": findings})
    else:
        _print_table(findings)
    if not is_right:
        raise typer.Exit(WRONG)


def find(config: Path | None) -> list[Finding]:
    """Return what there is to say, wrong settings included.

    Args:
        config: the settings file, or None to look for it.
    """
    available = tuple(onnxruntime.get_available_providers())
    try:
        loaded = load(config)
        desired = assemble(
            loaded.settings,
            Rows({}, {}),
            base_dir=loaded.base_dir,
            data_dir=Path(loaded.settings.data),
            machine=this_machine(available),
        )
    except SettingsProblems as error:
        return [
            Finding("settings", State.WRONG, str(problem), "" if index else error.fix)
            for index, problem in enumerate(error.problems)
        ]
    except SaccadeError as error:
        return [Finding("settings", State.WRONG, error.what, error.fix)]
    return list(everything(loaded, desired, available))


def _print_table(findings: Sequence[Finding]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    for finding in findings:
        text = Text(finding.what)
        if finding.fix:
            text.append(f"\n  {finding.fix}", style="dim")
        state = Text(finding.state.value, style=_STYLES[finding.state])
        table.add_row(state, Text(finding.subject), text)
    console = Console()
    console.print(table)
    wrong = sum(finding.state is State.WRONG for finding in findings)
    console.print(Text(f"{wrong} wrong" if wrong else "Nothing is wrong."))
