"""The frame of the command line: quick, and never a traceback."""

import resource
import subprocess
import sys
from collections.abc import Callable

import pytest

from saccade import __version__
from saccade.cli.main import COMMANDS

Saccade = Callable[..., subprocess.CompletedProcess[str]]

HEAVY = {
    "av",
    "cv2",
    "fastapi",
    "nicegui",
    "numpy",
    "onnxruntime",
    "pydantic",
    "rich",
    "sqlalchemy",
}


def test_help_lists_every_command_with_its_line(saccade: Saccade) -> None:
    result = saccade("--help")
    assert result.returncode == 0
    for name, command in COMMANDS.items():
        assert f"{name} " in result.stdout
        assert command.about in result.stdout


def test_help_imports_nothing_heavy(program: str) -> None:
    text = (
        "import sys\n"
        f"try:\n    {program}\n"
        "except SystemExit:\n    print('|', *sorted({m.split('.')[0] for m in sys.modules}))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", text, "--help"], capture_output=True, text=True, check=True
    )
    modules = set(result.stdout.rpartition("|")[2].split())
    assert "typer" in modules
    assert modules & HEAVY == set()


def test_help_costs_less_than_four_tenths_of_a_second(saccade: Saccade) -> None:
    def cpu_seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        saccade("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # CPU time, and the best of some: other work on the machine is not what is measured.
    assert min(cpu_seconds() for _ in range(5)) < 0.4


def test_the_version_is_the_packages(saccade: Saccade) -> None:
    assert saccade("--version").stdout == f"saccade {__version__}\n"


@pytest.mark.parametrize("words", [[], ["check"], ["init"], ["schema"], ["settings", "show"]])
def test_every_command_explains_itself_with_an_example(saccade: Saccade, words: list[str]) -> None:
    result = saccade(*words, "--help")
    assert result.returncode == 0
    assert "\n  Example:\n    saccade " in result.stdout


def test_a_mistyped_command_names_the_one_that_was_meant(saccade: Saccade) -> None:
    result = saccade("chekc")
    assert result.returncode == 2
    assert "Did you mean 'check'" in result.stderr


def test_a_failure_is_one_line_with_its_fix_and_no_traceback(saccade: Saccade) -> None:
    result = saccade("settings", "show", "--config", "none.yaml")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("saccade: none.yaml: cannot be read: No such file")
    assert result.stderr.count("\n") == 1


def test_several_problems_are_a_line_each_and_a_count(saccade: Saccade) -> None:
    env = {"SACCADE_SERVER__PORT": "x", "SACCADE_LOGGING__LEVEL": "x"}
    lines = saccade("settings", "show", env=env).stderr.splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("saccade: 2 problems (")


def test_debug_shows_where_a_failure_comes_from(saccade: Saccade) -> None:
    result = saccade("--debug", "settings", "show", "--config", "none.yaml")
    assert result.returncode == 2
    assert "Traceback" in result.stderr


@pytest.mark.parametrize(("argument", "has_traceback"), [("x", False), ("--debug", True)])
def test_a_bug_is_told_as_one_without_a_traceback_until_it_is_asked_for(
    argument: str, has_traceback: bool
) -> None:
    program = (
        "import sys, typer\n"
        "import saccade.cli.main as cli\n"
        "def broken(*_, **__): raise KeyError('lost')\n"
        "cli.app = broken\n"
        "cli.main()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, argument], capture_output=True, text=True, check=False
    )
    assert result.returncode == 70
    assert result.stderr.startswith("saccade: a bug in saccade: KeyError: 'lost' (--debug")
    assert ("Traceback" in result.stderr) is has_traceback


def test_output_into_a_closed_pipe_is_no_failure_to_report(program: str) -> None:
    result = subprocess.run(
        f'"{sys.executable}" -c "{program}" schema | head -1',
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout == "{\n"
    assert "Traceback" not in result.stderr
