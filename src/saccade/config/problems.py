"""What is wrong with the settings: one clear line for each problem, all of them at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Secret, ValidationError

from saccade.config.describe import (
    ANY_NAME,
    Location,
    Secrecy,
    children,
    key_text,
    leaf_paths,
    node_at,
    shown,
)
from saccade.config.secret import STARS, redact_url
from saccade.errors import BadInput, SettingsInvalid

#: What NAME_PATTERN allows.
NAME_CHARS = 63

#: A value longer than this is cut in a message.
SHOWN_CHARS = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Args:
        where: file and line, or the variable's name; empty when the settings as a whole are meant.
        key: the setting, as `server.port`.
        what: what is wrong with it and what is allowed, in one line.
    """

    where: str
    key: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


class SettingsProblems(SettingsInvalid):
    """The settings have problems; `problems` has each of them, `what` a line for each."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(
            "\n".join(str(problem) for problem in problems),
            fix="every setting is explained in docs/settings.md, and by `saccade schema`",
        )
        self.problems = tuple(problems)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known key that `word` was most likely meant to be, or None if none is near.

    Source: `difflib` (Ratcliff and Obershelp), case and the kind of separator ignored.
    """
    plain = {_plain(candidate): candidate for candidate in known}
    found = difflib.get_close_matches(_plain(word), plain, n=1, cutoff=0.6)
    return plain[found[0]] if found else None


def _plain(word: str) -> str:
    return word.casefold().replace("-", "_")


def explain(
    error: ValidationError, places: Mapping[Location, str], *, prefix: Location = ()
) -> list[Problem]:
    """Turn what pydantic found into one line for each problem, in the order of the settings.

    Args:
        error: what `Settings` (or the entry at `prefix`) raised.
        places: where each key was written; a key without a place takes its parent's.
        prefix: where in the settings the validated part belongs.
    """
    problems: list[Problem] = []
    for item in error.errors(include_url=False):
        path = (*prefix, *item["loc"])
        is_name = bool(path) and path[-1] == "[key]"
        path = path[:-1] if is_name else path
        what = _bad_name(path) if is_name else _one_line(item, path)
        problem = Problem(place_of(path, places), key_text(path), what)
        if problem not in problems:  # two broken parts of one value are one problem
            problems.append(problem)
    return problems


def row_invalid(what: str, error: ValidationError, *, prefix: Location) -> BadInput:
    """Return the error of one camera or model that did not come from the settings' file.

    Args:
        what: which one, as `camera lobby`.
        error: what its entry raised.
        prefix: where it would stand in the settings, as `("cameras", "lobby")`.
    """
    lines = [str(problem) for problem in explain(error, {}, prefix=prefix)]
    return BadInput(
        f"{what}: " + "; ".join(lines), fix="see docs/settings.md for what each key allows"
    )


def place_of(path: Location, places: Mapping[Location, str]) -> str:
    """Return where `path`, or the nearest part above it, was written; empty if nowhere."""
    for end in range(len(path), 0, -1):
        if path[:end] in places:
            return places[path[:end]]
    return ""


def shown_value(value: object, secrecy: Secrecy = Secrecy.NONE) -> str:
    """Return a wrong value fit for a message: on one line, short, without passwords."""
    value = value.get_secret_value() if isinstance(value, Secret) else value
    if secrecy is Secrecy.ALL and value is not None:
        return STARS
    if isinstance(value, Mapping):
        return "a group of settings"
    if isinstance(value, list | tuple):
        return "a list"
    if not isinstance(value, str):
        return shown(value)
    text = redact_url(value)
    return repr(text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…")


def _one_line(item: Any, path: Location) -> str:
    key, kind, node = key_text(path), item["type"], node_at(path)
    if kind == "extra_forbidden":
        return unknown_key(path)
    leaf = node.leaf if node else None
    if leaf:
        wanted = leaf.allowed
    else:
        wanted = "a map of names" if node and node.map_of else "a group of settings"
    if kind == "missing":
        return f"{key} is missing: must be {wanted}"
    if kind == "saccade" and not leaf:  # of a group as a whole: its input says nothing
        return f"{key}: {item['msg']}" if key else str(item["msg"])
    value = shown_value(item["input"], leaf.secrecy if leaf else Secrecy.NONE)
    wanted = item["msg"] if kind == "saccade" else f"must be {wanted}"
    return f"{key} is {value}: {wanted}"


def unknown_key(path: Location) -> str:
    """Return the line for a key the settings do not have, with the one that was likely meant."""
    group = node_at(path[:-1])
    word = str(path[-1])
    known = [name for name, _ in children(group.group)] if group and group.group else []
    near = nearest(word, known)
    if near:
        near = key_text((*path[:-1], near))
    else:
        # Right word, wrong group: `port` at the top.
        near = next(
            (".".join(p) for p, _ in leaf_paths() if p[-1] == word and ANY_NAME not in p), None
        )
    hint = f"did you mean {near}?" if near else f"known here: {', '.join(known)}"
    return f"{key_text(path)}: unknown key; {hint}"


def _bad_name(path: Location) -> str:
    return (
        f"{key_text(path[:-1])}: {str(path[-1])!r} cannot be a name: use a-z, 0-9, - and _, "
        f"at most {NAME_CHARS}, a letter or digit first"
    )
