"""What is wrong with the text? An audit counts faults and names rows; it changes nothing.

In: raw/ (see slm.text.raw). Out: for each split an `Audit`: facts of every document
(slm.selection.facts), and the rows, from 0, of the documents that are at fault. Every document is
read once; memory reaches about 120 bytes per document. What is counted, exactly:

    words               as str.split() splits them, on Unicode whitespace
    duplicates          documents with the bytes of an earlier one of their split
    also_in_<split>     documents with the bytes of one of that other split: leakage
    mojibake            UTF-8 that was read as windows-1252 or Latin-1: see MOJIBAKE
    control_characters  U+0000 … U+001F but tab, line feed and carriage return; U+007F … U+009F
    unfinished          the last character that is not whitespace is none of ENDINGS
    only_whitespace     nothing but whitespace, as str.strip() has it, and not empty
    byte_order_marks    first documents of files that began with one; it was taken off
    replacement_characters  U+FFFD, which stands where somebody decoded bytes that were no text

The same bytes means the same hash in the facts. An empty document is no duplicate and no
leak; a document of whitespace alone is not unfinished.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from slm.core.rounding import ratio
from slm.core.threads import in_order, prefetch
from slm.selection.copies import in_other, numbered, repeated
from slm.selection.facts import FACTS, FAULTS, bit, facts_of
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
_BYTES = np.arange(256)
_LEADS = np.isin(_BYTES, [letter.encode()[1] for letter in "âÂÃÄÅïð"])  # MOJIBAKE's, after C3
_ENDS = np.isin(_BYTES, [ord(end) for end in ENDINGS if end < "\x80"])
_PLAIN = np.isin(_BYTES, list(b"\t\n\r"))  # control characters that are no fault
_WIDE = [code[0] << 16 | code[1] << 8 | code[-1] for code in map(str.encode, WIDE_SPACES)]


Make = Callable[[Block], np.ndarray]  # from a block to (documents,) FACTS


class Audit(NamedTuple):
    """The audit of a split."""

    facts: np.ndarray  # (documents,) FACTS
    rows: dict[str, np.ndarray]  # by kind, (faults,) int64, ascending: numbers of documents

    @property
    def words(self) -> int:
        """The words of all documents."""
        return int(self.facts["words"].sum(dtype=np.int64))


def audit(
    raw: Path, workers: int, block_bytes: int = BLOCK_BYTES, make: Make | None = None
) -> dict[str, Audit]:
    """Returns the audit of every split; none of the others changes it.

    `workers` is a number of threads, `block_bytes` the size of a block of text, `make` what makes
    the facts of a block: `facts_of_block`, or a process that does (slm.selection.workers). Raises
    UserError if raw/ is missing or a document is not text.
    """
    source, facts = read_source(raw)["splits"], {}
    for split in source:
        blocks = prefetch(read_blocks(raw, split, block_bytes))
        made = in_order(make or facts_of_block, blocks, workers)
        total = sum(file["rows"] for file in source[split]["files"])
        facts[split] = np.concatenate([np.empty(0, FACTS), *_shown(made, f"audit {split}", total)])
        facts[split]["faults"][_marked(source[split]["files"])] |= bit("byte_order_marks")
    return audited(facts)


def _shown(parts: Iterable[np.ndarray], what: str, total: int) -> Iterator[np.ndarray]:
    """Yields the same arrays, with a bar of so many documents."""
    with tqdm(desc=what, total=total, unit="doc", delay=2, disable=None) as bar:
        for part in parts:
            yield part
            bar.update(len(part))


def audited(facts: dict[str, np.ndarray]) -> dict[str, Audit]:
    """Returns the audit of every split, given the facts of all."""
    numbers = numbered(facts)
    return {split: Audit(own, _rows(split, own["faults"], numbers)) for split, own in facts.items()}


def shares(audit: Audit) -> dict[str, object]:
    """Returns an audit as JSON: words, and the number and the share of documents of each kind."""
    rows = {
        kind: {"documents": len(rows), "share": ratio(len(rows), len(audit.facts))}
        for kind, rows in audit.rows.items()
    }
    return {"words": audit.words, **rows}


def facts_of_block(block: Block) -> np.ndarray:
    """Returns (documents,) FACTS of a block, but for byte order marks, which are not in it."""
    unfinished, blank = _ending_oddly(block)
    found = {
        "mojibake": _with_mojibake(block),
        "control_characters": _with_controls(block),
        "unfinished": unfinished,
        "only_whitespace": blank,
        "replacement_characters": _with_replacements(block),
    }
    return facts_of(block, words(block), found)


def _rows(split: str, faults: np.ndarray, numbers: dict) -> dict[str, np.ndarray]:
    rows = {fault: np.flatnonzero(faults & bit(fault)) for fault in FAULTS}
    rows["duplicates"] = repeated(numbers[split])
    others = [other for other in numbers if other != split]
    return rows | {f"also_in_{o}": in_other(numbers[split], numbers[o]) for o in others}


def _ending_oddly(block: Block) -> tuple[np.ndarray, np.ndarray]:
    """Returns the documents, from 0 in the block, that are unfinished, and of whitespace alone."""
    filled = np.flatnonzero(np.diff(block.offsets))
    suspects = filled[~_ENDS[block.data[block.offsets[1:][filled] - 1]]].tolist()
    last = {number: block.text(number).rstrip()[-1:] for number in suspects}
    unfinished = [number for number, end in last.items() if end and end not in ENDINGS]
    blank = [number for number, end in last.items() if not end]
    return np.array(unfinished, np.int64), np.array(blank, np.int64)


def words(block: Block) -> np.ndarray:
    """Returns (documents,) int64: the words of each document, as str.split() splits them."""
    data = block.data
    space = (data - np.uint8(9) < 5) | (data - np.uint8(28) < 5)  # \t…\r, \x1c…\x20
    _mark_wide(data, space)
    begins = np.zeros(len(data) // 64 * 64 + 64, bool)
    begins[1 : len(data)] = space[:-1]
    begins[block.offsets[:-1]] = True  # of empty documents at the end, too: no space is there
    begins[: len(data)] &= ~space
    begins[len(data) :] = False
    return np.diff(_true_before(begins, block.offsets))


def _true_before(flags: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Returns (positions,) int64: how many flags before each are true; flags come in 64s."""
    bits = np.packbits(flags, bitorder="little").view("<u8")
    before = np.append(0, np.cumsum(np.bitwise_count(bits), dtype=np.int64))
    place, inside = positions >> 6, (positions & 63).astype(np.uint64)
    partly = np.append(bits, np.uint64(0))[place] & ((np.uint64(1) << inside) - np.uint64(1))
    return before[place] + np.bitwise_count(partly)


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


def _with_replacements(block: Block) -> np.ndarray:
    """Returns the documents, from 0 in the block, that hold U+FFFD: EF BF BD."""
    data = block.data
    at = np.flatnonzero(data[:-2] == 0xEF) if len(data) > 2 else np.empty(0, np.int64)
    return _documents(block, at[(data[at + 1] == 0xBF) & (data[at + 2] == 0xBD)])


def _documents(block: Block, positions: np.ndarray) -> np.ndarray:
    """Returns the documents, from 0 in the block, at these positions of its bytes."""
    return np.unique(np.searchsorted(block.offsets, positions, side="right") - 1)


def _marked(files: list[SourceFile]) -> np.ndarray:
    """Returns the first documents of the files that began with a byte order mark."""
    starts = np.cumsum([0, *(file["rows"] for file in files)])[:-1]
    marked = [file.get("byte_order_mark", False) and file["rows"] > 0 for file in files]
    return starts[np.array(marked, bool)].astype(np.int64)
