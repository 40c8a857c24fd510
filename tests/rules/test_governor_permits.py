"""Permits: they expire, one holder has them, and no single-flight model ever runs twice."""

from __future__ import annotations

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.rules.governor_box import GPU_HOST, VLM, Box, vlm

from saccade.engine import governor
from saccade.engine.gates import CameraRate, ModelFacts, Sample
from saccade.engine.governor import GovernorState, Verdict
from saccade.engine.limits import GovernorSettings, ModelLimits
from saccade.engine.permits import Flight, Holder, Permit, Refusal
from saccade.types import CameraId, HostName, ModelName, ModelStatus


def permit(
    *,
    concurrency: int = 1,
    expires_at: float = 2.0,
    not_before: float = -math.inf,
    cooldown_s: float = 0.0,
) -> Permit:
    return Permit(
        model=VLM,
        concurrency=concurrency,
        expires_at=expires_at,
        not_before=not_before,
        cooldown_s=cooldown_s,
    )


@pytest.mark.parametrize(("flight", "now", "refusal"), [
    (Flight(), 0.0, Refusal.NO_PERMIT),
    (Flight(permit()), 1.999, None), (Flight(permit()), 2.0, Refusal.EXPIRED),
    (Flight(permit(), running=1), 0.0, Refusal.BUSY),
    (Flight(permit(concurrency=2), running=1), 0.0, None),
    (Flight(permit(concurrency=2), running=2), 0.0, Refusal.BUSY),
    (Flight(permit(not_before=1.0)), 0.999, Refusal.RESTING),
    (Flight(permit(not_before=1.0)), 1.0, None),
    (Flight(permit(expires_at=math.inf)), 1e9, None),
])  # fmt: skip
def test_an_inference_starts_only_on_a_valid_permit(
    flight: Flight, now: float, refusal: Refusal | None
) -> None:
    after, answer = flight.began(now=now)
    assert answer is refusal
    assert after.running == flight.running + (refusal is None)


def test_a_permit_lasts_two_seconds_and_each_look_renews_it() -> None:
    box = Box()
    first, second = box.step().permit, box.tick(1.0).permit
    assert first is not None
    assert second is not None
    assert (first.expires_at, second.expires_at) == (1002.0, 1003.0)
    assert box.flights[VLM].refusal(now=1002.9) is None
    assert box.flights[VLM].refusal(now=1003.0) is Refusal.EXPIRED  # the supervisor slept


def test_a_suspended_model_has_no_permit_from_that_moment() -> None:
    box = Box()
    box.step()
    box.vram_mb = 0.0
    box.tick()
    assert box.flights[VLM].refusal(now=box.now) is Refusal.NO_PERMIT


def test_the_rest_after_an_inference_counts_from_its_end_and_survives_a_new_host() -> None:
    box = Box(limits=[vlm(analysis_cooldown_seconds=10.0)])
    box.step()
    flight, refusal = box.flights[VLM].began(now=1000.0)
    assert refusal is None
    flight = flight.ended(now=1004.0)
    box.ended_at[VLM] = 1004.0
    box.flights[VLM] = flight
    box.ticks(13)
    assert box.flights[VLM].refusal(now=1013.9) is Refusal.RESTING
    assert box.flights[VLM].refusal(now=1014.0) is None
    elsewhere = Flight(box.last[VLM].permit)  # another host that knows nothing of that inference
    assert elsewhere.refusal(now=1013.9) is Refusal.RESTING


def test_an_end_without_a_beginning_is_our_fault() -> None:
    with pytest.raises(ValueError, match="never began"):
        Flight(permit()).ended(now=0.0)


def facts(host_life: int) -> Sample:
    return Sample((ModelFacts(VLM, ModelStatus.READY, host_life),))


@pytest.mark.parametrize("how", ["death", "let go"])
def test_another_host_gets_a_permit_only_when_the_first_has_died_or_let_go(how: str) -> None:
    settings_, state = GovernorSettings(), GovernorState()
    here, there = [vlm()], [ModelLimits(name=VLM, host=HostName("gpu1"), needs_permit=True)]
    state, [one] = governor.step(state, facts(1), limits=here, settings=settings_, now=0.0)
    assert one.verdict is Verdict.RUN
    # an hour later its permit has long expired, but an inference that began on it may still run
    state, [two] = governor.step(state, facts(1), limits=there, settings=settings_, now=3600.0)
    assert (two.verdict, two.permit) == (Verdict.STAY, None)
    assert "gpu0 (start 1) still holds it" in two.text
    if how == "death":
        state = governor.host_died(state, GPU_HOST, life=1, now=3601.0)
    else:
        state = governor.let_go(state, VLM, holder=Holder(HostName("gpu1"), 1))  # not the holder
        state = governor.let_go(state, VLM, holder=Holder(GPU_HOST, 1))
    state, [three] = governor.step(state, facts(1), limits=there, settings=settings_, now=3602.0)
    assert three.verdict is Verdict.RUN
    # the late death of the old life takes nothing from the new holder
    state = governor.host_died(state, HostName("gpu1"), life=0, now=3603.0)
    assert state.of(VLM).holder == Holder(HostName("gpu1"), 1)


