"""What is a bin? The one place that knows the format.

A folder of bins holds for each split `<split>.bin`, the ids of all documents end to end, little-
endian, no header, uint16 where the vocabulary has at most 65,536 ids and uint32 where it has more;
`<split>.docs.npy`, an array (documents + 1, 2) of little-endian uint64, running totals of tokens
and of UTF-8 text bytes, so that rows i and i + 1 bound document i; where the vocabulary was trained
on this text its ranks, in tiktoken's format; and manifest.json, which names dataset, tokenizer and
end-of-text policy and has the SHA-256 of each 16 MiB of each file, and one of itself. The same data
gives the same bytes: no time, path, host or library version is in them.
"""

import hashlib
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from slm.core.files import CHUNK_BYTES, HashedFile, to_json

FORMAT = 1
END_OF_TEXT = ("none", "append", "prepend")
MANIFEST = "manifest.json"
REPAIR = "`make verify FIX=1` repairs it"
STRAYS = {".DS_Store", "Thumbs.db"}  # a file manager leaves these; .dvcignore has them, too


def write_docs(path: Path, totals: Iterable[np.ndarray], documents: int) -> dict:
    """Write (rows, 2) uint64 running totals, documents + 1 rows in all, as one .npy file."""
    header = io.BytesIO()
    form = {"descr": "<u8", "fortran_order": False, "shape": (documents + 1, 2)}
    np.lib.format.write_array_header_1_0(header, form)
    with HashedFile(path) as file:
        file.write(header.getvalue())
        for rows in totals:
            file.write(rows.astype("<u8"))
    return {"bytes": file.size, "sha256": file.hashes}


def write_bytes(path: Path, content: bytes) -> dict:
    """Write a file as it is; return the manifest's entry for it."""
    with HashedFile(path) as file:
        file.write(content)
    return {"bytes": file.size, "sha256": file.hashes}


def write_manifest(folder: Path, content: dict) -> dict:
    """Write manifest.json, with format, chunk size and its own hash added; return it."""
    manifest = {"format": FORMAT, "chunk_bytes": CHUNK_BYTES, **content}
    manifest["sha256"] = self_hash(manifest)
    (folder / MANIFEST).write_bytes(to_json(manifest))
    return manifest


def self_hash(manifest: dict) -> str:
    """The SHA-256 of a manifest without the key that holds it."""
    content = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(to_json(content)).hexdigest()
