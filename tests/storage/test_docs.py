"""The documentation's declaration, run as it is written."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import MetaData

from saccade.storage import undeclared
from saccade.storage.tables import NAMING, metadata

DOCUMENT = Path(__file__).parents[2] / "docs" / "storage.md"


def test_the_documented_declaration_is_complete() -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)
    (declaration,) = [block for block in blocks if "Table(" in block]
    registry = MetaData(naming_convention=NAMING)
    # Into a registry of its own: the core's must stay what migrations make.
    script = declaration.replace("declare_prefix, kept, metadata)", "declare_prefix, kept)")
    names: dict[str, object] = {"metadata": registry}
    exec(script, names)
    assert undeclared(registry) == []
    assert names["FACES"] == "attendance/faces/"
    assert set(registry.tables) == {"attendance_visits"}


def test_every_table_is_in_the_documented_list() -> None:
    listed = set(re.findall(r"`([a-z_]+)`", DOCUMENT.read_text()))
    assert set(metadata.tables) <= listed
