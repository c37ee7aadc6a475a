"""What are bins like? A split in figures: counts, lengths, ids, entropy, borders.

In: opened bins, and a number of tokens per row. Out: a dict of whole numbers, of floats as they
were computed (slm.core.rounding rounds them) and of None where there is nothing to divide by. Only
the bins are read, a part at a time: memory is a few MB, 8 bytes per id of the vocabulary and 24 per
document, and 472 million tokens take seconds. Tokens are those of the bins: where their manifest
says that end-of-text was appended or prepended, it is one more token of each document, an empty one
too, and counts in every figure but documents, empty documents and text bytes.
"""

import numpy as np

from slm.bins.format import REPAIR
from slm.bins.opening import Bins
from slm.bins.reading import id_parts
from slm.core.errors import UserError
from slm.core.rounding import ratio
from slm.stats.histograms import rank_rows, slope

CHUNK = 2**20  # ids at a time; np.bincount widens them to 8 bytes each
RARE = 100  # an id seen fewer times is hardly learnt


def figures(bins: Bins, split: str, block_size: int, seen: np.ndarray | None = None) -> dict:
    """The figures of a split; raises UserError where its ids are not of its vocabulary.

    `seen` are its `counts`, where the caller has them.

    bytes_per_token           text bytes / tokens
    tokens_per_document       mean, and of the lengths in ascending order p50, p90, p99: the least
                            that is no shorter than so many percent of all documents; longest
    vocabulary_share        distinct ids that occur / vocabulary size, end-of-text an id of it
    rare_ids                ids of the vocabulary seen fewer than 100 times, unseen ones among them
    entropy_bits_per_token    -Σ p·log2 p over the ids' shares p of the tokens
    entropy_bits_per_byte     the same · tokens / text bytes
    rank_slope              of log count over log rank, fitted to the rows of `ranks`
    windows_across_borders  the share of rows that hold tokens of two documents or more: of the
                            rows of T + 1 tokens, T = block_size, that the order "random" draws,
                            which start at 0 … N − T − 1, each as likely
    """
    if block_size < 1:
        raise UserError(f"block_size is {block_size}; it must be at least 1")
    about, long = bins.manifest["splits"][split], lengths(bins, split)
    seen = counts(bins, split) if seen is None else seen
    tokens, text_bytes = about["tokens"], about["text_bytes"]
    bits = entropy(seen)
    return {
        "documents": about["documents"],
        "empty_documents": int(np.count_nonzero(np.diff(bins.docs(split)[:, 1]) == 0)),
        "tokens": tokens,
        "text_bytes": text_bytes,
        "bin_bytes": tokens * np.dtype(bins.manifest["dtype"]).itemsize,
        "bytes_per_token": ratio(text_bytes, tokens),
        "tokens_per_document": _spread(long, tokens),
        "vocabulary_share": ratio(int(np.count_nonzero(seen)), len(seen)),
        "rare_ids": int(np.count_nonzero(seen < RARE)),
        "entropy_bits_per_token": bits,
        "entropy_bits_per_byte": None if bits is None else ratio(bits * tokens, text_bytes),
        "rank_slope": slope(rank_rows(seen)),
        "windows_across_borders": across(long, tokens, block_size),
    }


def counts(bins: Bins, split: str) -> np.ndarray:
    """(vocabulary size,) int64: how often each id stands in a split."""
    size = bins.manifest["tokenizer"]["vocab_size"]
    counted = np.zeros(size, np.int64)
    for ids in id_parts(bins, split, most=CHUNK):
        if (largest := int(ids.max())) >= size:
            raise UserError(
                f"{bins.folder}: {split} holds the id {largest} and its vocabulary has {size}; "
                f"{REPAIR}"
            )
        counted += np.bincount(ids, minlength=size)
    return counted


def lengths(bins: Bins, split: str) -> np.ndarray:
    """(documents,) int64: the tokens of each document."""
    return np.diff(bins.docs(split)[:, 0]).astype(np.int64)


def entropy(seen: np.ndarray) -> float | None:
    """Bits an id of ids seen so often; None where none was seen."""
    seen = seen[seen > 0]
    total = int(seen.sum())
    return float((seen * np.log2(total / seen)).sum() / total) if total else None


def across(lengths: np.ndarray, tokens: int, block_size: int) -> float | None:
    """The share of rows of block_size + 1 tokens that cross a border; None where there is no row.

    Told from the rows that do not: a document of n tokens holds n - block_size, or none.
    """
    starts = tokens - block_size
    within = int((lengths - block_size).clip(min=0).sum())
    return (starts - within) / starts if starts > 0 else None


def _spread(lengths: np.ndarray, tokens: int) -> dict:
    ordered = np.sort(lengths)
    ranks = {f"p{share}": -(-len(ordered) * share // 100) - 1 for share in (50, 90, 99)}
    return {
        "mean": ratio(tokens, len(ordered)),
        **{name: int(ordered[rank]) for name, rank in ranks.items()},
        "longest": int(ordered[-1]),
    }
