"""Which source are the next rows from? What slm.batching.orders.mixing says, bit for bit.

The table of stages has, for each, its first row, its key, W and its network, then the running
totals of the weights, and the rows of each source before it.
"""

import triton
import triton.language as tl

from slm.batching.gpu.numbers import permute_each, signed, unsigned, word

STAGE = tl.constexpr(6)  # columns before the weights
PLACES = tl.constexpr(8)  # of a mixture's block, that are looked at together


@triton.jit
def source_of(g, stages, STAGES: tl.constexpr, SOURCES: tl.constexpr):
    """Returns the source, int64, and its row, uint64, of global rows, uint64."""
    stride = STAGE + 2 * SOURCES + 1
    stage = signed(g) * 0
    for i in tl.static_range(1, STAGES):
        stage += (signed(g) >= tl.load(stages + i * stride)).to(tl.int64)
    at = stages + stage * stride
    h = g - unsigned(tl.load(at))
    total = unsigned(tl.load(at + 2))
    block = h // total
    key = word(unsigned(tl.load(at + 1)), block)
    high, wide, rounds = unsigned(tl.load(at + 3)), unsigned(tl.load(at + 4)), tl.load(at + 5)
    place = h - block * total
    u = permute_each(key, place, total, high, wide, rounds)
    source = signed(g) * 0
    for i in tl.static_range(1, SOURCES):
        source += (u >= unsigned(tl.load(at + STAGE + i))).to(tl.int64)
    end = unsigned(tl.load(at + STAGE + source))
    weight = unsigned(tl.load(at + STAGE + source + 1)) - end
    before = unsigned(tl.load(at + STAGE + SOURCES + 1 + source))
    nth = _earlier(place, key, total, high, wide, rounds, end, weight)
    return source, before + block * weight + nth


@triton.jit
def _earlier(place, key, total, high, wide, rounds, end, weight):
    """Returns how many of the places before one of a block are of its source, uint64."""
    count = place * 0
    for begin in range(0, tl.max(signed(place)), PLACES):
        other = (begin + tl.arange(0, PLACES)).to(tl.uint64)[None, :]
        x = tl.minimum(other, total[:, None] - 1)
        u = permute_each(
            key[:, None], x, total[:, None], high[:, None], wide[:, None], rounds[:, None]
        )
        same = (other < place[:, None]) & (u - end[:, None] < weight[:, None])
        count += tl.sum(same.to(tl.uint64), 1)
    return count
