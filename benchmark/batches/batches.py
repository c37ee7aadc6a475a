"""Batches of each shape by each loader, and the digest that says they are the right ones.

In: a folder of bins, what params.yaml asks for, a device. Out: the sections "digest" and "batches"
of the result, and the reasons of what is not in them. A loader that fails (no memory, no shared
memory for a DataLoader's workers) is None there and does not end the run.
"""

from collections.abc import Callable
from contextlib import closing
from itertools import product
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import torch

from benchmark.batches.loaders import LOADERS, Task
from benchmark.batches.memory import Growth
from benchmark.batches.timing import Effort, blocks, dropping_out, one_by_one
from slm.batching.batches import Batches
from slm.batching.ranks import digest
from slm.bins.opening import open_bins
from slm.core.errors import UserError

DIGESTED = 100  # steps
CPU_TOKENS = 2**16  # a batch at most, where there is no GPU
TOKEN_BYTES = 18  # moved for a token: x and y written as int64, a uint16 read


def measure_digest(bins: Path, batching: dict, device: torch.device) -> dict:
    """The section "digest"; AssertionError where a device or a placement gives other batches.

    UserError where one batch is all the data or more.
    """
    about = {key: batching[key] for key in ("batch_size", "block_size", "order", "seed")}
    task = Task(bins, **about, device=device)
    if (tokens := _tokens(bins)) <= task.tokens:
        raise UserError(
            f"params.yaml: batching asks for {task.tokens:,} tokens per batch and the data has "
            f"{tokens:,}; choose fewer rows or tokens per row, or more data"
        )
    devices, figures = dict.fromkeys(["cpu", str(device)]), {}
    for where, placement in product(devices, ("host", "device")):
        batches = Batches(bins, "train", device=where, placement=placement, **about)
        figures[f"{placement} placement on {where}"] = digest(batches, DIGESTED)
        batches.close()
    check_same(figures)
    return {**about, "steps": DIGESTED, "sha256": next(iter(figures.values()))}


def check_same(digests: dict[str, str]) -> None:
    """AssertionError, naming the first that differs, unless all digests are the same."""
    (first, wanted), *others = digests.items()
    for name, figures in others:
        if figures != wanted:
            raise AssertionError(f"batches differ: {name} has {figures}, {first} has {wanted}")


def measure_batches(
    bins: Path,
    settings: dict,
    device: torch.device,
    copy_gb_s: float,
    effort: Effort,
    say: Callable[[str], None],
) -> tuple[dict, list[str]]:
    """The section "batches", and a line for each shape and loader that is not in it."""
    order, seed = (settings["batching"][key] for key in ("order", "seed"))
    figures, missing = {}, []
    for batch_size, block_size in settings["benchmark"]["shapes"]:
        name = f"{batch_size}x{block_size}"
        task = Task(bins, batch_size, block_size, order, seed, device)
        if why := _left_out(task):
            missing.append(f"{name}: left out, {why}")
            continue
        say(f"batches of {name}")
        figures[name], failed = _shape(task, copy_gb_s, effort)
        missing += [f"{name}, {loader}: failed, {why}" for loader, why in failed.items()]
    if not figures:
        raise UserError(f"nothing to measure: {'; '.join(missing)}; choose other shapes or data")
    return figures, missing


def _left_out(task: Task) -> str:
    tokens = _tokens(task.bins)
    if task.device.type != "cuda" and task.tokens > CPU_TOKENS:
        return f"more than {CPU_TOKENS:,} tokens per batch, and no GPU here"
    if tokens <= task.tokens:
        return f"the data has {tokens:,} tokens, no more than one batch"
    return ""


def _tokens(bins: Path) -> int:
    return open_bins(bins).manifest["splits"]["train"]["tokens"]


class Seen(NamedTuple):
    """What was measured of a loader so far."""

    blocks: list[float]  # seconds per batch, back to back
    single: list[float]  # seconds of a batch alone
    about: dict  # memory, and bytes over the bus


def _shape(task: Task, copy_gb_s: float, effort: Effort) -> tuple[dict, dict[str, str]]:
    names = [name for name in LOADERS if name != "graph" or task.device.type == "cuda"]
    seen = {name: Seen([], [], {}) for name in names}
    failed: dict[str, str] = {}
    for _ in range(effort.turns):  # so that a drift of the machine hits all of them
        for name in names:
            if name not in failed:
                with dropping_out(name, failed):
                    _turn(name, task, effort, seen[name])
    base = None if "notebook" in failed else median(seen["notebook"].blocks)
    return {
        name: None if name in failed else _row(task, seen[name], base, copy_gb_s) for name in names
    }, failed


def _turn(name: str, task: Task, effort: Effort, seen: Seen) -> None:
    """Add to `seen` a turn of a loader that is alone: threads of others would slow it down."""
    growth = Growth(task.device)
    with closing(LOADERS[name](task)) as loader:
        growth.watch(loader.call, loader.ahead + 2, effort.trial)
        seen.about.update(bus_bytes=loader.bus_bytes, **growth.figures())
        seen.blocks.extend(blocks(loader, effort, task.device))
        seen.single.extend(one_by_one(loader, median(seen.blocks), effort, task.device))


def _row(task: Task, seen: Seen, base: float | None, copy_gb_s: float) -> dict:
    seconds = median(seen.blocks)
    return {
        **_times(seen),
        "tokens_s": task.tokens / seconds,
        **seen.about,
        "of_copy": TOKEN_BYTES * task.tokens / seconds / 1e9 / copy_gb_s,
        "times": base / seconds if base else None,
    }


def _times(seen: Seen) -> dict:
    p50, p99 = np.percentile(seen.single, [50, 99])
    seconds = {"us": median(seen.blocks), "us_min": min(seen.blocks), "us_max": max(seen.blocks)}
    seconds |= {"p50_us": float(p50), "p99_us": float(p99)}
    return {key: 1e6 * value for key, value in seconds.items()}
