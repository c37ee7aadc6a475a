"""What the commands share: their arguments, the lock, the chosen dataset, and what they print last.

A command takes the name of a dataset, or else means the one that params.yaml names. One command
runs at a time in a clone. A command that builds lets params.yaml name its dataset.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from slm.bins.opening import Bins
from slm.core.errors import ignoring_interrupts
from slm.core.locking import only_one
from slm.core.params import chosen, read_params, set_dataset

PARAMS = Path("params.yaml")
DEFAULT_REMOTE = "another than .dvc/config's default"


def parser(target: str, description: str) -> argparse.ArgumentParser:
    """The arguments of `make <target>`: the name of a dataset, which may be left out."""
    made = argparse.ArgumentParser(prog=f"make {target}", description=description)
    made.add_argument("dataset", nargs="?", help="another than params.yaml names")
    return made


def asked(word: str | None) -> tuple[dict, str]:
    """params.yaml, and the dataset that `word` or else params.yaml names."""
    params = read_params(PARAMS)
    return params, chosen(params, [word] if word else [])


@contextmanager
def alone(target: str) -> Iterator[None]:
    """Hold the lock that lets one command at a time run in this clone."""
    Path("data").mkdir(exist_ok=True)
    with only_one(Path("data/.lock"), f"make {target}"):
        yield


@contextmanager
def choosing(name: str, params: dict) -> Iterator[None]:
    """Let params.yaml name this dataset, and the one before it again where the block fails."""
    before = params["dataset"]
    if name == before:
        yield
        return
    try:
        set_dataset(PARAMS, name)
        yield
    except BaseException:
        with ignoring_interrupts(), suppress(OSError):  # the disk may be full, too
            set_dataset(PARAMS, before)
        raise


def summary(bins: Bins) -> None:
    """Print what is in them, a line for each split."""
    for name, split in bins.manifest["splits"].items():
        ratio = split["text_bytes"] / max(1, split["tokens"])
        print(
            f"  {name:<11} {split['documents']:>11,} documents {split['tokens']:>14,} tokens"
            f" {ratio:>6.2f} bytes per token"
        )
