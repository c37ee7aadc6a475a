"""Which merges does a corpus yield? A vocabulary trained on your own text.

In: a dataset's raw/ folder and a number of ids. Out: the merges of byte-level BPE on the train
split, split by GPT-2's pattern, by gigatoken's trainer: those of Hugging Face's trainer, in their
order, for any order of the rows and any number of threads. A size that the corpus does not yield
is refused with the largest that works. Text with code points that only gigatoken knows (slm.tokens.unicode_gaps)
is split its way while it is learnt from; that may choose other merges, and changes no id of theirs.
What becomes of merges is in slm.tokens.bpe.
"""

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from slm.core.errors import UserError
from slm.text.blocks import read_blocks
from slm.text.raw import read_source
from slm.tokens.bpe import SMALLEST, Merge, encoding_of
from slm.tokens.tokenizer import Gigatoken
from slm.tokens.vocabulary import BYTES, check_name

_SEPARATOR = b"\xff"  # no byte of UTF-8
_MOST = 2**32  # ids; the trainer panics on more, and no corpus yields as many


def train(raw: Path, vocab_size: int) -> list[Merge]:
    """The vocab_size - 257 merges of the train split, in order.

    Raises UserError below 257 ids, and where the corpus is too small, with the largest size that
    works. Memory holds one block and the distinct words; the disk, for a while, the split's text.
    """
    check_vocabulary("bpe", vocab_size)
    if "train" not in (splits := read_source(raw)["splits"]):
        raise UserError(f"bpe is trained on split train, and there is only {', '.join(splits)}")
    if importlib.util.find_spec("gigatoken") is None:
        raise UserError(
            "tokenizer.encoding bpe is trained by gigatoken, which is not installed here; "
            "choose a published encoding, or build the bins elsewhere and `make pull`"
        )
    merges = _until_twice(_train(raw, min(vocab_size, _MOST) - 1))
    works = _largest(raw, merges)
    if works < vocab_size:
        raise UserError(
            f"tokenizer.vocab_size is {vocab_size}, and this corpus yields at most {works:,}; "
            "set it to that or less"
        )
    return merges


def check_vocabulary(encoding: str, vocab_size: int | None) -> None:
    """Raise UserError where no vocabulary can be made of these, whatever the text."""
    if encoding != "bpe":
        check_name(encoding)
    elif vocab_size < SMALLEST:
        raise UserError(
            f"tokenizer.vocab_size is {vocab_size}, expected {SMALLEST} or more: "
            "the 256 bytes and end-of-text"
        )


def _train(raw: Path, ids: int) -> list[Merge]:
    import gigatoken  # 0.2 s, and not everyone has it

    # The trainer takes text in one piece or a file, which it maps: pages that the kernel may drop.
    text = raw.parent / f"text.{os.getpid()}.tmp"
    try:
        with text.open("wb") as file:
            for block in read_blocks(raw, "train"):
                file.write(np.insert(block.data, block.offsets[1:], _SEPARATOR[0]))
        source = gigatoken.TextFileSource([text], separator=_SEPARATOR)
        with _silence():
            return gigatoken.train_bpe(source, ids, [])[1]
    finally:
        text.unlink(missing_ok=True)


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the whole process off the terminal: the trainer reports from Rust, past sys.stdout."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = {number: os.dup(number) for number in (1, 2)}
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in kept:
            os.dup2(nowhere, number)
        yield
    finally:
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)


def _until_twice(merges: list[Merge]) -> list[Merge]:
    """The merges before the first one whose token is there already: ranks name tokens by bytes."""
    known = set(BYTES)
    for number, (left, right) in enumerate(merges):
        if left + right in known:
            return merges[:number]
        known.add(left + right)
    return merges


def _largest(raw: Path, merges: list[Merge]) -> int:
    """How many ids the corpus yields, up to what was trained: its largest id, and end-of-text.

    The trainer does not stop where Hugging Face's does: when no pair is left it goes on with pairs
    that were there before. Their tokens stand nowhere in the text, while the last token that was
    learnt does, since nothing merges it further. Costs a few blocks where the corpus is large
    enough, and a pass over the train split where it is not.
    """
    engine, most, largest = Gigatoken(encoding_of(merges)), 255 + len(merges), 255
    for block in read_blocks(raw, "train"):
        if largest == most:
            break
        largest = max(largest, int(engine(block)[0].max(initial=0)))
    return largest + 2
