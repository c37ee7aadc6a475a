"""`make pull`: bring the bins that dvc.lock names from a DVC remote, checked byte by byte.

As `make data` does, it lets params.yaml name the dataset that was asked for, and the one before
it again where the pull fails. What was in the workspace stays until the new bins are complete.
"""

from pathlib import Path

from scripts._command import DEFAULT_REMOTE, alone, asked, choosing, parser, summary
from slm.core.errors import run_main
from slm.stores.opening import open_bins
from slm.versions.remote import pull


def main() -> None:
    """Pull the dataset named on the command line, or the one that params.yaml names."""
    command = parser("pull", __doc__)
    command.add_argument("--remote", help=DEFAULT_REMOTE)
    args = command.parse_args()
    with alone("pull"):
        params, name = asked(args.dataset)
        with choosing(name, params):
            came = pull(name, args.remote)
    folder = Path("data", name, "bins")
    print(f"pulled {folder}" if came else f"nothing to pull: {folder} is as dvc.lock says")
    summary(open_bins(folder))


if __name__ == "__main__":
    run_main(main)
