"""Which merges does a corpus yield? A vocabulary trained on your own text.

In: a dataset's raw/ folder and a number of ids. Out: the merges of byte-level BPE, learnt by
gigatoken's trainer on the train split, which GPT-2's pattern splits. They are those of Hugging
Face's trainer, in the same order, for any order of the rows and any number of threads. If the
corpus does not yield that many ids, the error names the largest number. Training splits code
points that gigatoken alone knows (slm.tokens.unicode_gaps) as gigatoken does; this may choose other
merges, but their ids are the same. slm.tokens.bpe turns merges into a vocabulary.
"""

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from slm.core.errors import UserError, check
from slm.text.blocks import read_blocks
from slm.text.raw import read_source
from slm.tokens.bpe import SMALLEST, Merge, encoding_of
from slm.tokens.tokenizer import Gigatoken
from slm.tokens.vocabulary import BYTES, check_name

_SEPARATOR = b"\xff"  # never in UTF-8
_MOST = 2**32  # ids; the trainer fails above, and no corpus yields as many


def train(raw: Path, vocab_size: int) -> list[Merge]:
    """Returns the vocab_size - 257 merges of the train split, in order.

    Raises UserError below 257 ids, and if the corpus is too small, with the largest size that
    works. Memory holds one block and the distinct words; a temporary file holds the split's text.
    """
    check_vocabulary("bpe", vocab_size)
    splits = read_source(raw)["splits"]
    check(
        "train" in splits, f"bpe is trained on split train, and there is only {', '.join(splits)}"
    )
    check(
        importlib.util.find_spec("gigatoken") is not None,
        "tokenizer.encoding bpe is trained by gigatoken, which is not installed here; "
        "choose a published encoding, or build the bins elsewhere and `make pull`",
    )
    merges = _until_twice(_train(raw, min(vocab_size, _MOST) - 1))
    works = _largest(raw, merges)
    check(
        vocab_size <= works,
        f"tokenizer.vocab_size is {vocab_size}, and this corpus yields at most {works:,}; "
        "set it to that or less",
    )
    return merges


def check_vocabulary(encoding: str, vocab_size: int | None) -> None:
    """Raises UserError if these give no vocabulary on any text."""
    if encoding != "bpe":
        check_name(encoding)
    elif vocab_size is None or vocab_size < SMALLEST:
        raise UserError(
            f"tokenizer.vocab_size is {vocab_size}, expected {SMALLEST} or more: "
            "the 256 bytes and end-of-text"
        )


def _train(raw: Path, ids: int) -> list[Merge]:
    import gigatoken  # 0.2 s, and not everyone has it

    # The trainer maps a file, so the kernel may drop its pages; text in memory would stay.
    text = raw.parent / f"text.{os.getpid()}.tmp"
    try:
        with text.open("wb") as file:
            for block in read_blocks(raw, "train"):
                file.write(np.insert(block.data, block.offsets[1:], _SEPARATOR[0]).data)
        source = gigatoken.TextFileSource([text], separator=_SEPARATOR)
        with _silence():
            return gigatoken.train_bpe(source, ids, [])[1]
    finally:
        text.unlink(missing_ok=True)


@contextmanager
def _silence() -> Iterator[None]:
    """Silences the process: the trainer prints from Rust, not through sys.stdout."""
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


def _until_twice(merges: list[Merge]) -> list[Merge]:
    """Returns the merges before the first one that makes a known token: ranks identify tokens."""
    known = set(BYTES)
    for number, (left, right) in enumerate(merges):
        if left + right in known:
            return merges[:number]
        known.add(left + right)
    return merges


def _largest(raw: Path, merges: list[Merge]) -> int:
    """Returns how many ids the corpus yields, up to those trained: its largest id and end-of-text.

    Hugging Face's trainer stops when no pair is left; this one repeats earlier pairs. Their tokens
    are nowhere in the text, but the last learnt token is, since nothing merges it further. Reads a
    few blocks if the corpus is large enough, else the train split.
    """
    engine, most, largest = Gigatoken(encoding_of(merges)), 255 + len(merges), 255
    for block in read_blocks(raw, "train"):
        if largest == most:
            break
        largest = max(largest, int(engine(block)[0].max(initial=0)))
    return largest + 2
