"""A folder with a settings file in it, read without this machine's environment."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from saccade.config import Loaded, Problem, SettingsProblems, load
from saccade.config.layers import Plain

Read = Callable[..., Loaded]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Load settings from texts: `read(yaml, dotenv=..., env={...})`."""

    def read_(
        yaml: str | bytes | None = None,
        *,
        dotenv: str | bytes | None = None,
        env: Mapping[str, str] | None = None,
        overrides: Mapping[str, Plain] | None = None,
    ) -> Loaded:
        for name, text in (("saccade.yaml", yaml), (".env", dotenv)):
            path = tmp_path / name
            if text is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(text.encode() if isinstance(text, str) else text)
        return load(folder=tmp_path, environ=env or {}, overrides=overrides)

    return read_


@pytest.fixture
def problems(read: Read) -> Callable[..., tuple[Problem, ...]]:
    """Load settings that must be refused, and answer with what is wrong."""

    def problems_(*args: object, **kwargs: object) -> tuple[Problem, ...]:
        with pytest.raises(SettingsProblems) as caught:
            read(*args, **kwargs)
        assert caught.value.what.count("\n") == len(caught.value.problems) - 1
        return caught.value.problems

    return problems_
