"""Text to measure on, as raw/ folders: stories, code, and text of many different words.

Stories are those of the embedded generator. Code is the Python files of this environment's
packages, in order of their names, which the lock pins. Varied text is drawn from a seed: a million
and a half words of random letters, the frequent ones as in Zipf's law, in lines of 200 words.
"""

import json
import sysconfig
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from slm.text.corpus import make_raw
from slm.text.stories import stories

SEED, WORDS, LINE = 1337, 1_500_000, 200
LETTERS = "etaoinshrdlucmfwypvbgkjqxzéüñÀ"  # the first ones are the most frequent
_AT_ONCE = 20_000_000  # words


def write_stories(folder: Path, size: int) -> None:
    """Makes folder/raw with about `size` bytes of stories."""
    _write(folder, "stories", stories(SEED, "train", size // 500), size)


def write_code(folder: Path, size: int) -> None:
    """Makes folder/raw with about `size` bytes of Python files, as many as there are."""
    _write(folder, "code", _code(), size)


def _code() -> Iterator[str]:
    packages = Path(sysconfig.get_path("purelib"))
    for path in sorted(packages.rglob("*.py"), key=str):
        try:
            yield path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def write_varied(folder: Path, size: int) -> None:
    """Makes folder/raw with about `size` bytes of varied text."""
    _write(folder, "varied", _varied(size), size)


def _varied(size: int) -> Iterator[str]:
    draw = np.random.default_rng(SEED)
    lengths = draw.integers(2, 13, WORDS)
    of = 1 / np.arange(1, len(LETTERS) + 1)
    letters = np.array(list(LETTERS))[draw.choice(len(LETTERS), lengths.sum(), p=of / of.sum())]
    ends = np.append(0, np.cumsum(lengths)).tolist()
    joined = "".join(letters)
    words = [joined[start:end] for start, end in pairwise(ends)]
    rank = 1 / np.arange(3, WORDS + 3)
    for first in range(0, size // 5, _AT_ONCE):
        number = min(_AT_ONCE, size // 5 - first)
        drawn = draw.choice(WORDS, number, p=rank / rank.sum()).tolist()
        for start in range(0, number, LINE):
            yield " ".join(words[word] for word in drawn[start : start + LINE]) + "."


def _write(folder: Path, name: str, texts: Iterable[str], size: int) -> None:
    (folder / "source").mkdir(parents=True)
    with (folder / "source" / "train.jsonl").open("w", encoding="utf-8") as file:
        for text in texts:
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
            size -= len(text.encode())
            if size <= 0:
                break
    (folder / "raw").mkdir()
    entry = {"kind": "files", "files": {"train": ["train.jsonl"]}}
    make_raw(name, entry, folder / "source", folder / "raw")
