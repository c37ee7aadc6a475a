"""What do bins in shards cost? -m benchmark.orders.sharded

In: a number of tokens (else 4e8), made synthetic on the disk of TMPDIR, in one file and in 10,000
shards. Out: a table in Markdown: microseconds a step on the CPU, median (lowest–highest) over
rounds in turn, in each order, and seconds to open, to verify and to find a document by the position
of a token, once each. The first batches of both must be equal.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import numpy as np

from benchmark.batches.synthetic import synthetic
from benchmark.data.measure import machine_line
from benchmark.data.runs import size_asked
from benchmark.orders.paging import spread
from slm.batching.batches import Batches
from slm.bins.documents import number_at
from slm.bins.format import write_manifest
from slm.bins.opening import Bins, open_bins
from slm.bins.reading import id_parts, ids_of
from slm.bins.verifying import check_bytes
from slm.bins.writing.pieces import PLACED
from slm.bins.writing.sharding import write_shards
from slm.core.errors import check, run_main
from slm.training.hardware import machine

SHARDS, SHAPES, ROUNDS, STEPS = 10_000, ((64, 256), (64, 1024)), 20, 100
ORDERS = ("shuffled", "packed")
HEAD = ("| what | one file | 10,000 shards | ratio |", "|---|---:|---:|---:|")


def main() -> None:
    """Measure, and print."""
    tokens = size_asked(4 * 10**8)
    with synthetic(tokens) as whole, tempfile.TemporaryDirectory(prefix="slm-sharded-") as folder:
        cut_up(open_bins(whole), Path(folder), -(-tokens // SHARDS))
        folders = (whole, Path(folder))
        print(*HEAD, sep="\n")
        for order in ORDERS:
            for shape in SHAPES:
                print(line(f"{order}, {shape[0]} × {shape[1]}, µs", steps(folders, order, shape)))
        for what, do in ONCE.items():
            print(line(f"{what}, s", [[timed(do, path)] for path in folders]), flush=True)
    print("", machine_line(machine("numpy", "torch"), ("numpy", "torch")), sep="\n")


def cut_up(bins: Bins, out: Path, size: int) -> None:
    """Writes bins again, in shards."""
    entry = write_shards(out, "train", parts(bins), size, bins.ids("train").dtype, False)
    content = {k: v for k, v in bins.manifest.items() if k not in ("format", "chunk_bytes")}
    write_manifest(out, {**content, "shard_tokens": size, "splits": {"train": entry}})


def parts(bins: Bins) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields documents, PLACED, and ids; one is not beside the other, which is no matter here."""
    lengths = np.diff(bins.docs("train").astype(np.int64), axis=0)
    documents = np.zeros(len(lengths), PLACED)
    documents["tokens"], documents["bytes"] = lengths.T
    yield documents, np.empty(0, bins.manifest["dtype"])
    for ids in id_parts(bins, "train"):
        yield documents[:0], ids


def steps(folders: tuple[Path, Path], order: str, shape: tuple[int, int]) -> list[list[float]]:
    """Returns the microseconds a step of each, by round."""
    one, cut = (of_bins(folder, order, shape) for folder in folders)
    for _ in range(STEPS):
        same = all(a.equal(b) for a, b in zip(one.get_batch(), cut.get_batch(), strict=True))
        check(same, "the batches of shards are others")
    taken: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for batches, into in zip((one, cut), taken, strict=True):
            start = time.perf_counter()
            for _ in range(STEPS):
                batches.get_batch()
            into.append((time.perf_counter() - start) / STEPS * 1e6)
    return taken


def of_bins(folder: Path, order: str, shape: tuple[int, int]) -> Batches:
    """Returns batches of bins that lie in memory, and in this process's maps."""
    size, width = shape
    made = Batches(
        folder, "train", batch_size=size, block_size=width, seed=1337, order=order, reuse=True
    )
    ids = made._rows.splits[0].ids
    for first in range(0, len(ids), 2**24):
        ids[first : first + 2**24].max()
    return made


def looked_up(folder: Path) -> None:
    bins = open_bins(folder)
    middle = bins.manifest["splits"]["train"]["tokens"] // 2
    number = number_at(bins, "train", middle)
    ids_of(bins, "train", *bins.docs("train")[number : number + 2, 0].tolist())


ONCE: dict[str, Callable[[Path], object]] = {
    "open": open_bins,
    "verify": check_bytes,
    "a document by position": looked_up,
}


def timed(do: Callable[[Path], object], folder: Path) -> float:
    start = time.perf_counter()
    do(folder)
    return time.perf_counter() - start


def line(what: str, taken: list[list[float]]) -> str:
    one, cut = (spread(times) if len(times) > 1 else f"{times[0]:.3f}" for times in taken)
    return f"| {what} | {one} | {cut} | {median(taken[1]) / median(taken[0]):.2f} |"


if __name__ == "__main__":
    run_main(main)
