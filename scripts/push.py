"""`make push REMOTE=name`: send the bins that dvc.lock names to a DVC remote.

No remote is taken for granted: the default one lies in this repository, for the sample alone.
"""

import argparse
from pathlib import Path

from slm.core.errors import UserError, run_main
from slm.core.locking import only_one
from slm.core.params import chosen, read_params
from slm.versions.remote import push


def main() -> None:
    """Push the dataset named on the command line, or the one that params.yaml names."""
    parser = argparse.ArgumentParser(prog="make push", description=__doc__)
    parser.add_argument("dataset", nargs="?")
    parser.add_argument("--remote", help="a remote of .dvc/config")
    args = parser.parse_args()
    if not args.remote:
        raise UserError("to which remote? `make push REMOTE=name`; `dvc remote list` names them")
    with only_one(Path("data/.lock"), "make push"):
        name = chosen(read_params(Path("params.yaml")), [args.dataset] if args.dataset else [])
        sent = push(name, args.remote)
    print(f"pushed data/{name}/bins to {args.remote}: {sent} files that it did not have")


if __name__ == "__main__":
    run_main(main)
