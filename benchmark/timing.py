"""How long does a batch take? Blocks of calls back to back, and single calls.

A block is some calls and one synchronise at the end, about `seconds` long and never shorter than
what a loader may hold ready; as much as that is called, untimed, before each block, and waited for
after it, so that neither what was prepared while nobody asked nor the preparing of it falls into
anybody's time. Loaders take turns block by block, so that a drift of the machine hits all of them.
Whoever fails drops out, and its reason is kept.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import NamedTuple

import numpy as np
import torch

from benchmark.loaders import Loader


class Effort(NamedTuple):
    """How long to measure."""

    seconds: float  # a block
    rounds: int  # blocks of each loader
    single: int  # calls timed one by one, at most
    fewest: int  # of those, where a call is slow
    trial: float  # seconds of the run that is watched for memory
    ceiling_bytes: int  # that are copied to measure a bandwidth, at most


FULL = Effort(0.1, 9, 200, 20, 0.3, 2**31)
QUICK = Effort(0.002, 2, 5, 5, 0.02, 2**22)
SINGLE_SECONDS = 4  # that the calls one by one may take, above their fewest


def synchronise(device: torch.device) -> None:
    """Wait for the current stream: the batch is ready, though a loader may copy ahead of it."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()


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
    """Median seconds a call, over blocks."""
    calls = calls_of(call, effort.seconds, device)
    return median(block(call, calls, device) for _ in range(effort.rounds))


def in_turn(
    loaders: dict[str, Loader], effort: Effort, device: torch.device, failed: dict[str, str]
) -> dict[str, list[float]]:
    """Seconds a batch of each block of each loader; `failed` gets the reasons of who drops out."""
    calls, found = {}, {name: [] for name in loaders}
    for name, loader in loaders.items():
        with dropping_out(name, failed):
            _run(loader.call, loader.ahead)
            calls[name] = calls_of(loader.call, effort.seconds, device, loader.ahead)
    for _ in range(effort.rounds):
        for name in loaders:
            if name in failed:
                continue
            with dropping_out(name, failed):
                found[name].append(_turn(loaders[name], calls[name], device))
    return {name: blocks for name, blocks in found.items() if name not in failed}


def _turn(loader: Loader, calls: int, device: torch.device) -> float:
    _run(loader.call, loader.ahead)
    took = block(loader.call, calls, device)
    time.sleep(loader.ahead * took)  # until it has prepared again what it prepares
    return took / loader.batches


def one_by_one(loader: Loader, seconds: float, effort: Effort, device: torch.device) -> np.ndarray:
    """Seconds from call to batch ready, of calls that take about `seconds` each."""
    call = loader.one or loader.call
    _run(call, 1 + loader.ahead)
    many = max(effort.fewest, min(effort.single, int(SINGLE_SECONDS / seconds)))
    return np.array([block(call, 1, device) for _ in range(many)])


def _run(call: Callable, calls: int) -> None:
    for _ in range(calls):
        call()


@contextmanager
def dropping_out(name: str, failed: dict[str, str]) -> Iterator[None]:
    """Keep the reason of a RuntimeError (no memory, a worker killed) in `failed`, and go on."""
    try:
        yield
    except RuntimeError as error:
        failed[name] = str(error).splitlines()[0]
