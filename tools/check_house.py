"""What the linters do not know: the house's own rules, checked in a second by `make check`."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent

#: A file longer than this has more than one reason to exist.
LINES_MOST: Final = 500
#: A picture of the documents is looked at, not downloaded.
PICTURE_BYTES_MOST: Final = 400_000

#: The distribution an import belongs to, where the names differ.
DISTRIBUTIONS: Final = {
    "annotated_types": "annotated-types",
    "cv2": "opencv-python-headless",
    "dotenv": "python-dotenv",
    "fastapi_offline": "fastapi-offline",
    "google": "protobuf",
    "prometheus_client": "prometheus-client",
    "pydantic_core": "pydantic",  # which pins its exact version
    "pynvml": "nvidia-ml-py",
    "yaml": "pyyaml",
}
#: Needed at run time and imported by another package, which does not ask for it by itself.
IMPORTED_BY_OTHERS: Final = {
    "httptools": "uvicorn",
    "psycopg": "sqlalchemy",
    "python-multipart": "starlette",
}

_MACHINE_PATH: Final = re.compile(r"(?<![\w.:/-])/(?:work|home|root|Users|mnt)/[\w.-]+")
_REGISTRY: Final = re.compile(
    r"pypi\.org/simple|pythonhosted\.org|registry\.npmjs\.org|download\.pytorch\.org/whl"
    r"|(?:index-url|find-links)[= ]+\S*(?:https?://|/)|registry[= ]+https?://"
)


def long_files(root: Path) -> Iterator[str]:
    """Yield each source file that is too long."""
    for path in _python(root / "src"):
        lines = path.read_text(encoding="utf-8").count("\n")
        if lines > LINES_MOST:
            yield f"{_name(path, root)}: {lines} lines, at most {LINES_MOST}: split it by reason"


def missing_docstrings(root: Path) -> Iterator[str]:
    """Yield each module that does not say in its first line why it exists."""
    for path in _python(root / "src", root / "tools", root / "tests"):
        text = path.read_text(encoding="utf-8")
        if text.removeprefix("#!/usr/bin/env python3\n")[:3] not in {'"""', 'r""', ""}:
            yield f"{_name(path, root)}: its first line is no docstring"


def sleeping_tests(root: Path) -> Iterator[str]:
    """Yield each call of a sleep in the tests: they wait on a socket, a pidfd or a fake clock."""
    for path in _python(root / "tests"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and _called(node.func) == "sleep":
                yield f"{_name(path, root)}:{node.lineno}: a sleep; wait for what should happen"


def undeclared_tables(_root: Path) -> Iterator[str]:
    """Yield each table that does not say how long it is kept or how it forgets a person."""
    from saccade.storage.registry import undeclared  # noqa: PLC0415 - the path is set by main()
    from saccade.storage.tables import metadata  # noqa: PLC0415

    yield from undeclared(metadata)


def stale_files(root: Path) -> Iterator[str]:
    """Yield each generated file that is not what the settings make."""
    from saccade.config.generate import generated_files  # noqa: PLC0415

    for name, text in generated_files().items():
        path = root / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            yield f"{name}: not what the settings make; run `saccade schema --write .`"


def unexplained_dependencies(root: Path) -> Iterator[str]:
    """Yield each direct dependency that no document explains or no constraint pins."""
    explained = set(
        re.findall(r"^\| `([\w.-]+)`", _text(root / "docs/dependencies.md").lower(), re.M)
    )
    pinned = set(re.findall(r"^([\w.-]+)==", _text(root / "constraints.txt").lower(), re.M))
    for name in sorted(_declared(root, with_extras=True)):
        if name not in explained:
            yield f"{name}: docs/dependencies.md does not say what it is for"
        if name not in pinned:
            yield f"{name}: constraints.txt does not say which version was tested"


def undeclared_imports(root: Path) -> Iterator[str]:
    """Yield what is imported and not asked for, and what is asked for and not imported."""
    used: dict[str, Path] = {}
    for path in _python(root / "src"):
        for module in _imported(ast.parse(path.read_text(encoding="utf-8"))):
            if module not in sys.stdlib_module_names and module != "saccade":
                used.setdefault(DISTRIBUTIONS.get(module, module), path)
    declared = _declared(root, with_extras=False)
    for name in sorted(set(used) - _declared(root, with_extras=True)):
        yield f"{_name(used[name], root)}: imports {name}, which pyproject.toml does not ask for"
    for name in sorted(declared - set(used) - set(IMPORTED_BY_OTHERS)):
        yield f"pyproject.toml: asks for {name}, which nothing imports"


def traces_of_a_machine(root: Path, tracked: Iterable[str]) -> Iterator[str]:
    """Yield each path or package address of one machine in a tracked file.

    Args:
        root: the repository.
        tracked: its files, relative.
    """
    for name in tracked:
        path = root / name
        if not path.is_file():
            continue
        content = path.read_bytes()
        if b"\0" in content:
            continue
        for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
            found = _MACHINE_PATH.search(line) or _REGISTRY.search(line)
            if found:
                yield f"{name}:{number}: {found.group()!r} is of one machine"


def heavy_pictures(root: Path) -> Iterator[str]:
    """Yield each picture of the documents that is too large."""
    for path in sorted((root / "docs/images").glob("*.png")):
        size = path.stat().st_size
        if size > PICTURE_BYTES_MOST:
            yield f"{_name(path, root)}: {size:,} bytes, at most {PICTURE_BYTES_MOST:,}"


CHECKS: Final[tuple[Callable[[Path], Iterator[str]], ...]] = (
    long_files,
    missing_docstrings,
    sleeping_tests,
    undeclared_tables,
    stale_files,
    unexplained_dependencies,
    undeclared_imports,
    heavy_pictures,
)


def problems(root: Path) -> list[str]:
    """Return everything that is wrong with the house, a line each."""
    found = [line for check in CHECKS for line in check(root)]
    return found + list(traces_of_a_machine(root, tracked_files(root)))


def tracked_files(root: Path) -> list[str]:
    """Return what git tracks; empty outside a repository, as in an unpacked archive."""
    git = subprocess.run(
        ["git", "-C", root, "ls-files", "-z"], capture_output=True, text=True, check=False
    )
    return [name for name in git.stdout.split("\0") if name] if git.returncode == 0 else []


def _python(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(folder.rglob("*.py"))


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _called(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _declared(root: Path, *, with_extras: bool) -> set[str]:
    project = tomllib.loads(_text(root / "pyproject.toml"))["project"]
    lines = list(project["dependencies"])
    if with_extras:
        lines += [line for extra in project["optional-dependencies"].values() for line in extra]
    return {_distribution(line) for line in lines}


def _distribution(requirement: str) -> str:
    name = re.match(r"[\w.-]+", requirement)
    return re.sub(r"[-_.]+", "-", name.group() if name else requirement).lower()


def main() -> int:
    """Print what is wrong; return the exit status."""
    sys.path.insert(0, str(ROOT / "src"))  # the code beside this file, whatever is installed
    found = problems(ROOT)
    for line in found:
        print(line)
    print(f"The house has {len(found)} faults." if found else "The house is in order.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
