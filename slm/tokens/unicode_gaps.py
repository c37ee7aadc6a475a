"""Which documents do the two engines split differently?

In: a block of documents. Out: the documents with a code point that gigatoken's tables know and
tiktoken's do not; the reference encodes them. A block without the first bytes of such code points
costs a search for them, other blocks a few comparisons of arrays.
"""

import numpy as np

from slm.text.blocks import Block

# Code points that Unicode 17 assigned. gigatoken's tables know them and tiktoken's do not, so the
# two split them differently. tests/tokens/test_tokenizer.py finds the set again after an upgrade.
GAPS = (
    *((c, c) for c in (0x088F, 0x0C5C, 0x0CDC, 0xA7D2, 0xA7D4, 0xA7F1)),
    (0xA7CE, 0xA7CF), (0x10940, 0x10959), (0x10EC5, 0x10EC7), (0x11DB0, 0x11DDB),
    (0x11DE0, 0x11DE9), (0x16EA0, 0x16EB8), (0x16EBB, 0x16ED3), (0x16FF2, 0x16FF6),
    (0x187F8, 0x187FF), (0x18D09, 0x18D1E), (0x18D80, 0x18DF2), (0x1E6C0, 0x1E6DE),
    (0x1E6E0, 0x1E6E2), (0x1E6E4, 0x1E6E5), (0x1E6E7, 0x1E6ED), (0x1E6F0, 0x1E6F4),
    (0x1E6FE, 0x1E6FF), (0x2B73A, 0x2B73F), (0x2CEA2, 0x2CEAD), (0x323B0, 0x33479),
)  # fmt: skip
_FIRST, _LAST = np.array(sorted(GAPS)).T
_LEADS = {0xE0: 3, 0xEA: 3, 0xF0: 4}  # their first bytes in UTF-8, and their lengths


def documents_with_gaps(block: Block) -> list[int]:
    """Returns the documents, from 0 in the block, that the two engines split differently."""
    text = block.data.tobytes()
    positions = [_gap_positions(block.data, *lead) for lead in _LEADS.items() if lead[0] in text]
    joined = np.concatenate([np.empty(0, np.int64), *positions])
    return np.unique(np.searchsorted(block.offsets, joined, side="right") - 1).tolist()


def _gap_positions(data: np.ndarray, lead: int, length: int) -> np.ndarray:
    """Returns where code points of GAPS begin that have `length` bytes, the first one `lead`."""
    positions = np.flatnonzero(data == lead)
    points = np.full(len(positions), lead & (0xFF >> (length + 1)))
    for i in range(1, length):
        points = points << 6 | data[positions + i] & 0x3F
    span = np.searchsorted(_FIRST, points, side="right") - 1
    return positions[(span >= 0) & (points <= _LAST[span])]
