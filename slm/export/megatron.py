"""Megatron's indexed datasets, which NeMo and Curator read, too: ids, and an index beside them.

    <split>.bin   uint16, or int32 where ours are uint32, end to end
    <split>.idx   b"MMIDIDX\\0\\0", uint64 1, uint8 dtype (8 uint16, 4 int32), uint64 sequences,
                  uint64 documents + 1, int32 lengths, int64 byte offsets, int64 0 … documents
                  (little-endian; a sequence is a document)

Read in megatron/core/datasets/indexed_dataset.py of megatron-core 0.16.1.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from slm.bins.opening import Bins
from slm.core.errors import check
from slm.export.parts import STEP, Made, Options, bounds, link_ids, longest, read, write

MAGIC = b"MMIDIDX\0\0"
CODES = {"uint16": 8, "uint32": 4}
HEAD = struct.Struct("<9sQBQQ")


def refuse(bins: Bins, _options: Options) -> None:
    """Raises UserError if the reader would misread these bins."""
    check(bins.vocab_size <= 2**31, "ids of 2^31 and above are negative to Megatron's int32")
    for split in bins.manifest["splits"]:
        most = longest(bins, split)
        check(most < 2**31, f"a document of {split} has {most:,} tokens, Megatron's int32 no room")


def write_files(bins: Bins, out: Path, _options: Options) -> Iterator[Made]:
    """Yields each file that it makes in `out`."""
    for split in bins.manifest["splits"]:
        yield link_ids(bins, split, out / f"{split}.bin")
        yield write(out / f"{split}.idx", _index(bins, split))


def _index(bins: Bins, split: str) -> Iterator[bytes | np.ndarray]:
    dtype, documents = bins.manifest["dtype"], bins.manifest["splits"][split]["documents"]
    yield HEAD.pack(MAGIC, 1, CODES[dtype], documents, documents + 1)
    width = np.dtype(dtype).itemsize
    yield from ((end - start).astype("<i4") for start, end in bounds(bins, split))
    yield from ((start * width).astype("<i8") for start, _ in bounds(bins, split))
    for first in range(0, documents + 1, STEP):
        yield np.arange(first, min(first + STEP, documents + 1), dtype="<i8")


def ids(folder: Path, bins: Bins, split: str, _options: Options) -> Iterator[np.ndarray]:
    """Yields the ids of a split as the reader finds them."""
    return read(folder / f"{split}.bin", {"uint16": "<u2", "uint32": "<i4"}[bins.manifest["dtype"]])


def ends(folder: Path, bins: Bins, split: str) -> Iterator[np.ndarray]:
    """Yields where each document ends, as the reader finds it."""
    path = folder / f"{split}.idx"
    with path.open("rb") as file:
        *head, documents, _ = HEAD.unpack(file.read(HEAD.size))
    check(head == [MAGIC, 1, CODES[bins.manifest["dtype"]]], f"{path} has another head")
    end = 0
    for lengths in read(path, "<i4", HEAD.size, HEAD.size + 4 * documents):
        total = end + np.cumsum(lengths, dtype=np.int64)
        yield total
        end = int(total[-1])
