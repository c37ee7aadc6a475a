"""Where are the texts that differ from the source's? Written beside the selection, as they come.

In: rows of the source and their new texts, ascending. Out: <split>.texts and <split>.texts.rows
(slm.selection.files), the facts of these texts, and all of it read again, block by block.
"""

from collections.abc import Iterable, Iterator
from itertools import chain, pairwise
from pathlib import Path

import numpy as np

from slm.core.files import HashedFile
from slm.core.formats import FileEntry
from slm.selection.audit import facts_of_block
from slm.selection.facts import FACTS
from slm.text.blocks import BLOCK_BYTES, Block

Own = tuple[np.ndarray, np.ndarray]  # (texts,) int64 rows, ascending, and (texts,) FACTS


def write_texts(
    folder: Path, split: str, texts: Iterable[tuple[int, str]]
) -> tuple[Own, dict[str, FileEntry]]:
    """Writes both files of a split; returns rows and facts, and the files' entries by name."""
    name, own = f"{split}.texts", [(np.empty((0, 2), "<i8"), np.empty(0, FACTS))]
    with HashedFile(folder / name) as file, HashedFile(folder / f"{name}.rows") as numbers:
        for rows, block in _blocks(texts):
            file.write(block.data)
            own.append((np.stack([rows, np.diff(block.offsets)], 1), facts_of_block(block)))
            numbers.write(own[-1][0].astype("<i8"))
    rows, facts = (np.concatenate(of) for of in zip(*own, strict=True))
    if not len(rows):
        (folder / name).unlink()
        (folder / f"{name}.rows").unlink()
        return (rows[:, 0], facts), {}
    entries: dict[str, FileEntry] = {
        written: {"bytes": of.size, "sha256": of.hashes}
        for written, of in ((name, file), (f"{name}.rows", numbers))
    }
    return (rows[:, 0], facts), entries


def _blocks(texts: Iterable[tuple[int, str]]) -> Iterator[tuple[np.ndarray, Block]]:
    """Yields rows and texts, a block at a time."""
    rows, content, size = list[int](), list[bytes](), 0
    for row, text in chain(texts, [(-1, "")]):
        if row < 0 or size > BLOCK_BYTES:
            offsets = np.cumsum([0, *map(len, content)], dtype=np.int64)
            data = np.frombuffer(b"".join(content), np.uint8)
            yield np.array(rows, np.int64), Block(0, offsets, data)
            rows, content, size = [], [], 0
        rows.append(row)
        content.append(text.encode())
        size += len(content[-1])


def read_texts(folder: Path, split: str) -> Iterator[tuple[np.ndarray, Block]]:
    """Yields the rows and the texts of a split that has any, a block at a time; `first` is 0."""
    if not (folder / f"{split}.texts").exists():
        return
    rows, lengths = np.fromfile(folder / f"{split}.texts.rows", "<i8").reshape(-1, 2).T
    ends, first = np.cumsum(lengths), 0
    with (folder / f"{split}.texts").open("rb") as file:
        while first < len(rows):
            start = int(ends[first] - lengths[first])
            last = max(first + 1, int(np.searchsorted(ends, start + BLOCK_BYTES, side="right")))
            data = np.fromfile(file, np.uint8, int(ends[last - 1]) - start)
            offsets = np.append(0, ends[first:last] - start)
            yield rows[first:last], Block(0, offsets, data)
            first = last


def each_text(folder: Path, split: str) -> Iterator[tuple[int, memoryview]]:
    """Yields row and text, in UTF-8, of each document of a split with a text of its own."""
    for rows, block in read_texts(folder, split):
        for row, (start, stop) in zip(rows.tolist(), pairwise(block.offsets.tolist()), strict=True):
            yield row, block.data.data[start:stop]


def rows_of_texts(folder: Path, split: str) -> np.ndarray:
    """Returns (texts,) int64: the rows of a split that have a text of their own, ascending."""
    path = folder / f"{split}.texts.rows"
    return np.fromfile(path, "<i8")[::2] if path.exists() else np.empty(0, np.int64)
