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
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from slm.errors import UserError
from slm.files import CHUNK_BYTES, HashedFile, chunk_hashes, to_json

FORMAT = 1
END_OF_TEXT = ("none", "append", "prepend")
MANIFEST = "manifest.json"
MEND = "`make verify FIX=1` mends it"
STRAYS = {".DS_Store", "Thumbs.db"}  # a file manager leaves these; .dvcignore has them, too


def dtype_for(vocab_size: int) -> np.dtype:
    """The type of ids below `vocab_size`: little-endian uint16, or uint32 above 65,536 ids."""
    return np.dtype("<u2" if vocab_size <= 2**16 else "<u4")


def to_dtype(ids: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """`ids` as `dtype`; raises ValueError where one does not fit, and never wraps."""
    if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) <= np.iinfo(dtype).max:
        raise ValueError(f"ids from {ids.min()} to {ids.max()} do not fit into {dtype.name}")
    return ids.astype(dtype)


# --- writing ---


def write_ids(path: Path, ids: Iterable[np.ndarray], dtype: np.dtype) -> dict:
    """Write arrays of ids end to end; return the manifest's entry for the file.

    Raises ValueError where an id does not fit into `dtype`.
    """
    with HashedFile(path) as file:
        for part in ids:
            file.write(to_dtype(part, dtype))
    return {"bytes": file.size, "sha256": file.hashes}


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
    manifest["sha256"] = _self_hash(manifest)
    (folder / MANIFEST).write_bytes(to_json(manifest))
    return manifest


def _self_hash(manifest: dict) -> str:
    content = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(to_json(content)).hexdigest()


# --- opening ---


class Bins(NamedTuple):
    """A folder of bins that was opened: what the manifest says, and the arrays, mapped."""

    folder: Path
    manifest: dict
    revision: str | None = None  # the commit, where they were opened by revision

    @property
    def version(self) -> str:
        """One printable line that names these bins for good, by the hash of their content."""
        about, at = self.manifest, f"@{self.revision}" if self.revision else ""
        return (
            f"{about['dataset']['name']}{at} {about['tokenizer']['encoding']} "
            f"end_of_text={about['end_of_text']} sha256:{about['sha256']}"
        )

    def ids(self, split: str) -> np.ndarray:
        """(tokens,) uint16 or uint32: the ids of a split, mapped, read-only."""
        return _mapped(self.folder / f"{split}.bin", np.dtype(self.manifest["dtype"]))

    def docs(self, split: str) -> np.ndarray:
        """(documents + 1, 2) uint64: running totals of tokens and text bytes, mapped."""
        return np.load(self.folder / f"{split}.docs.npy", mmap_mode="r")


def open_bins(
    path: str | Path,
    *,
    rev: str | None = None,
    repo: str | Path = ".",
    remote: str | None = None,
    store: str | Path | None = None,
    verify: bool = False,
) -> Bins:
    """Open a folder of bins; raises UserError where a file is missing or of a wrong length.

    With `rev` (a tag, commit, branch or DVC experiment) `path` is one in the repository `repo`, a
    clone's folder or a URL, and its bins as of that revision are opened from `store`
    (~/.cache/slm/bins), into which they are brought once: from DVC's cache of that clone, or from
    `remote` (its default one). `verify` reads every byte first.
    """
    folder, commit, mend = Path(path), None, MEND
    if rev is not None:
        import slm.revisions  # which needs git and, to fetch, DVC; no stage does this

        folder, commit = slm.revisions.at_revision(path, rev, repo, remote, store)
        mend = f"`rm -r {folder}`, then open it again"
    manifest = read_manifest(folder)
    for name, expected in _files(manifest):
        wrong = _wrong_size(folder / name, expected["bytes"])
        if wrong:
            raise UserError(f"{folder / name} {wrong}; {mend}")
    if verify:
        check_whole(folder, mend)
    return Bins(folder, manifest, commit)


def read_manifest(folder: Path) -> dict:
    """manifest.json; raises UserError where it is missing, of another format or damaged."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} not found: no bins here; build them with `make data`") from None
    except ValueError:
        raise UserError(f"{path} is damaged: not JSON; {MEND}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else None
        raise UserError(
            f"{path} has format {found!r}, this version of slm reads {FORMAT}; build the bins "
            "again with `make data`, or use the slm that wrote them"
        )
    if manifest.get("sha256") != _self_hash(manifest):
        raise UserError(f"{path} is damaged: its own SHA-256 differs; {MEND}")
    return manifest


def file_names(folder: Path) -> list[str]:
    """The names of the files that make up a folder of bins, its manifest among them."""
    return [MANIFEST, *(name for name, _ in _files(read_manifest(folder)))]


def _files(manifest: dict) -> Iterator[tuple[str, dict]]:
    yield from manifest.get("vocabulary", {}).items()  # the ranks, where they were trained here
    for split in manifest["splits"].values():
        yield from split["files"].items()


def _mapped(path: Path, dtype: np.dtype) -> np.ndarray:
    if not path.stat().st_size:
        return np.empty(0, dtype)  # an empty file cannot be mapped
    return np.memmap(path, dtype.newbyteorder("<"), "r")


# --- verifying ---


def check_whole(folder: Path, mend: str = MEND) -> None:
    """Read every byte of a folder of bins; raises UserError, which names the first damage."""
    read_manifest(folder)
    if found := next(damage(folder), None):
        raise UserError(f"{found}; {mend}")


def damage(folder: Path) -> Iterator[str]:
    """Everything in a folder of bins that is not as its manifest says, a line for each place."""
    try:
        manifest = read_manifest(folder)
    except UserError as error:
        yield str(error)
        return
    for name, expected in _files(manifest):
        wrong = _wrong_size(folder / name, expected["bytes"])
        if wrong:
            yield f"{folder / name} {wrong}"
        if not (folder / name).is_file():
            continue
        for number, found in enumerate(chunk_hashes(folder / name)):
            if found not in expected["sha256"][number : number + 1]:
                start = number * CHUNK_BYTES
                end = min(start + CHUNK_BYTES, (folder / name).stat().st_size) - 1
                yield f"{folder / name} differs in chunk {number}, bytes {start:,} to {end:,}"
    known = {MANIFEST, *(name for name, _ in _files(manifest))}
    for path in sorted(folder.iterdir()):
        if path.name not in known | STRAYS:
            yield f"{path} is not of these bins; remove it"


def _wrong_size(path: Path, expected: int) -> str:
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    return "" if size == expected else f"has {size:,} bytes, expected {expected:,}"
