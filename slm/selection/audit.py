"""What is wrong with the text? An audit counts faults and names rows; it changes nothing.

In: raw/ (see slm.text.raw). Out: for each split an `Audit`: documents, words, the rows, from 0, of
the documents that are at fault, and facts of every document (slm.selection.facts). Every document
is read once; memory reaches about 120 bytes per document. What is counted, exactly:

    words               as str.split() splits them, on Unicode whitespace
    duplicates          documents with the bytes of an earlier one of their split
    also_in_<split>     documents with the bytes of one of that other split: leakage
    mojibake            UTF-8 that was read as windows-1252 or Latin-1: see MOJIBAKE
    control_characters  U+0000 … U+001F but tab, line feed and carriage return; U+007F … U+009F
    unfinished          the last character that is not whitespace is none of ENDINGS
    only_whitespace     nothing but whitespace, as str.strip() has it, and not empty
    byte_order_marks    first documents of files that began with one; it was taken off

The same bytes means the same hash in the facts. An empty document is no duplicate and no
leak; a document of whitespace alone is not unfinished.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from slm.core.rounding import ratio
from slm.core.threads import in_order, prefetch
from slm.selection.facts import FACTS, facts_of
from slm.text.blocks import BLOCK_BYTES, Block, read_blocks
from slm.text.raw import SourceFile, read_source

ENDINGS = frozenset(".!?…。！？" + "\"'”’»›」』)]")  # ends of sentences, and what may follow
WIDE_SPACES = "\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
WIDE_SPACES += "\u2028\u2029\u202f\u205f\u3000"  # Unicode's whitespace without ASCII's ten

# The bytes 80 … BF of UTF-8, read as windows-1252, and as Latin-1, which has C1 controls there.
_LATE = "[€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ\x80-\xbf]"
# Punctuation of U+2000 … U+203F by its first two bytes, since windows-1252 loses the last of ”;
# U+2040 … U+213F, U+00A0 … U+017F, the byte order mark and most emoji by all bytes. Not all that
# decodes, as `Spaß”` does: real text hardly has these leads before such characters. Each branch
# begins with one letter, not a class, so that `re` skips to them, four times as fast.
MOJIBAKE = re.compile(
    f"â[€\x80]|â[‚ƒ„\x81-\x84]{_LATE}|Â[\xa0-\xbf]|Ã{_LATE}|Ä{_LATE}|Å{_LATE}|ï»¿"
    f"|ð[Ÿ\x9f]{_LATE}{_LATE}"
)
# Seen in one document by itself.
KINDS = ("mojibake", "control_characters", "unfinished", "only_whitespace")

_BYTES = np.arange(256)
_LEADS = np.isin(_BYTES, [letter.encode()[1] for letter in "âÂÃÄÅïð"])  # MOJIBAKE's, after C3
_ENDS = np.isin(_BYTES, [ord(end) for end in ENDINGS if end < "\x80"])
_PLAIN = np.isin(_BYTES, list(b"\t\n\r"))  # control characters that are no fault
_WIDE = [code[0] << 16 | code[1] << 8 | code[-1] for code in map(str.encode, WIDE_SPACES)]


class Audit(NamedTuple):
    """The audit of a split, or of a block of it."""

    documents: int
    words: int
    rows: dict[str, np.ndarray]  # by kind, (faults,) int64, ascending: numbers of documents
    facts: np.ndarray  # (documents,) FACTS


def audit(raw: Path, workers: int, block_bytes: int = BLOCK_BYTES) -> dict[str, Audit]:
    """Returns the audit of every split; neither `workers` threads nor `block_bytes` change it.

    Raises UserError if raw/ is missing or a document is not text.
    """
    audits, source = {}, read_source(raw)["splits"]
    for split in source:
        blocks = prefetch(read_blocks(raw, split, block_bytes))
        audits[split] = _joined(in_order(_audit_block, blocks, workers))
    numbers = _numbered({split: audited.facts for split, audited in audits.items()})
    for split, own in numbers.items():
        rows = audits[split].rows
        rows["byte_order_marks"] = _marked(source[split]["files"])
        rows["duplicates"] = _repeated(own)
        others = [other for other in numbers if other != split]
        for other in others:
            rows[f"also_in_{other}"] = np.flatnonzero((own >= 0) & np.isin(own, numbers[other]))
    return audits


def shares(audit: Audit) -> dict[str, object]:
    """Returns an audit as JSON: words, and the number and the share of documents of each kind."""
    rows = {
        kind: {"documents": len(rows), "share": ratio(len(rows), audit.documents)}
        for kind, rows in audit.rows.items()
    }
    return {"words": audit.words, **rows}


def _audit_block(block: Block) -> Audit:
    found = (_with_mojibake(block), _with_controls(block), *_ending_oddly(block))
    rows = {kind: block.first + rows for kind, rows in zip(KINDS, found, strict=True)}
    return Audit(block.documents, words(block), rows, facts_of(block))


def _ending_oddly(block: Block) -> tuple[np.ndarray, np.ndarray]:
    """Returns the documents, from 0 in the block, that are unfinished, and of whitespace alone."""
    filled = np.flatnonzero(np.diff(block.offsets))
    suspects = filled[~_ENDS[block.data[block.offsets[1:][filled] - 1]]].tolist()
    last = {number: block.text(number).rstrip()[-1:] for number in suspects}
    unfinished = [number for number, end in last.items() if end and end not in ENDINGS]
    blank = [number for number, end in last.items() if not end]
    return np.array(unfinished, np.int64), np.array(blank, np.int64)


def words(block: Block) -> int:
    """Returns how many words the documents of a block have, as str.split() splits them."""
    data = block.data
    space = (data - np.uint8(9) < 5) | (data - np.uint8(28) < 5)  # \t…\r, \x1c…\x20
    _mark_wide(data, space)
    before = np.empty(len(data) + 1, bool)
    before[1:] = space
    before[block.offsets[:-1]] = True
    return int(np.count_nonzero(before[:-1] > space))


def _mark_wide(data: np.ndarray, space: np.ndarray) -> None:
    first = np.flatnonzero((data - np.uint8(0xE1) < 3) | (data == 0xC2))
    positions = np.stack(
        [first, first + 1, first + 1 + (data[first] != 0xC2)]
    )  # two or three bytes
    high, middle, low = data[positions].astype(np.int32)
    space[positions[:, np.isin(high << 16 | middle << 8 | low, _WIDE)]] = True


def _with_mojibake(block: Block) -> np.ndarray:
    """Returns the documents, from 0 in the block, that match MOJIBAKE."""
    positions = np.flatnonzero(block.data[:-1] == 0xC3)
    suspects = _documents(block, positions[_LEADS[block.data[positions + 1]]])
    matches = (MOJIBAKE.search(block.text(number)) is not None for number in suspects)
    return suspects[np.fromiter(matches, bool, len(suspects))]


def _with_controls(block: Block) -> np.ndarray:
    """Returns the documents, from 0 in the block, that hold a control character."""
    data = block.data
    positions = np.flatnonzero((data < 32) | (data == 127) | (data == 0xC2))
    bytes_, following = data[positions], data[np.minimum(positions + 1, len(data) - 1)]
    wrong = np.where(bytes_ == 0xC2, following < 0xA0, ~_PLAIN[bytes_])
    return _documents(block, positions[wrong])


def _documents(block: Block, positions: np.ndarray) -> np.ndarray:
    """Returns the documents, from 0 in the block, at these positions of its bytes."""
    return np.unique(np.searchsorted(block.offsets, positions, side="right") - 1)


def _marked(files: list[SourceFile]) -> np.ndarray:
    """Returns the first documents of the files that began with a byte order mark."""
    starts = np.cumsum([0, *(file["rows"] for file in files)])[:-1]
    marked = [file.get("byte_order_mark", False) and file["rows"] > 0 for file in files]
    return starts[np.array(marked, bool)].astype(np.int64)


def _joined(blocks: Iterator[Audit]) -> Audit:
    """Returns the audit of a split."""
    parts = list(blocks)
    rows = {kind: np.concatenate([part.rows[kind] for part in parts]) for kind in KINDS}
    facts = np.concatenate([np.empty(0, FACTS), *(part.facts for part in parts)])
    return Audit(len(facts), sum(part.words for part in parts), rows, facts)


def _numbered(facts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns (documents,) int64 per split: the same number for the same text, -1 for none."""
    every = np.concatenate(list(facts.values()))
    halves = np.ascontiguousarray(every["hash"]).view("<u8").reshape(-1, 2)
    order = np.lexsort(halves.T)
    new = np.append(True, np.any(np.diff(halves[order], axis=0), axis=1))[: len(every)]
    numbers = np.empty(len(every), np.int64)
    numbers[order] = np.cumsum(new)
    numbers[every["bytes"] == 0] = -1
    ends = np.cumsum([len(split) for split in facts.values()])
    return dict(zip(facts, np.split(numbers, ends[:-1]), strict=True))


def _repeated(numbers: np.ndarray) -> np.ndarray:
    """Returns the rows whose number is also in an earlier row."""
    first = np.unique(numbers, return_index=True)[1]
    later = numbers >= 0
    later[first] = False
    return np.flatnonzero(later)
