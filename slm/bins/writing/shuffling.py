"""How do documents come into another order, in memory that does not follow their number? In cells.

In: pieces in source order, with places. Out: pieces in the order of the places. A cell is a run of
places that holds about CELL_BYTES of ids. Each piece is parted by cells and written to a file
without a name, which a killed process leaves nothing of; then cell after cell is read, put in
order, and let go. Memory is a few cells, and 8 bytes per piece and cell.
"""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from slm.bins.writing.pieces import PLACED, Piece
from slm.bins.writing.reading import joined, parted

CELL_BYTES = 32 * 2**20
SOME = 2**12  # documents of a piece that comes out


def in_order(
    pieces: Iterable[Piece], documents: int, id_bytes: int, folder: Path
) -> Iterator[Piece]:
    """Yields the same documents by place, 0 … documents - 1.

    `id_bytes` is about how many bytes of ids there are, `folder` one with room for as many.
    """
    per_cell = max(1, -(-documents // max(1, -(-id_bytes // CELL_BYTES))))
    cells = -(-documents // per_cell)
    with tempfile.TemporaryFile(dir=folder) as ids, tempfile.TemporaryFile(dir=folder) as placed:
        starts = [_part(piece, per_cell, cells, ids, placed) for piece in pieces]
        spans = np.array(starts, np.int64).reshape(len(starts), -1, 2)
        for cell in range(cells):
            of_ids, of_documents = spans[:, cell : cell + 2].transpose(2, 0, 1)
            yield from _ordered(_read(placed, of_documents), _read(ids, of_ids))


def _part(piece: Piece, per_cell: int, cells: int, ids: BinaryIO, placed: BinaryIO) -> list:
    """Appends a piece, cell after cell; returns where cells begin in both files, and the end."""
    at = piece.documents["place"] // per_cell
    order = np.argsort(at, kind="stable")
    ordered = piece.ids.take(pa.array(order))
    before = ids.tell(), placed.tell()
    ids.write(joined(ordered).data)
    placed.write(piece.documents[order].tobytes())
    ends = np.append(0, np.cumsum(pc.binary_length(ordered).to_numpy()))
    edges = np.searchsorted(at[order], np.arange(cells + 1))
    return list(zip(before[0] + ends[edges], before[1] + edges * PLACED.itemsize, strict=True))


def _read(file: BinaryIO, spans: np.ndarray) -> bytearray:
    """Returns the bytes between these pairs of positions, end to end."""
    content = bytearray(int(np.diff(spans).sum()))
    view, done = memoryview(content), 0
    for start, end in spans.tolist():
        file.seek(start)
        done += file.readinto(view[done : done + end - start])  # type: ignore[attr-defined]
    return content


def _ordered(placed: bytearray, ids: bytearray) -> Iterator[Piece]:
    """Yields the documents of a cell by place."""
    documents = np.frombuffer(placed, PLACED)
    width = len(ids) // max(1, int(documents["tokens"].sum()))
    values, order = (
        parted(ids, np.cumsum(documents["tokens"]) * width),
        np.argsort(documents["place"]),
    )
    for start in range(0, len(order), SOME):
        some = order[start : start + SOME]
        yield Piece(documents[some], values.take(pa.array(some)))
