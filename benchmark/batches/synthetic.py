"""Bins to measure on where there is no text: as many tokens as asked for, told from a counter.

In: a number of tokens. Out: a folder of bins as slm.bins has them, split "train" alone, of uint16
ids below 50,257, uniform and without any meaning, in documents of 222 tokens as TinyStories has on
average; the manifest says that it is synthetic. The ids are words of slm.core.counter, so that
the same bytes, and the same digest of batches, come out on every machine and with every NumPy. Tens
of MB are in memory at a time; TinyStories' 472 million tokens take seconds.
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
CHUNK = 2**20  # words of four ids each, or rows of totals


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
    documents = -(-tokens // DOCUMENT)
    files = {
        "train.bin": write_ids(folder / "train.bin", _ids(tokens), np.dtype("<u2")),
        "train.docs.npy": write_docs(
            folder / "train.docs.npy", _totals(tokens, documents), documents
        ),
    }
    split = {"tokens": tokens, "documents": documents, "text_bytes": tokens * BYTES, "files": files}
    content = {
        "dataset": {"name": "synthetic", "kind": "synthetic", "seed": SEED},
        "tokenizer": {"encoding": "none: synthetic ids", "vocab_size": VOCABULARY},
        "end_of_text": "none",
        "dtype": "uint16",
        "splits": {"train": split},
    }
    return write_manifest(folder, content)


def _ids(tokens: int) -> Iterator[np.ndarray]:
    """(up to 4·CHUNK,) uint32 each: 16 bits of a word scaled to the vocabulary."""
    words = -(-tokens // 4)
    for first in range(0, words, CHUNK):
        counters = np.arange(first, min(words, first + CHUNK), dtype=np.uint64)
        drawn = word(SEED, counters).astype("<u8", copy=False).view("<u2")
        yield (drawn[: tokens - 4 * first].astype(np.uint32) * VOCABULARY) >> 16


def _totals(tokens: int, documents: int) -> Iterator[np.ndarray]:
    """(up to CHUNK, 2) uint64 each: running totals of tokens and of bytes."""
    for first in range(0, documents + 1, CHUNK):
        edges = np.arange(first, min(documents + 1, first + CHUNK), dtype=np.uint64) * DOCUMENT
        edges = np.minimum(edges, tokens)
        yield np.stack([edges, edges * BYTES], axis=1)
