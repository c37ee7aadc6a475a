"""How do rows become x and y on the host? In NumPy, from ids in a map or in memory.

In: rows, and the ids of their splits, uint16 or uint32. Out: slm.batching.tensors' batches on the
CPU, of one gather of narrow ids and widening copies.
"""

from copy import copy
from typing import Any

import numpy as np
import torch

from slm.batching.documents import Documents, documents_of
from slm.batching.orders.pieces import packed_places
from slm.batching.orders.rows import Rows
from slm.batching.paging import Pages
from slm.batching.sampling import Plan
from slm.batching.tensors import NO_TARGET, Batch, Source, empty
from slm.bins.shards import ShardedIds


def windows(ids: Any, block_size: int) -> Any:
    """Returns every window, (tokens - block_size, block_size + 1), without a copy."""
    if isinstance(ids, ShardedIds):
        return ids.windows(block_size + 1)
    return np.lib.stride_tricks.sliding_window_view(np.asarray(ids), block_size + 1)


def take(view: Any, starts: np.ndarray) -> np.ndarray:
    """Returns the windows at `starts`, (rows, block_size + 1), with 0 past the last token."""
    last = len(view) - 1
    if starts[-1] <= last:  # only "sequential", which ascends, goes further
        return view[starts]
    rows = view[np.minimum(starts, last)]
    for i in np.flatnonzero(starts > last):
        left = view[last][starts[i] - last :]
        rows[i, : len(left)], rows[i, len(left) :] = left, 0
    return rows


