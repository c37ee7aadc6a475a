"""Stage `bins`: data/<dataset>/tokens, vocabulary -> data/<dataset>/bins, end-of-text as asked."""

import sys
from pathlib import Path

from slm.bins.format import END_OF_TEXT
from slm.bins.from_tokens import write_bins
from slm.core.errors import run_main
from slm.core.files import landing
from slm.core.params import choice, chosen, read_params


def main() -> None:
    """Write the bins of the dataset named on the command line."""
    params = read_params(Path("params.yaml"))
    name = chosen(params, sys.argv[1:])
    policy = choice(params, "bins", "end_of_text", END_OF_TEXT)
    folder = Path("data", name)
    with landing(folder / "bins") as out:
        manifest = write_bins(folder / "tokens", out, policy, folder / "vocabulary")
    size = sum(f["bytes"] for s in manifest["splits"].values() for f in s["files"].values())
    print(f"bins:       {size / 1e6:,.1f} MB, {manifest['dtype']}, end of text: {policy}")


if __name__ == "__main__":
    run_main(main)
