"""Which documents come into a split of the bins? Those that a selection takes, piece by piece.

In: tokens/ and selection/. Out: pieces, each some documents in source order with their places in
the split. Documents whose text is not the source's are tokenized here, and no other.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa

from slm.bins.writing.reading import Group, groups, split_at
from slm.core.errors import UserError
from slm.core.formats import Tokens, TokenSplit
from slm.core.ids import dtype_for, to_dtype
from slm.selection.files import CUT, OUTCOMES, Selection, decoded
from slm.selection.own_texts import read_texts, rows_of_texts
from slm.text.raw import locate
from slm.tokens.reference import Encode, Unencodable

PLACED = np.dtype([("place", "<i8"), ("row", "<i8"), ("tokens", "<i8"), ("bytes", "<i8")])


def totals(documents: np.ndarray) -> np.ndarray:
    """Returns (documents, 2) uint64: running totals of tokens and of bytes, of PLACED documents."""
    return np.cumsum(np.stack([documents["tokens"], documents["bytes"]], 1), 0, "<u8")


class Piece(NamedTuple):
    """Some documents of a split."""

    documents: np.ndarray  # (documents,) PLACED
    ids: pa.LargeBinaryArray  # the bytes of each one's ids


class Counts:
    """Documents, tokens and bytes of those that a split asks for, by what became of them."""

    def __init__(self, taken: TokenSplit | None = None) -> None:
        self.of = np.zeros((len(OUTCOMES), 3), np.int64)
        if taken:
            self.of[0] = taken["documents"], taken["tokens"], taken["bytes"]
        self.repaired = np.zeros((2, 3), np.int64)  # before and after

    def add(self, reasons: np.ndarray, lengths: np.ndarray) -> None:
        """Counts documents, (documents,) reasons and (documents, 2) lengths."""
        for reason in np.unique(reasons).tolist():
            some = lengths[reasons == reason]
            self.of[reason] += [len(some), *some.sum(axis=0)]


class Chosen(NamedTuple):
    """A split of a selection."""

    folder: Path  # selection/
    selection: Selection
    split: str

    @property
    def source(self) -> str:
        """The source's split."""
        return self.selection["splits"][self.split]["source"]


def pieces(
    folder: Path, tokens: Tokens, chosen: Chosen, encode: Encode, counts: Counts
) -> Iterator[Piece]:
    """Yields the documents of a split; `counts` has, in the end, all that it asks for.

    `folder` is tokens/. Raises UserError if it is corrupt.
    """
    dtype, split, done = dtype_for(tokens["vocabulary"]["vocab_size"]), chosen.split, 0
    files = tokens["source"]["files"][chosen.source]
    own, shuffled = OwnIds(chosen, encode, dtype, files), chosen.folder / f"{split}.places"
    with ExitStack() as stack:
        codes = stack.enter_context((chosen.folder / f"{chosen.source}.outcomes").open("rb"))
        places = stack.enter_context(shuffled.open("rb")) if shuffled.exists() else None
        entry = tokens["splits"][chosen.source]
        for group in groups(folder, chosen.source, entry, dtype.itemsize):
            code = np.fromfile(codes, np.uint8, len(group.lengths))
            reasons, asked = decoded(code, split != chosen.source)
            ids, numbers = _with_own(group, own, counts, is_cut=code[0] == CUT)
            counts.add(reasons[asked], group.lengths[asked])
            taken = np.flatnonzero(asked & (reasons == 0))
            documents = _documents(group, taken, _places(places, done, len(taken)))
            as_they_are = len(taken) == len(ids) == len(numbers)
            yield Piece(documents, ids if as_they_are else ids.take(pa.array(numbers[taken])))
            done += len(taken)


def _with_own(
    group: Group, own: "OwnIds", counts: Counts, is_cut: bool
) -> tuple[pa.LargeBinaryArray, np.ndarray]:
    """Returns ids, and (documents,) which of them each document has; sets lengths.

    Those of documents with a text of their own stand behind the others.
    """
    numbers, texts = np.arange(len(group.lengths)), list[bytes]()
    for row, ids, lengths in own.until(group.first + len(numbers)):
        place = row - group.first
        if not is_cut:
            counts.repaired += [[1, *group.lengths[place]], [1, *lengths]]
        group.lengths[place] = lengths
        numbers[place] = len(numbers) + len(texts)
        texts.append(ids)
    if not texts:
        return group.ids, numbers
    return pa.concat_arrays([group.ids, pa.array(texts, pa.large_binary())]), numbers


def all_pieces(folder: Path, split: str, entry: TokenSplit, width: int) -> Iterator[Piece]:
    """Yields every document of a split of tokens/, in order; ids have `width` bytes each."""
    for group in groups(folder, split, entry, width):
        every = np.arange(len(group.lengths))
        yield Piece(_documents(group, every, group.first + every), group.ids)


def _documents(group: Group, taken: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Returns (taken,) PLACED: these documents of a group, at these places."""
    documents = np.empty(len(taken), PLACED)
    documents["place"], documents["row"] = places, group.first + taken
    documents["tokens"], documents["bytes"] = group.lengths[taken].T
    return documents


class OwnIds:
    """The ids of documents whose text is not the source's, tokenized as they are asked for."""

    def __init__(self, chosen: Chosen, encode: Encode, dtype: np.dtype, files: list) -> None:
        self._chosen, self._encode, self._dtype, self._files = chosen, encode, dtype, files
        self._rows, self._done = rows_of_texts(chosen.folder, chosen.split), 0
        self._ids = self._encoded()

    def until(self, row: int) -> Iterator[tuple[int, bytes, tuple[int, int]]]:
        """Yields row, bytes of ids, and tokens and bytes of text of the next ones before a row."""
        end = int(np.searchsorted(self._rows, row))
        yield from islice(self._ids, end - self._done)
        self._done = end

    def _encoded(self) -> Iterator[tuple[int, bytes, tuple[int, int]]]:
        for rows, block in read_texts(self._chosen.folder, self._chosen.split):
            try:
                ids, tokens = self._encode(block)
            except Unencodable as error:
                where = locate(self._files, int(rows[error.document]))
                raise UserError(f"{where} as the selection has it {error}") from None
            ends = np.cumsum(tokens) * self._dtype.itemsize
            documents = split_at(to_dtype(ids, self._dtype).tobytes(), ends).to_pylist()
            lengths = zip(tokens.tolist(), np.diff(block.offsets).tolist(), strict=True)
            yield from zip(rows.tolist(), documents, lengths, strict=True)


def _places(file: BinaryIO | None, done: int, documents: int) -> np.ndarray:
    """Returns the places of the next documents: as the file says, else one after the other."""
    if file is None:
        return np.arange(done, done + documents)
    return np.fromfile(file, "<i8", documents)
