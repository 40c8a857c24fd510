"""The house's own rules: each is broken on purpose in a small house, and found."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]

PYPROJECT = """
[project]
dependencies = ["NumPy>=2", "uvicorn[standard]==1"]
[project.optional-dependencies]
dev = ["ruff"]
"""


@pytest.fixture(scope="module")
def house() -> ModuleType:
    """The script, which is in no package."""
    spec = importlib.util.spec_from_file_location("check_house", ROOT / "tools/check_house.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def put(root: Path, name: str, text: str) -> None:
    """Write a file of the small house."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_the_house_is_in_order(house: ModuleType) -> None:
    assert house.problems(ROOT) == []


def test_it_takes_less_than_three_seconds_of_work() -> None:
    code = f"import runpy, time, sys\nsys.argv = ['x']\nrunpy.run_path({str(ROOT)!r} + " + (
        "'/tools/check_house.py')['main']()\nprint(time.process_time())"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert float(answer.stdout.split()[-1]) < 3.0


@pytest.mark.parametrize(("lines", "found"), [(500, 0), (501, 1)])
def test_a_file_may_have_500_lines(
    house: ModuleType, tmp_path: Path, lines: int, found: int
) -> None:
    put(tmp_path, "src/saccade/long.py", '"""Long."""\n' + "x = 1\n" * (lines - 1))
    assert len(list(house.long_files(tmp_path))) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('"""Say why."""\n', 0),
        ('#!/usr/bin/env python3\n"""Say why."""\n', 0),
        ("", 0),
        ("import os\n", 1),
        ('# a comment\n"""Too late."""\n', 1),
    ],
)
def test_the_first_line_is_a_docstring(
    house: ModuleType, tmp_path: Path, text: str, found: int
) -> None:
    put(tmp_path, "tools/a.py", text)
    assert len(list(house.missing_docstrings(tmp_path))) == found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("time.sleep(1)", 1),
        ("await asyncio.sleep(0)", 1),
        ("sleep(1)", 1),
        ("text = 'time.sleep(1)'", 0),
        ("asleep(1)", 0),
    ],
)
def test_no_test_sleeps(house: ModuleType, tmp_path: Path, line: str, found: int) -> None:
    put(tmp_path, "tests/x/test_a.py", f"async def test_a():\n    {line}\n")
    assert len(list(house.sleeping_tests(tmp_path))) == found


def test_a_generated_file_that_was_edited_is_found(house: ModuleType, tmp_path: Path) -> None:
    from saccade.config.generate import generated_files

    for name, text in generated_files().items():
        put(tmp_path, name, text)
    assert list(house.stale_files(tmp_path)) == []
    put(tmp_path, "docs/settings.md", "# Settings\n")
    (tmp_path / ".env.example").unlink()
    assert sorted(line.split(":")[0] for line in house.stale_files(tmp_path)) == [
        ".env.example",
        "docs/settings.md",
    ]


def test_a_dependency_is_explained_and_pinned(house: ModuleType, tmp_path: Path) -> None:
    put(tmp_path, "pyproject.toml", PYPROJECT)
    put(tmp_path, "docs/dependencies.md", "| `numpy` | pixels |\n| `ruff` | lint |\n")
    put(tmp_path, "constraints.txt", "numpy==2.4.6\nuvicorn==1\n")
    assert sorted(house.unexplained_dependencies(tmp_path)) == [
        "ruff: constraints.txt does not say which version was tested",
        "uvicorn: docs/dependencies.md does not say what it is for",
    ]


def test_what_is_imported_is_asked_for_and_the_reverse(house: ModuleType, tmp_path: Path) -> None:
    put(tmp_path, "pyproject.toml", PYPROJECT)
    put(tmp_path, "src/saccade/a.py", '"""A."""\nimport os\nimport cv2.dnn\nfrom numpy import x\n')
    put(tmp_path, "src/saccade/b.py", '"""B."""\nfrom saccade import a\nfrom . import a\n')
    assert list(house.undeclared_imports(tmp_path)) == [
        "src/saccade/a.py: imports opencv-python-headless, which pyproject.toml does not ask for",
        "pyproject.toml: asks for uvicorn, which nothing imports",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "cd /" + "work/saccade",
        "open('/" + "home/ada/model.onnx')",
        "C=/" + "Users/ada/x",
        "--index-" + "url https://packages.example/simple",
        "--find-" + "links /srv/wheels",
        "registry" + "=https://packages.example/npm",
        "https://registry." + "npmjs.org/axe-core",
    ],
)
def test_a_trace_of_one_machine_is_found(house: ModuleType, tmp_path: Path, line: str) -> None:
    put(tmp_path, "docs/a.md", f"first\n{line}\n")
    (found,) = house.traces_of_a_machine(tmp_path, ["docs/a.md", "gone.md"])
    assert found.startswith("docs/a.md:2: ")


@pytest.mark.parametrize(
    "line",
    [
        "ExecStart=/opt/saccade/.venv/bin/saccade",
        "--home-dir /var/lib/saccade",
        "https://example.org/home/ada",
        "install with constraints.txt, whatever the index",
        "/data/saccade.yaml",
    ],
)
def test_what_is_the_same_everywhere_is_no_trace(
    house: ModuleType, tmp_path: Path, line: str
) -> None:
    put(tmp_path, "a.md", line)
    assert list(house.traces_of_a_machine(tmp_path, ["a.md"])) == []


def test_a_file_that_is_no_text_is_left_alone(house: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"\0/" + b"work/x")
    assert list(house.traces_of_a_machine(tmp_path, ["a.onnx"])) == []


@pytest.mark.parametrize(("size", "found"), [(400_000, 0), (400_001, 1)])
def test_a_picture_is_light(house: ModuleType, tmp_path: Path, size: int, found: int) -> None:
    put(tmp_path, "docs/images/a.png", "x" * size)
    assert len(list(house.heavy_pictures(tmp_path))) == found
