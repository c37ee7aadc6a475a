"""Which document is a token of x from? For attention that stops at document borders.

In: the pieces of the rows of a step. Out: fixed shapes, so that nothing recompiles. A piece is the
part of one document in one row, or padding: what has no tokens at a row's end. With K the most
pieces that a row of the split can have, piece k of row r begins at place cu_seqlens[r·K + k] of the
b·T tokens of a batch; the places of a row's other pieces hold its end, so that they have length
zero, and the last entry is b·T. Nothing crosses rows, and differences are the lengths.
"""

from typing import NamedTuple

import numpy as np
import torch

from slm.batching.orders.pieces import Pieces


class Documents(NamedTuple):
    """The documents of x, (b, T)."""

    ids: torch.Tensor  # (b, T) int64: number of the document in its split; -1 for padding
    positions: torch.Tensor  # (b, T) int64: tokens since the piece began, below T
    cu_seqlens: torch.Tensor  # (b·K + 1,) int32, from 0 to b·T: where pieces begin


def write_documents(
    pieces: Pieces, places: np.ndarray, ids: np.ndarray, positions: np.ndarray, cu: np.ndarray
) -> None:
    """Writes the documents of a step's rows into arrays of the shapes above.

    `pieces` are those of Rows.pieces; `places` are 0, 1 … b·T - 1.
    """
    rows, size = ids.shape
    ids.reshape(-1)[:] = np.repeat(pieces.document, pieces.length)
    np.subtract(places, np.repeat(pieces.begin, pieces.length), out=positions.reshape(-1))
    slots = cu[:-1].reshape(rows, -1)
    slots[:] = places[size - 1 :: size, None] + 1
    slots[pieces.row, pieces.number] = pieces.begin
    cu[-1] = rows * size
