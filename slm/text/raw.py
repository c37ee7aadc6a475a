"""How does text lie on disk before it is read? The layout of a dataset's raw/ folder.

`<split>-<i>-of-<n>.parquet`, `.jsonl` or `.jsonl.gz`, and source.json: `name`, `kind`,
`column`, what else identifies the source, and for each split `raw` (the names of its files here)
and `files` (name, rows and SHA-256 of each file of the source, in the order of the documents).
Names here come from the split and a number, never from a source's own names.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from slm.core.files import read_json

PART_BYTES = 2**20
_ENCODE = json.JSONEncoder(ensure_ascii=False).encode


def raw_name(split: str, number: int, of: int, kind: str) -> str:
    """The name of a split's file `number` (from 0) of `of`; `kind` is its ending."""
    return f"{split}-{number:05d}-of-{of:05d}{kind}"


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


def read_source(raw: Path) -> dict:
    """raw/source.json."""
    return read_json(raw / "source.json")


def locate(files: list[dict], document: int) -> str:
    """Which row of which file of a split's `files` document `document` came from, in words."""
    row = document
    for file in files:
        if row < file["rows"]:
            return f"row {row + 1} of {file['name']}"
        row -= file["rows"]
    return f"row {row + 1} after the last file"
