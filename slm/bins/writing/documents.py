"""How are documents written? Their ids, end-of-text among these as the policy says, and offsets.

In: pieces (slm.bins.writing.pieces) in the order of the bins. Out: <split>.bin, <split>.docs.npy
and, where it is asked for, <split>.rows.npy (slm.bins.format). Memory is a few pieces.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from tqdm import tqdm

from slm.bins.format import npy_header
from slm.bins.manifest import BinSplit
from slm.bins.writing.pieces import Piece, totals
from slm.bins.writing.reading import joined
from slm.bins.writing.sharding import write_shards
from slm.core.files import HashedFile
from slm.core.formats import Vocabulary
from slm.core.ids import dtype_for
from slm.core.threads import prefetch

Marked = tuple[np.ndarray, np.ndarray]  # (documents,) PLACED, and their ids end to end


def write_documents(
    out: Path,
    split: str,
    pieces: Iterable[Piece],
    documents: int,
    vocabulary: Vocabulary,
    policy: str,
    rows: bool,
    shard_tokens: int | None = None,
) -> BinSplit:
    """Writes the files of a split of so many documents; `rows` says whether that of rows, too."""
    dtype, end_of_text = dtype_for(vocabulary["vocab_size"]), vocabulary["end_of_text"]
    marked = (with_end_of_text(piece, dtype, policy, end_of_text) for piece in pieces)
    parts = _shown(prefetch(marked, 1), f"{split}.bin", documents)
    if shard_tokens is not None:
        return write_shards(out, split, parts, shard_tokens, dtype, rows)
    return _write(out, split, parts, documents, rows)


def with_end_of_text(piece: Piece, dtype: np.dtype, policy: str, end_of_text: int | None) -> Marked:
    """Returns the documents with their ids, and end-of-text among these as the policy says."""
    ids, documents = joined(piece.ids).view(dtype), piece.documents
    if policy == "none":
        return documents, ids
    assert end_of_text is not None  # write_bins refused
    ends = np.cumsum(documents["tokens"])
    at = ends if policy == "append" else ends - documents["tokens"]
    more = documents.copy()
    more["tokens"] += 1
    return more, np.insert(ids, at, end_of_text)


def _shown(parts: Iterable[Marked], what: str, documents: int) -> Iterator[Marked]:
    """Yields the parts, under a bar."""
    with tqdm(desc=what, total=documents, unit="doc", delay=2, disable=None) as bar:
        for part in parts:
            yield part
            bar.update(len(part[0]))


def _write(out: Path, split: str, parts: Iterable[Marked], documents: int, rows: bool) -> BinSplit:
    names = [f"{split}.bin", f"{split}.docs.npy", *([f"{split}.rows.npy"] if rows else [])]
    files, end = [HashedFile(out / name) for name in names], np.zeros(2, "<u8")
    with ExitStack() as stack:
        bin_, docs, *others = map(stack.enter_context, files)
        docs.write(npy_header((documents + 1, 2)) + end.tobytes())
        for file in others:
            file.write(npy_header((documents,)))
        for part, ids in parts:
            bin_.write(ids)
            for file in others:
                file.write(part["row"].astype("<u8"))
            offsets = end + totals(part)
            docs.write(offsets)
            end = offsets[-1] if len(offsets) else end
    tokens, text_bytes = end.tolist()
    entries = {n: {"bytes": f.size, "sha256": f.hashes} for n, f in zip(names, files, strict=True)}
    return {
        "tokens": tokens,
        "documents": documents,
        "text_bytes": text_bytes,
        "files": entries,  # type: ignore[typeddict-item]
    }
