"""What the commands share: their arguments, the lock, the chosen dataset, and what they print last.

A command takes the name of a dataset, or else means the one that params.yaml names. One command
runs at a time in a clone. A command that builds lets params.yaml name its dataset.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from slm.bins.opening import Bins
from slm.core.errors import raise_dropped
from slm.core.locking import only_one
from slm.core.params import chosen, read_params, set_dataset

PARAMS = Path("params.yaml")
DEFAULT_REMOTE = "another than .dvc/config's default"


def parser(target: str, description: str, answers: bool = False) -> argparse.ArgumentParser:
    """The arguments of `make <target>`: the name of a dataset, which may be left out.

    One that `answers` takes --json.
    """
    made = argparse.ArgumentParser(prog=f"make {target}", description=description)
    made.add_argument("dataset", nargs="?", help="another than params.yaml names")
    if answers:
        made.add_argument("--json", action="store_true", help="print one line of JSON")
    return made


@contextmanager
def answering(as_json: bool) -> Iterator[dict]:
    """With `as_json` the dictionary that the block fills is printed, as one line of JSON.

    Nothing else comes to standard output then: what the block and its commands print goes to
    standard error. Where the block fails there is no line.
    """
    answer: dict = {}
    if not as_json:
        yield answer
        return
    sys.stdout.flush()
    output = os.dup(1)
    os.dup2(2, 1)
    try:
        yield answer
    finally:
        sys.stdout.flush()
        os.dup2(output, 1)
        os.close(output)
    print(json.dumps(answer, ensure_ascii=False))


def about(bins: Bins) -> dict:
    """What an answer says of bins."""
    keys = ("documents", "tokens", "text_bytes")
    splits: dict[str, Any] = bins.manifest["splits"]
    return {
        "dataset": bins.manifest["dataset"]["name"],
        "bins": str(bins.folder),
        "version": bins.version,
        "splits": {name: {key: split[key] for key in keys} for name, split in splits.items()},
    }


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
        raise_dropped()
    except BaseException:
        with suppress(OSError):  # the disk may be full, too
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
