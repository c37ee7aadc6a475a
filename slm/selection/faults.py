"""Which documents are at fault, and where? The rows that an audit counted, one line each.

In: raw/, and a kind of fault as slm.selection.audit names it. Out: lines with the split, the row of the
source, and the text around the fault: its beginning for a duplicate or a leak, its end where a
document is unfinished. The text is read twice, once to find and once to show; nothing is changed.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from slm.core.errors import UserError
from slm.selection.audit import KINDS, MOJIBAKE, audit
from slm.text.blocks import Block, read_blocks
from slm.text.raw import locate, read_source

SHOWN = 60  # characters
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
PLACES = {"mojibake": MOJIBAKE, "control_characters": CONTROL, "unfinished": re.compile(r"\s*\Z")}


def faults(raw: Path, kind: str, workers: int) -> Iterator[str]:
    """A line for each document of this kind; raises UserError where there is no such kind."""
    leaks = [f"also_in_{split}" for split in read_source(raw)["splits"]]
    kinds = [*KINDS, "duplicates", *(leaks if len(leaks) > 1 else ())]
    if kind not in kinds:
        raise UserError(f"{kind!r} is no kind of fault; expected one of {', '.join(kinds)}")
    found = audit(raw, workers)
    for split, of in found.items():
        files = read_source(raw)["splits"][split]["files"]
        for row, text in _texts(raw, split, of.rows.get(kind, np.empty(0, np.int64))):
            yield f"{split} document {row:,}, {locate(files, row)}: {_around(kind, text)!r}"


def _texts(raw: Path, split: str, rows: np.ndarray) -> Iterator[tuple[int, str]]:
    """These documents of a split, in order, with their numbers."""
    for block in read_blocks(raw, split) if len(rows) else ():
        for row in _inside(block, rows):
            yield row, block.text(row - block.first)
        if rows[-1] < block.first + block.documents:
            return


def _inside(block: Block, rows: np.ndarray) -> list[int]:
    first, last = np.searchsorted(rows, [block.first, block.first + block.documents])
    return rows[first:last].tolist()


def _around(kind: str, text: str) -> str:
    """Up to SHOWN characters around the fault, with an ellipsis where text is left out."""
    place = PLACES[kind].search(text).start() if kind in PLACES else 0
    start = max(0, min(place - SHOWN // 2, len(text) - SHOWN))
    end = start + SHOWN
    return f"{'…' * (start > 0)}{text[start:end]}{'…' * (end < len(text))}"
