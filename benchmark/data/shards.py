"""The text that `make bench-data` reads: generated stories as Parquet, kept between runs.

In: a work folder and a number of train documents. Out: `<documents>-<hash>/` in it, whole or not
at all, with `train-*.parquet` and `validation-*.parquet` (a hundredth, 1,000 at least), one column
`text`, at most 530,000 rows a file as in TinyStories, row groups of 10,000, pyarrow's own settings
(snappy); `first.parquet`, the first 100,000 train rows at most, and `start.parquet`, the first
1,024. The hash is of the generator and of this file: a change in either makes the stories again.
All cores tell them, in order.
Importing this is cheap (pyarrow waits until it is needed): the measuring process must stay small.
"""

import hashlib
import multiprocessing
import os
import shutil
import sys
from collections.abc import Iterable
from itertools import chain, islice
from pathlib import Path

from tqdm import tqdm

from slm.core.errors import run_main
from slm.core.files import landing
from slm.text import stories

SEED = 1337
SHARD_ROWS = 530_000  # a multiple of GROUP_ROWS; TinyStories has about as many
GROUP_ROWS = 10_000  # rows per row group, a multiple of stories.BLOCK
FIRST_ROWS = 100_000  # rows that the slow recipes read, a multiple of GROUP_ROWS
START_ROWS = 1_024  # rows that tell what they take to start: a piece of the notebook's is one row


def folder_of(work: Path, documents: int) -> Path:
    """Where so many stories of this generator are; its name says all that identifies them."""
    code = Path(stories.__file__)
    sources = [code, code.with_suffix(".toml"), Path(__file__)]
    figures = hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()
    return work / f"{documents}-{figures[:8]}"


def main() -> None:
    """Make the folder of stories for a work folder and a number, both on the command line."""
    work, documents = Path(sys.argv[1]), int(sys.argv[2])
    for stale in work.glob(f"{documents}-????????"):
        shutil.rmtree(stale)  # of another generator
    context = multiprocessing.get_context("spawn")
    with landing(folder_of(work, documents)) as folder, context.Pool(os.cpu_count()) as pool:
        _write(folder, "train", documents, pool)
        _write(folder, "validation", max(1_000, documents // 100), pool)
        _write_first(folder)


def _write(folder: Path, split: str, rows: int, pool) -> None:
    starts = range(0, rows, GROUP_ROWS)
    groups = pool.imap(_group, [(split, start, min(rows, start + GROUP_ROWS)) for start in starts])
    groups = tqdm(groups, f"{split} stories", len(starts), delay=2, disable=None)
    shards = range(0, rows, SHARD_ROWS)
    names = (f"{split}-{number:05d}-of-{len(shards):05d}.parquet" for number in range(len(shards)))
    for name, start in zip(names, shards, strict=True):
        count = len(range(start, min(rows, start + SHARD_ROWS), GROUP_ROWS))
        _write_groups(folder / name, islice(groups, count))


def _write_groups(path: Path, groups: Iterable) -> None:
    import pyarrow.parquet as pq

    first = next(iterator := iter(groups))
    with pq.ParquetWriter(path, first.schema) as writer:
        for group in chain([first], iterator):
            writer.write_table(group, GROUP_ROWS)


def _write_first(folder: Path) -> None:
    """The rows that the slow recipes read, which are in the first shard."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(next(iter(sorted(folder.glob("train-*"))))) as file:
        groups = range(min(file.num_row_groups, FIRST_ROWS // GROUP_ROWS))
        _write_groups(folder / "first.parquet", map(file.read_row_group, groups))
        start = file.read_row_group(0).slice(0, START_ROWS)
    _write_groups(folder / "start.parquet", [start])


def _group(part: tuple[str, int, int]):
    """A table of stories `start` to `stop` of a split, as `stories.stories(SEED, …)` tells them."""
    import pyarrow as pa

    split, start, stop = part
    texts: list[str] = []
    for first in range(start, stop, stories.BLOCK):
        # its own block is all that a process has to tell; `stories` would begin at the first
        told = stories._block(SEED, split, first // stories.BLOCK, min(stories.BLOCK, stop - first))
        texts.extend(told)
    return pa.table({"text": pa.array(texts, pa.string())})


if __name__ == "__main__":
    run_main(main)
