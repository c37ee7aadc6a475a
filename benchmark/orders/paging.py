"""What does a file beyond memory cost the thread that gathers? -m benchmark.orders.paging

In: the bytes of a file of random ids (else 4e9), on the disk of TMPDIR. Slots are
gathered as the thread of slm.batching.gpu.prefetch does, on the CPU alone, and steps by OnHost;
beside them the gather without help, by address, and told that rows stand anywhere. Out: a table in
Markdown: rows per second, median (lowest–highest) over slots, and bytes read per row. Cold: the
file's pages are dropped before each slot, as if memory could not hold them; once where pages are
named a slot ahead, as that would drop what was named: a twentieth of 4 GB is read in the whole run.
Warm: all pages lie in memory, read in order of address.
"""

import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median

import numpy as np

from benchmark.data.measure import machine_line
from benchmark.data.runs import size_asked
from slm.batching.gpu.prefetch import advise, steps_of
from slm.batching.host import OnHost, Reader, take, windows
from slm.batching.orders.rows import Rows, Split
from slm.batching.paging import BLOCK, Pages
from slm.batching.sampling import plan
from slm.core.errors import check, run_main
from slm.training.hardware import machine

SHAPES = ((64, 256), (64, 1024))  # rows of a step, tokens of a row
COLD, WARM, SECONDS = 12, 200, 10.0  # slots at most, and seconds at most of a cold run
HEAD = (
    "| shape | gather | cold: rows per second | disk bytes per row | warm: rows per second |",
    "|---|---|---:|---:|---:|",
)
# Each step of it gathers a slot; it yields how many rows, and x of the last step.
Fills = Iterator[tuple[int, np.ndarray]]


