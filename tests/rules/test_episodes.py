"""When an object on a camera is worth an event, against a slow reference that keeps everything."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from saccade.cameras.episodes import Episode, EpisodeKind, Episodes

LABELS = ("cat", "dog")
SEEN = st.dictionaries(
    st.sampled_from(LABELS), st.tuples(st.integers(1, 3), st.sampled_from([0.3, 0.5, 0.9]))
)
#: (seconds passed, what was seen; None: nothing came, only time passed)
STEPS = st.lists(st.tuples(st.integers(0, 4), st.none() | SEEN), max_size=30)


def reference(
    label: str,
    history: list[tuple[float, dict[str, tuple[int, float]] | None]],
    appear: int,
    leave: float,
) -> list[Episode]:
    """Return every fact about one label, found by looking at its whole history at once."""
    facts: list[Episode] = []
    run: list[tuple[float, int, float]] = []  # sightings of the episode, or of one that may come
    is_there = False
    for at, seen in history:
        if is_there and at - run[-1][0] > leave:
            facts.append(
                Episode(
                    EpisodeKind.LEFT,
                    label,
                    run[-1][0],
                    max(n for _, n, _ in run),
                    max(c for _, _, c in run),
                    run[-1][0] - run[0][0],
                    len(run),
                )
            )
            run, is_there = [], False
        if seen is None:
            continue
        if label in seen:
            run.append((at, *seen[label]))
            if not is_there and len(run) >= appear:
                is_there = True
                facts.append(
                    Episode(
                        EpisodeKind.APPEARED,
                        label,
                        run[0][0],
                        max(n for _, n, _ in run),
                        max(c for _, _, c in run),
                        0.0,
                        len(run),
                    )
                )
        elif not is_there:
            run = []
    return facts


@given(STEPS, st.integers(1, 3), st.integers(1, 4))
def test_episodes_say_what_the_whole_history_says(
    steps: list[tuple[int, dict[str, tuple[int, float]] | None]], appear: int, leave: int
) -> None:
    episodes, now, history = Episodes(appear, float(leave)), 0.0, []
    facts: list[Episode] = []
    for passed, seen in steps:
        now += passed
        history.append((now, seen))
        facts += episodes.pass_time(now) if seen is None else episodes.observe(now, seen)
        assert all(p - now <= leave for p in [episodes.next_end()] if p != math.inf)
    for label in LABELS:
        mine = [fact for fact in facts if fact.label == label]
        assert mine == reference(label, history, appear, float(leave))
        kinds = [fact.kind for fact in mine]  # appeared, left, appeared, ... : never twice the same
        assert kinds == [EpisodeKind.APPEARED, EpisodeKind.LEFT] * (len(kinds) // 2) + (
            [EpisodeKind.APPEARED] if len(kinds) % 2 else []
        )
        assert (label in episodes.there) == bool(len(kinds) % 2)


def test_a_flicker_is_no_episode_and_a_short_gap_does_not_end_one() -> None:
    episodes = Episodes(appear_frames=2, leave_seconds=1.5)
    assert episodes.observe(0.0, {"cat": (1, 0.5)}) == []
    assert episodes.observe(0.2, {}) == []  # it flickered
    assert episodes.observe(0.4, {"cat": (1, 0.5)}) == []
    (appeared,) = episodes.observe(0.6, {"cat": (2, 0.8)})
    assert (appeared.kind, appeared.at, appeared.most) == (EpisodeKind.APPEARED, 0.4, 2)
    assert episodes.observe(2.1, {}) == []  # 1.5 s of silence are not more than 1.5 s
    (left,) = episodes.pass_time(2.2)
    assert (left.kind, left.at) == (EpisodeKind.LEFT, 0.6)
    assert math.isclose(left.seconds, 0.2)
    assert episodes.next_end() == math.inf


def test_an_answer_that_comes_late_does_not_turn_time_back() -> None:
    episodes = Episodes(appear_frames=1, leave_seconds=1.0)
    episodes.observe(5.0, {"cat": (1, 0.5)})
    episodes.observe(4.0, {"cat": (1, 0.5)})
    assert episodes.next_end() == 6.0
