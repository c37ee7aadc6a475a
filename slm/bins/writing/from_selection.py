"""How do selected documents become bins? In the selection's order, with the source row of each.

In: tokens/, selection/, and the end-of-text policy. Out: the bin of a split, its offsets, and
<split>.rows.npy (see slm.bins.format). Reading, ordering and writing overlap.
"""

from collections.abc import Iterable
from itertools import chain, repeat
from pathlib import Path

import numpy as np

from slm.bins.format import npy_header
from slm.bins.manifest import BinSplit
from slm.bins.writing.pieces import Chosen, Counts, Piece, pieces
from slm.bins.writing.shuffling import in_order
from slm.core.files import HashedFile
from slm.core.formats import Tokens
from slm.core.ids import dtype_for
from slm.core.threads import prefetch
from slm.tokens.tokenizer import Encode


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
    some: Iterable[Piece] = prefetch(pieces(folder, tokens, chosen, encode, counts))
    if (chosen.folder / f"{chosen.split}.places").exists():
        size = source["tokens"] * dtype.itemsize * documents // max(1, source["documents"])
        some = prefetch(in_order(some, documents, size, out.parent))
    end_of_text = np.array(vocabulary["end_of_text"], dtype).tobytes()
    return _write(out, chosen.split, some, documents, policy, end_of_text), counts


def _write(
    out: Path, split: str, pieces: Iterable[Piece], documents: int, policy: str, end_of_text: bytes
) -> BinSplit:
    names = (f"{split}.bin", f"{split}.docs.npy", f"{split}.rows.npy")
    files = [HashedFile(out / name) for name in names]
    end, more = np.zeros(2, "<u8"), int(policy != "none")
    with files[0] as ids, files[1] as docs, files[2] as rows:
        docs.write(npy_header((documents + 1, 2)) + end.tobytes())
        rows.write(npy_header((documents,)))
        for piece in pieces:
            ids.write(b"".join(_marked(piece.ids, policy, end_of_text)))
            rows.write(piece.documents["row"].astype("<u8"))
            lengths = np.stack([piece.documents["tokens"] + more, piece.documents["bytes"]], axis=1)
            offsets = end + np.cumsum(lengths, axis=0, dtype="<u8")
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


def _marked(ids: list[memoryview], policy: str, end_of_text: bytes) -> Iterable[bytes | memoryview]:
    """The ids of documents with end-of-text as the policy says."""
    if policy == "none":
        return ids
    pairs = zip(ids, repeat(end_of_text)) if policy == "append" else zip(repeat(end_of_text), ids)
    return chain.from_iterable(pairs)
