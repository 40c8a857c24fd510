"""A host and its clients over real sockets: readiness, batches, failures, swaps, leavers."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import numpy as np
import pytest
from tests.engine.rig import (
    Frames,
    ScriptedAdapter,
    found,
    mark,
    model,
    running,
    value_of,
)
from tests.models.builders import WHITE, Fault, grey_frames, paint, spec_for, write_detector
from tests.support.waiting import until

from saccade.engine import wire
from saccade.errors import InferFailed, ModelLoadFailed
from saccade.telemetry.board import MODELS_PER_HOST, ModelWord
from saccade.types import ModelName, ModelStatus
from saccade.vision.detections import Detections

READY = ModelStatus.READY


def test_a_model_is_ready_only_after_an_inference_and_says_every_step(tmp_path: Path) -> None:
    adapter = ScriptedAdapter()
    with running(tmp_path, {"m": adapter}) as rig:
        rig.order(wire.Load(model()))
        rig.until_status(READY)
        told = [f.status for f in rig.facts if isinstance(f, wire.ModelFact)]
        assert told == [ModelStatus.LOADING, ModelStatus.LOADED, ModelStatus.WARMING_UP, READY]
        assert adapter.batches == [1]
        lender = rig.lender().until_ready()
        answer = lender.ask(7)
        assert isinstance(answer, wire.Answer)
        assert (value_of(answer), answer.batch) == (7, 1)
        until(rig.sum_closes, why="the sum closes")
    assert adapter.unloaded.is_set()


def not_a_number(frames: Frames) -> list[Detections]:
    return [
        Detections(
            np.full((1, 4), np.nan, np.float32), np.ones(1, np.float32), np.zeros(1, np.int32)
        )
        for _ in frames
    ]


def raising(error: Exception) -> object:
    def infer(_frames: Frames) -> list[Detections]:
        raise error

    return infer


def score(value: float) -> object:
    return lambda frames: [
        Detections(
            np.zeros((1, 4), np.float32), np.full(1, value, np.float32), np.zeros(1, np.int32)
        )
        for _ in frames
    ]


@pytest.mark.parametrize(
    "infer",
    [
        not_a_number,
        lambda _frames: [],
        raising(InferFailed("no", fix="no")),
        raising(RuntimeError("no")),
        score(2.0),
        score(-0.5),
    ],
    ids=["nan", "no answer", "typed error", "any error", "score over one", "score below zero"],
)
def test_a_model_whose_probe_is_no_answer_is_never_ready(tmp_path: Path, infer: object) -> None:
    adapter = ScriptedAdapter(infer)  # type: ignore[arg-type]
    with running(tmp_path, {"m": adapter}) as rig:
        lender = rig.lender()
        rig.order(wire.Load(model()))
        rig.until_status(ModelStatus.ERROR)
        until(
            lambda: (
                lender.pump(0.01) is not None
                and lender.client.info is not None
                and lender.client.info.status is ModelStatus.ERROR
            ),
            why="the client is told",
        )
        assert not lender.client.is_ready
        assert READY not in [f.status for f in rig.facts if isinstance(f, wire.ModelFact)]
        assert adapter.unloaded.is_set()  # a model in error holds no memory


def test_a_model_that_cannot_be_loaded_says_why_and_its_next_load_serves(tmp_path: Path) -> None:
    def fail() -> None:
        raise ModelLoadFailed("the file is torn", fix="restore it")

    adapters = {"/bad": ScriptedAdapter(load=fail), "/good": ScriptedAdapter()}
    with running(tmp_path, adapters) as rig:
        lender = rig.lender()
        rig.order(wire.Load(model(path="/bad")))
        rig.until_status(ModelStatus.ERROR)
        assert isinstance(rig.facts[-1], wire.ModelFact)
        assert rig.facts[-1].error is not None
        assert rig.facts[-1].error.code == "model_load_failed"
        rig.order(wire.Load(model(path="/good")))
        assert isinstance(lender.until_ready().ask(3), wire.Answer)


def test_a_real_detector_fails_only_on_the_frame_that_breaks_it(tmp_path: Path) -> None:
    path = write_detector(tmp_path / "m.onnx", fault=Fault.RAISE)
    with running(tmp_path) as rig:
        rig.order(wire.Load(spec_for(path, max_batch=4)))
        lender = rig.lender("colours", slots=4).until_ready(10)
        ring = lender.client.ring
        assert ring is not None
        red, white = grey_frames()[0], grey_frames()[0]
        paint(red, 0, 1, "red")
        paint(white, 0, 0, WHITE)
        for picture in (red, white, red, red):
            slot = ring.take()
            assert slot is not None
            ring.input(slot, 64, 64)[:] = picture
            lender.seq += 1
            assert lender.client.submit(slot, seq=lender.seq, admitted=4, deadline_s=1e9)
        ends = {end.seq: end for end in lender.take(4)}
        assert {seq for seq, end in ends.items() if isinstance(end, wire.Refusal)} == {2}
        for seq in (1, 3, 4):
            answer = ends[seq]
            assert isinstance(answer, wire.Answer)
            assert Detections.unpack(answer.detections).boxes_px.tolist() == [[32, 0, 64, 32]]
        until(rig.sum_closes, why="the sum closes")
        assert rig.word(ModelWord.FAILED) == 1


def test_one_frame_that_raises_fails_alone_in_a_batch_of_many_clients(tmp_path: Path) -> None:
    def infer(frames: Frames) -> list[Detections]:
        if (frames[:, 0, 0, 0] == 66).any():
            raise RuntimeError("66 breaks me")
        return mark(frames)

    adapter = ScriptedAdapter(infer, gate=threading.Event())
    with running(tmp_path, {"m": adapter}) as rig:
        rig.order(wire.Load(model()))
        lenders = [rig.lender().until_ready() for _ in range(5)]
        lenders[0].lend(1)
        assert adapter.entered.acquire(timeout=5)  # the first batch runs: the others gather
        for value, lender in zip((65, 66, 67, 68), lenders[1:], strict=True):
            lender.lend(value)
        assert adapter.gate is not None
        adapter.gate.set()
        ends = [lender.next() for lender in lenders]
        assert [type(end) for end in ends] == [
            wire.Answer,
            wire.Answer,
            wire.Refusal,
            wire.Answer,
            wire.Answer,
        ]
        assert [value_of(e) for e in ends if isinstance(e, wire.Answer)] == [1, 65, 67, 68]
        refusal = ends[2]
        assert isinstance(refusal, wire.Refusal)
        assert refusal.error.code == "infer_failed"
        assert "66" not in refusal.error.what  # whatever a library says stays in the log
        assert isinstance(lenders[2].ask(70), wire.Answer)


def test_batches_form_over_clients_and_are_never_larger_than_the_model_takes(
    tmp_path: Path,
) -> None:
    adapter = ScriptedAdapter(max_batch=4, gate=threading.Event())
    with running(tmp_path, {"m": adapter}) as rig:
        rig.order(wire.Load(model(max_batch=16)))
        lenders = [rig.lender().until_ready() for _ in range(8)]
        lenders[0].lend(0)
        assert adapter.entered.acquire(timeout=5)
        for value, lender in enumerate(lenders[1:], start=1):
            lender.lend(value)
        assert adapter.gate is not None
        adapter.gate.set()
        answers = [lender.next() for lender in lenders]
        assert [value_of(a) for a in answers if isinstance(a, wire.Answer)] == list(range(8))
        assert adapter.batches == [1, 1, 4, 3]
        until(rig.sum_closes, why="the sum closes")


def test_a_client_alone_does_not_wait_for_clients_that_are_idle(tmp_path: Path) -> None:
    adapter = ScriptedAdapter()
    with running(tmp_path, {"m": adapter}, batch_wait_ms=3000.0) as rig:
        rig.order(wire.Load(model()))
        lenders = [rig.lender().until_ready() for _ in range(3)]
        for lender in lenders * 2:  # each has been answered when the next one comes
            assert isinstance(lender.ask(1), wire.Answer)
        assert set(adapter.batches) == {1}


def test_a_frame_whose_answer_would_be_too_late_is_refused_as_stale(tmp_path: Path) -> None:
    with running(tmp_path, {"m": ScriptedAdapter()}) as rig:
        rig.order(wire.Load(model()))
        lender = rig.lender().until_ready()
        late = lender.ask(1, deadline_s=-0.001)
        assert isinstance(late, wire.Refusal)
        assert late.error.code == "stale"
        assert isinstance(lender.ask(2), wire.Answer)
        until(rig.sum_closes, why="the sum closes")


def test_a_full_queue_refuses_and_keeps_what_it_took(tmp_path: Path) -> None:
    adapter = ScriptedAdapter(gate=threading.Event())
    with running(tmp_path, {"m": adapter}, queue_limit=2) as rig:
        rig.order(wire.Load(model()))
        busy, full = rig.lender().until_ready(), rig.lender(slots=4).until_ready()
        busy.lend(1)
        assert adapter.entered.acquire(timeout=5)
        for value in range(2, 6):
            full.lend(value)
        assert adapter.gate is not None
        adapter.gate.set()
        ends = full.take(4)
        refused = [e for e in ends if isinstance(e, wire.Refusal)]
        assert [e.error.code for e in refused] == ["overloaded", "overloaded"]
        assert sorted(value_of(e) for e in ends if isinstance(e, wire.Answer)) == [2, 3]
        assert isinstance(busy.next(), wire.Answer)
        until(rig.sum_closes, why="the sum closes")


def test_clients_of_a_model_that_is_not_there_yet_are_served_once_it_is(tmp_path: Path) -> None:
    with running(tmp_path, {"m": ScriptedAdapter()}) as rig:
        early = [rig.lender() for _ in range(3)]
        until(
            lambda: all(e.pump() is not None and e.client.info is not None for e in early),
            why="they were told",
        )
        assert {e.client.info.status for e in early if e.client.info} == {ModelStatus.CREATED}
        assert not any(e.client.is_ready for e in early)
        rig.order(wire.Load(model()))
        for lender in early:
            assert isinstance(lender.until_ready().ask(5), wire.Answer)
        assert rig.word(ModelWord.CLIENTS) == 3


def test_an_unloaded_model_refuses_until_it_is_loaded_again_on_the_same_connection(
    tmp_path: Path,
) -> None:
    adapters = {"/1": ScriptedAdapter(), "/2": ScriptedAdapter()}
    with running(tmp_path, adapters) as rig:
        rig.order(wire.Load(model(path="/1")))
        lender = rig.lender().until_ready()
        assert isinstance(lender.ask(1), wire.Answer)
        rig.order(wire.Unload(ModelName("m")))
        until(lambda: lender.pump(0.01) is not None and not lender.client.is_ready, why="unloaded")
        assert adapters["/1"].unloaded.wait(5)
        assert lender.client.is_connected
        rig.order(wire.Load(model(path="/2")))
        assert isinstance(lender.until_ready().ask(2), wire.Answer)
        assert adapters["/2"].batches == [1, 1]


def test_loans_that_wait_when_a_model_is_unloaded_come_back(tmp_path: Path) -> None:
    adapter = ScriptedAdapter(max_batch=1, gate=threading.Event())
    with running(tmp_path, {"m": adapter}) as rig:
        rig.order(wire.Load(model()))
        lender = rig.lender(slots=3).until_ready()
        for value in range(3):
            lender.lend(value)
        assert adapter.entered.acquire(timeout=5)
        rig.order(wire.Unload(ModelName("m")))
        beats = rig.beats()
        other = rig.lender("other")  # the host goes on while the batch of this model runs
        until(
            lambda: other.pump(0.01) is not None and other.client.info is not None,
            why="another client is greeted",
        )
        assert rig.beats() > beats
        assert adapter.gate is not None
        adapter.gate.set()
        until(
            lambda: lender.pump(0.01) is not None and lender.client.on_loan == 0,
            why="every loan ended",
        )
        ends = [a for a in lender.arrivals if isinstance(a, wire.Answer | wire.Refusal)]
        assert len(ends) == 3
        assert {e.error.code for e in ends if isinstance(e, wire.Refusal)} == {"model_not_ready"}
        assert lender.client.is_connected


def test_a_swap_to_another_input_size_never_reads_a_ring_of_the_old_size(tmp_path: Path) -> None:
    """The clients paint the side of the input they were told; each load checks what it sees."""

    def sees(side: int) -> object:
        def infer(frames: Frames) -> list[Detections]:
            probe = len(np.unique(frames)) > 1
            wrong = not probe and not (frames == side).all()
            return [found(1 if wrong else 0) for _ in frames]

        return infer

    sides = (32, 64, 16, 48, 16, 96)
    adapters = {
        f"/{n}": ScriptedAdapter(sees(side), side=side)  # type: ignore[arg-type]
        for n, side in enumerate(sides)
    }
    with running(tmp_path, adapters) as rig:
        rig.order(wire.Load(model(path="/0")))
        lenders = [rig.lender(slots=2).until_ready() for _ in range(3)]
        ended = 0

        def turn() -> bool:
            nonlocal ended
            for lender in lenders:
                client = lender.client
                while client.is_ready and client.ring is not None and client.ring.free:
                    lender.lend(client.input.height)
                for arrival in lender.pump():
                    assert client.is_connected
                    if isinstance(arrival, wire.Answer):
                        assert value_of(arrival) == 0, "a load read a ring made for another"
                        ended += 1
                    elif isinstance(arrival, wire.Refusal):
                        assert arrival.error.code == "model_not_ready"
                        ended += 1
            return True

        for n in range(1, len(sides)):
            rig.order(wire.Load(model(path=f"/{n}")))
            target = ended + 50
            until(
                lambda n=n, target=target: (
                    turn()
                    and ended >= target  # type: ignore[misc]
                    and len(adapters[f"/{n}"].batches) > 5
                ),
                10,
                why=f"load {n} serves",
            )
        until(
            lambda: all(
                lender.pump() is not None and not lender.client.on_loan for lender in lenders
            ),
            why="every loan ended",
        )


def test_a_model_that_never_ends_its_batch_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    stuck = ScriptedAdapter(gate=threading.Event())
    adapters = {"stuck": stuck, "m": ScriptedAdapter(), "/next": ScriptedAdapter()}
    with running(tmp_path, adapters, hang_seconds=0.5) as rig:
        rig.order(wire.Load(model("stuck")), wire.Load(model()))
        lender, other = rig.lender("stuck").until_ready(), rig.lender().until_ready()
        lender.lend(1)
        assert stuck.entered.acquire(timeout=5)
        rig.order(wire.Load(model("stuck", path="/next")))
        for _ in range(20):
            assert isinstance(other.ask(1), wire.Answer)
        beats = rig.beats()
        until(lambda: rig.beats() > beats + 1, why="the host's heart beats")
        assert adapters["/next"].batches == []  # its place and clients are not free yet
        assert rig.word(ModelWord.BUSY_UNTIL_NS, 0) > 0  # and the supervisor will see it is late
        assert stuck.gate is not None
        stuck.gate.set()
        assert isinstance(lender.next(), wire.Answer)  # what it had under way is answered still
        assert isinstance(lender.until_ready().ask(2), wire.Answer)
        assert adapters["/next"].batches == [1, 1]


def test_a_host_can_hold_its_number_of_models_again_and_again(tmp_path: Path) -> None:
    names = itertools.count()
    adapters: dict[str, ScriptedAdapter] = {}

    def load() -> str:
        name = f"m{next(names)}"
        adapters[name] = ScriptedAdapter()
        rig.order(wire.Load(model(name)))
        return name

    with running(tmp_path, adapters) as rig:
        for _ in range(2):
            held = [load() for _ in range(MODELS_PER_HOST)]
            for name in held:
                rig.until_status(READY, name)
            indexes = [
                f.index for f in rig.facts if isinstance(f, wire.ModelFact) and f.name in held
            ]
            assert set(indexes) == set(range(MODELS_PER_HOST))
            too_many = load()
            rig.until_status(ModelStatus.ERROR, too_many)  # said, not only logged
            rig.order(*(wire.Unload(ModelName(name)) for name in held))
            for name in held:
                assert adapters[name].unloaded.wait(5)
