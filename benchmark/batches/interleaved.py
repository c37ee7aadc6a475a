"""Which of several steps takes longer, and how sure is that? Blocks of each in turn, and a ratio.

In: functions that queue one step each, the first of them the base. Out: for each the median time of
a step, the median over rounds of its block against the base's block of the same round, and a 95 %
interval of that median. A slow drift of the machine moves both blocks of a round, not their ratio.

The interval needs no distribution: between the l-th smallest and the l-th largest of n independent
ratios lies the true median, but for a chance of 2·P(B < l), B binomial of n and 1/2; l is the
largest with at most 5 % (Conover, Practical Nonparametric Statistics, section 3.2).
"""

import time
from collections.abc import Callable, Mapping
from math import comb
from statistics import median
from typing import NamedTuple

import torch

from benchmark.batches.timing import repeat

AHEAD = 32  # steps before a block, at most
FIRST = 5  # steps before anything is timed: they compile, start threads and workers

Step = Callable[[], object]


class Pace(NamedTuple):
    """How long is measured."""

    rounds: int  # 6 at least, or there is no interval
    seconds: float  # a block of the base, about


def interleaved(
    steps: Mapping[str, Step], device: torch.device, pace: Pace
) -> dict[str, list[float]]:
    """Seconds per step, one number a round, for each name; every block has as many steps."""
    names = list(steps)
    for step in steps.values():
        repeat(step, FIRST)
    some = block(steps[names[0]], 5, device) / 5
    count = max(2, round(pace.seconds / some))
    measured: dict[str, list[float]] = {name: [] for name in names}
    for i in range(pace.rounds):
        first = i % len(names)  # so that none always follows the same one
        for name in names[first:] + names[:first]:
            measured[name].append(block(steps[name], count, device) / count)
    return measured


def block(step: Step, count: int, device: torch.device) -> float:
    """Seconds that `count` steps take, when some were taken before them.

    Half a block goes before it untimed, AHEAD steps at most, so that a loader that prefetches is
    preparing again when the clock starts. It may still hold more ready than a block takes (128
    batches of a prefetcher, 16 of a DataLoader): one that cannot keep up with the steps is
    flattered, one that can is not. On a GPU the clock is the device's own and the steps before are
    not waited for: a wait would let the loader run ahead again.
    """
    repeat(step, min(AHEAD, -(-count // 2)))
    if device.type != "cuda":
        began = time.perf_counter()
        repeat(step, count)
        return time.perf_counter() - began
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    repeat(step, count)
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000


def against(measured: dict[str, list[float]]) -> dict[str, dict]:
    """For each name: ms, ratio to the first name, and low and high, the interval of the ratio."""
    base = next(iter(measured.values()))
    return {name: _compared(seconds, base) for name, seconds in measured.items()}


def _compared(seconds: list[float], base: list[float]) -> dict:
    ratios = sorted(one / other for one, other in zip(seconds, base, strict=True))
    low, high = interval_ranks(len(ratios))
    measured = {"ms": 1000 * median(seconds), "ratio": median(ratios)}
    return measured | {"low": ratios[low - 1], "high": ratios[high - 1]}


def interval_ranks(count: int) -> tuple[int, int]:
    """Which of `count` sorted numbers, from 1, bound the median; raises ValueError below 6."""
    rank, tail = 0, 1  # ways to have at most `rank` of the numbers below the median
    while 2 * tail <= 0.05 * 2**count:
        rank += 1
        tail += comb(count, rank)
    if not rank:
        raise ValueError(f"{count} rounds bound no median with 95 %; 6 are needed")
    return rank, count + 1 - rank
