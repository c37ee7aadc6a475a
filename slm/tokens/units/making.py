"""How is a unit made? Its documents become a folder of ids and offsets, which lands whole.

In: a unit (slm.text.units), raw/ and an encoder. Out: <name>/ids, the ids of all documents end to
end, with the vocabulary's dtype; <name>/totals, (documents + 1, 2) little-endian uint64, offsets in
tokens and in UTF-8 bytes, from 0; and <name>/entry.json, their counts and hashes. No byte follows
from who makes it. Reading, encoding and writing overlap; memory does not grow with the text.
"""

import errno
import hashlib
import os
import platform
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np

from slm.core.errors import UserError, check
from slm.core.files import HashedFile, chunk_hashes, flush, read_json, to_json, write_hashed
from slm.core.formats import TokenSplit
from slm.core.ids import dtype_for, to_dtype
from slm.core.threads import in_order, prefetch
from slm.text.blocks import Block, read_blocks
from slm.text.raw import locate, read_source
from slm.text.units import Unit
from slm.tokens.from_file import FileTokenizer
from slm.tokens.reference import Encode, Encoding, Unencodable

ENTRY, FILES = "entry.json", ("ids", "totals")
Told = Callable[[int], object]


class Work(NamedTuple):
    """How units are made; but for raw/ and the encoding no byte follows from it."""

    raw: Path
    encoding: Encoding
    encode: Encode
    workers: int  # threads that encode
    block_bytes: int  # of text, that is encoded at a time


class Encoded(NamedTuple):
    """A block of documents as ids."""

    ids: np.ndarray  # (tokens,) uint16 or uint32, as dtype_for says
    tokens: np.ndarray  # (documents,) int64: tokens per document
    bytes: np.ndarray  # (documents,) int64: UTF-8 bytes per document
    lossy: int | None  # documents whose ids do not give their text back; of a tokenizer.json


def nobody(_documents: int) -> None:
    """Is told of progress, and does nothing."""


def make_missing(work: Work, unit: Unit, folder: Path, told: Told = nobody) -> bool:
    """Makes a unit in `folder`, unless it is there; returns whether it was made.

    `told` is given numbers of documents that are done. Raises UserError, which names file and row,
    at the first document that cannot be encoded.
    """
    if is_finished(folder, unit):
        told(unit.documents)
        return False
    make_unit(work, unit, folder, told)
    return True


def is_finished(folder: Path, unit: Unit) -> bool:
    """Whether a unit is there, by its hashes; a damaged one is removed."""
    path = folder / unit.name
    if not path.is_dir():
        return False
    try:
        hashes = read_entry(folder, unit)["sha256"]
        if all(chunk_hashes(path / name) == hashes[name] for name in FILES):  # type: ignore[literal-required]
            return True
    except (UserError, FileNotFoundError, KeyError):
        pass  # and not a disk that cannot be read now: what lies there may be right
    shutil.rmtree(path)
    return False


def read_entry(folder: Path, unit: Unit) -> TokenSplit:
    """Returns the entry of a finished unit; raises UserError if it is damaged, or another's."""
    path = folder / unit.name / ENTRY
    told = read_json(path)
    entry = told.get("entry")
    check(
        told == _proven(entry, unit),
        f"{path} is damaged; `rm -r {path.parent}`, then run the same command again",
    )
    return entry


def _proven(entry: Any, unit: Unit) -> dict[str, Any]:
    """Returns what is written of a unit: its entry, and a hash of that and of the unit."""
    digest = hashlib.sha256(to_json([entry, unit])).hexdigest()
    return {"entry": entry, "proof": digest}


def make_unit(work: Work, unit: Unit, folder: Path, told: Told = nobody) -> None:
    """Makes a unit in `folder`, as `make_missing` does where it is not there."""
    files = read_source(work.raw)["splits"][unit.split]["files"]
    blocks = prefetch(read_blocks(work.raw, unit.split, work.block_bytes, unit))
    parts = in_order(_job(work, files), blocks, work.workers)
    with landing_once(folder / unit.name) as out:
        entry = _write(out, parts, told)
        documents = entry["documents"]
        check(
            documents == unit.documents,
            f"{unit.name} has {documents} documents, but raw/source.json counted "
            f"{unit.documents}; the source changed while it was read: run `make data` again",
        )
        write_hashed(out / ENTRY, [to_json(_proven(entry, unit))])


@contextmanager
def landing_once(folder: Path) -> Iterator[Path]:
    """Yields an empty folder; it is renamed to `folder`, unless one is there, which is the same.

    Its name has host, process and a random number, and nobody removes that of another, as the disk
    may be shared.
    """
    mark = f"{platform.node()}.{os.getpid()}.{uuid4().hex[:12]}"
    temporary = folder.with_name(f"{folder.name}.{mark}.tmp")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for path in (*temporary.iterdir(), temporary):
            flush(path)
        try:
            temporary.rename(folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        flush(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _job(work: Work, files: list) -> Callable[[Block], Encoded]:
    encoding = work.encoding
    dtype = dtype_for(encoding.n_vocab)

    def job(block: Block) -> Encoded:
        try:
            ids, tokens = work.encode(block)
        except Unencodable as error:
            raise UserError(f"{locate(files, error.document)} {error}") from None
        file = encoding if isinstance(encoding, FileTokenizer) else None
        lossy = file.lossy(block, ids, tokens) if file else None
        return Encoded(to_dtype(ids, dtype), tokens, np.diff(block.offsets), lossy)

    return job


def _write(out: Path, parts: Iterable[Encoded], told: Told) -> TokenSplit:
    end, documents, lossy = np.zeros(2, np.uint64), 0, list[int]()
    with HashedFile(out / "ids") as ids, HashedFile(out / "totals") as totals:
        totals.write(end.astype("<u8"))
        for part in parts:
            ids.write(part.ids)
            lengths = np.stack([part.tokens, part.bytes], axis=1).astype(np.uint64)
            offsets = end + np.cumsum(lengths, axis=0)
            totals.write(offsets.astype("<u8"))
            documents += len(lengths)
            lossy += [] if part.lossy is None else [part.lossy]
            end = offsets[-1] if len(offsets) else end
            told(len(lengths))
    made: TokenSplit = {
        "tokens": int(end[0]),
        "documents": documents,
        "bytes": int(end[1]),
        "sha256": {"ids": ids.hashes, "totals": totals.hashes},
    }
    if lossy:
        made["lossy_documents"] = sum(lossy)
    return made
