"""Which source are the next rows from? What slm.batching.orders.mixing says, bit for bit.

The table of stages has, for each, its first row, its key, W and its network, then the running
totals of the weights, and the rows of each source before it.
"""

import triton
import triton.language as tl

from slm.batching.gpu.numbers import permute_each, signed, unsigned, word

STAGE = tl.constexpr(6)  # columns before the weights
PLACES = tl.constexpr(16)  # of a mixture's block, that are looked at together


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
    first = _drawn(0, key, total, high, wide, rounds)
    same = tl.arange(0, PLACES).to(tl.uint64)[None, :] == place[:, None]
    u = tl.sum(tl.where(same, first, 0), 1)
    if tl.max(signed(place)) >= PLACES:
        other = permute_each(key, place, total, high, wide, rounds)
        u = tl.where(place < PLACES, u, other)
    source = signed(g) * 0
    for i in tl.static_range(1, SOURCES):
        source += (u >= unsigned(tl.load(at + STAGE + i))).to(tl.int64)
    end = unsigned(tl.load(at + STAGE + source))
    weight = unsigned(tl.load(at + STAGE + source + 1)) - end
    before = unsigned(tl.load(at + STAGE + SOURCES + 1 + source))
    nth = _earlier(0, first, place, end, weight)
    for begin in range(PLACES, tl.max(signed(place)), PLACES):
        drawn = _drawn(begin, key, total, high, wide, rounds)
        nth += _earlier(begin, drawn, place, end, weight)
    return source, before + block * weight + nth


@triton.jit
def _drawn(begin, key, total, high, wide, rounds):
    """Returns where the permutation takes places begin … begin + PLACES - 1 of each block."""
    place = (begin + tl.arange(0, PLACES)).to(tl.uint64)[None, :]
    x = tl.minimum(place, total[:, None] - 1)
    return permute_each(
        key[:, None], x, total[:, None], high[:, None], wide[:, None], rounds[:, None]
    )


@triton.jit
def _earlier(begin, drawn, place, end, weight):
    """Returns how many of these places are before `place` and of its source, uint64."""
    other = (begin + tl.arange(0, PLACES)).to(tl.uint64)[None, :]
    same = (other < place[:, None]) & (drawn - end[:, None] < weight[:, None])
    return tl.sum(same.to(tl.uint64), 1)
