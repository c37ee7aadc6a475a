"""What is a bin? The format, defined here alone.

A folder of bins holds, for each split, `<split>.bin` and `<split>.docs.npy`. The bin is the ids of
all documents end to end, little-endian, without a header: uint16 if the vocabulary has at most
65,536 ids, else uint32. The other is a (documents + 1, 2) array of little-endian uint64: offsets in
tokens and in UTF-8 bytes of text; rows i and i + 1 bound document i. If the documents are not all
of the source's, in its order, `<split>.rows.npy` has their rows there: (documents,) little-endian
uint64.
In shards, where `bins.shard_tokens` asks for them, the files of a split are <split>-00000-of-00104
and so on: .bin, each of that many tokens but the last, wherever documents end; .docs.npy and
.rows.npy with the rows of the documents that begin in it, counted in the whole split, so that those
of all shards end to end are the split's; and .json with the hashes of these, whose own hash the
manifest has.
If the vocabulary was trained on this text, the folder holds its ranks in tiktoken's format,
and of a tokenizer.json that file.
Bins that lie in object storage (bins.store) have beside their manifest store.json alone, with the
URL of the folder that has all files.
manifest.json names dataset, tokenizer, end-of-text policy and selection and has the SHA-256 of each
16 MiB of each file, and its own. The same data gives the same bytes: they have no time, path, host
or library version.
"""

import hashlib
import io
import math
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from slm.core.files import CHUNK_BYTES, to_json, write_hashed
from slm.core.formats import FileEntry

FORMATS = (1, 2)  # 2 in shards, which an slm that knows 1 alone then refuses
END_OF_TEXT = ("none", "append", "prepend")
MANIFEST = "manifest.json"
STORE = "store.json"  # beside a manifest alone: at which URL the other files lie (bins.store)
REPAIR = "`make verify FIX=1` repairs it"
STRAYS = {".DS_Store", "Thumbs.db"}  # file managers write these; .dvcignore lists them too


def npy_header(shape: tuple[int, ...]) -> bytes:
    """Returns the beginning of an .npy file of little-endian uint64 with this shape."""
    header = io.BytesIO()
    form = {"descr": "<u8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, form)
    return header.getvalue()


def npy_bytes(shape: tuple[int, ...]) -> int:
    """Returns the length of such a file."""
    return len(npy_header(shape)) + 8 * math.prod(shape)


def write_docs(path: Path, offsets: Iterable[np.ndarray], documents: int) -> FileEntry:
    """Writes offsets, parts of (rows, 2) uint64 and documents + 1 rows in all, as an .npy file."""
    header = npy_header((documents + 1, 2))
    return write_hashed(path, chain([header], (rows.astype("<u8") for rows in offsets)))


def write_manifest(folder: Path, content: Mapping[str, object]) -> dict[str, Any]:
    """Writes manifest.json, with format, chunk size and its own hash added; returns it."""
    number = FORMATS["shard_tokens" in content]
    manifest: dict[str, Any] = {"format": number, "chunk_bytes": CHUNK_BYTES, **content}
    manifest["sha256"] = self_hash(manifest)
    (folder / MANIFEST).write_bytes(to_json(manifest))
    return manifest


def self_hash(manifest: Mapping[str, object]) -> str:
    """Returns the SHA-256, in hexadecimal, of a manifest without its key "sha256"."""
    content = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(to_json(content)).hexdigest()
