"""Train the same small GPT on several bins of one dataset: a table, and as the last line its JSON.

In: folders of bins, and params.yaml's `training`. Out: <out>/<device>.json (see slm.training.runs),
which the last line repeats. What that file already has is not trained again. On a machine without a
GPU it trains the two smallest vocabularies with one seed. Needs NumPy, PyTorch and tiktoken alone.
"""

import argparse
import json
import os
from pathlib import Path

from compare.training_table import training_table
from slm.bins.manifest import read_manifest
from slm.core.errors import run_main
from slm.core.tables import say
from slm.training.hardware import this_device
from slm.training.runs import WORKSPACE, train
from slm.training.settings import read_settings


def main() -> None:
    """Train, keep, and print."""
    os.environ.setdefault(*WORKSPACE)
    args, settings = _arguments(), read_settings(Path("params.yaml"))["training"]
    dataset = read_manifest(args.bins[0])["dataset"]["name"]
    out = args.out or Path("reports", dataset, "training")
    result = train(args.bins, settings, this_device(), out, args.fresh, say)
    print("\n".join([*training_table(result), ""]))
    print(json.dumps(result, ensure_ascii=False))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.train_variants", description=__doc__)
    parser.add_argument("bins", nargs="+", type=Path, metavar="BINS", help="a folder of bins")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="reports/<dataset>/training")
    parser.add_argument("--fresh", action="store_true", help="train again what is there already")
    return parser.parse_args()


if __name__ == "__main__":
    run_main(main)
