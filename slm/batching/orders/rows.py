"""Which rows has one rank, step by step? Where they start, or the pieces that they are made of.

In: the splits that rows come from, one, or several with the stages of a mixture. Out, for a step,
of the rank's rows: `starts` (windows of T + 1 tokens), `pieces` (documents and "packed"), and
`sources`. What many steps need is drawn at once, at a fraction of the cost of single ones.
"""

from typing import Any, NamedTuple

import numpy as np

from slm.batching.orders.borders import most_within
from slm.batching.orders.mixing import Stage, sources
from slm.batching.orders.pieces import (
    DocumentIndex,
    Pieces,
    ending_pieces,
    interleaved,
    packed_pieces,
    window_pieces,
)
from slm.batching.sampling import Plan, row_numbers, starts_of, targets

TOGETHER = 128  # steps that are drawn at once, since a single one costs as many NumPy calls


class Split(NamedTuple):
    """What rows are cut from."""

    ids: Any  # uint16 or uint32: an array, or slm.bins.shards.ShardedIds
    plan: Plan
    documents: Any = None  # their DocumentIndex, for "packed", and where documents are asked for


class Drawn(NamedTuple):
    """The rows of some steps, (rows,) each; what was not asked for is None."""

    sources: Any  # int64, of a mixture
    starts: Any  # int64, in its source; "packed" has none
    pieces: Any  # Pieces, where they are asked for


class Rows:
    """The rows of one rank; with `documents` those of windows have pieces, too."""

    def __init__(
        self,
        splits: list[Split],
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        stages: list[Stage] | None = None,
        documents: bool = False,
        tell_sources: bool = False,
    ) -> None:
        self.splits, self.stages = splits, stages
        self.documents, self.tell_sources = documents, tell_sources  # what a batch has
        self.batch_size, self.size = batch_size, splits[0].plan.block_size
        self.rank, self.world_size = rank, world_size
        self.order, self.packed = splits[0].plan.order, splits[0].plan.order == "packed"
        self.per_step = batch_size * world_size  # rows of a step, over all ranks
        self.first = rank * batch_size
        self.most = max(most_pieces(each.plan, each.documents) for each in splits)  # of a row
        self._together = max(1, min(TOGETHER, 2**16 // batch_size))
        self._begin, self._stop, self._drawn = 0, 0, Drawn(None, None, None)
        self._edges: list[int] = []  # which pieces a step has

    def starts(self, step: int) -> np.ndarray:
        """Returns the starts of a step, (batch_size,) int64, each in its source."""
        return self._of(step).starts

    def sources(self, step: int) -> np.ndarray | None:
        """Returns the source of each row, (batch_size,) int64; None if there is one."""
        return self._of(step).sources

    def pieces(self, step: int) -> Pieces:
        """Returns the pieces of a step's rows; here `begin` is a place among the batch's b·T."""
        return self._of(step).pieces

    def _of(self, step: int) -> Drawn:
        """Returns one step of those that are drawn."""
        if not self._begin <= step < self._stop:
            self._begin, self._stop = step, step + self._together
            self._drawn = self.draw(step, self._together)
            if self._drawn.pieces is not None:
                self._drawn = self._drawn._replace(pieces=self._by_step(self._drawn.pieces))
        return self._part(step - self._begin)

    def _by_step(self, pieces: Pieces) -> Pieces:
        """Returns pieces with rows and places that are counted in each step anew."""
        firsts = np.arange(self._together + 1) * self.batch_size
        self._edges = np.searchsorted(pieces.row, firsts).tolist()
        row = pieces.row % self.batch_size
        return pieces._replace(row=row, begin=row * self.size + pieces.begin)

    def _part(self, i: int) -> Drawn:
        first = i * self.batch_size
        source, start, pieces = self._drawn
        if source is not None:
            source = source[first : first + self.batch_size]
        if start is not None:
            start = start[first : first + self.batch_size]
        if pieces is not None:
            begin, stop = self._edges[i : i + 2]
            pieces = Pieces(*[array[begin:stop] for array in pieces])
        return Drawn(source, start, pieces)

    def draw(self, step: int, steps: int) -> Drawn:
        """Returns the rows of `steps` steps from `step` on."""
        rows = row_numbers(step, steps, self.batch_size, self.rank, self.world_size)
        if self.stages is None:
            return self._draw(self.splits[0], rows)
        source, own = sources(self.stages, rows)
        mine = [np.flatnonzero(source == i) for i in range(len(self.splits))]
        parts = [self._draw(each, own[i]) for each, i in zip(self.splits, mine, strict=True)]
        starts, pieces = None, None
        if parts[0].starts is not None:
            starts = np.empty(len(rows), np.int64)
            for i, part in zip(mine, parts, strict=True):
                starts[i] = part.starts
        if parts[0].pieces is not None:
            pieces = interleaved(mine, [part.pieces for part in parts])
        return Drawn(source, starts, pieces)

    def _draw(self, split: Split, rows: np.ndarray) -> Drawn:
        """Returns these rows of one split."""
        if self.packed:
            return Drawn(None, None, packed_pieces(split.plan, split.documents, rows))
        starts = starts_of(split.plan, rows)
        if not self.documents:
            return Drawn(None, starts, None)
        if self.order != "sequential":
            return Drawn(None, starts, window_pieces(split.documents, starts, self.size))
        valid = targets(split.plan, starts)
        return Drawn(None, starts, ending_pieces(split.documents, starts, valid, self.size))


def most_pieces(plan: Plan, index: DocumentIndex | None) -> int:
    """Returns the most pieces that a row can have; 1 where documents are not asked for."""
    if plan.packing is not None:
        return plan.packing.most
    if index is None:
        return 1
    # Documents that begin in a window, the one before, and its end.
    return min(most_within(index.borders.bounds[:-1], plan.block_size) + 2, plan.block_size)
