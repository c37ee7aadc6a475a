"""What does the manifest of a folder of bins hold, and which files must be there?"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from slm.bins.format import FORMAT, MANIFEST, REPAIR, self_hash
from slm.core.errors import UserError, check
from slm.core.formats import FileEntry, Vocabulary


class BinSplit(TypedDict):
    """A split in manifest.json."""

    tokens: int  # ids in the bin, end-of-text included
    documents: int
    text_bytes: int  # UTF-8, without end-of-text
    files: dict[str, FileEntry]  # <split>.bin, <split>.docs.npy and <split>.rows.npy, by name


class Taken(TypedDict):
    """`selection` of the manifest, where params.yaml selects documents."""

    select: dict[str, Any]  # the entry of params.yaml
    steps: list[dict[str, Any]]  # see slm.bins.writing.steps
    words: dict[str, int]  # by split that is not all of the source's, as str.split() splits them


class Manifest(TypedDict):
    """manifest.json, in the order of its keys."""

    format: int  # FORMAT
    chunk_bytes: int  # CHUNK_BYTES: of a file, per SHA-256
    dataset: dict[str, Any]  # source of tokens.json: name, kind, and the files of each split
    tokenizer: Vocabulary
    end_of_text: str  # policy, one of END_OF_TEXT
    dtype: str  # of the ids: "uint16" or "uint32"
    splits: dict[str, BinSplit]  # by name
    selection: NotRequired[Taken]
    vocabulary: NotRequired[dict[str, FileEntry]]  # its file, by name, if it is no published one
    units: NotRequired[dict[str, list[int]]]  # documents of each unit of tokens/, if several
    lossy_documents: NotRequired[dict[str, int]]  # by source split, as in tokens.json
    sha256: str  # hexadecimal, of this manifest without this key


def read_manifest(folder: Path) -> Manifest:
    """Returns manifest.json; raises UserError if it is missing, corrupt or of another format."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path} not found: no bins here; build them with `make data`") from None
    except ValueError:
        raise UserError(f"{path} is corrupt: not JSON; {REPAIR}") from None
    version = manifest.get("format") if isinstance(manifest, dict) else None
    check(
        version == FORMAT,
        f"{path} has format {version!r}, this version of slm reads {FORMAT}; build the bins again "
        "with `make data`, or use the slm that wrote them",
    )
    intact = manifest.get("sha256") == self_hash(manifest)
    check(intact, f"{path} is corrupt: its own SHA-256 differs; {REPAIR}")
    return manifest


def file_names(folder: Path) -> list[str]:
    """Returns the names of the files of a folder of bins, its manifest first."""
    return [MANIFEST, *(name for name, _ in files_of(read_manifest(folder)))]


def files_of(manifest: Manifest) -> Iterator[tuple[str, FileEntry]]:
    """Yields the name and the entry of each file but the manifest."""
    yield from manifest.get("vocabulary", {}).items()
    for split in manifest["splits"].values():
        yield from split["files"].items()


def wrong_size(path: Path, expected: int) -> str:
    """Returns "" if the file has `expected` bytes, else a phrase that says what is wrong."""
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    return "" if size == expected else f"has {size:,} bytes, expected {expected:,}"
