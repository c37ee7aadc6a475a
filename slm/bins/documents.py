"""Which document stands at a token's position, where did it come from, and what does it say?

In: opened bins. Out: documents by their number, counted from 0 in their split, with positions in
tokens, the row of the source that they came from, and their text, decoded.
"""

from typing import NamedTuple

import numpy as np
import tiktoken

from slm.bins.opening import Bins
from slm.core.errors import UserError
from slm.text.raw import locate


class Document(NamedTuple):
    """One document of a split."""

    number: int  # from 0 in its split
    start: int  # position of its first token
    ids: np.ndarray  # (tokens,) uint16 or uint32, with its end-of-text id where there is one
    text_bytes: int  # UTF-8, without end-of-text
    source: str  # row and file


def document(bins: Bins, split: str, number: int) -> Document:
    """Document `number` of a split; raises UserError where there is none."""
    totals = bins.docs(split)
    documents = len(totals) - 1
    if not 0 <= number < documents:
        raise UserError(f"{split} has documents 0 to {documents - 1:,}; {number:,} is none of them")
    (start, first_byte), (end, last_byte) = totals[number : number + 2].tolist()
    source = locate(bins.manifest["dataset"]["files"][split], number)
    return Document(number, start, bins.ids(split)[start:end], last_byte - first_byte, source)


def number_at(bins: Bins, split: str, position: int) -> int:
    """The number of the document that holds the token at `position` of a split."""
    ends = bins.docs(split)[1:, 0]
    tokens = bins.manifest["splits"][split]["tokens"]
    if not 0 <= position < tokens:
        raise UserError(f"{split} has tokens 0 to {tokens - 1:,}; {position:,} is none of them")
    return int(np.searchsorted(ends, position, side="right"))


def decode(encoding: tiktoken.Encoding, ids: np.ndarray) -> str:
    """The text of ids; bytes that are not UTF-8 by themselves are shown as U+FFFD."""
    return encoding.decode(ids.tolist())
