"""How long does a batch take? Blocks of calls back to back, and single calls.

A block is some calls and one synchronise at the end, about `seconds` long and never shorter than
what a loader may hold ready; as much as that is called, untimed, before each block, and waited for
after it, so that neither what was prepared while nobody asked nor the preparing of it falls into
anybody's time. Whoever fails drops out, and its reason is kept.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import NamedTuple

import torch

from benchmark.batches.loaders import Loader
from slm.training.cuda import reason, synchronise


class Effort(NamedTuple):
    """How long to measure."""

    seconds: float  # a block
    turns: int  # of each loader
    blocks: int  # in a turn
    single: int  # calls of a turn timed one by one, at most
    fewest: int  # of those, where a call is slow
    trial: float  # seconds of the run that is watched for memory
    ceiling_bytes: int  # that are copied to measure a bandwidth, at most


FULL = Effort(0.1, 3, 3, 70, 7, 0.3, 2**31)
QUICK = Effort(0.002, 2, 1, 3, 3, 0.02, 2**22)
SINGLE_SECONDS = 1.5  # that the calls one by one may take in a turn, above their fewest


def block(call: Callable, calls: int, device: torch.device) -> float:
    """Seconds a call of so many back to back."""
    synchronise(device)
    start = time.perf_counter()
    for _ in range(calls):
        call()
    synchronise(device)
    return (time.perf_counter() - start) / calls


def calls_of(call: Callable, seconds: float, device: torch.device, least: int = 1) -> int:
    """How many calls take about so many seconds; warms up by the way."""
    calls = max(1, least)
    while (took := block(call, calls, device)) * calls < seconds / 2:
        calls *= 2
    return max(1, least, round(seconds / took))


def typical(call: Callable, effort: Effort, device: torch.device) -> float:
    """Median seconds per call, over blocks."""
    calls = calls_of(call, effort.seconds, device)
    return median(block(call, calls, device) for _ in range(effort.turns * effort.blocks))


def blocks(loader: Loader, effort: Effort, device: torch.device) -> list[float]:
    """Seconds a batch of each block of a turn."""
    repeat(loader.call, loader.ahead)
    calls = calls_of(loader.call, effort.seconds, device, loader.ahead)
    return [_fresh_block(loader, calls, device) for _ in range(effort.blocks)]


def _fresh_block(loader: Loader, calls: int, device: torch.device) -> float:
    repeat(loader.call, loader.ahead)
    took = block(loader.call, calls, device)
    time.sleep(loader.ahead * took)  # until it has prepared again what it prepares
    return took / loader.batches


def one_by_one(loader: Loader, seconds: float, effort: Effort, device: torch.device) -> list[float]:
    """Seconds from call to batch ready, of calls that take about `seconds` each."""
    call = loader.one or loader.call
    repeat(call, 1 + loader.ahead)
    many = max(effort.fewest, min(effort.single, int(SINGLE_SECONDS / seconds)))
    return [block(call, 1, device) for _ in range(many)]


def repeat(call: Callable, calls: int) -> None:
    """Call so often."""
    for _ in range(calls):
        call()


@contextmanager
def dropping_out(name: str, failed: dict[str, str]) -> Iterator[None]:
    """Keep the reason of a failure (no memory, a worker killed) in `failed`, and go on."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        failed[name] = reason(error)
