"""Which documents are in a row? For attention that stops at document borders.

In: the offsets of a split's documents, and the starts of rows. Out: fixed shapes, so that nothing
recompiles, on any device and without waiting for it. A segment is the part of one document in one
row, or the end of a row that has no targets.
"""

from typing import NamedTuple

import numpy as np
import torch

from slm.batching.sampling import Plan, targets


class Documents(NamedTuple):
    """The documents of x, (b, T); T tokens of the split have at most K segments."""

    ids: torch.Tensor  # (b, T) int64: number of the document in the split; -1 without a target
    positions: torch.Tensor  # (b, T) int64: tokens since the segment began, below T
    cu_seqlens: torch.Tensor  # (b·K + 1,) int32: starts of the segments in b·T, padded with b·T


class Segments:
    """The documents of a split, on a device."""

    def __init__(self, offsets: np.ndarray, plan: Plan, device: torch.device) -> None:
        tokens = offsets[:, 0].astype(np.int64)
        self.plan = plan
        self.most = most_segments(tokens[:-1], plan.block_size)
        self._ends = torch.from_numpy(tokens[1:]).to(device)

    def documents(self, starts: torch.Tensor) -> Documents:
        """Returns the documents of rows with these starts, (b,) int64 on the same device."""
        size, device = self.plan.block_size, starts.device
        j = torch.arange(size, device=device)
        ids = torch.searchsorted(self._ends, starts[:, None] + j, right=True)
        ids.masked_fill_(j >= targets(self.plan, starts)[:, None], -1)
        border = torch.ones_like(ids, dtype=torch.bool)
        border[:, 1:] = ids[:, 1:] != ids[:, :-1]
        positions = j - (border * j).cummax(1).values
        return Documents(ids, positions, self._cu_seqlens(border.flatten()))

    def _cu_seqlens(self, border: torch.Tensor) -> torch.Tensor:
        slots, size = len(border) // self.plan.block_size * self.most, len(border)
        begins = torch.full((slots + 1,), size, dtype=torch.int32, device=border.device)
        slot = (border.cumsum(0) - 1).masked_fill_(~border, slots)
        position = torch.arange(size, dtype=torch.int32, device=border.device)
        return begins.scatter_(0, slot, position.masked_fill_(~border, size))


def most_segments(begins: np.ndarray, block_size: int) -> int:
    """Returns the most segments of a row: documents that begin in it, the one before, the end."""
    begins = np.unique(begins)
    if not begins.size:
        return 1
    together = np.searchsorted(begins, begins + block_size) - np.arange(begins.size)
    return int(min(together.max() + 2, block_size))
