"""How is text stored before it is read? The layout of a dataset's raw/ folder.

`<split>-<i>-of-<n>` and an ending (.parquet, .arrow, .jsonl, .jsonl.gz or .jsonl.zst), and
source.json, a `Source`. Files that stay at their URLs have names here, too, and are not here.
Names here come from the split and a number, never from a source's own names.
"""

import gzip
import hashlib
import json
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NotRequired, TypedDict

import pyarrow as pa
from tqdm import tqdm

from slm.core.files import read_json
from slm.text.by_url.objects import Object, Start

Place = Path | Object | Start  # where a file of text is
GROUPS = "groups.json"  # of files at URLs, their row groups (slm.text.by_url.taking)
PART_BYTES = 2**20
PIECE_BYTES = 2**14  # of what is unpacked: at a cut, less than so much is lost
UNPACKING = (EOFError, OSError, zlib.error)
_ENCODE = json.JSONEncoder(ensure_ascii=False).encode


class SourceFile(TypedDict):
    """A file of the source."""

    name: str  # as the source calls it
    rows: int  # documents
    sha256: NotRequired[str]  # hexadecimal; where it was read through
    bytes: NotRequired[int]  # length, of a file that stays at its URL, which is its name
    etag: NotRequired[str]  # what its server called this content
    byte_order_mark: NotRequired[bool]  # true where one was at its beginning; it is no text


class SourceSplit(TypedDict):
    """A split of the source."""

    raw: list[str]  # the names of its files in raw/, also where they stay at their URLs
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


def places(raw: Path, entry: SourceSplit) -> dict[str, Place]:
    """Where the files of a split are, by their names in raw/."""
    if not any("bytes" in file for file in entry["files"]):
        return {name: raw / name for name in entry["raw"]}
    made = (raw / "source.json").stat().st_mtime
    files = zip(entry["raw"], entry["files"], strict=True)
    return {name: Object(f["name"], f["bytes"], f.get("etag"), made) for name, f in files}


def bytes_elsewhere(raw: Path) -> int:
    """How many bytes of text stay at their URLs."""
    splits = read_source(raw)["splits"].values()
    return sum(file.get("bytes", 0) for split in splits for file in split["files"])


def parts_of(file: Any, place: Place, digest: "hashlib._Hash") -> Iterator[bytes]:
    """The bytes of a file in parts, hashed into `digest` as they pass, with a progress bar."""
    size = place.stat().st_size if isinstance(place, Path) else place.bytes
    with tqdm(desc=place.name, total=size, unit="B", unit_scale=True, delay=2, disable=None) as bar:
        while part := file.read(PART_BYTES):
            digest.update(part)
            bar.update(len(part))
            yield part


def unpacked(place: Place, kind: str) -> Any:
    """An open file of the unpacked bytes of a file; `kind` ends in .gz or .zst where it is packed.

    Reading raises one of UNPACKING where the file is cut off or corrupt.
    """
    if kind.endswith(".zst"):
        packed = pa.OSFile(str(place)) if isinstance(place, Path) else place.open()
        return pa.CompressedInputStream(packed, "zstd")
    if kind.endswith(".gz"):
        return gzip.open(place if isinstance(place, Path) else place.open(), "rb")
    return place.open("rb")


def unpacked_parts(file: BinaryIO) -> Iterator[bytes]:
    """The bytes of an open file in parts; before one of UNPACKING is raised, all that came."""
    part = bytearray()
    try:
        while piece := file.read(PIECE_BYTES):
            part += piece
            if len(part) >= PART_BYTES:
                yield bytes(part)
                part.clear()
    except UNPACKING:
        yield bytes(part)
        raise
    yield bytes(part)


def whole_number(digits: str) -> int | float:
    """An integer of JSON; Python refuses to read one of thousands of digits as it is."""
    return int(digits) if len(digits) < 4000 else float(digits)


def without_mark(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The parts of a file without a byte order mark; the first one has it whole, or is all."""
    for number, part in enumerate(parts):
        yield part if number else part.removeprefix(BOM_UTF8)


def value_of(row: Any, column: str) -> Any:
    """The field of a row that has this name, else at the end of this path (`meta.text`).

    Raises LookupError where there is none.
    """
    first, _, rest = column.partition(".")
    if not isinstance(row, dict) or not (column in row or (rest and first in row)):
        raise LookupError(column)
    return row[column] if column in row else value_of(row[first], rest)


def no_column(column: str, names: Iterable[str]) -> str:
    """What is wrong with a file or a row that has other columns, and the cure."""
    known = ", ".join(map(repr, list(names)[:20]))
    only = f", only {known}" if known else ""
    return f"has no column {column!r}{only}; name the one with text: `column:` in params.yaml"


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
