"""`make pull`: bring the bins that dvc.lock names from a DVC remote, checked byte by byte.

As `make data` does, it lets params.yaml name the dataset that was asked for, and the one before
it again where the pull fails. What was in the workspace stays until the new bins are whole.
"""

import argparse
from pathlib import Path

from scripts.make_data import PARAMS, choosing, summary
from slm.bins.opening import open_bins
from slm.core.errors import run_main
from slm.core.locking import only_one
from slm.core.params import chosen, read_params
from slm.versions.remote import pull


def main() -> None:
    """Pull the dataset named on the command line, or the one that params.yaml names."""
    parser = argparse.ArgumentParser(prog="make pull", description=__doc__)
    parser.add_argument("dataset", nargs="?")
    parser.add_argument("--remote", help="another than .dvc/config's default")
    args = parser.parse_args()
    Path("data").mkdir(exist_ok=True)
    with only_one(Path("data/.lock"), "make pull"):
        params = read_params(PARAMS)
        name = chosen(params, [args.dataset] if args.dataset else [])
        with choosing(name, params["dataset"]):
            came = pull(name, args.remote)
    folder = Path("data", name, "bins")
    print(f"pulled {folder}" if came else f"nothing to pull: {folder} is as dvc.lock says")
    summary(open_bins(folder))


if __name__ == "__main__":
    run_main(main)
