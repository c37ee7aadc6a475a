"""`make data`: build the bins that params.yaml asks for, unless they are there already.

Asks DVC whether all is done, as `dvc repro --allow-missing --dry` and `dvc data status` do, so
that bins that were pulled count although raw/ and tokens/ are not there; if not, runs `dvc repro`.
One such command runs at a time. params.yaml names the dataset that is built, and the one before
it again where the build fails (but not where it is killed by SIGKILL).
"""

import sys
import time
from contextlib import suppress
from pathlib import Path

from slm.bins import END_OF_TEXT, Bins, open_bins
from slm.errors import UserError, door
from slm.locking import only_one
from slm.params import choice, chosen, dataset_of, read_params, set_dataset, text
from slm.pins import read_pins
from slm.pipeline import build, is_built
from slm.tokenizer import ENGINES

PARAMS = Path("params.yaml")


def main() -> None:
    """Build the dataset named on the command line, or the one that params.yaml names."""
    start = time.monotonic()
    Path("data").mkdir(exist_ok=True)
    with only_one(Path("data/.lock"), "make data"):
        params = read_params(PARAMS)
        before, name = params["dataset"], chosen(params, sys.argv[1:])
        _check(params, name)
        if name != before:
            set_dataset(PARAMS, name)
        folder, lock = Path("data", name, "bins"), _content(Path("dvc.lock"))
        try:
            built = not is_built(str(folder)) and build()
        except BaseException:
            if name != before:
                with suppress(OSError):  # the disk may be full, and the error is another one
                    set_dataset(PARAMS, before)
            raise
    seconds = time.monotonic() - start
    print(f"built {folder} in {seconds:.1f} s" if built else f"nothing to do: {folder} is built")
    _summary(open_bins(folder))
    if _content(Path("dvc.lock")) != lock:
        print(
            f"dvc.lock changed: commit it, params.yaml and data/{name}/source to keep this version"
        )


def _check(params: dict, name: str) -> None:
    """Refuse what a stage would refuse, before DVC removes what the stage made last time."""
    entry = dataset_of(params, name)
    text(params, "tokenizer", "encoding")
    choice(params, "tokenizer", "engine", ENGINES)
    choice(params, "bins", "end_of_text", END_OF_TEXT)
    if not Path("data", name, "source").is_dir():
        raise UserError(f"data/{name}/source is no folder; make it, or link it to your files")
    if entry["kind"] == "hub":
        read_pins(entry, Path("data", name, "source", "pins.json"))


def _content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _summary(bins: Bins) -> None:
    for split, found in bins.manifest["splits"].items():
        ratio = found["text_bytes"] / max(1, found["tokens"])
        print(
            f"  {split:<11} {found['documents']:>11,} documents {found['tokens']:>14,} tokens"
            f" {ratio:>6.2f} bytes a token"
        )


if __name__ == "__main__":
    door(main)
