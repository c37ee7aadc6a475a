"""Which merges does a corpus yield? A vocabulary trained on your own text.

In: a dataset's raw/ and selection/, a number of ids, a pattern. Out: the merges of byte-level BPE
on the documents that are selected as train, whose words slm.tokens.training.words counts and
slm.tokens.training.pairs merges. They are those of Hugging Face's trainer, in the same order, for
any order of the rows and any number of threads. If the corpus does not yield that many ids, the
error names the largest number. slm.tokens.bpe turns merges into a vocabulary.
"""

import importlib.util
import sys
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from slm.core.errors import check
from slm.selection.blocks import selected_blocks
from slm.selection.files import read_selection
from slm.text.raw import read_source
from slm.tokens.bpe import Merge
from slm.tokens.training.pairs import LETTERS, pairs
from slm.tokens.training.words import words_of
from slm.tokens.wanted import SMALLEST, Wanted

_COUNTED = 16 * 2**20  # bytes of text at a time: more than a block, since most words recur


def train(wanted: Wanted, raw: Path, selection: Path | None = None) -> list[Merge]:
    """Returns the merges of the train split, in order: vocab_size less bytes and special tokens.

    `selection` is selection/, or None for every document of the source.

    Raises UserError if the corpus is too small, with the largest size that works. Memory follows
    the number of distinct words: about 100 bytes for each of their letters.
    """
    splits = read_selection(selection)["splits"] if selection else read_source(raw)["splits"]
    check(
        "train" in splits, f"bpe is trained on split train, and there is only {', '.join(splits)}"
    )
    check(
        importlib.util.find_spec("gigatoken") is not None,
        "tokenizer.encoding bpe counts words by gigatoken, which is not installed here; "
        "choose a published encoding, or build the bins elsewhere and `make pull`",
    )
    assert wanted.vocab_size  # wanted() asked
    others = SMALLEST + len(wanted.special_tokens)
    merges = _train(raw, wanted.vocab_size - others, wanted.pattern, selection)
    works = others + len(merges)
    check(
        wanted.vocab_size <= works,
        f"tokenizer.vocab_size is {wanted.vocab_size}, and this corpus yields at most {works:,}; "
        "set it to that or less",
    )
    return merges


def _train(raw: Path, number: int, pattern: str, selection: Path | None) -> list[Merge]:
    """Returns so many merges, or all that there are."""
    tokens = [bytes([byte]) for byte in LETTERS]
    merges: list[Merge] = []
    most = min(number, sys.maxsize)
    following = islice(pairs(_words(raw, pattern, selection)), most)
    for left, right in tqdm(following, "merges", most, delay=2, disable=None):
        merges.append((tokens[left], tokens[right]))
        tokens.append(tokens[left] + tokens[right])
    return merges


def _words(raw: Path, pattern: str, selection: Path | None) -> dict[bytes, int]:
    """Returns the words of the train split, as UTF-8, and how often each occurs."""
    words: dict[bytes, int] = {}
    blocks = selected_blocks(raw, selection, "train", _COUNTED)
    for block in tqdm(blocks, "blocks of words", unit=" blocks", delay=2, disable=None):
        for word, count in words_of(block, pattern).items():
            words[word] = words.get(word, 0) + count
    return words
