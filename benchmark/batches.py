"""Batches of each shape by each loader, and the digest that says they are the right ones.

In: a folder of bins, what params.yaml asks for, a device. Out: the sections "digest" and "batches"
of the result, and the reasons of what is not in them. A loader that fails (no memory, no shared
memory for a DataLoader's workers) is None there and does not end the run.
"""

from collections.abc import Callable
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmark.loaders import LOADERS, Loader, Task
from benchmark.memory import Growth
from benchmark.timing import Effort, dropping_out, in_turn, one_by_one
from slm.batching import Batches, digest
from slm.bins import open_bins
from slm.errors import UserError

DIGESTED = 100  # steps
CPU_TOKENS = 2**16  # a batch at most, where there is no GPU
TOKEN_BYTES = 18  # moved for a token: x and y written as int64, a uint16 read


def measure_digest(bins: Path, batching: dict, device: torch.device) -> dict:
    """The section "digest"; AssertionError where a device or a placement gives other batches."""
    about = {key: batching[key] for key in ("batch_size", "block_size", "order", "seed")}
    devices, found = dict.fromkeys(["cpu", str(device)]), {}
    for where, placement in product(devices, ("host", "device")):
        batches = Batches(bins, "train", device=where, placement=placement, **about)
        found[f"{placement} placement on {where}"] = digest(batches, DIGESTED)
        batches.close()
    check_same(found)
    return {**about, "steps": DIGESTED, "sha256": next(iter(found.values()))}


def check_same(digests: dict[str, str]) -> None:
    """AssertionError, naming the first that differs, unless all digests are the same."""
    (first, wanted), *others = digests.items()
    for name, found in others:
        if found != wanted:
            raise AssertionError(f"batches differ: {name} has {found}, {first} has {wanted}")


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
    found, missing = {}, []
    for batch_size, block_size in settings["benchmark"]["shapes"]:
        name = f"{batch_size}x{block_size}"
        task = Task(bins, batch_size, block_size, order, seed, device)
        if why := _left_out(task):
            missing.append(f"{name}: left out, {why}")
            continue
        say(f"batches of {name}")
        found[name], failed = _shape(task, copy_gb_s, effort)
        missing += [f"{name}, {loader}: failed, {why}" for loader, why in failed.items()]
    if not found:
        raise UserError(f"nothing to measure: {'; '.join(missing)}; choose other shapes or data")
    return found, missing


def _left_out(task: Task) -> str:
    tokens = open_bins(task.bins).manifest["splits"]["train"]["tokens"]
    if task.device.type != "cuda" and task.tokens > CPU_TOKENS:
        return f"more than {CPU_TOKENS:,} tokens a batch, and no GPU here"
    if tokens <= task.tokens:
        return f"the data has {tokens:,} tokens, no more than one batch"
    return ""


def _shape(task: Task, copy_gb_s: float, effort: Effort) -> tuple[dict, dict[str, str]]:
    names = [name for name in LOADERS if name != "graph" or task.device.type == "cuda"]
    loaders, memory, single, failed = {}, {}, {}, {}
    with ExitStack() as stack:
        for name in names:
            with dropping_out(name, failed):
                loaders[name], memory[name] = _begun(name, task, effort, stack)
        blocks = in_turn(loaders, effort, task.device, failed)
        for name, seconds in blocks.items():
            with dropping_out(name, failed):
                single[name] = one_by_one(loaders[name], median(seconds), effort, task.device)
    notebook = blocks.get("notebook")
    row = {}
    for name in names:
        if name in failed:
            row[name] = None
            continue
        row[name] = {
            **_times(blocks[name], single[name]),
            "tokens_s": task.tokens / median(blocks[name]),
            "bus_bytes": loaders[name].bus_bytes,
            **memory[name],
            "of_copy": TOKEN_BYTES * task.tokens / median(blocks[name]) / 1e9 / copy_gb_s,
            "times": median(notebook) / median(blocks[name]) if notebook else None,
        }
    return row, failed


def _begun(name: str, task: Task, effort: Effort, stack: ExitStack) -> tuple[Loader, dict]:
    """A loader, made and tried out, and the memory that it added."""
    growth = Growth(task.device)
    loader = LOADERS[name](task)
    stack.callback(loader.close)
    growth.watch(loader.call, loader.ahead + 2, effort.trial)
    return loader, growth.found()


def _times(blocks: list[float], single: np.ndarray) -> dict:
    p50, p99 = np.percentile(single, [50, 99])
    seconds = {"us": median(blocks), "us_min": min(blocks), "us_max": max(blocks)}
    seconds |= {"p50_us": float(p50), "p99_us": float(p99)}
    return {key: 1e6 * value for key, value in seconds.items()}
