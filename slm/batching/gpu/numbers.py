"""The numbers of slm.core.counter in Triton, bit for bit.

Counters, words and places are uint64 blocks, of any shape. Sizes may be constants of the kernel, so
that divisions become multiplications, or blocks, where each element has sizes of its own.
"""

import triton
import triton.language as tl

from slm.core.counter import network

_GOLDEN = 0x9E3779B97F4A7C15
GOLDEN = tl.constexpr(_GOLDEN)
MANY = tl.constexpr(network(1).rounds)  # of small sizes
STRIDE_OF_MANY = tl.constexpr(network(1).stride * _GOLDEN % 2**64)
STRIDE_OF_FEWER = tl.constexpr(network(2**62).stride * _GOLDEN % 2**64)


@triton.jit
def unsigned(number):
    """Returns the same 64 bits as uint64."""
    return number.to(tl.uint64, bitcast=True)


@triton.jit
def signed(number):
    """Returns the same 64 bits as int64."""
    return number.to(tl.int64, bitcast=True)


@triton.jit
def mix(z):
    """Returns mix(z) of slm.core.counter."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB
    return z ^ (z >> 31)


@triton.jit
def word(key, counter):
    """Returns output `counter` of SplitMix64 seeded with `key`."""
    return mix(key + (counter + 1) * GOLDEN)


@triton.jit
def below(words, m):
    """Returns `words` scaled to 0 … m - 1: the high half of the product."""
    return tl.umulhi(words, words * 0 + m)


@triton.jit
def permute(key, x, n, a, b, ROUNDS: tl.constexpr):
    """Returns p(key, x, n), of a network of constants: all is unrolled."""
    x = _network(key, x, a, b, ROUNDS)
    while tl.max((x >= n).to(tl.int32)) > 0:
        x = tl.where(x >= n, _network(key, x, a, b, ROUNDS), x)
    return x


@triton.jit
def permute_each(key, x, n, a, b, rounds):
    """Returns the same for a network per element, by loops: less code to fetch."""
    stride = tl.where(rounds == MANY, STRIDE_OF_MANY, STRIDE_OF_FEWER).to(tl.uint64)
    left = signed(x * 0) + rounds  # of each element that is not below n yet
    while tl.max(left) > 0:
        l = x // b  # noqa: E741
        r = x - l * b
        k = key + GOLDEN
        for i in range(1, tl.max(left) + 1, 2):
            k += GOLDEN
            new_l = _round(k, l, r, a, stride)
            k += GOLDEN
            new_r = _round(k, r, new_l, b, stride)
            l = tl.where(i <= rounds, new_l, l)  # noqa: E741
            r = tl.where(i <= rounds, new_r, r)
        x = tl.where(left > 0, l * b + r, x)
        left = tl.where(x >= n, left, 0)
    return x


@triton.jit
def _network(key, x, a, b, ROUNDS: tl.constexpr):
    l = x // b  # noqa: E741
    r = x - l * b
    STRIDE: tl.constexpr = STRIDE_OF_MANY if ROUNDS == MANY else STRIDE_OF_FEWER
    k = key + GOLDEN
    for _ in tl.static_range(0, ROUNDS, 2):
        k += GOLDEN
        l = _round(k, l, r, a, STRIDE)  # noqa: E741
        k += GOLDEN
        r = _round(k, r, l, b, STRIDE)
    return l * b + r


@triton.jit
def _round(key, own, other, m, stride):
    own += ((mix(key + stride * other) >> 32) * m) >> 32
    return tl.where(own >= m, own - m, own)


@triton.jit
def search(table, count, value, STRIDE: tl.constexpr, STEPS: tl.constexpr):
    """Returns how many of table[0, STRIDE, …], `count` ascending ones, are at most `value`."""
    low = count * 0
    high = count
    for _ in range(STEPS):
        middle = (low + high) // 2
        left = low < high
        less = left & (tl.load(table + middle * STRIDE, mask=left, other=0) <= value)
        high = tl.where(left & (less == 0), middle, high)
        low = tl.where(less, middle + 1, low)
    return low
