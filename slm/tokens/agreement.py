"""Does gigatoken give a tokenizer.json's ids? Compared on every code point and on hostile text.

In: a tokenizer. Out: the code points on which the two engines differ, whose documents go to the
reference, and why gigatoken cannot be taken, if so. The texts are the same each time: code points
in several contexts, all of the planes that have characters and one of sixteen in the others, and
strings of what tokenizers treat in ways of their own. What was found is kept in a folder under a
hash of the file and of both libraries' versions.
"""

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from slm.core.files import to_json, write_file
from slm.text.blocks import Block, block_of
from slm.tokens.fast import encode_block, from_json, silence
from slm.tokens.from_file import FileTokenizer
from slm.tokens.reference import Encode
from slm.tokens.unicode_gaps import GAPS, Holding, Spans, spans

# Each kind of code point (letter, number, mark, whitespace, other) splits this differently.
FORM = " {0}'s1{0}\n a{0}A{0}b \u0301{0}.{0}'S"
AGREEMENTS = Path(".dvc/tmp/agreements")  # where commands keep what was found
STRINGS, SEED = 20_000, 1337
VERSION = 1  # of what is compared here; what was found by another is not used
# With more code points apart, a tokenizer differs in what it does, not in its tables.
MAX_POINTS = 20_000
_GROUP, _TOGETHER = 64, 2_000  # code points of a text; texts at a time
_PIECES = (
    *("'s", "'LL", "’s", "don't", " ", "  ", " " * 30, "\n", "\r\n", "\n\n\n", "\t", "\u3000"),
    *("\xa0", "\u2028", "a", "B", " the", "The", "HTTPServer", "ǅ", "1", "1234567", "٣", "²", "!"),
    *("...", "!!!\n", "//", "é", "e\u0301", "\u0301\u0301", "ﬁ", "Å", "İ", "ß", "中文", "日本語"),
    *("한국어", "ไทย", "العربية", "हिन्दी", "😊", "👨‍👩‍👧", "\0", "\ufeff", "\u200b", "\u2581"),
    *("<|endoftext|>", "<s>", "</s>", "[UNK]", "[MASK]", "##ing", "<0x0A>", "<unk>", "Ġ"),
)
_LETTERS = "eeeetttaaaooiinnsshhrrddlluucmfwypvbgkjqxzéüTASI"


class Agreement(NamedTuple):
    """What was found of a tokenizer."""

    why: str  # gigatoken cannot be taken, or ""
    gaps: Spans  # the code points on which it differs


@cache
def compared(tokenizer: FileTokenizer, known: Path | None) -> Agreement:
    """Returns what is kept in the folder `known`, or else compares: some seconds, with a bar."""
    if known is None:
        return _compare(tokenizer)
    versions = " ".join(version(name) for name in ("gigatoken", "tokenizers"))
    key = hashlib.sha256(f"{tokenizer.sha256} {versions} {VERSION} {GAPS}".encode()).hexdigest()
    path = known / f"{key[:16]}.json"
    try:
        why, gaps = json.loads(path.read_bytes())
        return Agreement(why, tuple((first, last) for first, last in gaps))
    except (OSError, ValueError):
        found = _compare(tokenizer)
    known.mkdir(parents=True, exist_ok=True)
    write_file(path, to_json(list(found)))
    return found


def _compare(tokenizer: FileTokenizer) -> Agreement:
    try:
        with silence():
            engine = from_json(tokenizer.content)
        return _of_engines((_silent(engine), tokenizer.encode_block), [*tokenizer.special])
    except (KeyboardInterrupt, SystemExit, MemoryError, ImportError, OSError):
        raise
    except BaseException as error:  # Rust's panics are no Exception
        reason = str(error).partition(":")[0].strip().splitlines() or [type(error).__name__]
        return Agreement(f"gigatoken does not take the tokenizer.json: {reason[0][:80]}", ())


def _silent(engine: Any) -> Encode:
    """Returns gigatoken's encoder, which would print a panic."""

    def encode(block: Block) -> tuple[np.ndarray, np.ndarray]:
        with silence():
            return encode_block(engine, block)

    return encode


def _of_engines(engines: tuple[Encode, Encode], special: list[str]) -> Agreement:
    points = points_apart(engines, compared_points())
    if len(points) > MAX_POINTS:
        return Agreement(f"gigatoken differs from tokenizers on {len(points):,} code points", ())
    newer = (c for first, last in GAPS["o200k"] for c in range(first, last + 1))
    gaps = spans([*points, *newer])  # which a small vocabulary may not show
    texts = [*hostile(STRINGS, SEED, special)]
    held = {*Holding(gaps)(block_of(texts))}
    texts = [text for i, text in enumerate(texts) if i not in held]
    different = next(iter(apart(engines, texts)), None)
    if different is None:
        return Agreement("", gaps)
    return Agreement(f"gigatoken differs from tokenizers on {texts[different][:40]!r}", ())


def all_points() -> list[int]:
    """Returns every code point that text can hold."""
    return [*range(0xD800), *range(0xE000, 0x110000)]


def compared_points() -> list[int]:
    """Returns all code points of the planes that have characters, and a part of the others."""
    return [c for c in all_points() if c < 0x40000 or 0xE0000 <= c < 0xF0000 or c % 16 == 0]


def points_apart(engines: tuple[Encode, Encode], every: Sequence[int]) -> list[int]:
    """Returns the code points of which a text has other ids by the one engine than by the other."""
    groups = [every[i : i + _GROUP] for i in range(0, len(every), _GROUP)]
    texts = ["".join(FORM.format(chr(point)) for point in group) for group in groups]
    few = [point for i in apart(engines, texts, "code points") for point in groups[i]]
    return [few[i] for i in apart(engines, [FORM.format(chr(point)) for point in few])]


def apart(engines: tuple[Encode, Encode], texts: Sequence[str], bar: str = "") -> list[int]:
    """Returns the numbers of the texts whose ids differ between two engines."""
    starts = range(0, len(texts), _TOGETHER)
    shown = tqdm(starts, bar, delay=2, disable=None if bar else True)
    return [start + i for start in shown for i in _apart(engines, texts[start : start + _TOGETHER])]


def _apart(engines: tuple[Encode, Encode], texts: Sequence[str]) -> list[int]:
    block = block_of(texts)
    one, other = (
        np.split(ids, np.cumsum(lengths)[:-1])
        for ids, lengths in (encode(block) for encode in engines)
    )
    pairs = enumerate(zip(one, other, strict=True))
    return [i for i, (a, b) in pairs if not np.array_equal(a, b)]


def hostile(number: int, seed: int, special: Sequence[str] = ()) -> Iterator[str]:
    """Yields strings of what tokenizers treat in ways of their own, of any code points and letters.

    Words of letters by chance reach merges that no written word does.
    """
    draw, pieces = random.Random(seed), [*_PIECES, *special[:20]]
    for _ in range(number):
        above = draw.choice((draw.randrange(0x800, 0xD800), draw.randrange(0xE000, 0x110000)))
        some = [chr(draw.choice((draw.randrange(0x3000), above))) for _ in "abc"]
        words = ["".join(draw.choices(_LETTERS, k=draw.randint(2, 12))) for _ in "abc"]
        drawn = draw.choices([*pieces, *some], k=draw.randint(1, 12))
        yield "".join([*drawn, *(f" {word}" for word in words[: draw.randint(0, 3)])])
