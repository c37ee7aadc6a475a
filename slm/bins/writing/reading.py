"""How are tokens read for bins? Verified as they pass, and documents in groups.

In: files of tokens/ and the hashes that tokens.json has. Out: their bytes, 16 MiB at a time, or
groups of whole documents. Memory is a few chunks, and the largest document.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from slm.core.errors import differs
from slm.core.files import CHUNK_BYTES
from slm.core.formats import TokenSplit, units_of
from slm.core.threads import prefetch

TOKENS = "tokens.json"
MOST = 2**16  # documents of a group
GROUP_BYTES = 4 * 2**20  # of ids, unless one document has more


class Group(NamedTuple):
    """Consecutive documents."""

    first: int  # row of the first one in the source split, from 0
    lengths: np.ndarray  # (documents, 2) int64: tokens, and bytes of text
    ids: pa.LargeBinaryArray  # the bytes of each one's ids


def checked(path: Path, hashes: list[str]) -> Iterator[np.ndarray]:
    """Yields the bytes of a file, 16 MiB at a time, each verified first."""
    expected = iter(hashes)
    with path.open("rb", buffering=0) as file:
        while len(chunk := np.fromfile(file, np.uint8, CHUNK_BYTES)):
            if hashlib.sha256(chunk.data).hexdigest() != next(expected, None):
                raise differs(path, TOKENS)
            yield chunk
    if next(expected, None):
        raise differs(path, TOKENS)


def groups(folder: Path, split: str, entry: TokenSplit, width: int) -> Iterator[Group]:
    """Yields the documents of a split of tokens/, whose ids have `width` bytes each."""
    first = 0
    for name, unit in units_of(split, entry):
        yield from _groups(folder / name, unit, width, first)
        first += unit["documents"]


def _groups(path: Path, unit: TokenSplit, width: int, first: int) -> Iterator[Group]:
    ids = _Stream(Path(f"{path}.ids"), unit["sha256"]["ids"])
    for lengths in _lengths(Path(f"{path}.totals"), unit["sha256"]["totals"]):
        ends = np.cumsum(lengths[:, 0]) * width
        done = start = 0
        while done < len(lengths):
            stop = max(done + 1, int(np.searchsorted(ends, start + GROUP_BYTES, side="right")))
            stop = min(stop, done + MOST)
            own = split_at(ids.read(int(ends[stop - 1]) - start), ends[done:stop] - start)
            yield Group(first + done, lengths[done:stop], own)
            done, start = stop, int(ends[stop - 1])
        first += len(lengths)
    ids.finish()


def split_at(content: bytes | bytearray, ends: np.ndarray) -> pa.LargeBinaryArray:
    """Returns `content` as the documents that end there; it is not copied."""
    offsets = np.append(0, ends).astype(np.int64)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(content)]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(ends), buffers)


def joined(documents: pa.LargeBinaryArray) -> np.ndarray:
    """Returns the bytes of documents end to end, (bytes,) uint8; they are not copied."""
    _, offsets, content = documents.buffers()
    if not len(documents) or content is None:
        return np.empty(0, np.uint8)
    bounds = np.frombuffer(offsets, np.int64)[documents.offset :][: len(documents) + 1]
    return np.frombuffer(content, np.uint8)[bounds[0] : bounds[-1]]


def _lengths(path: Path, hashes: list[str]) -> Iterator[np.ndarray]:
    """Yields (documents, 2) int64: tokens and bytes of each document, in parts."""
    last = np.empty((0, 2), np.int64)
    for chunk in checked(path, hashes):
        offsets = np.concatenate([last, chunk.view("<i8").reshape(-1, 2)])
        yield np.diff(offsets, axis=0)
        last = offsets[-1:]


class _Stream:
    """A verified file, read by numbers of bytes."""

    def __init__(self, path: Path, hashes: list[str]) -> None:
        self._chunks, self._path = prefetch(checked(path, hashes), 1), path
        self._rest = memoryview(b"")

    def read(self, size: int) -> bytes:
        """Returns the next `size` bytes; raises UserError if there are fewer."""
        parts, have = [self._rest[:size]], min(size, len(self._rest))
        self._rest = self._rest[size:]
        while have < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise differs(self._path, TOKENS)
            parts.append(chunk.data[: size - have])
            self._rest = chunk.data[size - have :]
            have += len(parts[-1])
        return b"".join(parts)

    def finish(self) -> None:
        """Raises UserError if bytes are left, after all documents, or the last are corrupt."""
        if len(self._rest) or next(self._chunks, None) is not None:
            raise differs(self._path, TOKENS)
