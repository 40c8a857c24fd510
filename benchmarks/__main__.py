"""Runs the benchmarks and prints their figures: `python -m benchmarks [--quick] [topic ...]`."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console

from benchmarks.harness import Figure, Plan, show
from benchmarks.machine import Machine, Neighbours, this_machine

TOPICS: Final = ("publish", "handoff", "cameras", "http", "start", "restart")


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """All of one run, as `--json` writes it."""

    machine: Machine
    other_cores: float  # used by other programs meanwhile: the nearer to 0, the better
    stolen_cores: float
    seconds: float
    quick: bool
    figures: tuple[Figure, ...]


def main(argv: list[str]) -> int:
    """Run what was asked for; return 0 even when a target is missed: it is a measurement."""
    options = _options(argv)
    plan = Plan.short() if options.quick else Plan.full()
    # What goes to a file has its rows whole; a terminal has its own width.
    console = Console(width=200 if options.markdown else None if sys.stdout.isatty() else 150)
    machine, neighbours, began = this_machine(), Neighbours(), time.monotonic()
    figures: list[Figure] = []
    _show_machine(console, machine)
    for topic in options.topics or TOPICS:
        at = time.monotonic()
        found = importlib.import_module(f"benchmarks.{topic}").run(plan)
        figures += found
        console.print(f"### {topic}  ({time.monotonic() - at:.0f} s)", highlight=False)
        show(console, found, markdown=options.markdown)
    took_s, (others, stolen) = time.monotonic() - began, neighbours.cores()
    console.print(
        f"{took_s:.0f} s in all; meanwhile other programs used {others:.2f} cores of this machine, "
        f"its hypervisor {stolen:.2f}",
        highlight=False,
        soft_wrap=True,
    )
    if options.json is not None:
        results = Results(
            machine=machine,
            other_cores=round(others, 3),
            stolen_cores=round(stolen, 3),
            seconds=round(took_s, 1),
            quick=options.quick,
            figures=tuple(figures),
        )
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(results)))
    return 0


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("topics", nargs="*", metavar="topic", help=", ".join(TOPICS))
    parser.add_argument("--quick", action="store_true", help="under 40 s; wider ranges")
    parser.add_argument("--markdown", action="store_true", help="tables for docs/performance.md")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    options = parser.parse_args(argv)
    unknown = [topic for topic in options.topics if topic not in TOPICS]
    if unknown:
        parser.error(f"no benchmark is named {unknown[0]!r}: there are {', '.join(TOPICS)}")
    return options


def _show_machine(console: Console, machine: Machine) -> None:
    console.print(
        f"{machine.processor}, {machine.cores} cores, {machine.memory_gib} GiB, "
        f"Linux {machine.kernel}, Python {machine.python}, saccade {machine.saccade}; "
        + ", ".join(f"{name} {version}" for name, version in machine.packages.items()),
        highlight=False,
        soft_wrap=True,
    )


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
