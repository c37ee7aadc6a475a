"""What do documents, packed rows and mixtures cost? python -m benchmark.orders.features

In: `--bins FOLDER`, or `--documents N` synthetic stories (2,100,000 on a GPU, 100,000 on the CPU),
and the device that PyTorch would use. Out: a table for each shape, the plan of "packed" at each
number of tokens per row, and as the last line one of JSON, which `--json FILE` keeps too.
AssertionError where batches are not those of the CPU. Needs NumPy and PyTorch alone.
"""

import argparse
import json
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmark.batches.interleaved import Pace, interleaved
from benchmark.batches.loaders import GRAPHED, graph_of
from benchmark.orders.features_table import features_table
from benchmark.orders.ways import WAYS, Data, Shape, batches_of, check_equal, prove, synthetic_data
from slm.batching.orders.packing import packing
from slm.bins.opening import Bins, open_bins
from slm.core.errors import check, positive, run_main
from slm.core.files import write_file
from slm.core.rounding import rounded
from slm.core.tables import say
from slm.training.hardware import device_name, machine, this_device

SHAPES: dict[str, list[Shape]] = {"cpu": [(64, 256), (64, 1024)]}
SHAPES["cuda"] = [*SHAPES["cpu"], (12, 1024), (512, 1024)]
DOCUMENTS = {"cpu": 100_000, "cuda": 2_100_000}
PACE, QUICK = Pace(15, 0.03), Pace(6, 0.002)
PLANS = 3  # of each size


def main() -> None:
    """Measure, and print."""
    args, device = _arguments(), this_device()
    with _data(args, device) as data:
        pace = QUICK if args.quick else PACE
        result = measured(data, SHAPES[device.type], device, pace)
    print(*features_table(result), "", sep="\n")
    line = json.dumps(result, ensure_ascii=False)
    if args.json:
        write_file(args.json, f"{line}\n".encode())
    print(line)


def measured(data: Data, shapes: list[Shape], device: torch.device, pace: Pace) -> dict:
    """Returns all figures, rounded; AssertionError where batches are not those of the CPU."""
    split = data.one.manifest["splits"]["train"]
    about = {key: split[key] for key in ("documents", "tokens")}  # type: ignore[literal-required]
    result = {
        "device": device_name(device),
        "kind": device.type,
        "machine": machine("torch", "numpy", "triton"),
        "data": {**about, "sha256": data.one.manifest["sha256"]},
        "plans": {size: plan_figures(data.one, size) for size in sorted({t for _, t in shapes})},
        "shapes": {f"{b}x{t}": measure_shape(data, (b, t), device, pace) for b, t in shapes},
    }
    return rounded(result)


def plan_figures(bins: Bins, size: int) -> dict:
    """Returns what the plan of "packed" costs and leaves at so many tokens per row."""
    offsets, seconds = bins.docs("train")[:, 0].astype(np.int64), []
    for _ in range(PLANS):
        start = time.perf_counter()
        made = packing(offsets, size)
        seconds.append(time.perf_counter() - start)
    held = made.nbytes / (len(offsets) - 1)
    figures = {"seconds": median(seconds), "bytes_per_document": held}
    return figures | {"rows": made.rows, "padding": made.padding / (made.rows * size)}


def measure_shape(data: Data, shape: Shape, device: torch.device, pace: Pace) -> dict[str, dict]:
    """Returns the figures of each way, by name."""
    say(f"batches of {shape[0]} x {shape[1]}")
    placement = "device" if device.type == "cuda" else "host"
    make = partial(batches_of, data=data, shape=shape)
    with ExitStack() as stack:
        made = {way.name: make(way, device=device, placement=placement) for way in WAYS}
        for batches in made.values():
            stack.callback(batches.close)
        hashes = {way.name: prove(way.name, made[way.name], make(way)) for way in WAYS}
        steps = {name: batches.get_batch for name, batches in made.items()}
        alone = interleaved(steps, device, pace)
    graphs = _graphs(data, shape, device, pace) if device.type == "cuda" else {}
    base = alone[WAYS[0].name]
    return {
        name: {
            **_spread(seconds),
            "ratio": median(one / other for one, other in zip(seconds, base, strict=True)),
            **({"graph": _spread(graphs[name])} if name in graphs else {}),
            "sha256": hashes[name],
        }
        for name, seconds in alone.items()
    }


def _graphs(data: Data, shape: Shape, device: torch.device, pace: Pace) -> dict[str, list[float]]:
    """Returns the seconds per batch of each way in a CUDA graph, one number a round."""
    options = {"device": device, "placement": "device", "reuse": True}
    made = {way: batches_of(way, data, shape, **options) for way in WAYS}
    loaders = {way: graph_of(batches, device) for way, batches in made.items()}
    measured = interleaved({way.name: of.call for way, of in loaders.items()}, device, pace)
    for way, loader in loaders.items():  # what the last replay has left is the CPU's batch, too
        batch, cpu = loader.call(), batches_of(way, data, shape)
        cpu.step = made[way].step - 1
        check_equal(f"{way.name} in a graph", batch, cpu.get_batch())
    return {name: [s / GRAPHED for s in seconds] for name, seconds in measured.items()}


def _spread(seconds: Iterable[float]) -> dict[str, float]:
    """Returns microseconds: median, lowest and highest."""
    us = sorted(1e6 * one for one in seconds)
    return {"us": median(us), "us_min": us[0], "us_max": us[-1]}


def _data(args: argparse.Namespace, device: torch.device) -> AbstractContextManager[Data]:
    if args.bins is None:
        return synthetic_data(args.documents or DOCUMENTS[device.type])
    bins = open_bins(args.bins)
    splits = bins.manifest["splits"]
    check("train" in splits, f"{args.bins} has no split 'train', only {', '.join(splits)}")
    return nullcontext(Data(bins, {f"source {i}": bins for i in range(4)}))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    of = parser.add_mutually_exclusive_group()
    of.add_argument("--bins", type=Path, metavar="FOLDER", help="also the four of the mixture")
    of.add_argument("--documents", type=positive, metavar="N", help="of synthetic stories")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keeps the last line, too")
    parser.add_argument("--quick", action="store_true", help="short and inexact, to try it out")
    return parser.parse_args()


if __name__ == "__main__":
    run_main(main)
