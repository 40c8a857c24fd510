"""The lifecycle of a model and the record of restarts: no way but the tables'."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.desired import ModelSpec
from saccade.engine import wire
from saccade.engine.lifecycle import TRANSITIONS, IllegalTransition, Lifecycle, path
from saccade.engine.owner import ModelsOwner
from saccade.engine.restarts import SHORT_LIFE_S, RestartPolicy, Restarts
from saccade.errors import ErrorInfo
from saccade.types import HostName, ModelKind, ModelName, ModelStatus

STATES = st.sampled_from(ModelStatus)


def distance(start: ModelStatus, end: ModelStatus) -> int | None:
    """Return how many steps it takes, by a search of its own; None when there is no way."""
    steps, seen = deque([(start, 0)]), {start}
    while steps:
        state, n = steps.popleft()
        if state is end:
            return n
        for after in TRANSITIONS[state] - seen:
            seen.add(after)
            steps.append((after, n + 1))
    return None


@given(STATES, STATES)
def test_path_is_legal_at_every_step_and_never_longer_than_needed(
    start: ModelStatus, end: ModelStatus
) -> None:
    way = path(start, end)
    at = Lifecycle(start)
    for step in way:
        at = at.to(step, reason="", at_wall=0.0)
    assert at.status is end
    assert len(way) == distance(start, end)


@given(st.lists(STATES, max_size=12))
def test_a_lifecycle_takes_exactly_the_transitions_of_the_table(wishes: list[ModelStatus]) -> None:
    at = Lifecycle()
    for wish in wishes:
        if wish in TRANSITIONS[at.status]:
            at = at.to(wish, reason="r", at_wall=1.0)
            assert at.status is wish
        else:
            with pytest.raises(IllegalTransition):
                at.to(wish, reason="r", at_wall=1.0)


def test_every_state_has_a_row_and_ready_is_only_reached_from_a_loaded_state() -> None:
    assert set(TRANSITIONS) == set(ModelStatus)
    before_ready = {s for s, after in TRANSITIONS.items() if ModelStatus.READY in after}
    assert before_ready == {ModelStatus.LOADED, ModelStatus.WARMING_UP, ModelStatus.SUSPENDED}
    assert all(Lifecycle(s).is_loaded for s in before_ready)


def spec(name: str, host: str = "a", path: str = "/m.onnx") -> ModelSpec:
    return ModelSpec(
        name=ModelName(name), kind=ModelKind.DETECTOR, path=path, sha256="", host=HostName(host)
    )


FACTS = st.builds(
    wire.ModelFact,
    name=st.sampled_from([ModelName("m"), ModelName("gone")]),
    status=STATES,
    error=st.none() | st.just(ErrorInfo("c", "w", "f")),
    load_ms=st.none() | st.just(1.0),
)


@given(st.lists(FACTS | st.sampled_from(["died", "changed", "removed"]), max_size=12))
def test_whatever_hosts_report_the_owner_only_tells_of_legal_transitions(
    history: list[wire.ModelFact | str],
) -> None:
    told: list[tuple[ModelStatus, ModelStatus]] = []

    def tell(*_args: object, **fields: object) -> None:
        data = fields["data"]
        assert isinstance(data, dict)
        told.append((data["from"], data["to"]))

    owner, version = ModelsOwner([spec("m")], tell=tell), 0
    for fact in history:
        if fact == "died":
            owner.host_died(HostName("a"), "ended")
            assert all(m.status in {ModelStatus.ERROR, ModelStatus.CREATED} for m in owner.report())
        elif fact == "changed":
            version += 1
            orders = owner.reconcile([spec("m", path=f"/{version}.onnx")])
            assert [type(order) for _host, order in orders] == [wire.Load]
        elif fact == "removed":
            owner.reconcile([])
            owner.reconcile([spec("m")])
        elif isinstance(fact, wire.ModelFact):
            owner.take(fact, page=1)
            if fact.name == "m":
                assert owner.report()[0].status is fact.status
    assert all(after in TRANSITIONS[before] for before, after in told)


def test_a_model_that_moves_to_another_host_is_unloaded_where_it_was() -> None:
    owner = ModelsOwner([spec("m", host="a")], tell=lambda *_a, **_k: None)
    orders = owner.reconcile([spec("m", host="b")])
    assert orders == [("a", wire.Unload(ModelName("m"))), ("b", wire.Load(spec("m", host="b")))]
    assert owner.reconcile([spec("m", host="b")]) == []
    assert owner.reconcile([]) == [("b", wire.Unload(ModelName("m")))]


POLICY = RestartPolicy(initial_s=0.1, maximum_s=2.0, budget=5)


def test_the_waits_of_bad_starts_double_and_the_budget_ends_them() -> None:
    record, waits = Restarts(), []
    for _ in range(5):
        record, wait_s = record.died(POLICY)
        waits.append(wait_s)
    assert waits == [0.1, 0.2, 0.4, 0.8, None]


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 6))
def test_a_process_is_given_up_only_after_a_whole_budget_of_bad_starts_in_a_row(
    lives: list[bool], budget: int
) -> None:
    policy = RestartPolicy(initial_s=0.1, maximum_s=2.0, budget=budget)
    record, in_a_row = Restarts(), 0
    for n, was_good in enumerate(lives, start=1):
        record = record.good() if was_good else record
        in_a_row = 0 if was_good else in_a_row + 1
        record, wait_s = record.died(policy)
        assert record.total == n
        if was_good:
            assert wait_s == 0.0
        elif in_a_row >= budget:
            assert wait_s is None
            break
        else:
            assert wait_s is not None
            assert 0.1 <= wait_s <= 2.0


def test_a_process_that_dies_again_and_again_after_a_first_good_answer_waits_longer_each_time() -> (
    None
):
    record, waits = Restarts(), []
    for _ in range(6):
        record, wait_s = record.good().died(POLICY, good_for_s=SHORT_LIFE_S / 2)
        waits.append(wait_s)
    assert waits[0] == 0.0
    assert None not in waits  # it is no strike
    later = [wait_s for wait_s in waits[1:] if wait_s is not None]
    assert later == sorted(later)
    assert later[0] > 0
    assert max(later) <= POLICY.maximum_s
    record, wait_s = record.good().died(POLICY, good_for_s=SHORT_LIFE_S * 2)
    assert wait_s == 0.0