def mark_end(plan: Plan, starts: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> None:
    """Writes 0 into x and -100 into y where the rows at `starts` have no target."""
    beyond = starts[:, None] + torch.arange(x.shape[1], device=x.device) >= plan.tokens - 1
    x.masked_fill_(beyond, 0)
    y.masked_fill_(beyond, NO_TARGET)


class Reader:
    """Reads the rows of a step from ids on the host."""

    def __init__(self, rows: Rows) -> None:
        self.rows, self._coming = rows, copy(rows)  # which draws what is to be read
        self._ids = [split.ids for split in rows.splits]
        self._views = [] if rows.packed else [windows(ids, rows.size) for ids in self._ids]
        self._places = np.arange(rows.batch_size * rows.size)
        # "sequential" is left to the kernel, which reads ahead.
        self._pages = [
            Pages(np.empty(0) if rows.order == "sequential" else ids) for ids in self._ids
        ]

    @property
    def cold(self) -> bool:
        """Whether rows come from the disk."""
        return any(pages.cold for pages in self._pages)

    def advise(self, step: int) -> None:
        """Has the disk read the rows of a step."""
        rows = self._coming
        sources = rows.sources(step)
        if rows.packed:
            pieces = rows.pieces(step)
            starts, lengths, row = pieces.start, pieces.length + 1, pieces.row
        else:
            starts, row = rows.starts(step), np.arange(rows.batch_size)
            lengths = np.full(len(starts), rows.size + 1)
        for i, pages in enumerate(self._pages):
            mine = slice(None) if sources is None else sources[row] == i
            pages.advise(starts[mine], lengths[mine])

    def gathered(self, steps: int) -> None:
        """Notes that so many steps were gathered by this thread."""
        for pages in self._pages:
            pages.gathered(steps * self.rows.batch_size)

    def fresh(self, step: int) -> Batch:
        """Returns a step in tensors of its own."""
        pair = torch.empty(
            (2, self.rows.batch_size, self.rows.size), dtype=torch.int64, device="cpu"
        )
        self._write_pair(step, pair)
        documents, sources = None, None
        if self.rows.documents:
            documents = Documents(*map(torch.from_numpy, self._documents(step)))
        if self.rows.tell_sources:
            sources = torch.tensor(self.rows.sources(step))
        return Batch(pair, documents, sources)

    def write(self, step: int, batch: Batch) -> Batch:
        """Writes a step into a batch on the CPU, and returns it."""
        self._write_pair(step, batch.pair)
        self.write_rest(step, batch)
        return batch

    def _write_pair(self, step: int, tensor: torch.Tensor) -> None:
        pair = tensor.numpy()
        if self.rows.packed:
            self._write_packed(step, *pair)
        else:
            ids = self.narrow(step)
            pair[0], pair[1] = ids[:, :-1], ids[:, 1:]
            self.finish(step, tensor)

    def _documents(self, step: int) -> list[np.ndarray]:
        return documents_of(self.rows.pieces(step), self._places, self.rows.size, self.rows.most)

    def write_rest(self, step: int, batch: Batch) -> None:
        """Writes what a batch has besides x and y."""
        if batch.documents is not None:
            for tensor, array in zip(batch.documents, self._documents(step), strict=True):
                tensor.numpy()[...] = array
        if batch.sources is not None:
            batch.sources.numpy()[:] = self.rows.sources(step)

    def narrow(self, step: int) -> np.ndarray:
        """Returns the windows of a step, (batch_size, T + 1)."""
        starts, sources = self.rows.starts(step), self.rows.sources(step)
        if sources is None:
            return take(self._views[0], starts)
        out = np.empty((len(starts), self.rows.size + 1), self._ids[0].dtype)
        for i, view in enumerate(self._views):
            mine = np.flatnonzero(sources == i)
            out[mine] = view[starts[mine]]
        return out

    def narrow_run(self, step: int, steps: int) -> np.ndarray:
        """Returns the windows of several steps, (steps·batch_size, T + 1)."""
        if self.rows.stages is not None:
            return np.concatenate([self.narrow(step + i) for i in range(steps)])
        starts = np.concatenate([self.rows.starts(step + i) for i in range(steps)])
        return take(self._views[0], starts)

    def finish(self, step: int, pair: torch.Tensor) -> None:
        """Marks, on any device, what rows of "sequential" have no target for."""
        if self.rows.order == "sequential":
            starts = self.rows.starts(step)
            if starts[-1] >= len(self._views[0]):
                x, y = pair.unbind()
                mark_end(self.rows.splits[0].plan, torch.from_numpy(starts).to(x.device), x, y)

    def _write_packed(self, step: int, x: np.ndarray, y: np.ndarray) -> None:
        pieces, sources = self.rows.pieces(step), self.rows.sources(step)
        index, last, after = packed_places(pieces, self._places)
        if sources is None:
            ids = gather(self._ids[0], index)
            following = self._ids[0].take(after, mode="clip").astype(np.int64)
        else:
            ids = np.empty(len(index), self._ids[0].dtype)
            following = np.empty(len(after), np.int64)
            by_row, of_piece = (len(sources), self.rows.size), sources[pieces.row]
            for i, source in enumerate(self._ids):
                mine, own = np.flatnonzero(sources == i), np.flatnonzero(of_piece == i)
                wanted = index.reshape(by_row)[mine]
                ids.reshape(by_row)[mine] = gather(source, wanted.ravel()).reshape(wanted.shape)
                following[own] = source.take(after[own], mode="clip")
        padding = np.flatnonzero(pieces.document < 0)
        for i in padding.tolist():
            ids[pieces.begin[i] : last[i] + 1] = 0
        flat_y = y.reshape(-1)
        x.reshape(-1)[:] = ids
        flat_y[:-1] = ids[1:]
        following[pieces.targets < pieces.length] = NO_TARGET
        flat_y[last] = following
        for i in padding.tolist():
            flat_y[pieces.begin[i] : last[i] + 1] = NO_TARGET


def gather(ids: Any, index: np.ndarray) -> np.ndarray:
    """Returns ids[index], and of what is beyond the end the last.

    One of each 32 is read first, so that the processor waits for many lines of its cache at once;
    in order it would wait for one or two.
    """
    ids.take(index[::32], mode="clip")
    return ids.take(index, mode="clip")


class OnHost(Source):
    """Batches on the CPU: one gather of narrow ids, two widening copies."""

    def __init__(self, rows: Rows, reuse: bool) -> None:
        self.rows, self._reader = rows, Reader(rows)
        self._out = empty(rows) if reuse else None

    def batch(self) -> Batch:
        if self._reader.cold:
            self._reader.advise(self.step + 1)
        read, step = self._reader, self.step
        batch = read.fresh(step) if self._out is None else read.write(step, self._out)
        self._reader.gathered(1)
        self.step += 1
        return batch
