"""Which document holds a token, where did it come from, and what is its text?

In: opened bins. Out: documents by number, counted from 0 in their split, with positions in tokens
and the row of the source.
"""

from typing import NamedTuple

import numpy as np

from slm.bins.opening import Bins
from slm.bins.reading import ids_of
from slm.core.errors import check
from slm.selection.wanted import TRAIN
from slm.text.raw import locate


class Document(NamedTuple):
    """One document of a split."""

    number: int  # from 0 in its split
    start: int  # position of its first token
    ids: np.ndarray  # (tokens,) uint16 or uint32, with end-of-text if the policy adds it
    text_bytes: int  # UTF-8, without end-of-text
    source: str  # row and file


def document(bins: Bins, split: str, number: int) -> Document:
    """Returns document `number` of a split; raises UserError if there is none."""
    offsets = bins.docs(split)
    last = len(offsets) - 2
    inside = 0 <= number <= last
    check(inside, f"{split} has documents 0 to {last:,}; {number:,} is none of them")
    (start, first_byte), (end, last_byte) = offsets[number : number + 2].tolist()
    source = _source(bins, split, number)
    return Document(number, start, ids_of(bins, split, start, end), last_byte - first_byte, source)


def _source(bins: Bins, split: str, number: int) -> str:
    """Which row of which file a document came from, in words."""
    files, rows = bins.manifest["dataset"]["files"], bins.rows(split)
    if rows is None:
        return locate(files[split], number)
    return locate(files[split if split in files else TRAIN], int(rows[number]))  # held out of train


def number_at(bins: Bins, split: str, position: int) -> int:
    """Returns the number of the document at a position, in tokens; raises UserError if none is."""
    last = bins.manifest["splits"][split]["tokens"] - 1
    inside = 0 <= position <= last
    check(inside, f"{split} has tokens 0 to {last:,}; {position:,} is none of them")
    return int(np.searchsorted(bins.docs(split)[1:, 0], position, side="right"))
