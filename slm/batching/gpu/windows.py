"""Which documents stand in a window? Looked up in the kernel, a place per lane.

In, on the device: where the documents of all sources begin, end to end, then FAR, and `every`, the
document of every STRIDE-th token, as slm.batching.gpu.tables makes them. Out: what
slm.batching.documents says of the window.
"""

import triton
import triton.language as tl

FAR = tl.constexpr(2**62)  # beyond any token


@triton.jit
def window_documents(
    start, j, has, slot, every, offsets, numbers, T: tl.constexpr, LAST: tl.constexpr,
    NUMBERED: tl.constexpr, WITHIN: tl.constexpr, STRIDE: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """Returns the document of each place of a window, its place in the piece, and `_begins`."""
    document = _document(start + j, has, every, offsets, STRIDE, WITHIN)
    begin = tl.maximum(tl.load(offsets + document, mask=has, other=0), start)
    place = start + j - tl.where(has, begin, tl.maximum(start, LAST))
    first = tl.sum(tl.where(j == 0, document, 0))
    begins = _begins(start, first, slot, offsets, T, LAST, K)
    if NUMBERED:
        document = tl.load(numbers + document, mask=has, other=0).to(tl.int64)
    return tl.where(has, document, -1), place, begins


@triton.jit
def _document(at, mask, every, offsets, STRIDE: tl.constexpr, WITHIN: tl.constexpr):
    """Returns which document has a token: a look-up, and as many comparisons as may be needed."""
    document = tl.load(every + at // STRIDE, mask=mask, other=0).to(tl.int64)
    for _ in range(WITHIN):
        border = tl.load(offsets + document + 1, mask=mask, other=0)
        document += (mask & (border <= at)).to(tl.int64)
    return document


@triton.jit
def _begins(start, first, slot, offsets, T: tl.constexpr, LAST: tl.constexpr, K: tl.constexpr):
    """Returns where the pieces of a window begin, T where there are no more.

    `first` is its first document.
    """
    valid = tl.minimum(tl.maximum(LAST - start, 0), T)
    at = offsets + first + slot
    some = (slot < K) & (slot * 0 + valid > 0)
    begins = tl.load(at, mask=some & (slot > 0), other=FAR) - start
    before = tl.load(at - 1, mask=some & (slot > 1), other=FAR) - start
    begins = tl.where(slot > 0, begins, 0)
    before = tl.where(slot > 1, before, 0)
    last = tl.where((slot == 0) | (before < valid), valid, T)
    return tl.where(begins < valid, begins, last)
