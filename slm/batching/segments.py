"""Which documents stand in a row? What attention that stops at document borders needs.

In: the running totals of a split's documents, and where rows start. Out: fixed shapes, so that
nothing recompiles; PyTorch alone, on any device, with no wait for it. A segment is the part of one
document in one row, or the end of a row that has no targets.
"""

from typing import NamedTuple

import numpy as np
import torch

from slm.batching.sampling import Plan, targets


class Documents(NamedTuple):
    """For x of (b, T); K is the most segments that any T tokens of the split can have."""

    ids: torch.Tensor  # (b, T) int64: the document's number in the split; -1 with no target
    positions: torch.Tensor  # (b, T) int64: tokens since the segment began, so below T
    cu_seqlens: torch.Tensor  # (b·K + 1,) int32: where segments begin in b·T, then b·T to the end


class Segments:
    """The documents of a split, on a device."""

    def __init__(self, totals: np.ndarray, plan: Plan, device: torch.device) -> None:
        edges = totals[:, 0].astype(np.int64)
        self.plan = plan
        self.most = most_segments(edges[:-1], plan.block_size)
        self._ends = torch.from_numpy(edges[1:]).to(device)

    def of(self, starts: torch.Tensor) -> Documents:
        """Of rows with these starts, (b,) int64 on the same device."""
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
        found = torch.full((slots + 1,), size, dtype=torch.int32, device=border.device)
        place = (border.cumsum(0) - 1).masked_fill_(~border, slots)
        at = torch.arange(size, dtype=torch.int32, device=border.device)
        return found.scatter_(0, place, at.masked_fill_(~border, size))


def most_segments(begins: np.ndarray, block_size: int) -> int:
    """The most segments in a row: documents that begin there, the one before, and the end."""
    begins = np.unique(begins)
    if not begins.size:
        return 1
    together = np.searchsorted(begins, begins + block_size) - np.arange(begins.size)
    return int(min(together.max() + 2, block_size))
