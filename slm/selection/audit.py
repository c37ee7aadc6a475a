"""What is wrong with the text? An audit that counts and names rows, and changes nothing.

In: raw/ (see slm.text.raw). Out: for each split an `Audit`: its documents, its words, and the rows, from
0, of the documents that are at fault. Every document is read once, block by block, and 16 bytes of
hash of it are kept: at the end, when they are compared, memory is about 110 bytes per document. A
story takes 4 µs, its hash half of that. What is counted, exactly:

    words               as str.split() parts them, at Unicode whitespace
    duplicates          documents with the bytes of an earlier one of their split
    also_in_<split>     documents with the bytes of one of that other split: leakage
    mojibake            UTF-8 that was read as windows-1252 or Latin-1: see MOJIBAKE
    control_characters  U+0000 … U+001F but tab, line feed and carriage return; U+007F … U+009F
    unfinished          whose last character that is not whitespace is none of ENDINGS

The same bytes means the same BLAKE2b hash of 128 bits. An empty document is no duplicate and no
leak, and one with nothing but whitespace is not unfinished.
"""

import re
from collections.abc import Iterator
from hashlib import blake2b
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from slm.core.rounding import ratio
from slm.core.threads import in_order, prefetch
from slm.text.blocks import Block, read_blocks
from slm.text.raw import read_source

BLOCK_BYTES = 2**18  # so that what is computed of a block stays in the processor's cache
ENDINGS = frozenset(".!?…。！？" + "\"'”’»›」』)]")  # what ends a sentence, and what may close it
_ENDINGS = tuple(sorted(map(str.encode, ENDINGS)))
WIDE_SPACES = "\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
WIDE_SPACES += "\u2028\u2029\u202f\u205f\u3000"  # all whitespace of Unicode but ASCII's ten

# What bytes 80 … BF of UTF-8 become in windows-1252, and in Latin-1, which has C1 controls there.
_LATE = "[€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ\x80-\xbf]"
# Punctuation of U+2000 … U+203F by its first two bytes, as the last of ” is nothing in windows-1252
# and is lost; U+2040 … U+213F, U+00A0 … U+017F, the byte order mark and most emoji by all of them.
# Not everything that decodes, as `Spaß”` does: these leads hardly stand before such characters.
# Each branch begins with one letter, not a class: so `re` skips to those, four times as fast.
MOJIBAKE = re.compile(
    f"â[€\x80]|â[‚ƒ„\x81-\x84]{_LATE}|Â[\xa0-\xbf]|Ã{_LATE}|Ä{_LATE}|Å{_LATE}|ï»¿"
    f"|ð[Ÿ\x9f]{_LATE}{_LATE}"
)
KINDS = ("mojibake", "control_characters", "unfinished")  # that a document shows by itself

_BYTES = np.arange(256)
_LEADS = np.isin(_BYTES, [letter.encode()[1] for letter in "âÂÃÄÅïð"])  # MOJIBAKE's, after C3
_PLAIN = np.isin(_BYTES, list(b"\t\n\r"))  # control characters that are no fault
_WIDE = [  # with which bytes wide spaces begin, and with which one they end
    (begin, np.isin(_BYTES, [code[-1] for code in codes]))
    for begin, codes in groupby(sorted(map(str.encode, WIDE_SPACES)), itemgetter(slice(-1)))
]


class Audit(NamedTuple):
    """What one split's text showed."""

    documents: int
    words: int
    rows: dict[str, np.ndarray]  # by kind, (found,) int64, ascending: numbers of documents


class _Seen(NamedTuple):
    """What one block's text showed."""

    words: int
    hashes: bytes  # 16 a document; zeros where it is empty
    rows: dict[str, np.ndarray]


def audit(raw: Path, workers: int, block_bytes: int = BLOCK_BYTES) -> dict[str, Audit]:
    """Every split's audit, read on `workers` threads, which change nothing in what is found.

    Raises UserError where raw/ is missing or a document is not text.
    """
    found, hashes = {}, {}
    for split in read_source(raw)["splits"]:
        blocks = prefetch(read_blocks(raw, split, block_bytes))
        found[split], hashes[split] = _together(in_order(_look, blocks, workers))
    numbers = _numbered(hashes)
    for split, own in numbers.items():
        found[split].rows["duplicates"] = _repeated(own)
        others = (other for other in numbers if other != split)
        leaks = {f"also_in_{other}": _shared(own, numbers[other]) for other in others}
        found[split].rows.update(leaks)
    return found


