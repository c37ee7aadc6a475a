"""What several tests share: small sources of every kind, read back, and blocks made by hand."""

import csv
import gzip
import io
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slm.core.errors import UserError
from slm.text.blocks import BLOCK_BYTES, block_of, read_blocks
from slm.text.corpus import make_raw
from slm.text.raw import read_source

# Text that careless readers split, strip, normalise or lose.
NASTY = [
    "",
    " ",
    "one\u2028line",
    "one\u0085line\u2029",
    "nul\0l",
    "😊 cafe\u0301 café",
    "cr\r\nlf\rcr",
    "\ufeffbom",
    "\n",
    "\x1c\x1d\x0b\x0c\t",
    "<|endoftext|>",
    '"\\ud800" \\n {"text": 1}',
    "\U0010ffff\ufffe\uffff",
    "",
]


def json_lines(texts: Iterable[str], column: str = "text") -> bytes:
    """JSON Lines as others write them: an id first, every second line escaped to ASCII."""
    rows = ({"id": number, column: text} for number, text in enumerate(texts))
    lines = [json.dumps(row, ensure_ascii=row["id"] % 2 == 0) for row in rows]
    return "".join(f"{line}\n" for line in lines).encode()


def parquet(
    texts: list, kind: pa.DataType | None = None, rows: int = 3, column: str = "text", **options
) -> bytes:
    """A Parquet file with the columns id and `column`, in row groups of `rows`."""
    values = pa.array(texts, kind or pa.string()) if isinstance(texts, list) else texts
    sink = io.BytesIO()
    table = pa.table({"id": list(range(len(values))), column: values})
    pq.write_table(table, sink, row_group_size=rows, **options)
    return sink.getvalue()


def zstd(content: bytes) -> bytes:
    """The content packed by zstd."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(content)
    return sink.getvalue().to_pybytes()


def array(texts: list[str]) -> bytes:
    """A JSON array of objects, with brackets beside the text."""
    rows = [{"id": i, "text": text, "more": [{"x": "]["}]} for i, text in enumerate(texts)]
    return json.dumps(rows, ensure_ascii=False, indent=1).encode()


def comma_separated(texts: list[str]) -> bytes:
    """A CSV file with the columns id and text."""
    out = io.StringIO(newline="")
    csv.writer(out).writerows([("id", "text"), *enumerate(texts)])
    return out.getvalue().encode()


def raw_strings(values: list[bytes]) -> pa.Array:
    """An Arrow array of strings that nobody validated."""
    offsets = np.cumsum([0, *map(len, values)]).astype(np.int32)
    content = pa.py_buffer(b"".join(values))
    return pa.StringArray.from_buffers(len(values), pa.py_buffer(offsets), content)


def as_kind(kind: str, texts: list[str]) -> bytes:
    """The same documents as a file of `kind`."""
    if kind == ".parquet":
        return parquet(texts)
    return gzip.compress(json_lines(texts)) if kind == ".jsonl.gz" else json_lines(texts)


def build(folder: Path, contents: dict[str, bytes], train=None, **entry) -> Path:
    """Write `contents` as a source's files, make raw/ from them, and return raw/'s path."""
    source, raw = folder / "source", folder / "raw"
    for name, content in contents.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    raw.mkdir(parents=True)
    entry = {"kind": "files", "files": {"train": train or list(contents)}, **entry}
    make_raw("mine", entry, source, raw)
    return raw


def texts_of(raw: Path, split: str = "train", block_bytes: int = BLOCK_BYTES) -> list[str]:
    """Every document of a split, with its numbering checked on the way."""
    texts: list[str] = []
    for part in read_blocks(raw, split, block_bytes):
        assert part.first == len(texts)
        assert part.offsets[0] == 0
        assert part.offsets[-1] == len(part.data)
        texts += [part.text(i) for i in range(part.documents)]
    assert len(texts) == sum(f["rows"] for f in read_source(raw)["splits"][split]["files"])
    return texts


def one_line(error: pytest.ExceptionInfo) -> str:
    """The message of a UserError, which is one line."""
    message = str(error.value)
    assert isinstance(error.value, UserError)
    assert message
    assert len(message.splitlines()) == 1, message
    return message


block = block_of
