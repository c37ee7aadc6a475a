"""How do rows become x and y from tokens on a device? In few, plain operations of PyTorch.

In: the tokens of all splits there, end to end, and rows, which are drawn on the host. Out:
slm.batching.tensors' batches, on a device of any kind. Documents are made on the host and copied.
Some devices lack other operations for int64, or get them wrong: no clamp, no stack into `out`.
"""

import numpy as np
import torch

from slm.batching.host import OnHost, Reader, mark_end
from slm.batching.orders.pieces import packed_places
from slm.batching.orders.rows import Rows
from slm.batching.tensors import NO_TARGET, Batch, Source, copy_all, empty


class Copied(Source):
    """Batches of the host, copied to a device of any kind; each copy is waited for."""

    def __init__(self, rows: Rows, reuse: bool, device: torch.device) -> None:
        self.rows, self._device, self._host = rows, device, OnHost(rows, True)
        self._out = empty(rows, device) if reuse else None

    @property
    def step(self) -> int:
        """The step of the next batch."""
        return self._host.step

    @step.setter
    def step(self, step: int) -> None:
        self._host.step = step

    def batch(self) -> Batch:
        out = self._out or empty(self.rows, self._device)
        copy_all(out.tensors(), self._host.batch().tensors())
        return out


class OnDevice(Source):
    """Batches from tokens on the device, without Triton."""

    def __init__(self, tokens: torch.Tensor, rows: Rows, reuse: bool) -> None:
        self.rows, self._tokens, self._reader = rows, tokens, Reader(rows)
        self._mask = 2 ** (8 * tokens.element_size()) - 1
        self._bases = token_bases(rows)
        self._window = torch.arange(rows.size + 1, device=tokens.device)
        self._out = empty(rows, tokens.device) if reuse else None
        self._host = empty(rows)

    def batch(self) -> Batch:
        out = self._out or empty(self.rows, self._tokens.device)
        self._reader.write_rest(self.step, self._host)
        copy_all(out.rest(), self._host.rest())
        (self._packed if self.rows.packed else self._windows)(*out.pair)
        self.step += 1
        return out

    def _windows(self, x: torch.Tensor, y: torch.Tensor) -> None:
        starts, bases = self.rows.starts(self.step), self._base()
        places = self._there(starts + bases)[:, None] + self._window
        if self.rows.order == "sequential":
            places.masked_fill_(places >= len(self._tokens), 0)
        ids = self._ids(places)
        x.copy_(ids[:, :-1])
        y.copy_(ids[:, 1:])
        if self.rows.order == "sequential":
            mark_end(self.rows.splits[0].plan, self._there(starts), x, y)

    def _packed(self, x: torch.Tensor, y: torch.Tensor) -> None:
        pieces, bases = self.rows.pieces(self.step), self._base()
        pieces = pieces._replace(start=pieces.start + bases[pieces.row])
        index, last, after = packed_places(pieces, np.arange(x.numel()))
        most = len(self._tokens) - 1
        x.view(-1).copy_(self._ids(self._there(index.clip(max=most))))
        flat = y.view(-1)
        flat[:-1] = x.view(-1)[1:]
        following = self._ids(self._there(after.clip(max=most)))
        none = self._there(pieces.targets < pieces.length)
        flat[self._there(last)] = following.masked_fill_(none, NO_TARGET)
        padding = self._there(np.repeat(pieces.document < 0, pieces.length)).view_as(x)
        x.masked_fill_(padding, 0)
        y.masked_fill_(padding, NO_TARGET)

    def _base(self) -> np.ndarray:
        """Returns where the tokens of each row's split begin, (batch_size,) int64."""
        sources = self.rows.sources(self.step)
        return self._bases[np.zeros(self.rows.batch_size, np.int64) if sources is None else sources]

    def _ids(self, places: torch.Tensor) -> torch.Tensor:
        return self._tokens[places].to(torch.int64).bitwise_and_(self._mask)

    def _there(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self._tokens.device)


def token_bases(rows: Rows) -> np.ndarray:
    """Returns where the tokens of each split begin, end to end, (splits,) int64."""
    lengths = np.array([len(split.ids) for split in rows.splits], np.int64)
    return np.cumsum(lengths) - lengths


def to_device(rows: Rows, device: torch.device, chunk: int = 2**25) -> torch.Tensor:
    """Returns the bits of all ids on the device, as int16 or int32, which PyTorch can index."""
    every = [split.ids for split in rows.splits]
    kind, size = (torch.int16, np.int16) if every[0].itemsize == 2 else (torch.int32, np.int32)
    tokens, at = torch.empty(sum(map(len, every)), dtype=kind, device=device), 0
    for ids in every:
        for begin in range(0, len(ids), chunk):
            part = np.array(ids[begin : begin + chunk]).view(size)  # a copy: the map is read-only
            tokens[at : at + len(part)].copy_(torch.from_numpy(part))
            at += len(part)
    return tokens