def shares(found: Audit) -> dict:
    """An audit as JSON: words, and of each kind how many documents, and which share of them all."""
    rows = {
        kind: {"documents": len(rows), "share": ratio(len(rows), found.documents)}
        for kind, rows in found.rows.items()
    }
    return {"words": found.words, **rows}


# --- one block ---


def _look(block: Block) -> _Seen:
    hashes, unfinished, content = [], [], block.data.tobytes()
    for number, (start, end) in enumerate(pairwise(block.offsets.tolist())):
        document = content[start:end]
        hashes.append(blake2b(document, digest_size=16).digest() if document else bytes(16))
        if not document.endswith(_ENDINGS) and _unfinished(document.decode()):
            unfinished.append(number)
    found = (_with_mojibake(block), _with_controls(block), np.array(unfinished, np.int64))
    rows = {kind: block.first + of for kind, of in zip(KINDS, found, strict=True)}
    return _Seen(words(block), b"".join(hashes), rows)


def _unfinished(text: str) -> bool:
    return text.rstrip()[-1:] not in ENDINGS | {""}


def words(block: Block) -> int:
    """How many words the documents of a block have, as str.split() parts them."""
    data = block.data
    space = (data - np.uint8(9) < 5) | (data - np.uint8(28) < 5)  # \t…\r, \x1c…\x20
    _mark_wide(data, space)
    before = np.empty(len(data) + 1, bool)
    before[1:] = space
    before[block.offsets[:-1]] = True
    return int(np.count_nonzero(before[:-1] > space))


def _mark_wide(data: np.ndarray, space: np.ndarray) -> None:
    """Set `space` at each byte of WIDE_SPACES."""
    wide = np.flatnonzero((data - np.uint8(0xE1) < 3) | (data == 0xC2))  # all that begin one
    leads = data[wide]
    for (lead, *more), last in _WIDE:
        places = wide[leads == lead]
        for step, byte in enumerate(more, 1):
            places = places[data[places + step] == byte]
        places = places[last[data[places + len(more) + 1]]]
        for step in range(len(more) + 2):
            space[places + step] = True


def _with_mojibake(block: Block) -> np.ndarray:
    """The documents, from 0 in the block, in which MOJIBAKE is found."""
    places = np.flatnonzero(block.data[:-1] == 0xC3)
    some = _documents(block, places[_LEADS[block.data[places + 1]]])
    found = (MOJIBAKE.search(block.text(one)) is not None for one in some)
    return some[np.fromiter(found, bool, len(some))]


def _with_controls(block: Block) -> np.ndarray:
    """The documents, from 0 in the block, that hold a control character."""
    data = block.data
    places = np.flatnonzero((data < 32) | (data == 127) | (data == 0xC2))  # few are looked at twice
    found, following = data[places], data[np.minimum(places + 1, len(data) - 1)]
    wrong = np.where(found == 0xC2, following < 0xA0, ~_PLAIN[found])
    return _documents(block, places[wrong])


def _documents(block: Block, places: np.ndarray) -> np.ndarray:
    """The documents, from 0 in the block, that hold these bytes of it."""
    return np.unique(np.searchsorted(block.offsets, places, side="right") - 1)


# --- all blocks, all splits ---


def _together(seen: Iterator[_Seen]) -> tuple[Audit, np.ndarray]:
    """A split's audit, and (documents,) hashes as strings of 16 bytes."""
    parts = list(seen)
    hashes = np.frombuffer(b"".join(part.hashes for part in parts), "S16")
    rows = {kind: np.concatenate([part.rows[kind] for part in parts]) for kind in KINDS}
    return Audit(len(hashes), sum(part.words for part in parts), rows), hashes


def _numbered(hashes: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """For each split (documents,) int64: the same number for the same text, -1 for none."""
    every = np.concatenate(list(hashes.values()))
    numbers = np.unique(every, return_inverse=True)[1].astype(np.int64)
    numbers[every == b""] = -1  # NumPy takes trailing zeros off, so this is 16 of them
    ends = np.cumsum([len(of) for of in hashes.values()])
    return dict(zip(hashes, np.split(numbers, ends[:-1]), strict=True))


def _repeated(numbers: np.ndarray) -> np.ndarray:
    """The rows whose number stands in an earlier row."""
    first = np.unique(numbers, return_index=True)[1]
    later = numbers >= 0
    later[first] = False
    return np.flatnonzero(later)


def _shared(numbers: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The rows whose number stands in `other`, too."""
    return np.flatnonzero((numbers >= 0) & np.isin(numbers, other))
