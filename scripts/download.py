"""Stage `download`: data/<dataset>/source -> data/<dataset>/raw, as params.yaml's entry says."""

import sys
from pathlib import Path

from slm.core.errors import run_main
from slm.core.files import landing
from slm.core.params import chosen, dataset_of, read_params
from slm.text.corpus import make_raw


def main() -> None:
    """Bring the text of the dataset named on the command line into its raw/ folder."""
    params = read_params(Path("params.yaml"))
    name = chosen(params, sys.argv[1:])
    entry = dataset_of(params, name)
    folder = Path("data", name)
    with landing(folder / "raw") as raw:
        splits = make_raw(name, entry, folder / "source", raw)["splits"]
    rows = {split: sum(file["rows"] for file in info["files"]) for split, info in splits.items()}
    print(f"download:   {', '.join(f'{n:,} {split} documents' for split, n in rows.items())}")


if __name__ == "__main__":
    run_main(main)
