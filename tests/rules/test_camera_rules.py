"""Which frames are looked at, what state a camera may have, how long it waits."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.cameras.pacing import Pacer
from saccade.cameras.sources import fit
from saccade.cameras.state import TRANSITIONS, Backoff, FrozenCheck, follows
from saccade.types import CameraState, DropReason


def taken(pacer: Pacer, times: list[float]) -> list[float]:
    return [at for at in times if pacer.judge(at) is None]


@pytest.mark.parametrize(
    ("source_fps", "process_fps", "each_second"),
    [
        (15, 5, 5),
        (30, 5, 5),
        (25, 5, 5),
        (30, 10, 10),
        (15, 15, 15),
        (30, 1, 1),
        (10, 20, 10),
        (15, 7, 7),
    ],
)
def test_a_thinned_stream_has_exactly_the_frames_that_were_asked_for(
    source_fps: int, process_fps: int, each_second: int
) -> None:
    pacer = Pacer(process_fps, 0)
    times = taken(pacer, [n / source_fps for n in range(source_fps * 20)])
    assert len(times) == each_second * 20
    if source_fps % process_fps == 0:  # and evenly: the same number in every second
        assert set(Counter(int(at + 1e-9) for at in times).values()) == {each_second}


@given(st.lists(st.floats(-0.009, 0.009), min_size=60, max_size=60))
def test_frames_that_arrive_unevenly_are_thinned_to_every_third(jitter: list[float]) -> None:
    pacer = Pacer(5, 0)
    times = [n / 15 + j for n, j in enumerate([0.0, *jitter])]
    assert taken(pacer, times) == times[::3]


def test_frame_skip_of_two_takes_one_frame_of_three_from_the_first_on() -> None:
    pacer = Pacer(0, 2)
    assert [pacer.judge(n / 30) for n in range(7)] == [
        None,
        DropReason.SKIPPED,
        DropReason.SKIPPED,
        None,
        DropReason.SKIPPED,
        DropReason.SKIPPED,
        None,
    ]


def test_no_limits_take_every_frame() -> None:
    pacer = Pacer(0, 0)
    assert taken(pacer, [0.0, 0.0, 0.001, 5.0]) == [0.0, 0.0, 0.001, 5.0]


def test_frame_skip_counts_what_process_fps_has_left() -> None:
    pacer = Pacer(5, 1)
    assert len(taken(pacer, [n / 15 for n in range(150)])) == 25  # 10 s at 5 fps, every second one


GAPS = st.lists(st.floats(0, 2), min_size=1, max_size=200)


@given(GAPS, st.sampled_from([1.0, 5.0, 12.5]))
def test_no_second_ever_has_more_frames_than_asked_for_and_a_pause_is_not_caught_up(
    gaps: list[float], fps: float
) -> None:
    pacer, at, times = Pacer(fps, 0), 0.0, []
    for gap in gaps:
        at += gap
        times += taken(pacer, [at])
    for first in times:
        # Two whole periods may touch at the edges of a window, never more.
        assert sum(first <= t < first + 1 for t in times) <= fps + 2


def test_a_restarted_stream_begins_with_a_frame() -> None:
    pacer = Pacer(1, 0)
    assert taken(pacer, [100.0, 100.5]) == [100.0]
    pacer.restart()
    assert taken(pacer, [0.0]) == [0.0]


@given(st.sampled_from(CameraState), st.sampled_from(CameraState))
def test_a_camera_goes_where_the_table_says_or_stays(a: CameraState, b: CameraState) -> None:
    assert follows(a, b) == (a is b or b in TRANSITIONS[a])


def test_every_state_but_the_end_can_become_live_again() -> None:
    assert set(TRANSITIONS) == set(CameraState)
    assert TRANSITIONS[CameraState.ENDED] == frozenset()
    for state in set(CameraState) - {CameraState.ENDED, CameraState.LIVE}:
        assert CameraState.LIVE in TRANSITIONS[state]


CHANCE = st.floats(0, 1, exclude_max=True)


@given(st.lists(CHANCE, min_size=1, max_size=50), st.floats(0.01, 1), st.floats(0.01, 10))
def test_a_wait_is_never_over_the_maximum_and_jitter_only_lowers_it(
    chances: list[float], initial_s: float, maximum_s: float
) -> None:
    backoff, plain = Backoff(initial_s, maximum_s), Backoff(initial_s, maximum_s, jitter=0.0)
    before = 0.0
    for chance in chances:
        wait_s, whole_s = backoff.next_s(chance), plain.next_s(chance)
        assert 0.75 * whole_s - 1e-9 <= wait_s <= whole_s <= maximum_s
        assert whole_s >= before  # it grows until it is at its maximum
        assert whole_s == min(maximum_s, before * 2) or before == 0.0
        before = whole_s


def test_a_source_that_works_again_starts_with_the_first_wait() -> None:
    backoff = Backoff(0.25, 2.0)
    assert [backoff.next_s(0.0) for _ in range(5)] == [0.25, 0.5, 1.0, 2.0, 2.0]
    backoff.reset()
    assert backoff.next_s(0.0) == 0.25


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=60), st.integers(1, 6))
def test_a_picture_is_frozen_when_it_has_been_the_same_for_the_whole_limit(
    shown: list[tuple[int, int]], limit: int
) -> None:
    check, now, since, last = FrozenCheck(float(limit)), 0.0, 0.0, None
    for signature, gap in shown:
        now += gap
        if signature != last:
            last, since = signature, now
        assert check.is_frozen(signature, now) == (now - since >= limit)


def test_a_limit_of_zero_never_says_frozen_and_a_reconnect_forgets() -> None:
    assert not any(FrozenCheck(0.0).is_frozen(1, now) for now in (0.0, 1e6))
    check = FrozenCheck(5.0)
    check.is_frozen(1, 0.0)
    check.forget()
    assert not check.is_frozen(1, 100.0)


SIDE = st.integers(1, 20_000)


@given(SIDE, SIDE, st.integers(16, 8192), st.integers(16, 8192))
def test_a_fitted_picture_has_even_sides_within_limits(w: int, h: int, mw: int, mh: int) -> None:
    width, height = fit(w, h, mw, mh)
    assert width % 2 == height % 2 == 0
    assert 2 <= width <= mw
    assert 2 <= height <= mh
    assert width <= max(2, w)
    assert height <= max(2, h)
