"""Measure batches and training steps on this device: a table, and as the last line one of JSON.

In: the bins of params.yaml's dataset, of another, of a folder, or synthetic ones made for the run.
Out: <out>/<device>.json (see benchmark.batches), which the last line repeats. On a machine without
a GPU it measures the CPU, less of it. Needs NumPy and PyTorch alone.
"""

import argparse
import json
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from benchmark.batches.batches import measure_batches, measure_digest
from benchmark.batches.batches_table import batches_table
from benchmark.batches.ceiling import measure_ceiling
from benchmark.batches.steps import measure_steps
from benchmark.batches.steps_table import steps_table
from benchmark.batches.synthetic import synthetic
from benchmark.batches.timing import FULL, QUICK
from slm.core.errors import UserError, positive, run_main
from slm.core.files import make_writable, to_json, write_file
from slm.core.rounding import rounded
from slm.core.tables import say
from slm.stores.opening import open_bins
from slm.training.hardware import device_name, kebab, machine, this_device
from slm.training.settings import read_settings


def main() -> None:
    """Measure, keep, and print."""
    args, settings = _arguments(), read_settings(Path("params.yaml"))
    make_writable(args.out)
    with _bins(args, settings["dataset"]) as bins:
        result = _measured(bins, settings, args)
    write_file(args.out / f"{kebab(result['device'])}.json", to_json(result))
    print(json.dumps(result, ensure_ascii=False))


def _measured(bins: Path, settings: dict, args: argparse.Namespace) -> dict:
    """The result, rounded; its tables are printed as they come, as the steps take minutes."""
    device, effort = this_device(), QUICK if args.quick else FULL
    manifest = open_bins(bins).manifest
    if "train" not in manifest["splits"]:
        raise UserError(f"{bins} has no split 'train', only {', '.join(manifest['splits'])}")
    result: dict[str, Any] = {
        "device": device_name(device),
        "kind": device.type,
        "machine": machine("torch", "numpy", "triton"),
        "data": {
            "name": manifest["dataset"]["name"],
            "tokens": manifest["splits"]["train"]["tokens"],
            "sha256": manifest["sha256"],
        },
    }
    result |= {"quick": True} if args.quick else {}
    say("the digest")
    result["digest"] = measure_digest(bins, settings["batching"], device)
    say("what the device can do at best")
    result["ceiling"] = measure_ceiling(device, effort)
    copy = result["ceiling"]["copy_gb_s"]
    result["batches"], missing = measure_batches(bins, settings, device, copy, effort, say)
    _print(batches_table(result, missing))
    if args.steps:
        batching = settings["batching"]
        result["steps"] = measure_steps(bins, batching, device, args.quick, say=say)
        _print(steps_table(result["steps"]))
    return rounded(result)


def _bins(args: argparse.Namespace, dataset: str) -> AbstractContextManager[Path]:
    if args.synthetic:
        say(f"{args.synthetic:,} synthetic tokens")
        return synthetic(args.synthetic)
    return nullcontext(args.bins or Path("data", args.dataset or dataset, "bins"))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.benchmark", description=__doc__)
    of = parser.add_mutually_exclusive_group()
    of.add_argument("dataset", nargs="?", help="another than params.yaml names")
    of.add_argument("--bins", type=Path, metavar="DIR", help="a folder of bins")
    of.add_argument("--synthetic", type=positive, metavar="TOKENS", help="bins made for this run")
    parser.add_argument("--out", type=Path, default=Path("benchmark/results"), metavar="FOLDER")
    parser.add_argument("--no-steps", dest="steps", action="store_false", help="batches alone")
    parser.add_argument("--quick", action="store_true", help="short and inexact, to try it out")
    return parser.parse_args()


def _print(table: list[str]) -> None:
    print("\n".join([*table, ""]), flush=True)


if __name__ == "__main__":
    run_main(main)
