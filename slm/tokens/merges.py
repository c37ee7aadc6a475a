"""Which merges does a corpus yield? A vocabulary trained on your own text.

In: a dataset's raw/ and selection/ and a number of ids. Out: the merges of byte-level BPE on the
documents that are selected as train, which GPT-2's pattern splits into words: gigatoken counts
them, slm.tokens.pairs merges. They are those of Hugging Face's trainer, in the same order, for any
order of the rows and any number of threads. If the corpus does not yield that many ids, the error
names the largest number. Words are split at code points that gigatoken alone knows
(slm.tokens.unicode_gaps) as gigatoken does; this may choose other merges, but their ids are the
same. slm.tokens.bpe turns merges into a vocabulary.
"""

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from slm.core.errors import UserError, check
from slm.selection.blocks import selected_blocks
from slm.selection.files import read_selection
from slm.text.raw import read_source
from slm.tokens.bpe import SMALLEST, Merge
from slm.tokens.pairs import LETTERS, pairs
from slm.tokens.vocabulary import check_name

_SEPARATOR = b"\xff"  # never in UTF-8
_COUNTED = 16 * 2**20  # bytes of text at a time: more than a block, since most words recur


def train(raw: Path, vocab_size: int, selection: Path | None = None) -> list[Merge]:
    """Returns the vocab_size - 257 merges of the train split, in order.

    `selection` is selection/, or None for every document of the source.

    Raises UserError below 257 ids, and if the corpus is too small, with the largest size that
    works. Memory follows the number of distinct words: about 100 bytes for each of their letters.
    """
    check_vocabulary("bpe", vocab_size)
    splits = read_selection(selection)["splits"] if selection else read_source(raw)["splits"]
    check(
        "train" in splits, f"bpe is trained on split train, and there is only {', '.join(splits)}"
    )
    check(
        importlib.util.find_spec("gigatoken") is not None,
        "tokenizer.encoding bpe counts words by gigatoken, which is not installed here; "
        "choose a published encoding, or build the bins elsewhere and `make pull`",
    )
    merges = _train(raw, vocab_size - SMALLEST, selection)
    works = SMALLEST + len(merges)
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


def _train(raw: Path, number: int, selection: Path | None) -> list[Merge]:
    """Returns so many merges, or all that there are."""
    tokens = [bytes([byte]) for byte in LETTERS]
    merges: list[Merge] = []
    most = min(number, sys.maxsize)
    following = islice(pairs(_words(raw, selection)), most)
    for left, right in tqdm(following, "merges", most, delay=2, disable=None):
        merges.append((tokens[left], tokens[right]))
        tokens.append(tokens[left] + tokens[right])
    return merges


def _words(raw: Path, selection: Path | None) -> dict[bytes, int]:
    """Returns the words of the train split, as UTF-8, and how often each occurs."""
    from gigatoken.gigatoken_rs import pretokenized_counts  # 0.2 s, and not everyone has it

    words: dict[bytes, int] = {}
    blocks = selected_blocks(raw, selection, "train", _COUNTED)
    for block in tqdm(blocks, "blocks of words", unit=" blocks", delay=2, disable=None):
        text = np.insert(block.data, block.offsets[1:], _SEPARATOR[0]).tobytes()
        with _silence():
            counted = pretokenized_counts(text, _SEPARATOR)
        for word, count in counted:
            words[word] = words.get(word, 0) + count
    return words


@contextmanager
def _silence() -> Iterator[None]:
    """Silences the process: gigatoken prints from Rust, not through sys.stdout."""
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
