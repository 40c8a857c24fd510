"""A mistyped key finds the one that was meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.config import Settings, nearest
from saccade.config.describe import leaf_paths

KEYS = sorted({path[-1] for path, _ in leaf_paths()} | set(Settings.model_fields))


@given(st.sampled_from(KEYS), st.data())
def test_two_letters_in_the_wrong_order_find_the_key_they_came_from(
    key: str, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(key) - 2))
    typed = key[:at] + key[at + 1] + key[at] + key[at + 2 :]
    found = nearest(typed, [key, "zzzz"])
    assert found == key or len(key) < 4  # `url` as `rul` has too little left


@given(st.sampled_from([key for key in KEYS if len(key) >= 5]), st.data())
def test_one_letter_left_out_finds_the_key_it_came_from(key: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(key) - 1))
    assert nearest(key[:at] + key[at + 1 :], [key, "zzzz"]) == key


@given(st.text(), st.lists(st.text()))
def test_what_is_found_is_always_one_of_the_known(word: str, known: list[str]) -> None:
    assert nearest(word, known) in {None, *known}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("PORT", "port"), ("max-batch", "max_batch"), ("procces_fps", "process_fps"), ("qqq", None)],
)
def test_case_and_dashes_do_not_matter(typed: str, meant: str | None) -> None:
    assert nearest(typed, KEYS) == meant
