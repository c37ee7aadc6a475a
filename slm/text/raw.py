"""How is text stored before it is read? The layout of a dataset's raw/ folder.

`<split>-<i>-of-<n>.parquet`, `.jsonl` or `.jsonl.gz`, and source.json, a `Source`. Names here come
from the split and a number, never from a source's own names.
"""

import hashlib
import json
import os
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, TypedDict

from tqdm import tqdm

from slm.core.files import read_json

PART_BYTES = 2**20
_ENCODE = json.JSONEncoder(ensure_ascii=False).encode


class SourceFile(TypedDict):
    """A file of the source."""

    name: str  # as the source calls it
    rows: int  # documents
    sha256: str  # hexadecimal


class SourceSplit(TypedDict):
    """A split of the source."""

    raw: list[str]  # the names of its files in raw/
    files: list[SourceFile]  # in the order of the documents


class Source(TypedDict):
    """source.json; what else identifies a source (seed, path, revision …) is in it, too."""

    name: str  # of the dataset
    kind: str  # generated | hub | files
    column: str
    splits: dict[str, SourceSplit]  # by name


def raw_name(split: str, number: int, files: int, kind: str) -> str:
    """The name of a split's file `number` (from 0) of so many `files`; `kind` is its ending."""
    return f"{split}-{number:05d}-of-{files:05d}{kind}"


def json_line(column: str, text: str) -> bytes:
    """A document as a line of JSON Lines with one column."""
    return f"{{{_ENCODE(column)}: {_ENCODE(text)}}}\n".encode()


def parts_of(file: BinaryIO, path: Path, digest: "hashlib._Hash") -> Iterator[bytes]:
    """The bytes of a file in parts, hashed into `digest` as they pass, with a progress bar."""
    size = os.fstat(file.fileno()).st_size
    with tqdm(desc=path.name, total=size, unit="B", unit_scale=True, delay=2, disable=None) as bar:
        while part := file.read(PART_BYTES):
            digest.update(part)
            bar.update(len(part))
            yield part


def without_mark(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The parts of a file without a byte order mark; the first one has it whole, or is all."""
    for number, part in enumerate(parts):
        yield part if number else part.removeprefix(BOM_UTF8)


def no_column(column: str, names: Iterable[str]) -> str:
    """What is wrong with a file or a row that has other columns, and the cure."""
    known = ", ".join(map(repr, list(names)[:20]))
    return (
        f"has no column {column!r}, only {known}; name the one with text: `column:` in params.yaml"
    )


def read_source(raw: Path) -> Source:
    """raw/source.json; raises UserError if it is missing or not JSON."""
    return read_json(raw / "source.json")


def locate(files: list[SourceFile], document: int) -> str:
    """Which row of which file of a split's `files` document `document` came from, in words."""
    row = document
    for file in files:
        if row < file["rows"]:
            return f"row {row + 1} of {file['name']}"
        row -= file["rows"]
    return f"row {row + 1} after the last file"
