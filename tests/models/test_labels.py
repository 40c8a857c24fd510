"""The names of classes, from wherever they come."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.errors import ModelFileInvalid, SaccadeError, SettingsInvalid
from saccade.models.labels import COCO, choose_labels, labels_from_metadata, resolve_labels

NAME = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)


def test_coco_is_the_list_every_yolo_was_trained_with() -> None:
    assert len(COCO) == len(set(COCO)) == 80
    assert [COCO[i] for i in (0, 5, 27, 79)] == ["person", "bus", "tie", "toothbrush"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("names.txt", "red\ngreen\n\n  blue  \n"),
        ("names.txt", "\ufeffred\r\ngreen\r\nblue"),
        ("names.yaml", "[red, green, blue]"),
        ("names.yaml", "names: [red, green, blue]"),
        ("names.yml", "path: .\nnames:\n  0: red\n  1: green\n  2: blue\n"),
        ("names.yaml", "{2: blue, 0: red, 1: green}"),
    ],
)
def test_a_file_gives_its_names_in_order(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, "utf-8")
    assert resolve_labels(name, folder=tmp_path) == ("red", "green", "blue")
    assert resolve_labels(str(tmp_path / name), folder=Path("/")) == ("red", "green", "blue")


def test_a_preset_or_a_list_stands_for_itself(tmp_path: Path) -> None:
    assert resolve_labels("coco", folder=tmp_path) == COCO
    assert resolve_labels(["a", "b"], folder=tmp_path) == ("a", "b")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.txt", None, "neither a preset nor a file"),
        ("empty.txt", b"\n\n", "no names"),
        ("binary.txt", b"\xff\xfe\x00\x01", "not a file of class names"),
        ("broken.yaml", b"names: [a, b", "not a file of class names"),
        ("number.yaml", b"7", "neither a list nor a mapping"),
        ("holes.yaml", b"{0: a, 2: b}", "indices are not 0 to 1"),
        ("words.yaml", b"{a: 0, b: 1}", "not a file of class names"),
        ("python.yaml", b"!!python/object/apply:os.getcwd []", "not a file of class names"),
        ("control.txt", b"per\x07son\n", "name 0 is"),
        ("long.txt", b"x" * 101, "name 0 is"),
        ("huge.txt", b"abc\n" * 300_000, "is over"),
    ],
)
def test_what_is_no_list_of_names_is_refused(
    name: str, content: bytes | None, words: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SettingsInvalid, match=words):
        resolve_labels(name, folder=tmp_path)


@given(st.lists(NAME, min_size=1, max_size=20))
def test_metadata_is_read_back_as_it_was_written(names: list[str]) -> None:
    assert labels_from_metadata(str(dict(enumerate(names)))) == tuple(names)
    assert labels_from_metadata(str(names)) == tuple(names)


@pytest.mark.parametrize(
    "text", ["", "person", "{0: 'a', 5: 'b'}", "[]", "__import__('os')", "(" * 5000, "{1: "]
)
def test_other_metadata_is_a_model_file_error(text: str) -> None:
    with pytest.raises(ModelFileInvalid, match="metadata 'names'"):
        labels_from_metadata(text)


@given(st.text(max_size=60))
def test_any_metadata_is_names_or_a_model_file_error(text: str) -> None:
    try:
        names = labels_from_metadata(text)
    except ModelFileInvalid:
        return
    assert names
    assert all(names)


@pytest.mark.parametrize(
    ("given_names", "metadata", "classes", "expected"),
    [
        (("a", "b"), ("x", "y"), 2, ("a", "b")),
        ((), ("x", "y"), 2, ("x", "y")),
        ((), ("x", "y"), None, ("x", "y")),
        ((), None, 2, ("class 0", "class 1")),
        (("a", "b"), None, None, ("a", "b")),
        (("a", "b"), None, 3, "answers 3 classes, but 2 labels are given"),
        ((), ("x",), 2, "answers 2 classes, but 1 names are in the model's metadata"),
        ((), None, None, "does not say how many classes"),
        (("",), None, 1, "name 0"),
    ],
)
def test_the_settings_win_then_the_model_and_the_number_must_fit(
    given_names: tuple[str, ...],
    metadata: tuple[str, ...] | None,
    classes: int | None,
    expected: tuple[str, ...] | str,
) -> None:
    if isinstance(expected, str):
        with pytest.raises(SaccadeError, match=expected):
            choose_labels(given=given_names, metadata=metadata, classes=classes)
    else:
        chosen = choose_labels(given=given_names, metadata=metadata, classes=classes)
        assert chosen == expected
