"""How are ids made at gigatoken's speed, and exactly those of the reference?

In: an encoding, a function that makes gigatoken's engine for it, and the code points on which the
two are known to differ. Out: an encoder of blocks. The reference encodes the documents that hold
such a code point, or more whitespace than tiktoken can split.
"""

import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import psutil
import tiktoken

from slm.text.blocks import Block
from slm.tokens.bpe import tokenizer_json
from slm.tokens.patterns import named
from slm.tokens.reference import Encoding, joined, reference_ids, with_long_space
from slm.tokens.unicode_gaps import GAPS, Holding, Spans
from slm.tokens.vocabulary import rank_file

_CACHE_BYTES = 200 * 2**20  # gigatoken's cache is dropped when the process has grown by this
WHOLE_PIECES = ("llama3",)  # some of its tokens come of no pair: gigatoken's loader of ranks panics


class Gigatoken(threading.local):
    """gigatoken's encoder; each thread has its own engine, whose cache is dropped when it grows."""

    def __init__(self, encoding: Encoding, make: Callable[[], Any], gaps: Spans) -> None:
        self._encoding, self._make, self._holding = encoding, make, Holding(gaps)
        self._process, self._engine, self._rss = psutil.Process(), None, 0

    def __call__(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """Returns the ids of a block, (tokens,) uint32, and (documents,) int64 lengths."""
        if self._engine is None or self._process.memory_info().rss - self._rss > _CACHE_BYTES:
            self._engine = None  # frees the old cache first
            self._engine = self._make()
            self._rss = self._process.memory_info().rss
        ids, lengths = encode_block(self._engine, block)
        if not (differing := {*self._holding(block), *with_long_space(block)}):
            return ids, lengths
        pieces = np.split(ids, np.cumsum(lengths)[:-1])
        for i in differing:
            pieces[i] = reference_ids(self._encoding, block, i)
        return joined(pieces)


def gigatoken(encoding: tiktoken.Encoding) -> Gigatoken:
    """Returns the encoder of an encoding whose pattern is known."""
    pattern = named(encoding._pat_str)
    assert pattern  # choose_engine asked
    if encoding.name in WHOLE_PIECES:
        content = tokenizer_json(encoding, whole_pieces=True)
        return Gigatoken(encoding, lambda: from_json(content), GAPS[pattern.name])
    ranks = rank_file(encoding)
    return Gigatoken(encoding, lambda: _from_ranks(ranks, pattern.gigatoken), GAPS[pattern.name])


def from_json(content: bytes) -> Any:
    """Returns gigatoken's engine of a tokenizer.json."""
    import gigatoken  # 0.2 s, and not everyone has it

    return gigatoken.Tokenizer.from_json(content)


def _from_ranks(ranks: bytes, pattern: str) -> Any:
    import gigatoken

    with tempfile.NamedTemporaryFile(suffix=".tiktoken") as file:
        file.write(ranks)
        file.flush()
        # With special_tokens={} the text <|endoftext|> is text, as it is to encode_ordinary.
        return gigatoken.Tokenizer.from_tiktoken(file.name, pattern, special_tokens={})


def encode_block(engine: Any, block: Block) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ids of a block by a bare engine, and their lengths."""
    import awkward as ak

    text = ak.contents.NumpyArray(block.data, parameters={"__array__": "char"})
    documents = ak.contents.ListOffsetArray(
        ak.index.Index64(block.offsets), text, parameters={"__array__": "string"}
    )
    # parallel=False: several threads encode a block each
    encoded = engine.encode_batch(ak.Array(documents), parallel=False).layout
    return np.asarray(encoded.content.data), np.diff(encoded.offsets.data)


@contextmanager
def silence() -> Iterator[None]:
    """Silences the process: Rust prints of its own, not through sys.stdout."""
    sys.stdout.flush()
    sys.stderr.flush()
    copies = {number: os.dup(number) for number in (1, 2)}
    devnull = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in copies:
            os.dup2(devnull, number)
        yield
    finally:
        for number, copy in copies.items():
            os.dup2(copy, number)
            os.close(copy)
        os.close(devnull)
