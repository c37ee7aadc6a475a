"""Bins to measure on where there is no text: as many tokens as asked for, told from a counter.

In: a number of tokens, or of documents. Out: a folder of bins as slm.bins has them, split "train"
alone, of uint16 ids below 50,257, uniform and without any meaning; the manifest says that it is
synthetic. So many tokens lie in documents of 222 as TinyStories has on average; so many documents
have lengths like its own, and end-of-text after each. Ids and lengths follow from words of
slm.core.counter in integers, so that the same bytes, and the same digest of batches, come out on
every machine and with every NumPy. Tens of MB are in memory at a time; TinyStories' 472 million
tokens take seconds.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from slm.bins.format import write_docs, write_manifest
from slm.core.counter import word
from slm.core.errors import UserError
from slm.core.ids import write_ids

SEED = 1337
VOCABULARY = 50_257  # GPT-2's ids
DOCUMENT, BYTES = 222, 4  # tokens per document, bytes of text a token: about TinyStories'
END_OF_TEXT = VOCABULARY - 1
CHUNK = 2**20  # words of four ids each, or rows of totals
# Lengths of stories: so many in 10,000 have fewer tokens; evenly between. Their mean is 222.
SHARES = (0, 100, 500, 1000, 2500, 5000, 7500, 9000, 9500, 9900, 9990, 9999, 10_000)
QUANTILES = (20, 24, 40, 90, 160, 197, 242, 384, 480, 656, 900, 1500, 4000)


@contextmanager
def synthetic(tokens: int) -> Iterator[Path]:
    """Yield a folder of bins with so many tokens; it is removed when the block ends.

    Raises UserError where the disk has no room for it.
    """
    needed, position = tokens * 2 + tokens // DOCUMENT * 16, tempfile.gettempdir()  # bytes
    if (free := shutil.disk_usage(position).free) < needed:
        raise UserError(
            f"{tokens:,} synthetic tokens need {needed / 1e6:,.0f} MB and {position} has "
            f"{free / 1e6:,.0f} free; ask for fewer, or set TMPDIR to a folder on another disk"
        )
    with tempfile.TemporaryDirectory(prefix="slm-synthetic-") as folder:
        write_synthetic(Path(folder), tokens)
        yield Path(folder)


def write_synthetic(folder: Path, tokens: int) -> dict:
    """Fill the empty `folder` with bins of `tokens` synthetic tokens; return the manifest."""
    edges = np.arange(-(-tokens // DOCUMENT) + 1, dtype=np.uint64) * DOCUMENT
    return _write(folder, np.minimum(edges, tokens), SEED, "none")


def write_stories(folder: Path, documents: int, seed: int = SEED) -> dict:
    """Fill the empty `folder` with so many documents, as long as stories; return the manifest."""
    return _write(folder, np.append(0, np.cumsum(lengths(documents, seed))), seed, "append")


def lengths(documents: int, seed: int) -> np.ndarray:
    """Returns the tokens of each document, end-of-text included, (documents,) int64."""
    drawn = word(2**32 + seed, np.arange(documents, dtype=np.uint64)) >> np.uint64(32)
    drawn = drawn.astype(np.int64)
    edges = np.array(SHARES) * 2**32 // SHARES[-1]
    part = np.searchsorted(edges, drawn, side="right") - 1
    within, wide = drawn - edges[part], np.diff(edges)[part]
    return np.array(QUANTILES)[part] + np.diff(QUANTILES)[part] * within // wide


def _write(folder: Path, edges: np.ndarray, seed: int, end_of_text: str) -> dict:
    documents, tokens = len(edges) - 1, int(edges[-1])
    ends = edges[1:] - 1 if end_of_text == "append" else edges[:0]
    files = {
        "train.bin": write_ids(folder / "train.bin", _ids(tokens, seed, ends), np.dtype("<u2")),
        "train.docs.npy": write_docs(
            folder / "train.docs.npy", _totals(edges, bool(len(ends))), documents
        ),
    }
    text_bytes = (tokens - len(ends)) * BYTES
    split = {"tokens": tokens, "documents": documents, "text_bytes": text_bytes, "files": files}
    content = {
        "dataset": {"name": "synthetic", "kind": "synthetic", "seed": seed},
        "tokenizer": {"encoding": "none: synthetic ids", "vocab_size": VOCABULARY},
        "end_of_text": end_of_text,
        "dtype": "uint16",
        "splits": {"train": split},
    }
    return write_manifest(folder, content)


def _ids(tokens: int, seed: int, ends: np.ndarray) -> Iterator[np.ndarray]:
    """(up to 4·CHUNK,) uint32 each: 16 bits of a word scaled to the vocabulary."""
    words = -(-tokens // 4)
    for first in range(0, words, CHUNK):
        counters = np.arange(first, min(words, first + CHUNK), dtype=np.uint64)
        drawn = word(seed, counters).astype("<u8", copy=False).view("<u2")
        ids = (drawn[: tokens - 4 * first].astype(np.uint32) * VOCABULARY) >> 16
        begin, stop = np.searchsorted(ends, [4 * first, 4 * first + len(ids)])
        ids[ends[begin:stop].astype(np.int64) - 4 * first] = END_OF_TEXT
        yield ids


def _totals(edges: np.ndarray, ended: bool) -> Iterator[np.ndarray]:
    """(up to CHUNK, 2) uint64 each: running totals of tokens and of bytes of text."""
    for first in range(0, len(edges), CHUNK):
        some = edges[first : first + CHUNK].astype(np.uint64)
        before = np.arange(first, first + len(some), dtype=np.uint64) * ended  # end-of-texts
        yield np.stack([some, (some - before) * BYTES], axis=1)
