"""The `saccade` command: which commands there are, and how a failure is told.

A command's module is imported when it is used, so that `saccade --help` stays quick however heavy
the rest is. To add a command, add one line to `COMMANDS`: a function (its arguments become options)
or a Typer application made by `options.sub_app` (its functions become sub-commands).
"""

from __future__ import annotations

import sys
import traceback
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from saccade import __version__
from saccade.errors import SaccadeError


class Command(NamedTuple):
    """Where a command is, and its line in `saccade --help`."""

    where: str
    about: str


COMMANDS = {
    "demo": Command("saccade.cli.demo:demo", "Show a recycling kiosk at work, nothing to set up."),
    "init": Command("saccade.cli.init:init", "Write a commented saccade.yaml."),
    "check": Command("saccade.cli.check:check", "Say what is right, wrong or missing."),
    "up": Command("saccade.cli.up:up", "Run the server, its hosts and cameras."),
    "cameras": Command("saccade.cli.cameras:app", "Add, list and remove cameras."),
    "models": Command("saccade.cli.models:app", "Add, list, pull and remove models."),
    "detect": Command("saccade.cli.detect:detect", "Detect objects on an image."),
    "keys": Command("saccade.cli.keys:app", "Make, list and revoke API keys."),
    "settings": Command("saccade.cli.settings:app", "Show the settings and where they come from."),
    "schema": Command("saccade.cli.schema:schema", "Print the settings' JSON Schema and tables."),
}

#: Exit status of an expected failure, which told what to do.
FAILED = 2
#: Exit status of a failure that is a bug in saccade.
BROKEN = 70


class _LazyGroup(TyperGroup):
    """Lists commands from `COMMANDS`, and imports the one that runs."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, command in COMMANDS.items():
            self.commands[name] = TyperCommand(name, help=command.about, rich_markup_mode=None)
        _keep_examples(self)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        if args and args[0] in COMMANDS:
            return args[0], _imported(args[0]), args[1:]
        return super().resolve_command(ctx, args)


def _imported(name: str) -> Any:
    module, _, attribute = COMMANDS[name].where.partition(":")
    found = getattr(import_module(module), attribute)
    if not isinstance(found, typer.Typer):
        function, found = found, typer.Typer(rich_markup_mode=None, add_completion=False)
        found.command(name)(function)
    command = typer.main.get_command(found)
    command.name = name
    _keep_examples(command)
    return command


def _keep_examples(command: Any) -> None:
    """Keep the lines of a docstring's `Example:` apart; other paragraphs are filled."""
    if command.help:
        command.help = command.help.replace("\nExample:\n", "\n\b\nExample:\n")
    for part in getattr(command, "commands", {}).values():
        _keep_examples(part)


# Rich's help is pretty and takes half a second to import.
app = typer.Typer(
    cls=_LazyGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"saccade {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback when something fails.")
    ] = False,
) -> None:
    """A self-hosted vision AI server for one GPU box and many cameras.

    Example:
      saccade init && saccade check && saccade up
    """


def main() -> None:
    """Run the command line. A failure is told in a line; a traceback needs `--debug`."""
    try:
        app(prog_name="saccade")
    except Exception as error:  # noqa: BLE001  the outermost place: nothing else could tell it
        if isinstance(error, SaccadeError):
            status = FAILED
            _tell(error)
        else:
            status = BROKEN
            _tell_bug(error)
        if "--debug" in sys.argv[1:]:
            traceback.print_exc()
        sys.exit(status)


def _tell(error: SaccadeError) -> None:
    """Say what was wrong, in red, and what to do about it."""
    lines = error.what.splitlines()
    if len(lines) == 1:
        lines = [f"{lines[0]} ({error.fix})"]
    for line in lines:
        _red(f"saccade: {line}")
    if len(lines) > 1:
        _red(f"saccade: {len(lines)} problems ({error.fix})")


def _tell_bug(error: Exception) -> None:
    what = " ".join(f"{type(error).__name__}: {error}".split())
    _red(f"saccade: a bug in saccade: {what} (--debug shows where; please report it)")


def _red(line: str) -> None:
    typer.secho(line, fg=typer.colors.RED, err=True)
