"""Compare both engines with tiktoken on hostile strings: -m tests.tokens.hostile 1000000

In: a number of strings (200,000 where none is given), for each of five published encodings: runs,
mixed scripts, marks, lone spaces, digits, contractions in every case, special tokens' text. Out: a
line each. Exits with status 1 if an id differs.
"""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice

import numpy as np
import tiktoken

from slm.text.blocks import block_of
from slm.tokens.agreement import hostile
from slm.tokens.published import SET_UP, load_encoding
from slm.tokens.tokenizer import encoder

SEED, TOGETHER = 7, 10_000
ENGINES = ("gigatoken", "tiktoken")


def differing(encoding: tiktoken.Encoding, number: int, engines=ENGINES) -> list[str]:
    """The strings whose ids by an engine are not those of `encode_ordinary`."""
    encode = {engine: encoder(engine, encoding) for engine in engines}
    drawn = hostile(number, SEED, [*encoding._special_tokens])
    return [text for part in _parts(drawn) for text in _of_part(encoding, encode, part)]


def _parts(texts: Iterator[str]) -> Iterator[list[str]]:
    while part := list(islice(texts, TOGETHER)):
        yield part


def _of_part(encoding: tiktoken.Encoding, encode: dict, texts: list[str]) -> list[str]:
    with ThreadPoolExecutor(2) as pool:
        expected = list(pool.map(encoding.encode_ordinary, texts))
    wrong: set[int] = set()
    for by in encode.values():
        ids, lengths = by(block_of(texts))
        if ids.tolist() != [*chain(*expected)] or lengths.tolist() != [*map(len, expected)]:
            made = np.split(ids, np.cumsum(lengths)[:-1])
            wrong |= {i for i, one in enumerate(made) if one.tolist() != expected[i]}
    return [texts[i] for i in sorted(wrong)]


def main() -> None:
    """Compare, and print."""
    number, found = int((sys.argv[1:] or ["200000"])[0]), 0
    for name in SET_UP:
        start = time.monotonic()
        wrong = differing(load_encoding(name), number)
        found += len(wrong)
        seconds = time.monotonic() - start
        print(f"{name}: {number:,} strings, {len(wrong):,} differ {wrong[:3]} ({seconds:.0f} s)")
    sys.exit(found > 0)


if __name__ == "__main__":
    main()
