"""The committed examples and documents say what the code says."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from saccade.config import Loaded
from saccade.config.describe import leaf_paths
from saccade.config.generate import env_example, generated_files, uncommented, yaml_example
from saccade.config.variables import ALIASES, NOT_YET

ROOT = Path(__file__).parents[2]
Read = Callable[..., Loaded]


@pytest.mark.parametrize("name", list(generated_files()))
def test_the_committed_file_is_what_the_settings_make(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == generated_files()[name], (
        "run `saccade schema --write .`"
    )


def test_the_example_sets_nothing_as_it_is(read: Read) -> None:
    assert read(yaml_example("x")).settings == read().settings


def test_every_line_of_the_example_is_right_when_it_is_taken_out_of_its_comment(
    read: Read,
) -> None:
    settings = read(uncommented(yaml_example("x"))).settings
    plain = read().settings
    assert settings.server == plain.server
    assert settings.supervisor == plain.supervisor
    assert list(settings.cameras) == ["lobby"]
    assert list(settings.webhooks) == ["team"]


def test_every_line_of_the_variables_example_is_right(read: Read) -> None:
    text = "\n".join(
        line.removeprefix("#") if re.match(r"#[A-Z]", line) else line
        for line in env_example().splitlines()
    )
    settings = read(dotenv=text).settings
    assert settings.server == read().settings.server
    assert list(settings.models) == ["detector"]


def test_every_setting_has_a_description() -> None:
    assert [path for path, leaf in leaf_paths() if len(leaf.description) < 15] == []


def test_every_number_has_bounds() -> None:
    unbounded = [
        path for path, leaf in leaf_paths() if leaf.allowed in {"a number", "a whole number"}
    ]
    assert unbounded == []


def test_the_schema_allows_a_group_to_be_empty_and_knows_every_key() -> None:
    schema = json.loads(generated_files()["docs/saccade.schema.json"])
    assert {"type": "null"} in schema["properties"]["server"]["anyOf"]
    assert schema["additionalProperties"] is False
    keys = {key for part in schema["$defs"].values() for key in part.get("properties", {})}
    assert {path[-1] for path, _ in leaf_paths()} - {"data"} <= keys


def test_every_variable_of_the_requirements_is_an_alias_or_explained() -> None:
    table = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    for name in (*ALIASES, *NOT_YET):
        assert f"`{name}`" in table
