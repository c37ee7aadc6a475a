"""How is text read? From a dataset's raw/ folder, block by block, in the order of its documents.

In: the files that raw/source.json names: Parquet, and JSON Lines, packed by gzip or zstd or not.
Out: `Block`s of UTF-8 and offsets, each about `block_bytes` long; every document, empty ones too,
once and in order. The text is valid Unicode or a UserError says which file and row is not. JSON
Lines are split at line feeds alone: U+2028 and U+0085 are text.
"""

import json
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from slm.core.errors import UserError
from slm.text.raw import (
    UNPACKING,
    locate,
    no_column,
    read_source,
    unpacked,
    whole_number,
    without_mark,
)

NUMBERS = re.compile(
    rb"NaN|Infinity|\d[eE]\+?\d{3}|\d{300}"
)  # that one reader takes, not the other
BATCH_ROWS = 4096  # of Parquet, decoded at a time at most
BLOCK_BYTES = 4 * 2**20  # enough to keep a core busy, little enough to keep several in memory


class Block(NamedTuple):
    """Consecutive documents of one split, as a column of text in memory."""

    first: int  # number of the first document, from 0 in its split
    offsets: np.ndarray  # (documents + 1,) int64: where each document begins and ends in `data`
    data: np.ndarray  # (bytes,) uint8: valid UTF-8

    @property
    def documents(self) -> int:
        """How many documents the block holds."""
        return len(self.offsets) - 1

    def text(self, document: int) -> str:
        """Document `document` of this block, counted from 0."""
        return self.data[self.offsets[document] : self.offsets[document + 1]].tobytes().decode()


def read_blocks(raw: Path, split: str, block_bytes: int = BLOCK_BYTES) -> Iterator[Block]:
    """The documents of a split, in order; raises UserError at the first one that is not text."""
    source = read_source(raw)
    first = 0
    for name in source["splits"][split]["raw"]:
        read = _read_parquet if name.endswith(".parquet") else _read_json_lines
        for actual, texts in read(raw / name, source["column"], block_bytes):
            if actual is None:
                yield _block(first, texts)
                first += len(texts)
            else:
                position = locate(source["splits"][split]["files"], first + actual)
                raise UserError(f"{split}: {position} {texts}; correct that row in the source")


# A reader yields (None, an array of text) or, last, (a row counted from the array before, what is
# wrong with it). Only what is in the file is known here; `locate` knows the source's names.
Read = Iterator[tuple[int | None, pa.Array | str]]


def _read_parquet(path: Path, column: str, block_bytes: int) -> Read:
    try:
        with pq.ParquetFile(path, buffer_size=2**20, pre_buffer=False) as file:
            for part in file.iter_batches(_batch_rows(file, column, block_bytes), columns=[column]):
                texts = part.column(0)
                texts = texts.dictionary_decode() if hasattr(texts, "dictionary") else texts
                texts = texts.cast(pa.large_string())
                wrong = _wrong_row(texts)
                if wrong:
                    yield wrong
                    return
                yield from ((None, piece) for piece in _cut(texts, block_bytes))
    except (pa.ArrowException, OSError) as error:
        yield 0, f"or one of the rows after it cannot be read as Parquet ({error})"


def _batch_rows(file: pq.ParquetFile, column: str, block_bytes: int) -> int:
    """How many rows to decode at a time, after the first ones: metadata tells packed sizes only."""
    first = next(file.iter_batches(64, columns=[column]), None)
    size = first.nbytes // max(1, len(first)) if first else 0
    return max(1, min(BATCH_ROWS, block_bytes // max(1, size)))


def _cut(texts: pa.Array, block_bytes: int) -> Iterator[pa.Array]:
    """The same texts in pieces of about `block_bytes`: rows that repeat are small in Parquet."""
    offsets = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset :]
    first = 0
    while first < len(texts):
        last = int(np.searchsorted(offsets[: len(texts) + 1], offsets[first] + block_bytes))
        last = min(max(last, first + 1), len(texts))
        yield texts.slice(first, last - first)
        first = last


def _wrong_row(texts: pa.Array) -> tuple[int, str] | None:
    if texts.null_count:
        return texts.is_null().index(True).as_py(), "is null, expected text"
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        rows = (value.as_py() for value in texts.cast(pa.large_binary()))
        wrong = (row.decode(errors="ignore").encode() != row for row in rows)
        return next(number for number, is_wrong in enumerate(wrong) if is_wrong), "is not UTF-8"
    return None


def _read_json_lines(path: Path, column: str, block_bytes: int) -> Read:
    try:
        with unpacked(path, path.suffix) as file:
            for lines in _lines(file, block_bytes):
                texts = _texts(lines, column)
                if texts is None:
                    yield _wrong_line(lines, column)
                    return
                yield None, texts
    except UNPACKING as error:
        yield 0, f"or one of the rows after it cannot be unpacked ({error})"


def _lines(file: BinaryIO, block_bytes: int) -> Iterator[list[bytes]]:
    """Lines without a byte order mark before and without blank lines behind all others."""
    rest, blank = bytearray(), 0
    for part in chain(without_mark(iter(lambda: file.read(max(block_bytes, 3)), b"")), [b"\n"]):
        rest += part
        if b"\n" in part:
            *lines, last = bytes(rest).split(b"\n")
            lines, rest = [b""] * blank + lines, bytearray(last)
            filled = next((i for i in range(len(lines), 0, -1) if lines[i - 1].strip()), 0)
            blank = len(lines) - filled  # they may be the last ones
            if filled:
                yield lines[:filled]


def _texts(lines: list[bytes], column: str) -> pa.Array | None:
    for loads in (orjson.loads, _row):
        try:
            texts = pa.array([row[column] for row in map(loads, lines)], pa.large_string())
            return None if texts.null_count else texts
        except (ValueError, LookupError, TypeError, pa.ArrowException):
            continue
    return None


def _row(line: bytes) -> Any:
    """A row, also with what other tools write: NaN, Infinity, and numbers of any length."""
    try:
        return orjson.loads(line)
    except ValueError:
        if not NUMBERS.search(line):
            raise
        row = json.loads(line.decode(), parse_int=whole_number)
        json.dumps(row, ensure_ascii=False).encode()  # raises at a lone surrogate
        return row


def _wrong_line(lines: list[bytes], column: str) -> tuple[int, str]:
    for number, line in enumerate(lines):
        if not line.strip():
            return number, "is empty, expected an object with text"
        try:
            row = _row(line)
        except ValueError as error:
            return number, f"is not JSON in valid Unicode ({error})"
        if not isinstance(row, dict) or column not in row:
            return number, (
                no_column(column, row) if isinstance(row, dict) else "is no object with text"
            )
        if not isinstance(row[column], str):
            return number, f"has {json.dumps(row[column])[:40]} in {column!r}, expected text"
    raise AssertionError("every line is well, and yet they were not taken")


def _block(first: int, texts: pa.Array) -> Block:
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    content = np.frombuffer(data, np.uint8) if data and data.size else np.empty(0, np.uint8)
    return Block(first, bounds - bounds[0], content[bounds[0] : bounds[-1]])
