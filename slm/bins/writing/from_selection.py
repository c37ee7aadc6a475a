"""How do selected documents become bins? In the selection's order, with the source row of each.

In: tokens/, selection/, and the end-of-text policy. Out: the bin of a split, its offsets, and
<split>.rows.npy (see slm.bins.format). Reading, ordering and writing overlap.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from slm.bins.format import npy_header
from slm.bins.manifest import BinSplit
from slm.bins.writing.pieces import Chosen, Counts, Piece, pieces
from slm.bins.writing.reading import joined
from slm.bins.writing.shuffling import in_order
from slm.core.files import HashedFile
from slm.core.formats import Tokens
from slm.core.ids import dtype_for
from slm.core.threads import prefetch
from slm.tokens.tokenizer import Encode

Marked = tuple[np.ndarray, np.ndarray]  # (documents,) PLACED, and their ids end to end


def write_selected(
    folder: Path, out: Path, tokens: Tokens, chosen: Chosen, policy: str, encode: Encode
) -> tuple[BinSplit, Counts]:
    """Writes the files of a split into `out`; returns its entry, and what was asked for.

    `folder` is tokens/. Raises UserError if it is corrupt.
    """
    counts, vocabulary = Counts(), tokens["vocabulary"]
    source = tokens["splits"][chosen.source]
    documents = chosen.selection["splits"][chosen.split]["documents"]
    dtype = dtype_for(vocabulary["vocab_size"])
    some: Iterable[Piece] = prefetch(pieces(folder, tokens, chosen, encode, counts), 1)
    if (chosen.folder / f"{chosen.split}.places").exists():
        size = source["tokens"] * dtype.itemsize * documents // max(1, source["documents"])
        some = prefetch(in_order(some, documents, size, out.parent), 1)
    marked = (_marked(piece, dtype, policy, vocabulary["end_of_text"]) for piece in some)
    return _write(out, chosen.split, prefetch(marked, 1), documents), counts


def _marked(piece: Piece, dtype: np.dtype, policy: str, end_of_text: int) -> Marked:
    """The documents with their ids, and end-of-text among these as the policy says."""
    ids, documents = joined(piece.ids).view(dtype), piece.documents
    if policy == "none":
        return documents, ids
    ends = np.cumsum(documents["tokens"])
    at = ends if policy == "append" else ends - documents["tokens"]
    more = documents.copy()
    more["tokens"] += 1
    return more, np.insert(ids, at, end_of_text)


def _write(out: Path, split: str, parts: Iterable[Marked], documents: int) -> BinSplit:
    names = (f"{split}.bin", f"{split}.docs.npy", f"{split}.rows.npy")
    files, end = [HashedFile(out / name) for name in names], np.zeros(2, "<u8")
    with files[0] as bin_, files[1] as docs, files[2] as rows:
        docs.write(npy_header((documents + 1, 2)) + end.tobytes())
        rows.write(npy_header((documents,)))
        for part, ids in parts:
            bin_.write(ids)
            rows.write(part["row"].astype("<u8"))
            offsets = end + np.cumsum(np.stack([part["tokens"], part["bytes"]], 1), 0, "<u8")
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
