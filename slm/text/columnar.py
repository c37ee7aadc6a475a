"""How are Parquet and Arrow files read? Batch after batch, one column of strings, constant memory.

In: a file and the name of a column, or a path to it through structs (`meta.text`); a name that is
there literally comes first. Out: arrays of text in order, or what is wrong with which row.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from slm.core.errors import UserError, check
from slm.text.raw import Place, no_column

BATCH_ROWS = 4096  # of Parquet, decoded at a time at most
STRINGS = (pa.string(), pa.large_string(), pa.string_view())
STREAM_END = b"\xff\xff\xff\xff\0\0\0\0"  # of an Arrow stream that was written to its end

# (None, an array of text) or, last, (a row counted from the array before, what is wrong with it)
Read = Iterator[tuple[int | None, pa.Array | str]]


@contextmanager
def _parquet(place: Place, **options: Any) -> Iterator[pq.ParquetFile]:
    with ExitStack() as stack:
        file = place if isinstance(place, Path) else stack.enter_context(place.open())
        yield stack.enter_context(pq.ParquetFile(file, **options))


def read_parquet(path: Place, column: str, block_bytes: int, groups: range | None = None) -> Read:
    """The texts of a Parquet file, or of some row groups, in arrays of about `block_bytes`."""
    try:
        with _parquet(path, buffer_size=2**20, pre_buffer=False) as file:
            batches = partial(file.iter_batches, columns=[column], row_groups=groups)
            rows = _batch_rows(next(batches(64), None), block_bytes)
            yield from _checked(batches(rows), column, block_bytes)
    except (pa.ArrowException, OSError) as error:
        yield 0, f"or one of the rows after it cannot be read as Parquet ({error})"


def read_arrow(path: Path, column: str, block_bytes: int) -> Read:
    """The texts of an Arrow file or stream, in arrays of about `block_bytes`."""
    try:
        with pa.OSFile(str(path)) as file:
            yield from _checked(_batches(file, column), column, block_bytes)
    except (pa.ArrowException, OSError) as error:
        yield 0, f"or one of the rows after it cannot be read as Arrow ({error})"


def parquet_rows(path: Path, name: str, column: str) -> int:
    """How many rows a Parquet file has; raises UserError where `column` holds no strings."""
    try:
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        size = path.stat().st_size
        raise UserError(f"{name}, {size:,} bytes, cannot be read as Parquet: {error}") from None
    check_column(schema, name, column)
    return rows


def arrow_rows(path: Path, name: str, column: str) -> int:
    """How many rows an Arrow file has; raises UserError where it is cut off or has no strings."""
    try:
        with pa.OSFile(str(path)) as file:
            check_column(_opened(file).schema, name, column)
            rows = sum(len(batch) for batch in _batches(file, column))
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{name} cannot be read as Arrow: {error}") from None
    with path.open("rb") as file:
        start = file.read(6)
        file.seek(-len(STREAM_END), os.SEEK_END)
        whole = start == b"ARROW1" or file.read() == STREAM_END
    check(whole, f"{name} is cut off after row {rows}: an Arrow stream without its end")
    return rows


def _opened(file: Any, fields: list[int] | None = None) -> Any:
    """A reader of either form; `fields` are the columns to read, where not all."""
    options = pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
    file.seek(0)
    is_file = file.read(6) == b"ARROW1"
    file.seek(0)
    open_ = pa.ipc.open_file if is_file else pa.ipc.open_stream
    return open_(file, options=options)


def _batches(file: Any, column: str) -> Iterator[pa.RecordBatch]:
    schema = _opened(file).schema
    reader = _opened(file, [schema.names.index(_path(schema, column)[0])])
    if hasattr(reader, "num_record_batches"):
        return (reader.get_batch(number) for number in range(reader.num_record_batches))
    return iter(reader)


def _path(schema: pa.Schema, column: str) -> list[str]:
    """The names from a column of the table down to `column`."""
    return [column] if column in schema.names else column.split(".")


def groups_of(about: pq.FileMetaData, column: str) -> list[list[int]]:
    """Returns documents, and bytes of text before they are packed, of each row group."""
    mine = [i for i in range(len(about.schema)) if about.schema.column(i).path == column]
    groups = map(about.row_group, range(about.num_row_groups))
    return [[g.num_rows, sum(g.column(i).total_uncompressed_size for i in mine)] for g in groups]


def check_column(schema: pa.Schema, name: str, column: str) -> None:
    """Raise UserError unless there is one such column, of strings."""
    top, *inside = _path(schema, column)
    check(schema.names.count(top) < 2, f"{name} has column {top!r} more than once")
    kind = schema.field(top).type if top in schema.names else None
    for name_inside in inside:
        known = isinstance(kind, pa.StructType) and kind.get_field_index(name_inside) >= 0
        kind = kind.field(name_inside).type if kind and known else None
    if kind is None:
        raise UserError(f"{name} {no_column(column, schema.names)}")
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    check(inner in STRINGS, f"{name}: column {column!r} holds {kind}, expected string")


def _column(batch: pa.RecordBatch, column: str) -> pa.Array:
    """The column; one inside of structs is null where a struct is."""
    top, *inside = _path(batch.schema, column)
    texts = batch.column(top)
    texts = pc.struct_field(texts, inside) if inside else texts
    texts = texts.dictionary_decode() if hasattr(texts, "dictionary") else texts
    return texts.cast(pa.large_string())


def _checked(batches: Iterator[pa.RecordBatch], column: str, block_bytes: int) -> Read:
    for batch in batches:
        texts = _column(batch, column)
        wrong = _wrong_row(texts)
        if wrong:
            yield wrong
            return
        yield from ((None, piece) for piece in _cut(texts, block_bytes))


def _batch_rows(first: pa.RecordBatch | None, block_bytes: int) -> int:
    """How many rows to decode at a time, after the first ones: metadata tells packed sizes only."""
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
