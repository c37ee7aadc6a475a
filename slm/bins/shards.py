"""How are the ids of a split in shards one array? Each shard is mapped into one range of addresses.

A shard begins at a page there, so that the range has gaps, and where a token lies follows from its
number alone: every shard but the last has as many. No file stays open. Windows and other reads of
scattered ids are gathered from the range at once, as from a file in one piece.

Linux has room for some 65,000 maps in a process (vm.max_map_count).
"""

import ctypes
import errno
import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slm.bins.format import REPAIR
from slm.bins.manifest import wrong_size
from slm.core.errors import UserError, check

FIXED = 0x10  # MAP_FIXED, of Linux and of macOS; Python's mmap has no name for it


class ShardedIds:
    """The ids of a split, (tokens,) uint16 or uint32, read-only.

    They are indexed as an array is by a number, a slice, an array of numbers, and a mask.
    """

    ndim = 1

    def __init__(self, files: Sequence[Path], tokens: int, per_shard: int, dtype: np.dtype) -> None:
        """`per_shard` is the tokens of every file but the last."""
        self.shape, self.dtype, self.itemsize = (tokens,), dtype, dtype.itemsize
        self.nbytes = tokens * dtype.itemsize
        self._per_shard, self._files = per_shard, files
        page, size = mmap.ALLOCATIONGRANULARITY, per_shard * dtype.itemsize
        span = -(-size // page) * page
        self._gap = (span - size) // dtype.itemsize
        sizes = [size] * (len(files) - 1) + [self.nbytes - (len(files) - 1) * size]
        self._range = _mapped(files, sizes, span)
        count = tokens + (len(files) - 1) * self._gap
        self.spaced = np.frombuffer(self._range, dtype, count)  # with what lies in the gaps

    def __len__(self) -> int:
        return self.shape[0]

    def places(self, numbers: np.ndarray) -> np.ndarray:
        """Returns where tokens of these numbers lie in `spaced`."""
        return numbers + numbers // self._per_shard * self._gap

    def take(self, numbers: np.ndarray, mode: str = "clip") -> np.ndarray:
        """Returns ids, and of what is beyond the end the last, as numpy.take does with "clip"."""
        assert mode == "clip"
        return self.spaced.take(self.places(np.minimum(numbers, len(self) - 1)))

    def windows(self, size: int) -> "Windows":
        """Returns every window of `size` ids, (tokens - size + 1, size), without a copy."""
        return Windows(self, size)

    def __getitem__(self, key: Any) -> Any:
        """Returns one id, or an array: of a slice within a shard without a copy."""
        if isinstance(key, slice):
            first, last, step = key.indices(len(self))
            if step == 1:
                return self._run(first, last)
            key = np.arange(first, last, step)
        numbers = np.asarray(key)
        if numbers.dtype == bool:
            if numbers.shape != self.shape:
                raise IndexError(f"a mask of {numbers.shape} does not fit {self.shape}")
            numbers = np.flatnonzero(numbers)
        numbers = numbers if numbers.size else numbers.astype(np.int64)
        numbers = np.where(numbers < 0, numbers + len(self), numbers)
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < len(self):
            raise IndexError(f"{key} is out of range: there are {len(self):,} ids")
        return self.spaced[self.places(numbers)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        made = self[:]
        made = made.copy() if copy and not made.flags.owndata else made
        return made.astype(dtype or self.dtype, copy=False)

    def __reduce__(self) -> tuple:
        return ShardedIds, (self._files, len(self), self._per_shard, self.dtype)

    def _run(self, first: int, last: int) -> np.ndarray:
        parts = list(self._parts(first, last))
        return parts[0] if len(parts) == 1 else np.concatenate([self.spaced[:0], *parts])

    def _parts(self, first: int, last: int) -> Iterator[np.ndarray]:
        while first < last:
            shard = first // self._per_shard
            stop = min(last, (shard + 1) * self._per_shard)
            yield self.spaced[first + shard * self._gap : stop + shard * self._gap]
            first = stop


class Windows:
    """Every window of ids in shards; those at some starts are gathered at once."""

    def __init__(self, ids: ShardedIds, size: int) -> None:
        self._ids, self._size = ids, size
        self._views = np.lib.stride_tricks.sliding_window_view(ids.spaced, size)

    def __len__(self) -> int:
        return len(self._ids) - self._size + 1

    def __getitem__(self, starts: Any) -> np.ndarray:
        """Returns (size,) for a number, and (numbers, size) for an array of them."""
        if not isinstance(starts, np.ndarray):
            return self._ids[starts : starts + self._size]
        places = self._ids.places(starts)
        rows = self._views[places]
        ends = starts + (self._size - 1)
        for i in np.flatnonzero(self._ids.places(ends) - places >= self._size).tolist():
            rows[i] = self[int(starts[i])]  # which has a gap in it
        return rows


def _mapped(files: Sequence[Path], sizes: Sequence[int], span: int) -> mmap.mmap:
    """Returns a range of addresses that has a file, of so many bytes, each `span` bytes.

    Python's map keeps a descriptor of its file; the system's own, laid over a range of nothing,
    does not. The range is let go with all that lies in it.
    """
    if not hasattr(mmap, "MAP_ANONYMOUS"):
        raise UserError(
            "bins in shards are mapped on Linux and macOS alone; build them with "
            "bins.shard_tokens: null"
        )
    kind = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    whole = max(1, (len(files) - 1) * span + sizes[-1])
    found = mmap.mmap(-1, whole, flags=kind, prot=mmap.PROT_READ)
    begin = np.frombuffer(found, np.uint8).ctypes.data
    lay = ctypes.CDLL(None, use_errno=True).mmap
    lay.restype = ctypes.c_void_p
    lay.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_int64]
    for i, (path, size) in enumerate(zip(files, sizes, strict=True)):
        where = begin + i * span
        wrong = wrong_size(path, size)
        check(not wrong, f"{path} {wrong}; {REPAIR}")
        with path.open("rb") as file:
            given = (where, size, mmap.PROT_READ, mmap.MAP_SHARED | FIXED, file.fileno(), 0)
            laid = lay(*given) if size else where
        check(laid == where, f"{path}: {_why(ctypes.get_errno())}")
    return found


def _why(number: int) -> str:
    if number != errno.ENOMEM:
        return os.strerror(number)
    return (
        "all shards that this process has open are more maps than the system allows "
        "(vm.max_map_count); build with a larger bins.shard_tokens"
    )
