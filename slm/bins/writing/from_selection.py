"""How do selected documents become bins? In the selection's order, with the source row of each.

In: tokens/, selection/, and the end-of-text policy. Out: the files of a split. Reading, ordering
and writing overlap.
"""

from collections.abc import Iterable
from pathlib import Path

from slm.bins.manifest import BinSplit
from slm.bins.writing.documents import write_documents
from slm.bins.writing.pieces import Chosen, Counts, Piece, pieces
from slm.bins.writing.shuffling import in_order
from slm.core.formats import Tokens
from slm.core.ids import dtype_for
from slm.core.threads import prefetch
from slm.tokens.reference import Encode


def write_selected(
    folder: Path,
    out: Path,
    tokens: Tokens,
    chosen: Chosen,
    policy: str,
    encode: Encode,
    shard_tokens: int | None = None,
) -> tuple[BinSplit, Counts]:
    """Writes the files of a split into `out`; returns its entry, and what was asked for.

    `folder` is tokens/. Raises UserError if it is corrupt.
    """
    counts, vocabulary = Counts(), tokens["vocabulary"]
    source = tokens["splits"][chosen.source]
    documents = chosen.selection["splits"][chosen.split]["documents"]
    some: Iterable[Piece] = prefetch(pieces(folder, tokens, chosen, encode, counts), 1)
    if (chosen.folder / f"{chosen.split}.places").exists():
        width = dtype_for(vocabulary["vocab_size"]).itemsize
        size = source["tokens"] * width * documents // max(1, source["documents"])
        some = prefetch(in_order(some, documents, size, out.parent), 1)
    made = write_documents(
        out, chosen.split, some, documents, vocabulary, policy, True, shard_tokens
    )
    return made, counts
