"""Which pieces of work is the text of a dataset? Units, cut by the source alone.

In: a raw/ folder, and how many bytes of text close a unit. Out: units, each a run of consecutive
row groups of Parquet files, or of whole files of other kinds, in the order of the documents. Where
several files of the source became one of raw/, as .txt do, a split is one unit. The bytes of a row
group are those of its column, unpacked, as its file says; of another file its length.
"""

from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from slm.core.files import read_json
from slm.core.formats import unit_name
from slm.text.columnar import groups_of
from slm.text.raw import GROUPS, Source, read_source


class Part(NamedTuple):
    """A file of raw/, or some row groups of it."""

    raw: str  # its name
    groups: tuple[int, int] | None = None  # row groups of Parquet: the first, and one past the last


class Unit(NamedTuple):
    """A piece of work: consecutive documents of a split."""

    split: str
    number: int  # from 0 in its split
    units: int  # of the split
    first: int  # number of the first document, from 0 in its split
    documents: int
    parts: tuple[Part, ...]

    @property
    def name(self) -> str:
        """What its files are called."""
        return unit_name(self.split, self.number, self.units)


class _Piece(NamedTuple):
    part: Part
    documents: int
    bytes: int


def all_units(raw: Path, unit_bytes: int | None) -> list[Unit]:
    """Returns the units of all splits, in order; with None each split is one."""
    source = read_source(raw)
    made = list[Unit]()
    for split in source["splits"]:
        runs = _runs(_pieces(raw, split, source, unit_bytes), unit_bytes)
        first = 0
        for number, run in enumerate(runs):
            documents = sum(piece.documents for piece in run)
            made.append(Unit(split, number, len(runs), first, documents, _joined(run)))
            first += documents
    return made


def _pieces(raw: Path, split: str, source: Source, unit_bytes: int | None) -> list[_Piece]:
    """Returns what units are made of."""
    entry = source["splits"][split]
    names, files = entry["raw"], entry["files"]
    if unit_bytes is None or len(names) != len(files):
        rows = sum(file["rows"] for file in files)
        return [_Piece(Part(name), 0 if i else rows, 0) for i, name in enumerate(names)]
    known = read_json(raw / GROUPS)[split] if (raw / GROUPS).exists() else None
    pieces = list[_Piece]()
    for number, (name, file) in enumerate(zip(names, files, strict=True)):
        path = raw / name
        groups = (known[number] or []) if known else _groups(path, source["column"])
        if sum(documents for documents, _ in groups) == file["rows"] and groups:
            for i, (documents, size) in enumerate(groups):
                pieces.append(_Piece(Part(name, (i, i + 1)), documents, size))
        else:  # another kind, or a file that was changed or is gone: who reads it says so
            size = path.stat().st_size if path.is_file() else file.get("bytes", 0)
            pieces.append(_Piece(Part(name), file["rows"], size))
    return pieces


def _groups(path: Path, column: str) -> list[list[int]]:
    """Returns the row groups of a Parquet file; none if it cannot be read: who reads it says so."""
    try:
        return groups_of(pq.read_metadata(path), column) if path.suffix == ".parquet" else []
    except (pa.ArrowException, OSError):
        return []


def _runs(pieces: list[_Piece], unit_bytes: int | None) -> list[list[_Piece]]:
    """Returns the pieces of each unit: it is closed once it has `unit_bytes`."""
    runs, size = [list[_Piece]()], 0
    for piece in pieces:
        if unit_bytes is not None and size >= unit_bytes:
            runs.append([])
            size = 0
        runs[-1].append(piece)
        size += piece.bytes
    return runs


def _joined(run: list[_Piece]) -> tuple[Part, ...]:
    """Returns the parts of a unit, with row groups that follow each other as one part."""
    parts = list[Part]()
    for part, *_ in run:
        last = parts[-1] if parts else None
        if last and last.groups and part.groups and last.raw == part.raw:
            parts[-1] = Part(part.raw, (last.groups[0], part.groups[1]))
        else:
            parts.append(part)
    return tuple(parts)
