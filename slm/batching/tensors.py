"""What does a caller get? The tensors of a step, and what makes them, one step after another.

x and y are (batch_size, T) int64 each and contiguous. In a window y[j] is the token after x[j]; at
the end of "sequential" a row has fewer targets, c, and from j = c on x is 0 and y is -100. In
"packed" x is a row's pieces and y the token after, -100 where that is of another document; in
padding x is 0 and y -100.
"""

from typing import Any, NamedTuple

import torch

from slm.batching.documents import Documents
from slm.batching.orders.rows import Rows

NO_TARGET = -100  # torch.nn.functional.cross_entropy ignores it


class Batch(NamedTuple):
    """The tensors of a step, on one device."""

    pair: Any  # (2, batch_size, T) int64 tensor: x and y
    documents: Documents | None
    sources: torch.Tensor | None  # (batch_size,) int64

    def items(self) -> tuple:
        """Returns what a caller gets: x, y, and what was asked for."""
        x, y = self.pair.unbind()
        return x, y, *(item for item in (self.documents, self.sources) if item is not None)

    def tensors(self) -> list[torch.Tensor]:
        """Returns all of them."""
        return [self.pair, *self.rest()]

    def rest(self) -> list[torch.Tensor]:
        """Returns all but x and y."""
        return [*(self.documents or ()), *([] if self.sources is None else [self.sources])]


def empty(rows: Rows, device: torch.device | str = "cpu", **options: Any) -> Batch:
    """Returns a batch to write into."""

    def new(*shape: int, dtype: torch.dtype = torch.int64) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device=device, **options)

    b, size = rows.batch_size, rows.size
    documents = None
    if rows.documents:
        cu_seqlens = new(b * rows.most + 1, dtype=torch.int32)
        documents = Documents(new(b, size), new(b, size), cu_seqlens)
    return Batch(new(2, b, size), documents, new(b) if rows.tell_sources else None)


def copy_all(to: list[torch.Tensor], here: list[torch.Tensor], non_blocking: bool = False) -> None:
    """Copies tensors into others of the same shapes."""
    for tensor, other in zip(to, here, strict=True):
        tensor.copy_(other, non_blocking=non_blocking)


class Source:
    """Batches of one rank, one after another."""

    rows: Rows
    step: int = 0  # of the next batch

    def batch(self) -> Batch:
        """Returns the batch of `step`, and moves to the next."""
        raise NotImplementedError

    def close(self) -> None:
        """Frees what a source holds between calls, such as a thread."""
