"""How every benchmark measures: two or more arms in turns, medians, and a ratio with its range.

A machine's mood (other programs, clock speed, caches) moves an absolute number by half. It moves
both arms of a ratio alike when they take turns, A B A B, and a pair of neighbours is compared. So
a figure is the median over the rounds of `ours / base` of that round, shown with the smallest and
the largest; the absolute medians stand beside it only to say what was compared.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

Sample = Callable[[], float]


class Target(msgspec.Struct, frozen=True):
    """What a ratio should be."""

    limit: float
    at_most: bool  # else at least
    source: str = ""  # where the target comes from, when it is not the house's own

    def is_met(self, ratio: float) -> bool:
        """Say whether a ratio is what it should be."""
        return ratio <= self.limit if self.at_most else ratio >= self.limit

    def __str__(self) -> str:
        return f"{'<=' if self.at_most else '>='} {self.limit:g}"


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the results."""

    topic: str
    name: str
    ours: str  # what is above the line of the ratio
    base: str  # what is below
    unit: str
    rounds: int
    ours_median: float
    base_median: float
    ratio: float
    ratio_min: float
    ratio_max: float
    target: Target | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """Return what to print of the target."""
        if self.target is None:
            return ""
        return "met" if self.target.is_met(self.ratio) else "MISSED"


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure.

    Args:
        rounds: of A B; a benchmark may take fewer of its long arms, at least 2.
        seconds: of one arm in one round, where an arm runs for a time.
        quick: the short run, that says less.
    """

    rounds: int
    seconds: float
    quick: bool = False

    @classmethod
    def full(cls) -> Plan:
        """Return what `make bench` does."""
        return cls(rounds=7, seconds=1.5)

    @classmethod
    def short(cls) -> Plan:
        """Return what `--quick` does."""
        return cls(rounds=3, seconds=0.6, quick=True)

    @classmethod
    def smoke(cls) -> Plan:
        """Return the least that gives a number, for a test."""
        return cls(rounds=2, seconds=0.15, quick=True)


@dataclass(slots=True)
class Samples:
    """What each arm gave, round by round."""

    of: dict[str, list[float]] = field(default_factory=dict)

    def median(self, arm: str) -> float:
        """Return an arm's median."""
        return statistics.median(self.of[arm])

    def ratios(self, ours: str, base: str) -> list[float]:
        """Return `ours / base` of each round."""
        return [a / b for a, b in zip(self.of[ours], self.of[base], strict=True)]

    def figure(
        self,
        topic: str,
        name: str,
        *,
        ours: str,
        base: str,
        unit: str,
        target: Target | None = None,
        note: str = "",
    ) -> Figure:
        """Return the figure of two arms.

        Raises:
            ValueError: a ratio is no finite positive number: an arm measured nothing.
        """
        ratios = self.ratios(ours, base)
        if not all(math.isfinite(r) and r > 0 for r in ratios):
            raise ValueError(f"{topic}: {name}: ratios {ratios}: an arm measured nothing")
        return Figure(
            topic=topic,
            name=name,
            ours=ours,
            base=base,
            unit=unit,
            rounds=len(ratios),
            ours_median=self.median(ours),
            base_median=self.median(base),
            ratio=statistics.median(ratios),
            ratio_min=min(ratios),
            ratio_max=max(ratios),
            target=target,
            note=note,
        )


def interleave(arms: Mapping[str, Sample], rounds: int, *, warm: bool = True) -> Samples:
    """Measure arms in turns: A B C A B C ...

    Args:
        arms: each measures once and returns its number.
        rounds: how often each is measured.
        warm: run each once before, unmeasured.
    """
    if warm:
        for sample in arms.values():
            sample()
    samples = Samples({name: [] for name in arms})
    for _ in range(rounds):
        for name, sample in arms.items():
            samples.of[name].append(sample())
    return samples


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of the values lie; nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]


def show(console: Console, figures: Sequence[Figure], *, markdown: bool = False) -> None:
    """Print figures as a table, the notes under it."""
    table = Table(box=box.MARKDOWN if markdown else box.SIMPLE, pad_edge=markdown)
    table.add_column("figure")
    for heading in ("ratio", "min-max", "target", ""):
        table.add_column(heading, no_wrap=True)
    table.add_column("of what")
    table.add_column("medians", no_wrap=True)
    table.add_column("n")
    for figure in figures:
        table.add_row(
            figure.name,
            f"{figure.ratio:.3g}",
            f"{figure.ratio_min:.3g}-{figure.ratio_max:.3g}",
            str(figure.target or ""),
            figure.verdict,
            f"{figure.ours} / {figure.base}",
            f"{figure.ours_median:.4g} / {figure.base_median:.4g} {figure.unit}",
            str(figure.rounds),
        )
    console.print(table)
    for note in dict.fromkeys(figure.note for figure in figures if figure.note):
        console.print(f"{note}\n", soft_wrap=True, highlight=False)
