"""Stage `select`: data/<dataset>/raw and facts -> data/<dataset>/selection, as params.yaml asks.

`make describe ROWS=dropped` lists the documents that are left out.
"""

import sys
from pathlib import Path

from slm.core.errors import run_main
from slm.core.files import landing
from slm.core.params import chosen, read_params
from slm.selection.files import Selection
from slm.selection.steps import select
from slm.selection.wanted import wanted


def main() -> None:
    """Select documents of the dataset named on the command line."""
    params = read_params(Path("params.yaml"))
    name = chosen(params, sys.argv[1:])
    folder = Path("data", name)
    with landing(folder / "selection") as out:
        made = select(wanted(params, name), folder / "raw", folder / "facts", out)
    print(f"select:     {_summary(made)}")


def _summary(selection: Selection) -> str:
    if not selection["select"]:
        return "all documents, in source order"
    parts = selection["splits"].items()
    return ", ".join(
        f"{split} {part['documents']:,} documents" if "documents" in part else f"all of {split}"
        for split, part in parts
    )


if __name__ == "__main__":
    run_main(main)
