"""How do rows come out of a file that memory does not hold? The disk reads them before their turn.

In: ids mapped from a file, and which runs of them are gathered soon. A gather alone waits for the
disk row by row, while the kernel reads megabytes around each. `Pages` tells the kernel that rows
stand anywhere, and names the pages of coming rows in order of address, so that the disk reads many
at once. It does so only while rows do come from the disk: naming pages that lie in memory costs
more than gathering them. No row changes. Nothing is named for plain arrays and where there is no
madvise (Windows).
"""

import mmap
from contextlib import suppress
from typing import Any

import numpy as np

from slm.bins.shards import ShardedIds

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

BLOCK = 512  # bytes of a block of ru_inblock
WARM = 64  # at most one page per so many rows is read: naming all pages would cost more


class Pages:
    """The pages of rows; `cold` while they come from the disk."""

    def __init__(self, ids: Any) -> None:
        self._place = ids.places if isinstance(ids, ShardedIds) else None
        ids = ids.spaced if isinstance(ids, ShardedIds) else ids
        self._map, self._itemsize = mapping(ids), ids.itemsize
        self.cold = self._map is not None  # until the first rows tell
        if self._map is not None:
            self._offset, self._before = offset(ids, self._map), pages_read()
            with suppress(OSError):
                self._map.madvise(mmap.MADV_RANDOM)

    def advise(self, starts: np.ndarray, lengths: np.ndarray | int) -> None:
        """Has the disk read so many ids from each of `starts`, (runs,) int64; returns at once."""
        if self._map is None or not self.cold:
            return
        last = (len(self._map) - 1) // mmap.PAGESIZE
        starts = starts if self._place is None else self._place(starts)
        ranges = page_ranges(starts, lengths, self._itemsize, self._offset, last)
        with suppress(OSError):  # it is advice
            for begin, size in ranges:
                self._map.madvise(mmap.MADV_WILLNEED, begin, size)

    def gathered(self, rows: int) -> None:
        """Notes that so many rows were gathered by this thread, and how many were on the disk."""
        if self._map is not None:
            now = pages_read()
            self.cold, self._before = (now - self._before) * WARM > rows, now


def page_ranges(
    starts: np.ndarray, lengths: np.ndarray | int, itemsize: int, offset: int, last: int
) -> list[list[int]]:
    """Returns [first byte, bytes] of the pages of each run, by address, none after page `last`."""
    order = np.argsort(starts)
    begins = offset + starts[order] * itemsize
    first = np.minimum(begins // mmap.PAGESIZE, last)
    ends = begins + np.broadcast_to(lengths, len(starts))[order] * itemsize
    after = (ends - 1) // mmap.PAGESIZE + 1
    return (np.stack((first, after - first), 1) * mmap.PAGESIZE).tolist()


def mapping(ids: Any) -> mmap.mmap | None:
    """Returns the memory map that `ids` are a view of, if its pages can be named and counted."""
    while ids is not None and not isinstance(ids, mmap.mmap):
        ids = ids.obj if isinstance(ids, memoryview) else getattr(ids, "base", None)
    return ids if resource is not None and hasattr(mmap, "MADV_WILLNEED") else None


def offset(ids: np.ndarray, mapped: mmap.mmap) -> int:
    """Returns the bytes from the beginning of the map to the first id."""
    return ids.ctypes.data - np.frombuffer(mapped, np.uint8).ctypes.data


def pages_read() -> int:
    """Returns how many pages this thread, or else this process, has had read from a disk."""
    usage = resource.getrusage(getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF))
    return usage.ru_majflt + usage.ru_inblock * BLOCK // mmap.PAGESIZE
