"""What does the manifest of a folder of bins hold, and which files must be there?"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np

from slm.bins.format import FORMATS, MANIFEST, REPAIR, STORE, npy_bytes, self_hash
from slm.core.errors import UserError, check
from slm.core.formats import FileEntry, Vocabulary, shard_name


class Shard(TypedDict):
    """A shard of a split in manifest.json; its own entry, <shard>.json, has the key `files`."""

    documents: int  # that begin in it
    bytes: int  # length of the entry
    sha256: str  # hexadecimal, of the entry


class BinSplit(TypedDict):
    """A split in manifest.json."""

    tokens: int  # ids in the bin, end-of-text included
    documents: int
    text_bytes: int  # UTF-8, without end-of-text
    files: NotRequired[dict[str, FileEntry]]  # <split>.bin, .docs.npy and .rows.npy, by name
    kinds: NotRequired[list[str]]  # in shards: the ends of the names of each one's files,
    shards: NotRequired[list[Shard]]  # and what each is


class Taken(TypedDict):
    """`selection` of the manifest, where params.yaml selects documents."""

    select: dict[str, Any]  # the entry of params.yaml
    steps: list[dict[str, Any]]  # see slm.bins.writing.steps
    words: dict[str, int]  # by split that is not all of the source's, as str.split() splits them


class Manifest(TypedDict):
    """manifest.json, in the order of its keys."""

    format: int  # one of FORMATS
    chunk_bytes: int  # CHUNK_BYTES: of a file, per SHA-256
    dataset: dict[str, Any]  # source of tokens.json: name, kind, and the files of each split
    tokenizer: Vocabulary
    end_of_text: str  # policy, one of END_OF_TEXT
    dtype: str  # of the ids: "uint16" or "uint32"
    shard_tokens: NotRequired[int]  # of each shard but a split's last, in shards
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
    return checked_manifest(manifest, str(path), REPAIR)


def checked_manifest(manifest: Any, path: str, cure: str) -> Manifest:
    """Returns what was read of `path`; raises UserError if it is no manifest, or another format."""
    version = manifest.get("format") if isinstance(manifest, dict) else None
    check(
        version in FORMATS,
        f"{path} has format {version!r}, this version of slm reads 1 and 2; build the bins again "
        "with `make data`, or use the slm that wrote them",
    )
    intact = manifest.get("sha256") == self_hash(manifest)
    check(intact, f"{path} is corrupt: its own SHA-256 differs; {cure}")
    return manifest


def url_in(folder: Path) -> str | None:
    """Returns the URL where the bins of a folder lie, if it is not the folder that has them."""
    path = folder / STORE
    try:
        url = json.loads(path.read_bytes())["url"]
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} is corrupt; {REPAIR}") from None
    check(isinstance(url, str) and "://" in url, f"{path} names no URL; {REPAIR}")
    return url


def file_names(folder: Path) -> list[str]:
    """Returns the names of the files of a folder of bins, its manifest first."""
    if (folder / STORE).exists():
        return [MANIFEST, STORE]
    return all_names(read_manifest(folder))


def all_names(manifest: Manifest) -> list[str]:
    """Returns the names of the files of bins with this manifest, itself first."""
    of_splits = [name for of, split in manifest["splits"].items() for name in names_of(of, split)]
    return [MANIFEST, *manifest.get("vocabulary", {}), *of_splits]


def names_of(name: str, split: BinSplit) -> list[str]:
    """Returns the names of the files of a split."""
    if "shards" not in split:
        return list(split["files"])
    kinds = ["json", *split["kinds"]]
    return [f"{shard}.{kind}" for shard in shard_names(name, split) for kind in kinds]


def shard_names(name: str, split: BinSplit) -> list[str]:
    """Returns what the names of each shard's files begin with; of a split in one piece its own."""
    if "shards" not in split:
        return [name]
    count = len(split["shards"])
    return [shard_name(name, i, count) for i in range(count)]


def has_rows(name: str, split: BinSplit) -> bool:
    """Whether a split has its documents' rows in the source, as it has not all in order."""
    return "rows.npy" in split.get("kinds", []) or f"{name}.rows.npy" in split.get("files", {})


def lengths_of(manifest: Manifest) -> Iterator[tuple[str, int]]:
    """Yields the name of each file but the manifest, and its length in bytes."""
    for name, entry in manifest.get("vocabulary", {}).items():
        yield name, entry["bytes"]
    width, per_shard = np.dtype(manifest["dtype"]).itemsize, manifest.get("shard_tokens", 0)
    for name, split in manifest["splits"].items():
        for file, entry in split.get("files", {}).items():
            yield file, entry["bytes"]
        left, shards = split["tokens"], split.get("shards", [])
        for i, (of, shard) in enumerate(zip(shard_names(name, split), shards, strict=False)):
            yield f"{of}.json", shard["bytes"]
            yield f"{of}.bin", min(left, per_shard) * width
            left -= per_shard
            offsets = (shard["documents"] + (i == len(shards) - 1), 2)
            yield f"{of}.docs.npy", npy_bytes(offsets)
            if has_rows(name, split):
                yield f"{of}.rows.npy", npy_bytes((shard["documents"],))


def files_of(folder: Path, manifest: Manifest) -> Iterator[tuple[str, FileEntry]]:
    """Yields the name and the entry of each file but the manifest.

    Where the entry of a shard is not as the manifest says, those of its files are left out.
    """
    yield from manifest.get("vocabulary", {}).items()
    for name, split in manifest["splits"].items():
        yield from split.get("files", {}).items()
        for of, shard in zip(shard_names(name, split), split.get("shards", []), strict=False):
            yield f"{of}.json", {"bytes": shard["bytes"], "sha256": [shard["sha256"]]}
            yield from _shard_files(folder / f"{of}.json", shard).items()


def _shard_files(path: Path, shard: Shard) -> dict[str, FileEntry]:
    content = path.read_bytes() if path.is_file() else b""
    intact = hashlib.sha256(content).hexdigest() == shard["sha256"]
    return json.loads(content)["files"] if intact else {}


def wrong_size(path: Path, expected: int) -> str:
    """Returns "" if the file has `expected` bytes, else a phrase that says what is wrong."""
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    return "" if size == expected else f"has {size:,} bytes, expected {expected:,}"
