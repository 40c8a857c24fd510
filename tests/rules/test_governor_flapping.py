"""Flapping: however VRAM moves for half an hour, a model is suspended six times at the most."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.rules.governor_box import VLM, Box, vlm

from saccade.engine.gates import SkipReason
from saccade.types import ModelStatus

HALF_HOUR_S = 1800
LIMIT_MB, MARGIN_MB = 2000.0, 2200.0
LOW, BAND, HIGH = LIMIT_MB - 1.0, LIMIT_MB, MARGIN_MB


def half_an_hour(levels: list[tuple[float, int]], cooldown_s: float) -> Box:
    """Let VRAM go through (MB, seconds) again and again for half an hour, a look each second."""
    box = Box(limits=[vlm(cooldown_on_skip_seconds=cooldown_s)])
    box.step()
    course = [mb for mb, seconds in levels for _ in range(seconds)]
    for second in range(HALF_HOUR_S):
        box.vram_mb = course[second % len(course)]
        box.tick()
    return box


@pytest.mark.parametrize(("levels", "most"), [
    ([(LOW, 1), (HIGH, 1)], 1),  # every second: never three healthy samples in a row
    ([(LOW, 1), (HIGH, 3)], 6),
    ([(LOW, 1), (HIGH, 60)], 6),
    ([(LOW, 5), (HIGH, 5)], 6),
    ([(LOW, 1), (BAND, 1)], 1),
    ([(BAND, 1), (HIGH, 1)], 0),  # inside the band, and over it
    ([(BAND, 1), (MARGIN_MB - 1.0, 1)], 0),
    ([(HIGH, 1)], 0),
])  # fmt: skip
@pytest.mark.parametrize("cooldown_s", [0.0, 60.0])
def test_vram_that_swings_for_half_an_hour(
    levels: list[tuple[float, int]], most: int, cooldown_s: float
) -> None:
    box = half_an_hour(levels, cooldown_s)
    assert len(box.suspensions()) <= most
    assert (len(box.suspensions()) > 0) == (most > 0)
    assert [at for at, _name, _skip in box.skips] == box.suspensions()


@pytest.mark.parametrize(
    ("cooldown_s", "expected"),
    [
        (0.0, [0, 31, 92, 213, 454, 935]),  # grows from the dwell of 30 s
        (60.0, [0, 61, 182, 423, 904]),
    ],
)
def test_an_enemy_that_takes_vram_the_moment_the_model_runs_gets_six_suspensions(
    cooldown_s: float, expected: list[int]
) -> None:
    box = Box(limits=[vlm(cooldown_on_skip_seconds=cooldown_s)])
    for _ in range(HALF_HOUR_S + 1):
        box.vram_mb = LOW if box.status() is ModelStatus.READY else HIGH
        box.tick()
    began_at = box.suspensions()[0]
    assert [at - began_at for at in box.suspensions()] == expected


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(st.sampled_from([LOW, BAND, HIGH]), st.integers(1, 90)), min_size=1, max_size=12
    ),
    st.sampled_from([0.0, 10.0, 60.0]),
)
def test_no_course_of_vram_gives_more_than_six_suspensions(
    levels: list[tuple[float, int]], cooldown_s: float
) -> None:
    box = half_an_hour(levels, cooldown_s)
    assert len(box.suspensions()) <= 6
    if all(mb >= LIMIT_MB for mb, _seconds in levels):
        assert box.suspensions() == []


def test_the_bound_holds_in_every_half_hour_of_a_day() -> None:
    box = Box(limits=[vlm(cooldown_on_skip_seconds=0.0)])
    for second in range(12 * 3600):  # calm for a while, then an enemy again, so that it is forgiven
        is_calm = second % 9000 < 4000
        box.vram_mb = HIGH if is_calm or box.status() is not ModelStatus.READY else LOW
        box.tick()
    at = box.suspensions()
    assert len(at) > 6
    for first in at:
        assert sum(first <= other < first + HALF_HOUR_S for other in at) <= 6


CAUSES = st.sampled_from(["vram", "fps", "calibration", "calm"])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(CAUSES, st.integers(1, 40), st.sampled_from([0.2, 1.0, 3.0])), max_size=20)
)
def test_a_model_resumes_only_after_cooldown_dwell_and_three_healthy_samples(
    history: list[tuple[str, int, float]],
) -> None:
    box = Box(limits=[vlm(cooldown_on_skip_seconds=20.0)])
    healthy_row, counted_at, since, skips = 0, 0.0, 0.0, 0
    for cause, looks, every in history:
        box.vram_mb = 0.0 if cause == "vram" else 8000.0
        box.fps = 0.0 if cause == "fps" else 25.0
        box.is_calibrating = cause == "calibration"
        for _ in range(looks):
            was = box.status()
            box.tick(every)
            # the reference: the plain rule, from what the machine was like
            if cause != "calm":
                healthy_row = 0
            elif box.now - counted_at >= 0.5:
                healthy_row, counted_at = healthy_row + 1, box.now
            if was is ModelStatus.READY and cause != "calm":
                assert box.status() is ModelStatus.SUSPENDED  # at once
                since, skips, healthy_row, counted_at = box.now, skips + 1, 0, box.now
            elif was is ModelStatus.SUSPENDED and box.status() is ModelStatus.READY:
                assert cause == "calm"
                assert healthy_row >= 3
                assert box.now - since >= 30.0  # the dwell; the cooldown is shorter here
            assert len(box.skips) == skips
    reasons = {SkipReason.LOW_VRAM, SkipReason.LOW_FPS, SkipReason.CALIBRATION}
    assert {skip.reason for _at, _name, skip in box.skips} <= reasons
    assert all(name == VLM for _at, name, _skip in box.skips)
