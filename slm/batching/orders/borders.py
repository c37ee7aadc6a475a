"""In which of many ranges does a number lie? A look-up, and a few comparisons.

A binary search in millions of borders misses the processor's cache at each of its steps; the range
of every so many numbers, kept beside the borders, leaves one miss.
"""

from functools import cached_property

import numpy as np


class Borders:
    """Ranges bounds[i] … bounds[i + 1] - 1, none of them empty."""

    def __init__(self, bounds: np.ndarray, stride: int) -> None:
        """`bounds` ascend from 0; `stride` is how many numbers have one look-up."""
        self.bounds, self.stride = bounds, stride

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @cached_property
    def every(self) -> np.ndarray:
        """The range of 0, stride, 2·stride …: int32, or int64 beyond 2^31 ranges."""
        strides = -(-int(self.bounds[-1]) // self.stride)
        begun = np.bincount(-(-self.bounds[:-1] // self.stride), minlength=strides)[:strides]
        return (np.cumsum(begun) - 1).astype(np.int32 if len(self) < 2**31 else np.int64)

    def of(self, numbers: np.ndarray) -> np.ndarray:
        """Returns the range of each number, int64."""
        which = self.every[numbers // self.stride].astype(np.int64)
        while (later := self.bounds[which + 1] <= numbers).any():
            which += later
        return which


def most_within(numbers: np.ndarray, size: int) -> int:
    """Returns how many of these, ascending, any range of `size` has that begins with one."""
    return int((np.searchsorted(numbers, numbers + size) - np.arange(len(numbers))).max())
