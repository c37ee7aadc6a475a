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

from slm.bins.writing.pieces import PLACED, Piece
from slm.bins.writing.reading import cut

CELL_BYTES = 32 * 2**20


def in_order(
    pieces: Iterable[Piece], documents: int, id_bytes: int, folder: Path
) -> Iterator[Piece]:
    """Yields the same documents by place, 0 … documents - 1, a cell at a time.

    `id_bytes` is about how many bytes of ids there are, `folder` one with room for as many.
    """
    per_cell = max(1, -(-documents // max(1, -(-id_bytes // CELL_BYTES))))
    with tempfile.TemporaryFile(dir=folder) as ids, tempfile.TemporaryFile(dir=folder) as placed:
        starts = [_part(piece, per_cell, documents, ids, placed) for piece in pieces]
        spans = np.array(starts, np.int64).reshape(len(starts), -1, 2)
        for cell in range(-(-documents // per_cell)):
            of_ids, of_documents = spans[:, cell : cell + 2].transpose(2, 0, 1)
            yield _ordered(_read(placed, of_documents), _read(ids, of_ids))


def _part(piece: Piece, per_cell: int, documents: int, ids: BinaryIO, placed: BinaryIO) -> list:
    """Appends a piece, cell after cell; returns where cells begin in both files, and the end."""
    cells = piece.documents["place"] // per_cell
    order = np.argsort(cells, kind="stable")
    number, before = -(-documents // per_cell), (ids.tell(), placed.tell())
    ordered = piece.documents[order]
    ids.write(b"".join([piece.ids[place] for place in order.tolist()]))
    placed.write(ordered.tobytes())
    sizes = np.array([len(part) for part in piece.ids], np.int64)[order]
    edges = np.searchsorted(cells[order], np.arange(number + 1))
    ends = np.append(0, np.cumsum(sizes))
    return list(zip(before[0] + ends[edges], before[1] + edges * PLACED.itemsize, strict=True))


def _read(file: BinaryIO, spans: np.ndarray) -> bytes:
    """Returns the bytes between these pairs of positions, end to end."""
    parts = []
    for start, end in spans.tolist():
        file.seek(start)
        parts.append(file.read(end - start))
    return b"".join(parts)


def _ordered(placed: bytes, ids: bytes) -> Piece:
    """Returns the documents of a cell by place."""
    documents = np.frombuffer(placed, PLACED)
    width = len(ids) // max(1, int(documents["tokens"].sum()))
    parts = cut(memoryview(ids), np.cumsum(documents["tokens"]) * width)
    order = np.argsort(documents["place"])
    return Piece(documents[order], [parts[number] for number in order.tolist()])
