"""What the governor decides: the requirement's cases, one by one, at a supervisor in miniature."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from tests.rules.governor_box import GPU_HOST, VLM, Box, camera, vlm

from saccade.engine import governor
from saccade.engine.gates import (
    FreeMemory,
    Health,
    ModelFacts,
    Sample,
    SkipReason,
    TrainingJob,
    assess,
)
from saccade.engine.governor import GovernorState, Verdict
from saccade.engine.limits import GovernorSettings, ModelLimits
from saccade.errors import SettingsInvalid
from saccade.types import ModelName, ModelStatus

SETTINGS = GovernorSettings()


def low_vram(box: Box) -> None:
    box.vram_mb = 1500.0


def low_fps(box: Box) -> None:
    box.fps = 3.1


def low_memory(box: Box) -> None:
    box.host_mb = 200.0


def calibrate(box: Box) -> None:
    box.is_calibrating = True


def train(box: Box) -> None:
    box.training = (TrainingJob("belt-7", 0),)


CONFLICTS = [
    (low_vram, SkipReason.LOW_VRAM, "free VRAM of GPU 0: 1,500.0 MB, the limit is 2,000.0 MB"),
    (low_fps, SkipReason.LOW_FPS, "camera door: 3.1 FPS, the limit is 5.0 FPS"),
    (
        low_memory,
        SkipReason.LOW_HOST_MEMORY,
        "free memory of the machine: 200.0 MB, the limit is 500.0 MB",
    ),
    (calibrate, SkipReason.CALIBRATION, "a calibration is running"),
    (train, SkipReason.TRAINING, "training job belt-7 runs on GPU 0"),
]


@pytest.mark.parametrize(("cause", "reason", "text"), CONFLICTS)
def test_a_conflict_suspends_at_once_with_one_skip_that_names_figure_and_limit(
    cause: Callable[[Box], None], reason: SkipReason, text: str
) -> None:
    box = Box()
    assert box.step().verdict is Verdict.RUN
    cause(box)
    decision = box.tick()
    assert decision.verdict is Verdict.SUSPEND
    assert decision.permit is None
    assert decision.resume_at == box.now + 60.0
    box.ticks(200)  # the conflict stays
    assert [(name, skip.reason, skip.text) for _at, name, skip in box.skips] == [
        (VLM, reason, text)
    ]
    assert box.last[VLM].verdict is Verdict.STAY
    assert box.status() is ModelStatus.SUSPENDED


@pytest.mark.parametrize(("cause", "reason", "text"), CONFLICTS)
def test_it_resumes_after_the_cooldown_when_the_conflict_is_over(
    cause: Callable[[Box], None], reason: SkipReason, text: str
) -> None:
    box, healthy = Box(), Box()
    box.step()
    cause(box)
    box.tick()
    for name in ("vram_mb", "fps", "host_mb", "is_calibrating", "training"):
        setattr(box, name, getattr(healthy, name))
    assert box.seconds_until_ready() == 60.0
    assert box.last[VLM].verdict is Verdict.RESUME
    assert box.last[VLM].permit is not None


def test_two_conflicts_at_once_are_one_skip_that_names_both() -> None:
    box = Box()
    box.vram_mb, box.fps = 1500.0, 3.0
    assert box.step().verdict is Verdict.SUSPEND
    [(_at, _name, skip)] = box.skips
    assert skip.reason is SkipReason.LOW_VRAM
    assert "1,500.0 MB" in skip.text
    assert "3.0 FPS" in skip.text


def test_no_gpu_is_a_normal_case_and_the_vram_limit_does_not_bind() -> None:
    box = Box(has_gpu=False)
    assert box.step().verdict is Verdict.RUN
    assert box.ticks(100).verdict is Verdict.RUN


def test_a_model_without_limits_runs_whatever_the_machine_is_like() -> None:
    detector = ModelLimits(name=ModelName("detector"), host=GPU_HOST, gpu=0)
    box = Box(
        limits=[detector],
        vram_mb=0.0,
        fps=0.1,
        host_mb=0.0,
        is_calibrating=True,
        training=(TrainingJob("t", 0),),
    )
    decision = box.step()
    assert decision.verdict is Verdict.RUN
    assert decision.permit is not None
    assert decision.permit.expires_at == math.inf  # a stopped supervisor does not stop it


def test_a_job_on_another_device_pauses_nobody() -> None:
    box = Box(training=(TrainingJob("a", 1), TrainingJob("b", None)))
    assert box.step().verdict is Verdict.RUN


@pytest.mark.parametrize(
    "status", sorted(set(ModelStatus) - {ModelStatus.READY, ModelStatus.SUSPENDED})
)
def test_a_model_that_is_not_loaded_and_proved_gets_no_permit_and_no_skip(
    status: ModelStatus,
) -> None:
    box = Box(vram_mb=0.0)
    sample = replace(box.sample(), models=(ModelFacts(VLM, status),))
    decision = box.step(sample)
    assert decision.verdict is Verdict.STAY
    assert decision.permit is None
    assert status in decision.text
    assert box.skips == []


@pytest.mark.parametrize(("fps", "floor", "paced", "health"), [
    (5.0, None, None, Health.IN_BAND), (4.9, None, None, Health.CONFLICT),
    (5.5, None, None, Health.HEALTHY), (5.4, None, None, Health.IN_BAND),
    (9.0, 10.0, None, Health.CONFLICT),  # its own floor is higher
    (2.3, 2.0, None, Health.HEALTHY),  # or lower than the model's
    (1.9, None, 2.0, Health.HEALTHY),  # asked for 2: 1.6 is the floor, 1.76 the margin
    (1.7, None, 2.0, Health.IN_BAND), (1.5, None, 2.0, Health.CONFLICT),
    (1.9, 10.0, 2.0, Health.HEALTHY),  # not even its own floor asks for what it cannot have
    (math.nan, None, None, Health.UNKNOWN),
])  # fmt: skip
def test_each_camera_is_held_to_the_floor_it_can_reach(
    fps: float, floor: float | None, paced: float | None, health: Health
) -> None:
    sample = Sample(
        (), cameras=(camera(30.0, 0.0, name="yard"), camera(fps, 0.0, floor=floor, paced=paced))
    )
    assert assess(vlm(), sample, settings=SETTINGS, now=0.0).health is health


@pytest.mark.parametrize("free_mb", [None, math.nan])
def test_a_reading_that_failed_changes_nothing(free_mb: float | None) -> None:
    box = Box()
    box.step()
    box.vram_mb = free_mb
    assert box.ticks(30).verdict is Verdict.RUN
    box.vram_mb = 100.0
    assert box.tick().verdict is Verdict.SUSPEND
    box.vram_mb = free_mb
    box.ticks(300)
    assert box.status() is ModelStatus.SUSPENDED
    assert "could not be read" in box.last[VLM].text


def test_an_old_reading_neither_suspends_nor_resumes() -> None:
    box = Box()
    box.step()
    old = FreeMemory(100.0, box.now - 15.1, 0)
    assert box.step(replace(box.sample(), vram=(old,))).verdict is Verdict.RUN
    assert (
        box.step(replace(box.sample(), vram=(replace(old, at=box.now - 15.0),))).verdict
        is Verdict.SUSPEND
    )
    fresh = FreeMemory(8000.0, box.now, 0)
    for _ in range(200):
        box.now += 1.0
        box.step(replace(box.sample(), vram=(fresh,)))  # the sampler is stuck
    assert box.status() is ModelStatus.SUSPENDED
    assert "15 s is the most" in box.last[VLM].text


def test_the_same_reading_looked_at_often_is_one_sample() -> None:
    box = Box(
        settings=GovernorSettings(minimum_dwell_seconds=0.0),
        limits=[vlm(cooldown_on_skip_seconds=0.0)],
    )
    box.vram_mb = 0.0
    box.step()
    box.vram_mb = 8000.0
    resumed_at = None
    for tenth in range(1, 400):  # VRAM is read every 5 s, the governor looks ten times a second
        box.now = 1000.0 + tenth / 10
        read_at = 1000.0 + (tenth // 50) * 5
        vram = FreeMemory(box.vram_mb if read_at > 1000.0 else 0.0, read_at, 0)
        if box.step(replace(box.sample(), vram=(vram,))).verdict is Verdict.RESUME:
            resumed_at = box.now
            break
    assert resumed_at == 1015.0  # the third reading


def test_one_sample_in_the_band_breaks_the_row() -> None:
    box = Box(vram_mb=0.0)
    box.step()
    box.vram_mb = 8000.0
    box.ticks(59)
    box.vram_mb = 2100.0  # over the limit, under the margin
    assert box.tick().verdict is Verdict.STAY
    assert "resumes from 2,200.0 MB" in box.last[VLM].text
    box.vram_mb = 8000.0
    assert [box.tick().verdict for _ in range(3)] == [Verdict.STAY, Verdict.STAY, Verdict.RESUME]


def test_of_several_models_the_highest_priority_resumes_first_and_the_next_a_gap_later() -> None:
    box = Box(
        limits=[vlm("a", priority=1), vlm("b", priority=9), vlm("c", priority=1)], vram_mb=0.0
    )
    box.step()
    box.vram_mb = 8000.0
    box.ticks(90)
    ready = [(at - 1000.0, name) for at, name, to in box.changes if to is ModelStatus.READY]
    assert ready == [(60.0, "b"), (65.0, "a"), (70.0, "c")]


def test_a_decision_that_was_not_carried_out_comes_again_without_a_second_skip() -> None:
    state, box = GovernorState(), Box(vram_mb=0.0)
    seen = []
    for second in range(5):
        box.now = 1000.0 + second
        state, [decision] = governor.step(
            state, box.sample(), limits=box.limits, settings=SETTINGS, now=box.now
        )
        seen.append((decision.verdict, decision.skip is not None))
    assert seen == [(Verdict.SUSPEND, True)] + [(Verdict.SUSPEND, False)] * 4


def test_a_host_that_dies_while_its_model_is_suspended_brings_no_second_skip() -> None:
    box = Box(vram_mb=0.0)
    box.step()
    box.state = governor.host_died(box.state, GPU_HOST, life=1, now=box.now)
    box.life = 2
    for status in (ModelStatus.ERROR, ModelStatus.LOADING, ModelStatus.LOADED, ModelStatus.READY):
        box.lives[VLM] = box.lives[VLM].to(status, reason="", at_wall=0.0)
        box.tick()
    assert box.status() is ModelStatus.SUSPENDED
    assert len(box.skips) == 1
    box.vram_mb = 8000.0
    assert box.seconds_until_ready() == 56.0


def test_a_supervisor_that_slept_an_hour_looks_afresh_before_it_resumes() -> None:
    box = Box(vram_mb=0.0)
    box.step()
    box.vram_mb = 8000.0
    box.ticks(2)  # two of three healthy samples
    assert box.tick(3600.0).verdict is Verdict.STAY  # the cooldown is over, the row is new
    assert box.tick().verdict is Verdict.STAY
    assert box.tick().verdict is Verdict.RESUME


def test_an_hour_asleep_is_not_an_hour_of_health() -> None:
    def growth_after(sleep: float) -> int:
        box = Box(vram_mb=0.0)
        box.step()
        box.vram_mb = 8000.0
        box.seconds_until_ready()
        for _ in range(4):
            box.tick(sleep)
        return box.state.of(VLM).growth

    assert growth_after(3600.0) == 1
    assert growth_after(1.0) == 1


def test_half_an_hour_of_seen_health_takes_one_step_of_growth_back() -> None:
    box, waits = Box(), []
    box.step()
    for _ in range(3):
        box.vram_mb = 0.0
        box.tick()
        box.vram_mb = 8000.0
        waits.append(box.seconds_until_ready())
    assert waits == [60.0, 120.0, 240.0]
    box.ticks(1800)
    box.vram_mb = 0.0
    box.tick()
    box.vram_mb = 8000.0
    assert box.seconds_until_ready() == 240.0  # not 480


def test_growth_ends_at_its_bound_and_a_longer_cooldown_stays_as_it_is() -> None:
    for own_s, longest_s in ((60.0, 900.0), (2000.0, 2000.0)):
        box = Box(limits=[vlm(cooldown_on_skip_seconds=own_s)])
        for _ in range(8):
            box.vram_mb = 0.0
            box.tick()
            box.vram_mb = 8000.0
            last_s = box.seconds_until_ready()
        assert last_s == longest_s


def test_growth_that_changed_nothing_is_not_there_to_be_forgiven() -> None:
    box = Box()
    for _ in range(12):
        box.vram_mb = 0.0
        box.tick()
        box.vram_mb = 8000.0
        assert box.seconds_until_ready() <= 900.0
    box.ticks(1800)
    box.vram_mb = 0.0
    box.tick()
    box.vram_mb = 8000.0
    assert box.seconds_until_ready() == 480.0


def test_what_its_own_inference_borrows_does_not_suspend_a_model() -> None:
    box = Box(vram_mb=500.0, limits=[vlm("vlm"), vlm("sam")])
    facts = (
        ModelFacts(VLM, ModelStatus.READY, 1, borrowed_mb=3000.0),
        ModelFacts(ModelName("sam"), ModelStatus.READY, 1),
    )
    box.step(replace(box.sample(), models=facts))
    assert box.last[VLM].verdict is Verdict.RUN
    assert box.last[ModelName("sam")].verdict is Verdict.SUSPEND  # to others it is not free


def test_a_suspension_that_ends_while_the_model_is_not_loaded_delays_no_other() -> None:
    box = Box(limits=[vlm("a", priority=9), vlm("b")], vram_mb=0.0)
    box.step()
    a, b = ModelName("a"), ModelName("b")
    box.lives[a] = box.lives[a].to(ModelStatus.ERROR, reason="", at_wall=0.0)
    box.vram_mb = 8000.0
    assert box.seconds_until_ready(b) == 60.0


def test_nor_does_it_wait_for_another_that_resumes() -> None:
    box = Box(limits=[vlm("a", priority=9), vlm("b")], vram_mb=0.0)
    box.step()
    a, b = ModelName("a"), ModelName("b")
    box.lives[b] = box.lives[b].to(ModelStatus.ERROR, reason="", at_wall=0.0)
    box.vram_mb = 8000.0
    assert box.seconds_until_ready(a) == 60.0
    assert box.state.of(b).suspension is None


def test_six_calibrations_in_a_row_do_not_grow_the_cooldown() -> None:
    box = Box()
    for _ in range(6):
        box.is_calibrating = True
        box.tick()
        box.is_calibrating = False
        assert box.seconds_until_ready() == 60.0


def test_a_failed_canary_suspends_like_a_conflict() -> None:
    box = Box()
    box.step()
    box.state = governor.canary_failed(
        box.state, box.limits[0], "no JSON in the answer", settings=SETTINGS, now=box.now
    )
    assert box.step().verdict is Verdict.SUSPEND
    held = box.state.of(VLM).suspension
    assert held is not None
    assert held.healthy_row == 0  # the look before it says nothing of what comes after
    [(_at, _name, skip)] = box.skips
    assert (skip.reason, skip.text) == (
        SkipReason.CANARY_FAILED,
        "its canary failed: no JSON in the answer",
    )
    assert box.seconds_until_ready() == 60.0


def test_records_of_models_that_are_gone_are_forgotten() -> None:
    box = Box(vram_mb=0.0)
    box.step()
    state, decisions = governor.step(
        box.state, box.sample(), limits=(), settings=SETTINGS, now=box.now
    )
    assert (decisions, dict(state.models)) == ((), {})


def test_time_that_goes_back_is_no_time() -> None:
    box = Box(vram_mb=0.0)
    box.step()
    until = box.last[VLM].resume_at
    box.vram_mb = 8000.0
    box.now -= 500.0
    assert box.step().resume_at == until
    assert box.state.stepped_at == 1000.0


@pytest.mark.parametrize(
    ("build", "value"),
    [
        (lambda: GovernorSettings(permit_seconds=0.0), "0.0"),
        (lambda: GovernorSettings(healthy_samples=0), "0"),
        (lambda: GovernorSettings(cooldown_growth=0.5), "0.5"),
        (lambda: GovernorSettings(cooldown_growth=11.0), "11.0"),
        (lambda: GovernorSettings(oom_window_seconds=math.nan), "nan"),
        (lambda: GovernorSettings(paced_floor_ratio=0.95), "0.95"),
        (lambda: vlm(max_concurrency=0), "0"),
        (lambda: vlm(min_free_vram_mb=-1.0), "-1.0"),
    ],
)
def test_a_limit_that_cannot_work_is_refused_with_its_value(
    build: Callable[[], object], value: str
) -> None:
    with pytest.raises(SettingsInvalid, match=value):
        build()


def test_settings_and_permits_travel_between_processes() -> None:
    permit = Box().step().permit
    for thing in (SETTINGS, vlm(), permit):
        assert msgspec.msgpack.decode(msgspec.msgpack.encode(thing), type=type(thing)) == thing


def test_the_document_names_every_setting_with_its_default_and_its_example_runs() -> None:
    text = (Path(__file__).parents[2] / "docs/governor.md").read_text(encoding="utf-8")
    told: dict[str, str] = {}
    row = r"^\| ((?:`\w+`[, ]*)+) \| ([\w., ]+?)(?: \(.*?\))? \|"
    for names, values in re.findall(row, text, re.M):
        told.update(zip(re.findall(r"`(\w+)`", names), values.split(", "), strict=False))
    model = ModelLimits(name=VLM, host=GPU_HOST)
    for thing in (SETTINGS, model):
        for name in set(thing.__struct_fields__) - {"name", "host", "gpu", "pauses_for_training"}:
            default = getattr(thing, name)
            assert told[name] == (f"{default:g}" if not isinstance(default, bool) else "false")
    example = re.search(r"```python\n(.*?)```", text, re.S)
    assert example is not None
    ran = subprocess.run(
        [sys.executable, "-c", example.group(1)], capture_output=True, text=True, check=True
    )
    assert ran.stdout.startswith("suspend free VRAM of GPU 0: 1,500.0 MB, the limit is 2,000.0 MB")


def test_the_governor_brings_nothing_heavier_than_msgspec_and_no_clock() -> None:
    seen = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; import saccade.engine.governor, saccade.engine.ledger;print(*sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    ours = {name for name in seen if name.startswith("saccade")}
    assert not {"numpy", "pynvml", "pydantic", "asyncio", "socket", "logging"} & set(seen)
    assert ours == {
        "saccade",
        "saccade.engine",
        "saccade.errors",
        "saccade.types",
        *(
            f"saccade.engine.{n}"
            for n in ("gates", "governor", "ledger", "limits", "oom", "permits", "suspension")
        ),
    }
