"""How do windows of tokens become x and y? In NumPy on the host, in PyTorch on a device.

In: the ids of a split, uint16 or uint32, and where the rows of a step start. Out: x and y, each
(batch_size, block_size) int64 and contiguous, y[j] the token after x[j]. A row has c targets, which
is block_size but at the end of "sequential"; from j = c on x is 0 and y is -100, so that x is the
token only where the token has a target. Nothing here depends on what was asked before.
"""

import numpy as np
import torch

from slm.batching.sampling import Plan, starts, targets

NO_TARGET = -100  # what torch.nn.functional.cross_entropy ignores
AHEAD = 64  # steps whose starts are drawn at once: a twentieth of the cost of one at a time


class Rows:
    """Where the rows of one rank start, step by step."""

    def __init__(self, plan: Plan, batch_size: int, rank: int, world_size: int) -> None:
        self.plan, self.batch_size, self.rank, self.world_size = plan, batch_size, rank, world_size
        self.wide = batch_size * world_size  # rows of a step, of all ranks
        self.first = rank * batch_size
        self._steps = max(1, min(AHEAD, 2**16 // batch_size))
        self._from, self._drawn = 0, []

    def starts(self, step: int) -> np.ndarray:
        """(batch_size,) int64."""
        if not 0 <= step - self._from < len(self._drawn):
            args = self.plan, step, self.batch_size, self.rank, self.world_size, self._steps
            self._from, self._drawn = step, starts(*args)
        return self._drawn[step - self._from]


def windows(ids: np.ndarray, block_size: int) -> np.ndarray:
    """(tokens - block_size, block_size + 1): every window, none of them copied."""
    return np.lib.stride_tricks.sliding_window_view(np.asarray(ids), block_size + 1)


def take(view: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The windows that start there, (rows, block_size + 1); 0 past the last token."""
    last = len(view) - 1
    if starts[-1] <= last:  # only "sequential" goes further, and it ascends
        return view[starts]
    rows = view[np.minimum(starts, last)]
    for i in np.flatnonzero(starts > last):
        left = view[last][starts[i] - last :]
        rows[i, : len(left)], rows[i, len(left) :] = left, 0
    return rows


def mark_end(plan: Plan, starts: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> None:
    """Write 0 into x and -100 into y where rows that start there have no target."""
    beyond = torch.arange(x.shape[1], device=x.device) >= targets(plan, starts)[:, None]
    x.masked_fill_(beyond, 0)
    y.masked_fill_(beyond, NO_TARGET)


class Source:
    """Batches of one rank, one after another."""

    def __init__(self, rows: Rows) -> None:
        self.rows, self.step = rows, 0

    def batch(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """x, y and starts of `step`, which then is the next."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back what is held between calls: for most, nothing."""


class OnHost(Source):
    """x and y on the CPU: one gather of narrow ids, two widening copies."""

    def __init__(self, ids: np.ndarray, rows: Rows, reuse: bool) -> None:
        super().__init__(rows)
        self._view = windows(ids, rows.plan.block_size)
        self._shape = (2, rows.batch_size, rows.plan.block_size)
        self._out = np.empty(self._shape, np.int64) if reuse else None

    def batch(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        starts = self.rows.starts(self.step)
        ids = take(self._view, starts)
        out = np.empty(self._shape, np.int64) if self._out is None else self._out
        out[0], out[1] = ids[:, :-1], ids[:, 1:]
        x, y = torch.from_numpy(out).unbind()
        starts = torch.from_numpy(starts)
        if starts[-1] >= len(self._view):
            mark_end(self.rows.plan, starts, x, y)
        self.step += 1
        return x, y, starts


class OnDevice(Source):
    """x and y from tokens that lie on the device, in plain PyTorch, where there is no Triton."""

    def __init__(self, tokens: torch.Tensor, rows: Rows, reuse: bool) -> None:
        super().__init__(rows)
        self._tokens, self._mask = tokens, 2 ** (8 * tokens.element_size()) - 1
        size = rows.plan.block_size
        self._window = torch.arange(size + 1, device=tokens.device)
        shape = (2, rows.batch_size, size)
        self._out = torch.empty(shape, dtype=torch.int64, device=tokens.device) if reuse else None

    def batch(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        starts = torch.from_numpy(self.rows.starts(self.step)).to(self._tokens.device)
        at = (starts[:, None] + self._window).clamp_(max=self.rows.plan.tokens - 1)
        ids = self._tokens[at].to(torch.int64).bitwise_and_(self._mask)
        x, y = torch.stack((ids[:, :-1], ids[:, 1:]), out=self._out)
        if self.rows.plan.order == "sequential":
            mark_end(self.rows.plan, starts, x, y)
        self.step += 1
        return x, y, starts


def to_device(ids: np.ndarray, device: torch.device, chunk: int = 2**25) -> torch.Tensor:
    """The bits of `ids` on the device, as int16 or int32: what PyTorch can index everywhere."""
    kind, size = (torch.int16, np.int16) if ids.itemsize == 2 else (torch.int32, np.int32)
    tokens = torch.empty(len(ids), dtype=kind, device=device)
    for begin in range(0, len(ids), chunk):
        part = np.array(ids[begin : begin + chunk]).view(size)  # a copy: the map is read-only
        tokens[begin : begin + len(part)].copy_(torch.from_numpy(part))
    return tokens
