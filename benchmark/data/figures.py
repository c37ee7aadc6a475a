"""From runs of the three ways to the figures that `make bench-data` reports.

In: the folder in which they ran, with their bins, and what was measured of each. Out: a dict for
the line of JSON, or a UserError where the bins do not hold the same ids. Ours is the median of its
runs over train and validation; the others are told for as many train documents as ours had.
"""

import json
from pathlib import Path
from statistics import median

import numpy as np

from benchmark.data.measure import LIBRARIES, Measured
from benchmark.data.shards import FIRST_ROWS, START_ROWS
from slm.bins.opening import open_bins
from slm.core.errors import UserError
from slm.training.hardware import machine


def figures(
    documents: int,  # of train
    folder: Path,
    ours: dict[str, list[Measured]],  # the runs of each stage
    first: dict[str, Measured],  # of recipe and pool, on FIRST_ROWS documents or all
    start: dict[str, Measured],  # the same on START_ROWS; empty where nothing is to be scaled
) -> dict:
    """All that is reported, once the bytes were found to be the same."""
    rows = min(documents, FIRST_ROWS)
    whole, part = _counts(folder, rows, list(first))
    pairs = zip(ours["tokenize"], ours["bins"], strict=True)
    both = [Measured(a.seconds + b.seconds, max(a.peak_bytes, b.peak_bytes), "") for a, b in pairs]
    runs = {**ours, "tokenize + bins": both}
    steps = {name: {**whole, **_summary(measured)} for name, measured in runs.items()}
    a_document = steps["tokenize + bins"]["seconds"] / whole["documents"]
    for name, measured in first.items():
        begun = start[name].seconds if start else None
        at = scaled(documents, rows, measured.seconds, begun) / documents
        steps[name] = {**part, **_summary([measured]), "parts": json.loads(measured.output)}
        steps[name] |= {"start_seconds": begun, "seconds_per_million": round(at * 1e6, 1)}
        steps[name] |= {"times": round(at / a_document, 1)}
    head = {"benchmark": "bench-data", "documents": documents, "same_bytes": True}
    return {**head, "steps": steps, "machine": machine(*LIBRARIES)}


def _counts(folder: Path, rows: int, names: list[str]) -> tuple[dict, dict]:
    """Documents, tokens and bytes of all that we wrote, and of the first `rows`, once compared."""
    bins = open_bins(folder / "data" / "bench" / "bins")
    tokens, text_bytes = bins.docs("train")[rows].tolist()
    for name in names:
        check_same(bins.ids("train")[:tokens], folder / f"first-{name}.bin", name)
    splits = bins.manifest["splits"].values()
    whole = {k: sum(split[k] for split in splits) for k in ("documents", "tokens", "text_bytes")}
    return whole, {"documents": rows, "tokens": tokens, "text_bytes": text_bytes}


def check_same(ours: np.ndarray, theirs: Path, name: str) -> None:
    """Raise UserError unless the file `theirs` holds exactly the ids `ours`."""
    written = np.fromfile(theirs, "<u2")
    if len(written) != len(ours):
        raise UserError(
            f"{name} wrote {len(written):,} tokens, ours are {len(ours):,}: not the same"
        )
    wrong = np.flatnonzero(written != ours)
    if len(wrong):
        at = wrong[0]
        raise UserError(f"{name} and ours differ at token {at:,}: {written[at]} against {ours[at]}")


def scaled(documents: int, rows: int, seconds: float, start_seconds: float | None) -> float:
    """Seconds for `documents`, on the line through START_ROWS and `rows`, which were measured."""
    if start_seconds is None or documents == rows:
        return seconds
    return seconds + (documents - rows) * (seconds - start_seconds) / (rows - START_ROWS)


def of_engines(ways: dict[str, list[Measured]]) -> dict[str, dict]:
    """The figures of each way to run the stage tokenize, beside the first of them."""
    figures = {name: _summary(runs) for name, runs in ways.items()}
    first = next(iter(figures.values()))["seconds"]
    return {name: {**of, "ratio": round(of["seconds"] / first, 2)} for name, of in figures.items()}


def _summary(runs: list[Measured]) -> dict:
    seconds = [round(run.seconds, 3) for run in runs]
    peak = max(run.peak_bytes for run in runs)
    return {"seconds": median(seconds), "runs": seconds, "peak_mb": round(peak / 1e6)}
