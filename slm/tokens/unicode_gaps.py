"""Which documents do the two engines split differently?

In: a block of documents, and the code points on which gigatoken and the reference differ with its
pattern. Out: the documents that hold one; the reference encodes them. A block without the first
bytes of such code points costs a search for them, other blocks a few comparisons of arrays.
"""

from collections.abc import Iterable

import numpy as np

from slm.text.blocks import Block

Spans = tuple[tuple[int, int], ...]  # code points, first and last ones

# What Unicode 17 assigned: gigatoken's tables know it and tiktoken's do not. tests/tokens/
# test_engines.py finds the sets again, pattern by pattern, after an upgrade.
_LETTERS_AND_NUMBERS: Spans = (
    *((c, c) for c in (0x088F, 0x0C5C, 0x0CDC, 0xA7D2, 0xA7D4, 0xA7F1)),
    (0xA7CE, 0xA7CF), (0x10940, 0x10959), (0x10EC5, 0x10EC7), (0x11DB0, 0x11DDB),
    (0x11DE0, 0x11DE9), (0x16EA0, 0x16EB8), (0x16EBB, 0x16ED3), (0x16FF2, 0x16FF6),
    (0x187F8, 0x187FF), (0x18D09, 0x18D1E), (0x18D80, 0x18DF2), (0x1E6C0, 0x1E6DE),
    (0x1E6E0, 0x1E6E2), (0x1E6E4, 0x1E6E5), (0x1E6E7, 0x1E6ED), (0x1E6F0, 0x1E6F4),
    (0x1E6FE, 0x1E6FF), (0x2B73A, 0x2B73F), (0x2CEA2, 0x2CEAD), (0x323B0, 0x33479),
)  # fmt: skip
_MARKS: Spans = (
    (0x1ACF, 0x1ADD), (0x1AE0, 0x1AEB), (0x10EFA, 0x10EFB), (0x11B60, 0x11B67), (0x1E6E3, 0x1E6E3),
    (0x1E6E6, 0x1E6E6), (0x1E6EE, 0x1E6EF), (0x1E6F5, 0x1E6F5),
)  # fmt: skip
GAPS = {
    **dict.fromkeys(("gpt2", "cl100k", "qwen"), _LETTERS_AND_NUMBERS),
    "o200k": (*_LETTERS_AND_NUMBERS, *_MARKS),  # the one that knows marks
}


def spans(points: Iterable[int]) -> Spans:
    """Returns code points as spans, in ascending order."""
    every = sorted(known := {*points})
    firsts = [point for point in every if point - 1 not in known]
    lasts = [point for point in every if point + 1 not in known]
    return tuple(zip(firsts, lasts, strict=True))


class Holding:
    """Finds the documents that hold one of some code points."""

    def __init__(self, gaps: Spans) -> None:
        self._first, self._last = np.array(sorted(gaps), np.int64).reshape(-1, 2).T
        ends = [(chr(first).encode()[0], chr(last).encode()[0]) for first, last in gaps]
        self._leads = sorted({lead for a, b in ends for lead in range(a, b + 1)})

    def __call__(self, block: Block) -> list[int]:
        """Returns the numbers of the documents, from 0 in the block, in order."""
        text = block.data.tobytes()
        here = [self._positions(block.data, lead) for lead in self._leads if bytes([lead]) in text]
        joined = np.concatenate([np.empty(0, np.int64), *here])
        return np.unique(np.searchsorted(block.offsets, joined, side="right") - 1).tolist()

    def _positions(self, data: np.ndarray, lead: int) -> np.ndarray:
        """Returns where code points begin whose first byte is `lead` in UTF-8."""
        positions = np.flatnonzero(data == lead)
        length = 1 + sum(lead >= least for least in (0xC0, 0xE0, 0xF0))
        points = np.full(len(positions), lead & (0xFF >> (length + 1) if length > 1 else lead))
        for i in range(1, length):
            points = points << 6 | data[positions + i] & 0x3F
        span = np.searchsorted(self._first, points, side="right") - 1
        return positions[(span >= 0) & (points <= self._last[span])]