def main() -> None:
    """Measure, and print."""
    size = size_asked(4 * 10**9)
    check(hasattr(os, "posix_fadvise"), "this system cannot drop a file's pages; run it on Linux")
    print(*HEAD, sep="\n")
    with tempfile.TemporaryDirectory(prefix="slm-paging-") as folder:
        path = written(Path(folder) / "train.bin", size // 2)
        for shape in SHAPES:
            print(*lines(path, shape), sep="\n", flush=True)
    print("", machine_line(machine("numpy", "torch"), ("numpy", "torch")), sep="\n")


def written(path: Path, tokens: int) -> Path:
    """Writes a file of random ids, to the disk."""
    draw = np.random.default_rng(1337)
    with path.open("wb") as file:
        for start in range(0, tokens, 2**24):
            file.write(draw.integers(0, 50_257, min(2**24, tokens - start), np.uint16).data)
        file.flush()
        os.fsync(file.fileno())
    return path


def lines(path: Path, shape: tuple[int, int]) -> Iterator[str]:
    """Yields a line for each gather."""
    cold = {name: cold_rates(path, shape, *how) for name, how in GATHERS.items()}
    for name, warm in warm_rates(path, shape).items():
        rates, read = cold[name]
        at = f"{shape[0]} × {shape[1]}"
        yield f"| {at} | {name} | {spread(rates)} | {read:,.0f} | {spread(warm)} |"


def warm_rates(path: Path, shape: tuple[int, int]) -> dict[str, list[float]]:
    """Returns the rows per second of each slot of each gather, taken in turn."""
    drop(path)
    with path.open("rb") as file:  # in order, so that pages are of the sizes that the kernel likes
        while file.read(2**26):
            pass
    sources = {}
    for number, (name, (fills, _)) in enumerate(GATHERS.items()):  # rows of their own: no cache
        sources[name] = fills(rows_of(path, shape), 1000 * number)
    turns = [{name: rate(of) for name, of in sources.items()} for _ in range(WARM)]
    return {name: [turn[name] for turn in turns[WARM // 4 :]] for name in sources}


def cold_rates(
    path: Path, shape: tuple[int, int], fills: Callable, again: bool
) -> tuple[list[float], float]:
    """Returns the rows per second of each slot, and the bytes read per row of all."""
    rates: list[float] = []
    source, before, start = None, read(), time.time()
    for slot in range(COLD + 1):
        if again or source is None:
            source = None  # unmapped, or its pages would stay
            drop(path)
            source = fills(rows_of(path, shape), slot)
        rates.append(rate(source))
        if time.time() - start > SECONDS:
            break
    gathered = len(rates) * steps_of(rows_of(path, shape)) * shape[0]
    return rates[1:] or rates, (read() - before) / gathered


def rate(source: Fills) -> float:
    """Returns the rows per second of one slot."""
    start = time.perf_counter()
    rows, _ = next(source)
    return rows / (time.perf_counter() - start)


def drop(path: Path) -> None:
    """Drops the pages of the file from memory."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read() -> int:
    """Returns the bytes that this process has had read from disks."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_inblock * BLOCK


def spread(rates: list[float]) -> str:
    return f"{median(rates):,.0f} ({min(rates):,.0f}–{max(rates):,.0f})"


def rows_of(path: Path, shape: tuple[int, int]) -> Rows:
    """Returns rows of the file, mapped for them alone."""
    (batch, size), ids = shape, np.memmap(path, np.uint16, "r")
    return Rows([Split(ids, plan("shuffled", 1337, len(ids), size))], batch)


def without_help(rows: Rows, slot: int = 0, gather: Callable = take) -> Fills:
    """Gathers slot after slot."""
    view, steps = windows(rows.splits[0].ids, rows.size), steps_of(rows)
    out = np.empty((steps * rows.batch_size, view.shape[1]), view.dtype)
    for number in count(slot):
        out[...] = gather(view, rows.draw(number * steps, steps).starts)
        yield len(out), out[-rows.batch_size :, :-1]


def take_sorted(view: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Returns what `take` does, gathered in order of address."""
    order = np.argsort(starts)
    out = np.empty((len(starts), view.shape[1]), view.dtype)
    out[order] = take(view, starts[order])
    return out


def anywhere(rows: Rows, slot: int = 0) -> Fills:
    """The kernel is told not to read around rows, and no more."""
    Pages(rows.splits[0].ids)
    return without_help(rows, slot)


def named(rows: Rows, slot: int = 0, always: bool = False) -> Fills:
    """As the thread does; with `always` also where no row came from the disk."""
    reader, steps = Reader(rows), steps_of(rows)
    out = np.empty((steps * rows.batch_size, rows.size + 1), rows.splits[0].ids.dtype)
    advise(reader, slot * steps, steps)
    for number in count(slot):
        advise(reader, (number + 1) * steps, steps)
        out[...] = reader.narrow_run(number * steps, steps)
        if not always:  # it stays cold until it is told what came from the disk
            reader.gathered(steps)
        yield len(out), out[-rows.batch_size :, :-1]


def step_by_step(rows: Rows, slot: int = 0) -> Fills:
    """OnHost, which widens too; ids that are no view of a map have no pages to name."""
    source, steps = OnHost(rows, True), steps_of(rows)
    source.step = slot * steps
    while True:
        for _ in range(steps):
            batch = source.batch()
        yield steps * rows.batch_size, batch.pair[0].numpy()


def hidden(rows: Rows, slot: int = 0) -> Fills:
    rows.splits = [each._replace(ids=np.asarray(each.ids.data)) for each in rows.splits]
    return step_by_step(rows, slot)


GATHERS: dict[str, tuple[Callable[..., Fills], bool]] = {
    "without help": (without_help, True),
    "by address": (partial(without_help, gather=take_sorted), True),
    "no reading around": (anywhere, True),
    "named a slot ahead, always": (partial(named, always=True), False),
    "named a slot ahead, as the thread does": (named, False),
    "steps on the host, without help": (hidden, True),
    "steps on the host, named a step ahead": (step_by_step, False),
}

if __name__ == "__main__":
    run_main(main)