class NeverTwo(RuleBasedStateMachine):
    """Two hosts that live, hang, die and get the model moved between them; starts at any moment."""

    hosts = (HostName("gpu0"), HostName("gpu1"))

    @initialize(concurrency=st.integers(1, 3), rest_s=st.sampled_from([0.0, 3.0]))
    def begin(self, concurrency: int, rest_s: float) -> None:
        self.now, self.state = 100.0, GovernorState()
        self.settings = GovernorSettings(minimum_dwell_seconds=0.0)
        self.most, self.rest_s, self.host = concurrency, rest_s, self.hosts[0]
        self.lives = dict.fromkeys(self.hosts, 1)
        self.flights = dict.fromkeys(self.hosts, Flight())
        self.status, self.fps = ModelStatus.READY, 30.0
        self.ended_at: float | None = None
        self.last_permit: Permit | None = None

    def limits(self) -> list[ModelLimits]:
        return [
            ModelLimits(
                name=VLM,
                host=self.host,
                needs_permit=True,
                max_concurrency=self.most,
                min_fps_to_run=5.0,
                cooldown_on_skip_seconds=2.0,
                analysis_cooldown_seconds=self.rest_s,
            )
        ]

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 1.9, 2.0, 30.0, 3600.0]), is_heard=st.booleans())
    def look(self, seconds: float, is_heard: bool) -> None:
        """The supervisor looks after a while; the host may hang and not hear of it."""
        self.now += seconds
        sample = Sample(
            (ModelFacts(VLM, self.status, self.lives[self.host], self.ended_at),),
            cameras=(CameraRate(CameraId("door"), self.fps, self.now),),
        )
        self.state, [decision] = governor.step(
            self.state, sample, limits=self.limits(), settings=self.settings, now=self.now
        )
        if decision.permit is not None:
            assert decision.permit.expires_at == self.now + 2.0
            assert decision.permit.concurrency == self.most
        if decision.verdict in {Verdict.SUSPEND, Verdict.RESUME}:
            self.status = (
                ModelStatus.SUSPENDED if decision.verdict is Verdict.SUSPEND else ModelStatus.READY
            )
        if is_heard and (decision.permit is not None or decision.verdict is Verdict.SUSPEND):
            self.flights[self.host] = self.flights[self.host].renewed(decision.permit)
            self.last_permit = decision.permit

    @rule(fps=st.sampled_from([0.0, 30.0]))
    def change_fps(self, fps: float) -> None:
        self.fps = fps

    @rule()
    def move(self) -> None:
        """The model is configured to another host; the old one goes on until it is told."""
        self.host = self.hosts[self.hosts.index(self.host) - 1]

    @rule(host=st.sampled_from(hosts))
    def start(self, host: HostName) -> None:
        flight, refusal = self.flights[host].began(now=self.now)
        if refusal is None:
            held = flight.permit
            assert held is not None
            assert self.now < held.expires_at
        self.flights[host] = flight

    @rule(host=st.sampled_from(hosts))
    def end(self, host: HostName) -> None:
        if self.flights[host].running:
            self.flights[host] = self.flights[host].ended(now=self.now)
            self.ended_at = self.now

    @rule(host=st.sampled_from(hosts))
    def die(self, host: HostName) -> None:
        self.flights[host] = Flight()
        self.state = governor.host_died(self.state, host, life=self.lives[host], now=self.now)
        self.lives[host] += 1

    @rule(host=st.sampled_from(hosts))
    def unload(self, host: HostName) -> None:
        """A host lets go only of what it does not run, and forgets its permit first."""
        if not self.flights[host].running:
            self.flights[host] = self.flights[host].renewed(None)
            self.state = governor.let_go(self.state, VLM, holder=Holder(host, self.lives[host]))

    @invariant()
    def never_more_than_allowed(self) -> None:
        if hasattr(self, "flights"):
            assert sum(f.running for f in self.flights.values()) <= self.most


TestNeverTwo = NeverTwo.TestCase
TestNeverTwo.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_what_runs_above_the_newest_permit_may_end_and_nothing_starts_until_then() -> None:
    flight = Flight(permit(concurrency=3))
    for _ in range(3):
        flight, _refusal = flight.began(now=0.0)
    flight = flight.renewed(permit(concurrency=1))
    for running in (3, 2, 1):
        assert flight.running == running
        assert flight.refusal(now=1.0) is Refusal.BUSY
        flight = flight.ended(now=1.0)
    assert flight.refusal(now=1.0) is None


def test_decisions_come_in_the_order_of_the_limits() -> None:
    box = Box(limits=[vlm("b"), vlm("a", priority=9), vlm("c")])
    box.step()
    assert list(box.last) == [ModelName("b"), ModelName("a"), ModelName("c")]
