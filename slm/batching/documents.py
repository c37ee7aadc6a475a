"""Which document is a token of x from? For attention that stops at document borders.

In: the pieces of the rows of a step. Out: fixed shapes, so that nothing recompiles. A piece is the
part of one document in one row, or padding: what has no tokens at a row's end. With K an upper
bound on the pieces of a row, piece k of row r begins at place cu_seqlens[r·K + k] of the b·T tokens
of a batch; the places of a row's other pieces hold its end, so that they have length zero, and the
last entry is b·T. Nothing crosses rows, and differences are the lengths.
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


def documents_of(pieces: Pieces, places: np.ndarray, size: int, most: int) -> list[np.ndarray]:
    """Returns ids, positions and borders of a step's rows as above, as arrays.

    `pieces` are those of Rows.pieces; `places` are 0, 1 … b·T - 1; `most` is K.
    """
    ids = np.repeat(pieces.document, pieces.length)
    positions = np.repeat(pieces.begin, pieces.length)
    np.subtract(places, positions, out=positions)
    ends = places[size - 1 :: size] + 1
    borders = np.empty(len(ends) * most + 1, np.int32)
    borders[:-1].reshape(-1, most)[:] = ends[:, None]
    borders[pieces.row * most + pieces.number] = pieces.begin
    borders[-1] = len(places)
    return [ids.reshape(-1, size), positions.reshape(-1, size), borders]
