"""Which documents of train are held out as another split? By hash, by bytes, or by rows.

    share  a document is held out if u < floor(share · 2^64), u = word(k, salt) of slm.core.counter
           and k = the first 8 bytes, little-endian, of the hash in its facts. So its text and the
           salt alone decide, and copies of a text fall on one side
    last   with B bytes of text and c = floor((1 − last) · B), a document is held out if it begins
           at byte c or later; a document that is the only one is cut there, or at the first
           beginning of a character after it
    rows   first, end: documents first … end − 1 are held out

Shares are the decimal numbers that params.yaml has, not the nearest binary ones.
"""

from fractions import Fraction

import numpy as np

from slm.core.counter import word
from slm.core.errors import check
from slm.selection.facts import halves
from slm.selection.wanted import Holdout


def held_out(holdout: Holdout, facts: np.ndarray) -> np.ndarray:
    """Returns (documents,) bool, given train's facts; raises UserError if rows end after it."""
    if holdout.share is not None:
        below = int(Fraction(str(holdout.share)) * 2**64)
        return by_hash(facts, holdout.salt) < np.uint64(below)
    if holdout.last is not None:
        begins = np.cumsum(facts["bytes"]) - facts["bytes"]
        return begins >= cut(holdout.last, int(facts["bytes"].sum()))
    first, end = holdout.rows or (0, 0)
    check(
        end <= len(facts),
        f"the rows of holdout end at {end:,}, and train has {len(facts):,} documents, counted from "
        "0; end there or before in params.yaml",
    )
    held = np.zeros(len(facts), bool)
    held[first:end] = True
    return held


def by_hash(facts: np.ndarray, salt: int) -> np.ndarray:
    """Returns (documents,) uint64: the u of each document."""
    return word(halves(facts)[:, 0], np.full(1, salt, np.uint64))


def cut(last: float, text_bytes: int) -> int:
    """Returns c, the byte from which on text is held out."""
    return int((1 - Fraction(str(last))) * text_bytes)


def cut_text(last: float, text: str) -> tuple[str, str]:
    """Returns both parts of the only document."""
    content = text.encode()
    at = cut(last, len(content))
    while at < len(content) and content[at] & 0xC0 == 0x80:  # inside of a character
        at += 1
    return content[:at].decode(), content[at:].decode()
