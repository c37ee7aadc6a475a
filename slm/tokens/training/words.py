"""Which words does a text have, and how often? As a pattern splits it.

In: a block of documents. Out: words, as UTF-8, with counts. GPT-2's pattern is gigatoken's own
count. For the others a space between a letter of ASCII and what follows always begins a word, so
the text is cut there first, equal cuts are counted, and the pattern splits each different one, by
the package regex, whose tables know the code points of Unicode 17 as gigatoken's do. Words at these
code points may be other ones than tiktoken's, and lead to other merges, whose ids are exact.
"""

import re
from collections import Counter

import numpy as np

from slm.text.blocks import Block
from slm.tokens.fast import silence
from slm.tokens.patterns import GPT2, PATTERNS

_SEPARATOR = b"\xff"  # never in UTF-8
_ONE = re.compile(rb" ?(?:[A-Z]*[a-z]+|[A-Z]+)")  # one word by every pattern: most of the text


def words_of(block: Block, pattern: str) -> dict[bytes, int]:
    """Returns the words of a block's documents; `pattern` is one of slm.tokens.patterns."""
    text = np.insert(block.data, block.offsets[1:], _SEPARATOR[0]).tobytes()
    return _gigatoken(text) if pattern == GPT2.name else _regex(text, PATTERNS[pattern].regex)


def _gigatoken(text: bytes) -> dict[bytes, int]:
    from gigatoken.gigatoken_rs import pretokenized_counts  # 0.2 s, and not everyone has it

    with silence():
        return dict(pretokenized_counts(text, _SEPARATOR))


def _regex(text: bytes, pattern: str) -> dict[bytes, int]:
    import regex

    find = regex.compile(pattern).findall
    words: dict[bytes, int] = {}
    for cut, count in Counter(_cuts(text)).items():
        for word in [cut] if _ONE.fullmatch(cut) else map(str.encode, find(cut.decode())):
            words[word] = words.get(word, 0) + count
    return words


def _cuts(text: bytes) -> list[bytes]:
    """Returns the text of all documents, cut at their ends and where words begin in any case."""
    data = np.frombuffer(text, np.uint8)
    letters = (data | 0x20) - np.uint8(ord("a")) < 26
    at = np.flatnonzero((data[1:] == ord(" ")) & letters[:-1]) + 1
    marked = np.insert(data, at, _SEPARATOR[0]).tobytes()
    return marked.split(_SEPARATOR)
