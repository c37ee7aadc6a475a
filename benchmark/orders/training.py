"""What do packed rows and masks do to a model? python -m benchmark.orders.training --bins FOLDER

In: bins with "train" and "validation", and the device that PyTorch would use. The 30M model of
slm.training.model is trained at 64 x 256 with order "shuffled", with "packed", and with "packed"
and attention within documents: as many steps, the same learning rates, several seeds each. On a GPU
in bfloat16 and compiled, on the CPU in float32; smaller sizes can be asked for. Out: a line for
each run as it ends, a table, how much of the differences exceeds the spread over seeds, and as the
last line one of JSON. Needs NumPy, PyTorch and tiktoken alone.
"""

import argparse
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from statistics import mean, median

import torch

from benchmark.orders.arms import ARMS, Setting, models, run
from slm.bins.opening import Bins, open_bins
from slm.core.errors import check, positive, run_main
from slm.core.files import write_file
from slm.core.rounding import rounded
from slm.core.tables import aligned, wrapped
from slm.training.hardware import device_name, machine, this_device
from slm.training.model import SIZES, Size

STEPS = {"cuda": 3000, "cpu": 30}
RATE = 1e-3
MEASURES = {"windows": "bits per byte", "documents": "of documents alone"}
NOTES = (
    "bits per byte of validation: mean over seeds (lowest to highest). Rows are windows without "
    "masks, the same measure for all three: a model trained with masks has not seen such",
    "of documents alone: rows of packed with masks, the same measure for all three, too. Targets "
    "are all tokens of a document but the first; a model trained without masks has not seen such",
    "ms per step: median, on this device",
)


def main() -> None:
    """Train, and print."""
    args, device = _arguments(), this_device()
    bins = open_bins(args.bins)
    for split in ("train", "validation"):
        there = ", ".join(bins.manifest["splits"])
        check(split in bins.manifest["splits"], f"{args.bins} has no split {split!r}, only {there}")
    steps = args.steps or STEPS[device.type]
    rows, tokens = args.shape
    setting = Setting(Size(*args.model), rows, tokens, steps, args.rate)
    result = trained(bins, args.seeds, setting, device)
    print("", *table(result), "", sep="\n")
    line = json.dumps(result, ensure_ascii=False)
    if args.json:
        write_file(args.json, f"{line}\n".encode())
    print(line)


def trained(bins: Bins, seeds: int, setting: Setting, device: torch.device) -> dict:
    """Returns the figures of all runs, rounded; seeds are 1, 2 …, and each has all arms in turn."""
    runs: dict[str, list[dict]] = {name: [] for name in ARMS}
    made = models(bins, setting, device)
    for seed, (name, arm) in product(range(1, seeds + 1), ARMS.items()):
        figures = run(made, bins, arm, seed, setting, device)
        runs[name].append({"seed": seed, **figures})
        print(f"{name}, seed {seed}: {figures['windows']:.4f} bits per byte, "
              f"{figures['documents']:.4f} of documents alone, {figures['ms']:.2f} ms per step",
              flush=True)  # fmt: skip
    about = {
        "device": device_name(device),
        "kind": device.type,
        "machine": machine("torch", "numpy", "triton"),
        "data": bins.manifest["sha256"],
    }
    return rounded({**about, **setting._asdict(), "arms": runs})


def table(result: dict) -> list[str]:
    """The result as lines for people, at most 100 columns wide."""
    model = "{} layers, {} heads, width {}".format(*result["size"])
    steps = f"{result['steps']:,} steps of {result['batch_size']} × {result['block_size']}"
    about = f"{result['device']}, torch {result['machine']['torch']}: {model}; {steps}"
    rows = [("rows", *MEASURES.values(), "ms per step")]
    for name, runs in result["arms"].items():
        ms = median(each["ms"] for each in runs)
        rows.append((name, *(_bits(runs, measure) for measure in MEASURES), f"{ms:.2f}"))
    return [about, "", *aligned(rows, "<>>>"), "", *wrapped([*differences(result), *NOTES])]


def differences(result: dict) -> Iterator[str]:
    """Yields for each measure and arm how far it is from the first, and from beyond the spread."""
    (first, base), *others = result["arms"].items()
    for (measure, called), (name, runs) in product(MEASURES.items(), others):
        bits, wanted = _of(runs, measure), _of(base, measure)
        apart = mean(bits) - mean(wanted)
        spread = max(max(each) - min(each) for each in (bits, wanted))
        beyond = max(0.0, abs(apart) - spread)
        yield (
            f"{called}: {name} {apart:+.4f} ({100 * apart / mean(wanted):+.2f} %) against {first}; "
            f"seeds spread over {spread:.4f}, and {beyond:.4f} of the difference exceeds that"
        )


def _of(runs: list[dict], measure: str) -> list[float]:
    return [each[measure] for each in runs]


def _bits(runs: list[dict], measure: str) -> str:
    bits = _of(runs, measure)
    return f"{mean(bits):.4f} ({min(bits):.4f} to {max(bits):.4f})"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--bins", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--steps", type=positive, metavar="N", help="3000 on a GPU, 30 on the CPU")
    parser.add_argument("--seeds", type=positive, default=3)
    parser.add_argument("--rate", type=float, default=RATE, help="the highest learning rate")
    sizes = {"--model": ("LAYERS", "HEADS", "WIDTH"), "--shape": ("ROWS", "TOKENS")}
    for name, words in sizes.items():
        default = SIZES["30M"] if name == "--model" else (64, 256)
        parser.add_argument(name, type=positive, nargs=len(words), metavar=words, default=default)
    parser.add_argument("--json", type=Path, metavar="FILE", help="keeps the last line, too")
    return parser.parse_args()


if __name__ == "__main__":
    run_main(main)
