"""How do windows of tokens become x and y? In NumPy on the host, in PyTorch on a device.

In: the ids of a split, uint16 or uint32, and the starts of the rows of a step. Out: x and y, each
(batch_size, block_size) int64 and contiguous; y[j] is the token after x[j]. A row has block_size
targets; at the end of "sequential" it has fewer, c, and from j = c on x is 0 and y is -100.
"""

import numpy as np
import torch

from slm.batching.sampling import Plan, starts, targets

NO_TARGET = -100  # torch.nn.functional.cross_entropy ignores it
TOGETHER = 64  # steps whose starts are drawn at once, at a twentieth of the cost of single ones


class Rows:
    """Where the rows of one rank start, step by step."""

    def __init__(self, plan: Plan, batch_size: int, rank: int, world_size: int) -> None:
        self.plan, self.batch_size, self.rank, self.world_size = plan, batch_size, rank, world_size
        self.per_step = batch_size * world_size  # rows of a step, over all ranks
        self.first = rank * batch_size
        self._steps = max(1, min(TOGETHER, 2**16 // batch_size))
        self._begin, self._drawn = 0, np.empty((0, batch_size), np.int64)

    def draw(self, step: int, steps: int) -> np.ndarray:
        """Returns the starts of `steps` steps, (steps, batch_size) int64."""
        return starts(self.plan, step, self.batch_size, self.rank, self.world_size, steps)

    def starts(self, step: int) -> np.ndarray:
        """Returns the starts of a step, (batch_size,) int64."""
        if not 0 <= step - self._begin < len(self._drawn):
            self._begin, self._drawn = step, self.draw(step, self._steps)
        return self._drawn[step - self._begin]


def windows(ids: np.ndarray, block_size: int) -> np.ndarray:
    """Returns every window, (tokens - block_size, block_size + 1), without a copy."""
    return np.lib.stride_tricks.sliding_window_view(np.asarray(ids), block_size + 1)


def take(view: np.ndarray, starts: np.ndarray) -> np.ndarray:
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
    beyond = torch.arange(x.shape[1], device=x.device) >= targets(plan, starts)[:, None]
    x.masked_fill_(beyond, 0)
    y.masked_fill_(beyond, NO_TARGET)


class Source:
    """Batches of one rank, one after another."""

    rows: Rows
    step: int = 0  # of the next batch

    def batch(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns x, y and the starts, (batch_size,) int64, of `step`, and moves to the next."""
        raise NotImplementedError

    def close(self) -> None:
        """Frees what a source holds between calls, such as a thread."""


class OnHost(Source):
    """x and y on the CPU: one gather of narrow ids, two widening copies."""

    def __init__(self, ids: np.ndarray, rows: Rows, reuse: bool) -> None:
        self.rows, self._view = rows, windows(ids, rows.plan.block_size)
        self._shape = (2, rows.batch_size, rows.plan.block_size)
        self._out = np.empty(self._shape, np.int64) if reuse else None

    def batch(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        drawn = self.rows.starts(self.step)
        ids = take(self._view, drawn)
        out = np.empty(self._shape, np.int64) if self._out is None else self._out
        out[0], out[1] = ids[:, :-1], ids[:, 1:]
        x, y = torch.from_numpy(out).unbind()
        starts = torch.from_numpy(drawn)
        if drawn[-1] >= len(self._view):
            mark_end(self.rows.plan, starts, x, y)
        self.step += 1
        return x, y, starts


class OnDevice(Source):
    """x and y from tokens on the device, in plain PyTorch, without Triton."""

    def __init__(self, tokens: torch.Tensor, rows: Rows, reuse: bool) -> None:
        self.rows, self._tokens = rows, tokens
        self._mask = 2 ** (8 * tokens.element_size()) - 1
        size = rows.plan.block_size
        self._window = torch.arange(size + 1, device=tokens.device)
        shape = (2, rows.batch_size, size)
        self._out = torch.empty(shape, dtype=torch.int64, device=tokens.device) if reuse else None

    def batch(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        starts = torch.from_numpy(self.rows.starts(self.step)).to(self._tokens.device)
        positions = (starts[:, None] + self._window).clamp_(max=self.rows.plan.tokens - 1)
        ids = self._tokens[positions].to(torch.int64).bitwise_and_(self._mask)
        x, y = torch.stack((ids[:, :-1], ids[:, 1:]), out=self._out)
        if self.rows.plan.order == "sequential":
            mark_end(self.rows.plan, starts, x, y)
        self.step += 1
        return x, y, starts


def to_device(ids: np.ndarray, device: torch.device, chunk: int = 2**25) -> torch.Tensor:
    """Returns the bits of `ids` on the device, as int16 or int32, which PyTorch can index."""
    kind, size = (torch.int16, np.int16) if ids.itemsize == 2 else (torch.int32, np.int32)
    tokens = torch.empty(len(ids), dtype=kind, device=device)
    for begin in range(0, len(ids), chunk):
        part = np.array(ids[begin : begin + chunk]).view(size)  # a copy: the map is read-only
        tokens[begin : begin + len(part)].copy_(torch.from_numpy(part))
    return tokens
