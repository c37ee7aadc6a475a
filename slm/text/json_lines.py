"""How are JSON Lines read? Lines at a time, packed or not, one field of strings, constant memory.

In: a file and the name of a field, or a path to it (`meta.text`). Out: arrays of text in order, or
what is wrong with which row. Lines end at line feeds alone: U+2028 and U+0085 are text. Beside the
text may stand what other tools write: NaN, Infinity, numbers of any length, any depth.
"""

import io
import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from itertools import chain
from operator import itemgetter
from typing import Any, BinaryIO

import orjson
import pyarrow as pa
import pyarrow.json

from slm.core.errors import UserError
from slm.text.columnar import Read
from slm.text.raw import UNPACKING, Place, no_column, unpacked, value_of, whole_number, without_mark

NUMBERS = re.compile(
    rb"NaN|Infinity|\d[eE]\+?\d{3}|\d{300}"
)  # that one reader takes, not the other
TOO_DEEP = "depth limit"  # orjson's words


def read_json_lines(place: Place, column: str, block_bytes: int, kind: str) -> Read:
    """The texts of a file, in arrays of about `block_bytes`; `kind` ends as its name in raw/."""
    try:
        with unpacked(place, kind) as file:
            for lines in _lines(file, block_bytes):
                texts = _texts(lines, column)
                if texts is None:
                    yield _wrong_line(lines, column)
                    return
                yield None, texts
    except UNPACKING as error:
        yield 0, f"or one of the rows after it cannot be unpacked ({error})"


def check_first_line(start: bytes, name: str, column: str) -> None:
    """Raise UserError if the first line, where it is whole and an object, has no such field."""
    line, end, _ = start.removeprefix(BOM_UTF8).partition(b"\n")
    try:
        row = _row(line, column) if end else None
    except ValueError:
        return
    if isinstance(row, dict):
        try:
            value_of(row, column)
        except LookupError:
            raise UserError(f"row 1 of {name} {no_column(column, row)}") from None


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
    fast = map(itemgetter(column), map(orjson.loads, lines))
    slow = (value_of(_row(line, column), column) for line in lines)
    for found in (fast, slow):
        try:
            texts = pa.array(list(found), pa.large_string())
            return None if texts.null_count else texts
        except (ValueError, LookupError, TypeError, pa.ArrowException):
            continue
    return None


def _row(line: bytes, column: str) -> Any:
    """A row as Python's values; of one that is too deep for both readers, `column` alone."""
    try:
        return orjson.loads(line)
    except ValueError as error:
        if TOO_DEEP in str(error):
            return _deep_row(line, column)
        if not NUMBERS.search(line):
            raise
    try:
        row = json.loads(line.decode(), parse_int=whole_number)
        json.dumps(row, ensure_ascii=False).encode()  # raises at a lone surrogate
        return row
    except RecursionError:
        return _deep_row(line, column)


def _deep_row(line: bytes, column: str) -> dict:
    """A row by Arrow's reader, which goes through brackets without recursion."""
    line.decode()
    kind: pa.DataType = pa.string()
    for name in reversed(column.split(".")[1:]):
        kind = pa.struct([(name, kind)])
    for schema in (pa.schema([(column, pa.string())]), pa.schema([(column.split(".")[0], kind)])):
        parse = pa.json.ParseOptions(schema, unexpected_field_behavior="ignore")
        read = pa.json.ReadOptions(use_threads=False, block_size=len(line) + 1)
        row, *more = pa.json.read_json(io.BytesIO(line), read, parse).to_pylist()
        if more:
            raise ValueError("goes on behind its object")
        if row[schema.names[0]] is not None:
            return row
    return {}


def _wrong_line(lines: list[bytes], column: str) -> tuple[int, str]:
    for number, line in enumerate(lines):
        if not line.strip():
            return number, "is empty, expected an object with text"
        try:
            row = _row(line, column)
        except ValueError as error:
            return number, f"is not JSON in valid Unicode ({error})"
        if not isinstance(row, dict):
            return number, "is no object with text"
        try:
            text = value_of(row, column)
        except LookupError:
            return number, no_column(column, row)
        if not isinstance(text, str):
            return number, f"has {json.dumps(text)[:40]} in {column!r}, expected text"
    raise AssertionError("every line is well, and yet they were not taken")
