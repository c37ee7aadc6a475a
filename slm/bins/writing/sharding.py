"""How are documents written in shards? Ids are cut at so many tokens, wherever a document ends.

In: documents with their ids, in the order of the bins. Out: the files of each shard, their entry,
and what the manifest says of it (slm.bins.format). Memory is a few parts, and the offsets of the
documents of one shard.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from slm.bins.format import npy_header
from slm.bins.manifest import BinSplit
from slm.bins.writing.pieces import totals
from slm.core.files import HashedFile, to_json, write_hashed
from slm.core.formats import FileEntry, shard_name

ROW = np.dtype([("offsets", "<u8", 2), ("row", "<u8")])  # where a document begins, and its source


def write_shards(
    out: Path,
    split: str,
    parts: Iterable[tuple[np.ndarray, np.ndarray]],
    size: int,
    dtype: np.dtype,
    rows: bool,
) -> BinSplit:
    """Writes a split in shards of `size` tokens; returns its entry."""
    ids, documents = _Ids(out, split, size, dtype), _Documents(out, split, size, rows)
    try:
        for placed, of_part in parts:
            documents.add(placed)
            ids.write(of_part)
    finally:
        ids.end()
    documents.end(len(ids.made))
    kinds = ["bin", "docs.npy", *(["rows.npy"] if rows else [])]
    files = [[bin_, *others] for bin_, others in zip(ids.made, documents.made, strict=True)]
    shards = [_land(out, split, i, len(files), kinds, of) for i, of in enumerate(files)]
    counts = [{"documents": n, **entry} for n, entry in zip(documents.counts, shards, strict=True)]
    tokens, text_bytes = documents.total.tolist()
    return {
        "tokens": tokens,
        "documents": sum(documents.counts),
        "text_bytes": text_bytes,
        "kinds": kinds,
        "shards": counts,  # type: ignore[typeddict-item]
    }


def _land(
    out: Path, split: str, number: int, shards: int, kinds: list[str], files: list[FileEntry]
) -> dict[str, object]:
    """Names the files of a shard, now that their number is known, and writes its entry."""
    name = shard_name(split, number, shards)
    for kind in kinds:
        _coming(out, split, number, kind).rename(out / f"{name}.{kind}")
    entry = {f"{name}.{kind}": file for kind, file in zip(kinds, files, strict=True)}
    content = to_json({"files": entry})
    (out / f"{name}.json").write_bytes(content)
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _coming(out: Path, split: str, number: int, kind: str) -> Path:
    return out / f"{split}.{number}.{kind}"


class _Ids:
    """The .bin of each shard, one after another; at least one."""

    def __init__(self, out: Path, split: str, size: int, dtype: np.dtype) -> None:
        self._out, self._split, self._bytes = out, split, size * dtype.itemsize
        self.made: list[FileEntry] = []
        self._file = self._next()

    def _next(self) -> HashedFile:
        return HashedFile(_coming(self._out, self._split, len(self.made), "bin"))

    def write(self, ids: np.ndarray) -> None:
        content = ids.view(np.uint8)
        while len(content):
            if self._file.size == self._bytes:
                self.end()
                self._file = self._next()
            room = self._bytes - self._file.size
            self._file.write(content[:room])
            content = content[room:]

    def end(self) -> None:
        self._file.__exit__()
        self.made.append({"bytes": self._file.size, "sha256": self._file.hashes})


class _Documents:
    """The other files of each shard, written once no more documents begin in it."""

    def __init__(self, out: Path, split: str, size: int, rows: bool) -> None:
        self._out, self._split, self._size, self._rows = out, split, size, rows
        self._waiting = np.empty(0, ROW)
        self.total = np.zeros(2, "<u8")  # of tokens and bytes so far
        self.made: list[list[FileEntry]] = []
        self.counts: list[int] = []

    def add(self, placed: np.ndarray) -> None:
        """Adds documents, (documents,) PLACED."""
        ends = self.total + totals(placed)
        new = np.empty(len(placed), ROW)
        new["offsets"], new["row"] = np.concatenate([self.total[None], ends])[:-1], placed["row"]
        self._waiting = np.concatenate([self._waiting, new])
        self.total = ends[-1] if len(ends) else self.total
        while int(self.total[0]) > (len(self.made) + 1) * self._size:  # and not its end: see `end`
            self._write((len(self.made) + 1) * self._size)

    def end(self, shards: int) -> None:
        """Writes what is left; the last shard has all that begins at its end, and the end."""
        while len(self.made) < shards - 1:
            self._write((len(self.made) + 1) * self._size)
        self._write(None)

    def _write(self, before: int | None) -> None:
        """Writes the documents that begin before a token, or the last ones."""
        begins = self._waiting["offsets"][:, 0]
        count = len(begins) if before is None else int(np.searchsorted(begins, before))
        mine, self._waiting = self._waiting[:count], self._waiting[count:]
        offsets = mine["offsets"] if before else np.concatenate([mine["offsets"], [self.total]])
        arrays = {"docs.npy": offsets, **({"rows.npy": mine["row"]} if self._rows else {})}
        self.made.append([self._file(kind, array) for kind, array in arrays.items()])
        self.counts.append(count)

    def _file(self, kind: str, array: np.ndarray) -> FileEntry:
        path = _coming(self._out, self._split, len(self.made), kind)
        return write_hashed(path, [npy_header(array.shape), np.ascontiguousarray(array, "<u8")])
