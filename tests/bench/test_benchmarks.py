"""The benchmarks: their arithmetic, and that each runs, prints finite ratios and leaves nothing."""

from __future__ import annotations

import importlib
import io
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from benchmarks.__main__ import TOPICS, main
from benchmarks.harness import Figure, Plan, Samples, Target, interleave, percentile, show
from benchmarks.processes import family
from rich.console import Console

ROOT = Path(__file__).resolve().parents[2]


def test_arms_take_turns_and_are_warmed_once() -> None:
    calls: list[str] = []

    def arm(name: str, value: float) -> float:
        calls.append(name)
        return value

    samples = interleave({"a": lambda: arm("a", 2.0), "b": lambda: arm("b", 4.0)}, 3)

    assert "".join(calls) == "ab" + "ababab"
    assert samples.of == {"a": [2.0] * 3, "b": [4.0] * 3}


def test_a_ratio_is_of_one_round_and_not_of_two_medians() -> None:
    samples = Samples({"ours": [1.0, 20.0, 6.0], "base": [1.0, 10.0, 2.0]})

    figure = samples.figure("t", "n", ours="ours", base="base", unit="s")

    assert (figure.ratio, figure.ratio_min, figure.ratio_max) == (2.0, 1.0, 3.0)
    assert (figure.ours_median, figure.base_median) == (6.0, 2.0)


@pytest.mark.parametrize("nothing", [0.0, math.inf, math.nan])
def test_an_arm_that_measured_nothing_gives_no_figure(nothing: float) -> None:
    samples = Samples({"ours": [nothing], "base": [1.0]})
    with pytest.raises(ValueError, match="measured nothing"):
        samples.figure("t", "n", ours="ours", base="base", unit="s")


@pytest.mark.parametrize(
    ("target", "ratio", "verdict"),
    [
        (Target(1.3, at_most=True), 1.3, "met"),
        (Target(1.3, at_most=True), 1.31, "MISSED"),
        (Target(0.85, at_most=False), 0.85, "met"),
        (Target(0.85, at_most=False), 0.8, "MISSED"),
        (None, 9.0, ""),
    ],
)
def test_a_missed_target_is_said(target: Target | None, ratio: float, verdict: str) -> None:
    out = io.StringIO()
    figure = _figure(ratio, target)

    show(Console(file=out, width=200), [figure])

    assert figure.verdict == verdict
    assert verdict in out.getvalue()
    assert ("MISSED" in out.getvalue()) == (verdict == "MISSED")


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 5), (0.99, 10), (1.0, 10)])
def test_percentiles_are_values_that_were_measured(share: float, expected: int) -> None:
    assert percentile([3, 1, 2, 10, 9, 8, 7, 6, 5, 4], share) == expected


def test_markdown_rows_are_not_wrapped() -> None:
    out = io.StringIO()
    show(Console(file=out, width=200), [_figure(1.0, None)], markdown=True)
    rows = [line for line in out.getvalue().splitlines() if line.strip().startswith("|")]
    assert len(rows) == 3  # the head, the rule, the figure


@pytest.mark.slow
@pytest.mark.tree
@pytest.mark.bench
@pytest.mark.parametrize("topic", TOPICS)
def test_each_benchmark_gives_finite_ratios_and_leaves_no_process(topic: str) -> None:
    before = set(family(os.getpid()))

    figures = importlib.import_module(f"benchmarks.{topic}").run(Plan.smoke())

    assert figures
    for figure in figures:
        assert figure.topic == topic
        assert math.isfinite(figure.ratio)
        assert 0 < figure.ratio_min <= figure.ratio <= figure.ratio_max
    assert set(family(os.getpid())) <= before


@pytest.mark.slow
def test_the_command_writes_its_figures_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "figures.json"

    assert main(["--quick", "handoff", "--json", str(path)]) == 0

    written = msgspec.json.decode(path.read_bytes())
    assert {figure["topic"] for figure in written["figures"]} == {"handoff"}
    assert written["machine"]["cores"] >= 1
    assert "round trip" in capsys.readouterr().out


def test_an_unknown_benchmark_is_refused_with_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["hand-off"])
    assert "handoff" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.tree
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_benchmark_that_is_ended_leaves_no_process(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks", "http", "--quick"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        seen: set[int] = set()
        deadline = time.monotonic() + 60
        while len(seen) < 5:  # the tree's four and another server
            assert time.monotonic() < deadline
            assert process.poll() is None
            seen = set(family(process.pid)) - {process.pid}
        process.send_signal(number)
        process.wait(20)
        while any(_is_alive(pid) for pid in seen):
            assert time.monotonic() < deadline, seen
    finally:
        process.kill()
        process.wait()


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def _figure(ratio: float, target: Target | None) -> Figure:
    return Figure(
        topic="t",
        name="n",
        ours="a",
        base="b",
        unit="us",
        rounds=3,
        ours_median=ratio,
        base_median=1.0,
        ratio=ratio,
        ratio_min=ratio,
        ratio_max=ratio,
        target=target,
    )
