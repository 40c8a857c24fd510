"""The documents name what there is: error codes, endpoints, metrics, states, drop reasons."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

import saccade.config.problems  # it adds an error of its own
from saccade.engine.lifecycle import TRANSITIONS
from saccade.errors import SaccadeError
from saccade.server.routes import detect, health, keys, live, things, v2
from saccade.types import CameraState, DropReason, ModelStatus

ROOT = Path(__file__).parents[2]
API = (ROOT / "docs/api.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
ROUTERS: tuple[APIRouter, ...] = (
    health.router,
    things.router,
    detect.router,
    live.router,
    keys.router,
    v2.router,
)


def codes(error: type[SaccadeError]) -> set[tuple[str, int]]:
    """Return (code, status) of an error and of all that are made from it."""
    # Only those of the API: the pages have errors of their own, made from these.
    kinds = [k for k in error.__subclasses__() if k.__module__ == "saccade.errors"]
    return {(error.code, error.status)}.union(*(codes(kind) for kind in kinds))


def test_every_error_code_is_explained_with_its_status() -> None:
    assert saccade.config.problems.SettingsProblems.code == "settings_invalid"
    told = {(code, int(n)) for code, n in re.findall(r"^\| `(\w+)` \| (\d+) \|", API, re.M)}
    doors_only = {("method_not_allowed", 405), ("pages_away", 503)}
    assert told == codes(SaccadeError) | doors_only


def test_every_endpoint_is_in_the_table_and_none_that_is_not() -> None:
    there = {
        (method, route.path)
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute) and route.include_in_schema
        for method in route.methods or ()
    }
    told = set(re.findall(r"^\| `(GET|POST|PATCH|PUT|DELETE) (\S+)` \|", API, re.M))
    assert told == there


def test_every_metric_is_named() -> None:
    text = (ROOT / "src/saccade/server/metrics.py").read_text(encoding="utf-8")
    names = set(re.findall(r'"(saccade_\w+)"', text))
    assert len(names) > 20
    told = set(re.findall(r"`(saccade_\w+)`", API))
    assert {name for name in names if not {name, f"{name}_total"} & told} == set()
    assert {name for name in told if not {name, name.removesuffix("_total")} & names} == set()


@pytest.mark.parametrize("word", [*DropReason, *CameraState, *ModelStatus])
def test_every_state_and_reason_is_explained(word: str) -> None:
    assert f"`{word}`" in ARCHITECTURE or f"**{word}**" in ARCHITECTURE


def test_the_lifecycle_table_is_the_one_of_the_code() -> None:
    head = re.search(r"^\| from \\ to \|(.+)\|$", ARCHITECTURE, re.M)
    assert head is not None
    columns = [name.strip() for name in head.group(1).split("|")]
    rows = re.findall(r"^\| \*\*(\w+)\*\* \|(.+)\|$", ARCHITECTURE, re.M)
    told = {
        ModelStatus(name): {
            ModelStatus(column)
            for column, cell in zip(columns, cells.split("|"), strict=True)
            if cell.strip()
        }
        for name, cells in rows
    }
    assert told == {state: set(following) for state, following in TRANSITIONS.items()}


def test_every_message_between_processes_is_named() -> None:
    wire = (ROOT / "src/saccade/engine/wire.py").read_text(encoding="utf-8")
    for tag in re.findall(r'tag="(\w+)"', wire):
        assert f"`{tag}`" in ARCHITECTURE, tag


def test_every_log_line_of_the_table_is_in_the_code() -> None:
    operations = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    table = operations.split("| line | it means")[1].split("\n\n")[0]
    code = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "src").rglob("*.py"))
    rows = [row.split(" | ")[0] for row in table.splitlines()[2:]]
    lines = [line for row in rows for line in re.findall(r"`([^`]+)`", row)]
    assert len(lines) > 20
    assert [line for line in lines if f'"{line}"' not in code] == []
