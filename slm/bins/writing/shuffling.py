"""How do documents come into another order, in memory that does not follow their number? In cells.

In: pieces in source order, with places. Out: pieces in the order of the places. A cell is a run of
places that holds about CELL_BYTES of ids. Each piece is split by cells and written to a file
without a name, which a killed process leaves nothing of; then cell after cell is read, put in
order, and let go. Memory is a few cells, and 8 bytes for each piece and cell: 23 MB at ten billion
tokens, and a hundred times as much at ten times as many.
"""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from slm.bins.writing.pieces import PLACED, Piece
from slm.bins.writing.reading import joined, split_at

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
        with tqdm(desc="shuffle", total=documents, unit="doc", delay=2, disable=None) as bar:
            parts = []
            for piece in pieces:
                parts.append(_part(piece, per_cell, cells, ids, placed))
                bar.update(len(piece.documents))
        sizes = np.array(parts).reshape(-1, cells, 2)
        ends = np.cumsum(sizes.sum(axis=1, dtype=np.int64), axis=0)
        at = np.concatenate([np.zeros((1, 2), np.int64), ends])[:-1]  # of each piece, in both files
        for cell in range(cells):
            until = at + sizes[:, cell]
            spans = np.stack([at, until], axis=1)
            yield from _ordered(_read(placed, spans[:, :, 1]), _read(ids, spans[:, :, 0]))
            at = until


def _part(piece: Piece, per_cell: int, cells: int, ids: BinaryIO, placed: BinaryIO) -> np.ndarray:
    """Appends a piece, cell after cell; returns (cells, 2) uint32: bytes of each in both files."""
    at = piece.documents["place"] // per_cell
    order = np.argsort(at, kind="stable")
    ordered = piece.ids.take(pa.array(order))
    ids.write(joined(ordered).data)
    placed.write(piece.documents[order].tobytes())
    ends = np.append(0, np.cumsum(pc.binary_length(ordered).to_numpy()))
    edges = np.searchsorted(at[order], np.arange(cells + 1))
    sizes = np.stack([ends[edges], edges * PLACED.itemsize], axis=1)
    return np.diff(sizes, axis=0).astype(np.uint32)


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
    values = split_at(ids, np.cumsum(documents["tokens"]) * width)
    order = np.argsort(documents["place"])
    for start in range(0, len(order), SOME):
        some = order[start : start + SOME]
        yield Piece(documents[some], values.take(pa.array(some)))
