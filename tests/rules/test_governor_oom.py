"""Out of memory: what is one, what is none, and what three of them do."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.rules.governor_box import GPU_HOST, OOM, VLM, Box, vlm

from saccade import errors
from saccade.engine import governor
from saccade.engine.gates import SkipReason
from saccade.engine.governor import FaultAction, Verdict
from saccade.engine.limits import ModelLimits
from saccade.engine.oom import OTHER_CODES, READ_CHARACTERS, TYPED, DeviceFault, recognise
from saccade.engine.permits import Holder
from saccade.errors import ErrorInfo, SaccadeError
from saccade.types import HostName, ModelName, ModelStatus

N, M, D = DeviceFault.NONE, DeviceFault.MISCONFIGURED, DeviceFault.DEVICE_ERROR
O, C = DeviceFault.OUT_OF_MEMORY, DeviceFault.CONTEXT_LOST  # noqa: E741 - columns of a table
TORCH_HINT = (
    "\nCUDA kernel errors might be asynchronously reported at some other API call, so "
    "the stacktrace below might be incorrect.\nFor debugging consider passing "
    "CUDA_LAUNCH_BLOCKING=1\nCompile with `TORCH_USE_CUDA_DSA` to enable device-side "
    "assertions."
)

#: What runtimes say, as users of torch, ONNX Runtime and CUDA have reported it.
TEXTS = [
    (O, "out of memory"),
    (
        O,
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.65 GiB "
        "of which 1.50 GiB is free. If reserved but unallocated memory is large try setting "
        "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation. See "
        "documentation (https://pytorch.org/docs/stable/notes/cuda.html#environment-variables)",
    ),
    (O, "CUDA error: out of memory" + TORCH_HINT),
    (
        O,
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running "
        "Conv node. Name:'/patch_embed/fc1/Conv' Status Message: /onnxruntime_src/onnxruntime/core/"
        "framework/bfc_arena.cc:376 void* onnxruntime::BFCArena::AllocateRawInternal(size_t, bool) "
        "Failed to allocate memory for requested buffer of size 8388608000",
    ),
    (
        O,
        "CUDA failure 2: out of memory ; GPU=0 ; hostname=box ; file=/onnxruntime_src/onnxruntime/"
        "core/providers/cuda/cuda_allocator.cc ; line=46 ; expr=cudaMalloc((void**)&p, size);",
    ),
    (
        O,
        "CUDA error: out of memory\nDevice-side assertions were explicitly omitted for this error "
        "check; the error probably arose while initializing the DSA handlers.",
    ),
    (O, "CUDA_ERROR_OUT_OF_MEMORY"),
    (O, "torch.cuda.OutOfMemoryError"),
    (O, "std::bad_alloc"),
    (O, "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    (O, "Unable to allocate 5.93 GiB for an array with shape (1, 3, 20000, 26500)"),
    (O, "[Errno 12] Cannot allocate memory"),
    (D, "cuda"),
    (D, "cublas"),
    (D, "CUDA error: unknown error" + TORCH_HINT),
    (D, "CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    (D, "CUBLAS failure 13: CUBLAS_STATUS_EXECUTION_FAILED ; GPU=0"),
    (D, "cudaErrorLaunchFailure"),
    (C, "CUDA error: device-side assert triggered" + TORCH_HINT),
    (C, "CUDA error: an illegal memory access was encountered" + TORCH_HINT),
    (C, "CUDA failure 700: an illegal memory access was encountered ; GPU=0"),
    (C, "CUDA error: misaligned address"),
    (C, "unspecified launch failure"),
    (C, "NVML: GPU has fallen off the bus"),
    (C, "CUDA_ERROR_ILLEGAL_ADDRESS"),
    (
        M,
        "Specified provider 'CUDAExecutionProvider' is not in available provider names. Available "
        "providers: 'AzureExecutionProvider, CPUExecutionProvider'",
    ),
    (M, "CUDAExecutionProvider is not in available providers"),
    (M, "CUDA driver version is insufficient for CUDA runtime version"),
    (M, "CUDA error: no kernel image is available for execution on the device" + TORCH_HINT),
    (M, "no CUDA-capable device is detected"),
    (M, "Torch not compiled with CUDA enabled"),
    (M, "Found no NVIDIA driver on your system"),
    (M, "CUDA error: invalid device ordinal"),
    (
        M,
        "Failed to load library libonnxruntime_providers_cuda.so with error: libcublasLt.so.12: "
        "cannot open shared object file: No such file or directory",
    ),
    (M, "libgomp.so.1: cannot allocate memory in static TLS block"),
    (M, "Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False"),
    (M, "Expected all tensors to be on the same device, but found cuda:0 and cpu!"),
    (M, "Could not run 'torchvision::nms' with arguments from the 'CUDA' backend"),
    (M, "Load model from /models/cuda/net.onnx failed: File doesn't exist"),
    (M, "invalid path '/data/out of memory/net.onnx'"),
    (M, "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input: images"),
    (N, "division by zero"),
    (N, "camera barracuda answered nothing"),
    (N, ""),
    (N, "cannot read /models/cuda/net.onnx"),
    (N, "input on cuda:0 has the wrong shape"),
    (N, "CUDAExecutionProvider: node Conv_3 returned a wrong type"),
    (N, "set CUDA_VISIBLE_DEVICES to pick another"),
]


@pytest.mark.parametrize(("fault", "text"), TEXTS)
@pytest.mark.parametrize("code", ["infer_failed", "model_load_failed", "RuntimeError", ""])
def test_what_a_runtime_says_is_read_as_what_it_means(
    fault: DeviceFault, text: str, code: str
) -> None:
    assert recognise(code, text) is fault


@pytest.mark.parametrize("code", sorted(OTHER_CODES))
def test_a_code_of_something_else_is_believed_whatever_its_text_quotes(code: str) -> None:
    assert recognise(code, "CUDA out of memory; device-side assert triggered") is N


@pytest.mark.parametrize(("code", "fault"), sorted(TYPED.items()))
def test_a_typed_code_is_believed_before_any_text(code: str, fault: DeviceFault) -> None:
    for text in ("", "all is well", "CUDA out of memory", "invalid path"):
        assert recognise(code, text) is fault
        assert recognise(f"torch.cuda.{code}", text) is fault


def test_every_code_of_saccade_is_either_known_or_one_whose_text_decides() -> None:
    codes, todo = set(), [SaccadeError]
    while todo:
        kind = todo.pop()
        if kind.__module__ == errors.__name__:
            codes.add(kind.code)
        todo += kind.__subclasses__()
    assert codes - OTHER_CODES - TYPED.keys() == {"internal", "infer_failed", "model_load_failed"}


@given(st.text(max_size=300))
def test_any_text_has_an_answer(text: str) -> None:
    assert recognise("infer_failed", text) in DeviceFault


@pytest.mark.parametrize("noise", ["-", "/", "a/", ".", "cuda_", "a.", "~"])
def test_a_text_made_to_be_slow_is_not(noise: str) -> None:
    recognise("infer_failed", noise * READ_CHARACTERS)  # the test's own limit is the assertion


# ---------------------------------------------------------------- one, and three


@pytest.mark.parametrize(("at_s", "is_ready"), [(59.9, False), (60.0, True)])
def test_one_out_of_memory_suspends_for_sixty_seconds(at_s: float, is_ready: bool) -> None:
    box = Box()
    box.step()
    assert box.fault() is FaultAction.STRIKE
    assert box.status() is ModelStatus.SUSPENDED
    [(_at, _name, skip)] = box.skips
    assert (skip.reason, skip.text) == (
        SkipReason.OUT_OF_MEMORY,
        "out of memory, 1 of 3 times in 10 minutes",
    )
    box.ticks(59)
    box.tick(at_s - 59.0)
    assert (box.status() is ModelStatus.READY) == is_ready


def test_the_suspension_after_out_of_memory_does_not_grow() -> None:
    box = Box()
    for _ in range(4):
        box.step()
        box.fault()
        assert box.seconds_until_ready() == 60.0
        box.ticks(400)


@pytest.mark.parametrize(("times", "is_disabled"), [
    ((0, 300, 599), True), ((0, 300, 600), True), ((0, 300, 601), False),
    ((0, 1, 2), True), ((0, 601, 1202), False),
    ((0, 599, 602, 1198), True),  # it slides: the last three lie within 599 s
    ((0, 599, 1200), False), ((0, 599, 1200, 1201), False), ((0, 0.5, 0.9), False),
])  # fmt: skip
def test_the_third_in_ten_sliding_minutes_disables(
    times: tuple[float, ...], is_disabled: bool
) -> None:
    box = Box()
    for at in times:
        box.now = 1000.0 + at
        box.fault()
    assert (box.status() is ModelStatus.DISABLED) == is_disabled
    assert ("3 of 3 times" in box.last[VLM].text) == is_disabled


def test_a_disabled_model_stays_so_until_a_person_enables_it_and_then_starts_clean() -> None:
    box = Box()
    for _ in range(3):
        box.fault()
        box.now += 2.0
    assert box.changes[-1][2] is ModelStatus.DISABLED
    box.fault()  # a late one changes nothing
    assert box.ticks(2000).verdict is Verdict.STAY
    assert len(box.skips) == 1
    box.state = governor.enable(box.state, VLM)
    for status in (ModelStatus.CREATED, ModelStatus.LOADING, ModelStatus.LOADED, ModelStatus.READY):
        box.lives[VLM] = box.lives[VLM].to(status, reason="", at_wall=0.0)
    assert box.step().verdict is Verdict.RUN
    box.fault()
    assert box.status() is ModelStatus.SUSPENDED  # the first of three again


def test_an_out_of_memory_of_one_model_leaves_the_others_running() -> None:
    box = Box(limits=[vlm("vlm"), vlm("sam")])
    box.step()
    box.fault()
    assert box.status(ModelName("sam")) is ModelStatus.READY
    assert box.last[ModelName("sam")].verdict is Verdict.RUN


def test_out_of_memory_while_suspended_prolongs_that_suspension_and_tells_nobody_twice() -> None:
    box = Box(vram_mb=0.0)
    box.step()
    box.vram_mb = 8000.0
    box.ticks(50)
    box.fault()
    assert box.seconds_until_ready() == 60.0
    assert len(box.skips) == 1


def test_out_of_memory_never_shortens_a_suspension_that_had_grown() -> None:
    box = Box()
    for _ in range(3):
        box.vram_mb = 0.0
        box.tick()
        box.vram_mb = 8000.0
        if len(box.suspensions()) < 3:
            box.seconds_until_ready()
    box.fault()
    assert box.seconds_until_ready() == 240.0


def test_out_of_memory_while_loading_says_when_to_try_again_and_is_no_skip() -> None:
    box = Box()
    box.lives[VLM] = box.lives[VLM].to(ModelStatus.ERROR, reason="", at_wall=0.0)
    box.fault(ErrorInfo("model_load_failed", "CUDA out of memory", ""))
    assert box.last[VLM].verdict is Verdict.STAY
    assert box.last[VLM].resume_at == box.now + 60.0
    assert box.skips == []


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (
            ErrorInfo("infer_failed", "CUDAExecutionProvider is not in available providers", ""),
            FaultAction.NONE,
        ),
        (ErrorInfo("infer_failed", "division by zero", ""), FaultAction.NONE),
        (
            ErrorInfo("infer_failed", "CUDA error: device-side assert triggered", ""),
            FaultAction.REPLACE_HOST,
        ),
        (ErrorInfo("device_broken", "illegal memory access", ""), FaultAction.REPLACE_HOST),
    ],
)
def test_what_is_no_memory_is_no_strike(error: ErrorInfo, action: FaultAction) -> None:
    box = Box()
    for _ in range(5):
        assert box.fault(error) is action
        box.now += 2.0
    assert box.status() is ModelStatus.READY


# ---------------------------------------------------------------- the echo of a death


@pytest.mark.parametrize(
    ("after_s", "action"),
    [(0.0, FaultAction.EXCUSED), (5.0, FaultAction.EXCUSED), (5.1, FaultAction.STRIKE)],
)
@pytest.mark.parametrize("died", ["gpu0", "gpu0-b"])  # its own host, and one on the same GPU
def test_a_device_error_soon_after_a_host_died_there_is_no_strike(
    after_s: float, action: FaultAction, died: str
) -> None:
    other = ModelLimits(name=ModelName("other"), host=HostName("gpu0-b"), gpu=0)
    box = Box(limits=[vlm(), other])
    box.state = governor.host_died(box.state, HostName(died), life=1, now=box.now)
    box.life = 2
    box.now += after_s
    assert box.fault() is action


def test_the_death_of_a_host_on_another_gpu_excuses_nobody() -> None:
    other = ModelLimits(name=ModelName("other"), host=HostName("gpu1"), gpu=1)
    box = Box(limits=[vlm(), other])
    box.state = governor.host_died(box.state, HostName("gpu1"), life=1, now=box.now)
    assert box.fault() is FaultAction.STRIKE


def test_an_error_that_a_dead_host_left_behind_does_not_replace_the_new_one() -> None:
    box = Box()
    box.state = governor.host_died(box.state, GPU_HOST, life=1, now=box.now)
    box.now += 60.0
    for error in (OOM, ErrorInfo("device_broken", "", "")):
        _state, outcome = governor.fault(
            box.state,
            VLM,
            error,
            holder=Holder(GPU_HOST, 1),
            limits=box.limits,
            settings=box.settings,
            now=box.now,
        )
        assert outcome.action is FaultAction.EXCUSED


# ---------------------------------------------------------------- against a slow reference


class OomWindow(RuleBasedStateMachine):
    """Time in whole seconds and bursts; the reference looks at every triple ever counted."""

    def __init__(self) -> None:
        super().__init__()
        self.box = Box()
        self.counted: list[float] = []
        self.died_at = -1e9
        self.is_disabled = False

    @rule(
        seconds=st.sampled_from(
            [0.0, 0.5, 1.0, 2.0, 60.0, 298.0, 299.0, 300.0, 301.0, 599.0, 600.0, 601.0, 3600.0]
        )
    )
    def wait(self, seconds: float) -> None:
        self.box.tick(seconds)

    @rule()
    def run_out_of_memory(self) -> None:
        now = self.box.now
        action = self.box.fault()
        if now - self.died_at <= 5.0:
            assert action is FaultAction.EXCUSED
            return
        assert action is FaultAction.STRIKE
        if not self.is_disabled and not (self.counted and now - self.counted[-1] < 1.0):
            self.counted.append(now)
        within = [a for a in self.counted if a >= now - 600.0]
        self.is_disabled = self.is_disabled or len(within) >= 3

    @rule()
    def lose_the_host(self) -> None:
        self.box.state = governor.host_died(
            self.box.state, GPU_HOST, life=self.box.life, now=self.box.now
        )
        self.box.life += 1
        self.died_at = self.box.now

    @rule(text=st.sampled_from([text for fault, text in TEXTS if fault in {N, M}]))
    def fail_otherwise(self, text: str) -> None:
        assert self.box.fault(ErrorInfo("infer_failed", text, "")) is FaultAction.NONE

    @precondition(lambda self: self.is_disabled)
    @rule()
    def enable(self) -> None:
        self.box.state = governor.enable(self.box.state, VLM)
        for status in (
            ModelStatus.CREATED,
            ModelStatus.LOADING,
            ModelStatus.LOADED,
            ModelStatus.READY,
        ):
            self.box.lives[VLM] = self.box.lives[VLM].to(status, reason="", at_wall=0.0)
        self.is_disabled, self.counted = False, []

    @invariant()
    def agrees(self) -> None:
        assert (self.box.status() is ModelStatus.DISABLED) == self.is_disabled
        if self.counted and self.box.now - self.counted[-1] < 60.0:
            assert self.box.status() is not ModelStatus.READY


TestOomWindow = OomWindow.TestCase
TestOomWindow.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
