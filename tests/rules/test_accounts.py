"""Invariant 1 for frames: produced = served + dropped(reason) + in flight, also after a death."""

from __future__ import annotations

import contextlib
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.cameras.counts import FrameBook
from saccade.telemetry.board import (
    DROP_WORDS,
    MODELS_PER_HOST,
    PAGE_WORDS,
    PAGES,
    Board,
    CameraWord,
    FrameCounts,
    ModelWord,
    Page,
    book_dead_camera,
    model_base,
)
from saccade.types import DropReason


class Killed(BaseException):
    """The process is gone: nothing after this write has happened."""


class DyingPage(Page):
    """A page whose process dies before its n-th write."""

    __slots__ = ("left",)

    def __init__(self, words: memoryview, writes: int) -> None:
        super().__init__(words)
        self.left = writes

    def _write(self) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1

    def set(self, word: int, value: int) -> None:
        self._write()
        super().set(word, value)

    def add(self, word: int, amount: int = 1) -> None:
        self._write()
        super().add(word, amount)


def words() -> memoryview:
    return memoryview(bytearray(PAGE_WORDS * 8)).cast("Q")


#: None: served; a reason: dropped. Applied to the oldest frame in flight; True: a new frame.
ENDS = st.none() | st.sampled_from(DropReason)
HISTORY = st.lists(st.just(True) | ENDS, max_size=60)


def play(book: FrameBook, history: list[bool | DropReason | None]) -> tuple[int, int]:
    """Play a history of one camera; return (produced, ended)."""
    produced = ended = 0
    for n, step in enumerate(history):
        if step is True:
            produced += 1
            assert book.produced(float(n), 640, 360) == produced
        elif ended < produced:
            ended += 1
            if step is None:
                book.served(float(n), float(n) - 0.1)
            elif isinstance(step, DropReason):
                book.dropped(step)
    return produced, ended


@given(HISTORY)
def test_the_sum_closes_after_any_history(history: list[bool | DropReason | None]) -> None:
    page = Page(words())
    produced, ended = play(FrameBook(page), history)
    counts = FrameCounts(page)
    assert (counts.produced, counts.in_flight, counts.missing) == (produced, produced - ended, 0)
    assert counts.served + sum(counts.dropped.values()) == ended


@given(HISTORY, st.integers(0, 200))
def test_a_death_at_any_write_leaves_a_sum_that_the_supervisor_closes(
    history: list[bool | DropReason | None], writes: int
) -> None:
    memory = words()
    with contextlib.suppress(Killed):
        play(FrameBook(DyingPage(memory, writes)), history)
    page = Page(memory)
    before = FrameCounts(page)
    lost = book_dead_camera(page)
    after = FrameCounts(page)
    assert after.in_flight == after.missing == 0
    assert after.produced == before.produced
    assert after.dropped[DropReason.DIED] == before.dropped[DropReason.DIED] + lost
    assert book_dead_camera(page) == 0  # a second look books nothing
    assert FrameBook(page).produced(1.0, 2, 2) == after.produced + 1  # the next process goes on


def test_a_reader_and_a_loop_that_book_at_once_lose_nothing() -> None:
    page = Page(words())
    book = FrameBook(page)

    def decode() -> None:
        for _ in range(3000):
            book.produced(1.0, 4, 4)
            book.dropped(DropReason.PACED)

    def loop() -> None:
        for _ in range(3000):
            book.produced(1.0, 4, 4)
            book.served(1.0, 0.5)

    threads = [threading.Thread(target=decode), threading.Thread(target=loop)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = FrameCounts(page)
    assert (counts.produced, counts.served, counts.in_flight) == (6000, 3000, 0)
    assert counts.missing == 0


def test_no_two_counters_share_a_word() -> None:
    camera = [int(w) for w in CameraWord if w is not CameraWord.DROPPED] + list(DROP_WORDS.values())
    assert len(camera) == len(set(camera))
    assert max(camera) < PAGE_WORDS
    hosts = [model_base(i) + w for i in range(MODELS_PER_HOST) for w in ModelWord]
    assert len(hosts) == len(set(hosts))
    assert max(hosts) < PAGE_WORDS
    with pytest.raises(ValueError, match="28"):
        model_base(MODELS_PER_HOST)


def test_pages_of_a_board_do_not_overlap_and_a_second_mapping_sees_them() -> None:
    board = Board.create()
    other = Board(board.fd)
    for index in (0, 1, PAGES - 1):
        board.page(index).set(0, index + 7)
        board.page(index).set(PAGE_WORDS - 1, index + 9)
    assert [other.page(i).get(0) for i in (0, 1, PAGES - 1)] == [7, 8, PAGES + 6]
    assert other.page(0).get(PAGE_WORDS - 1) == 9
    with pytest.raises(ValueError, match="256"):
        board.page(PAGES)
