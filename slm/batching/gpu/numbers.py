"""The numbers of slm.core.counter in Triton, bit for bit.

Counters, words and places are uint64 blocks, of any shape. Sizes may be constants of the kernel, so
that divisions become multiplications, or blocks, where each element has sizes of its own.
"""

import triton
import triton.language as tl


@triton.jit
def mix(z):
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB
    return z ^ (z >> 31)


@triton.jit
def word(key, counter):
    return mix(key + (counter + 1) * 0x9E3779B97F4A7C15)


@triton.jit
def below(words, m):
    return tl.umulhi(words, words * 0 + m)


@triton.jit
def permute(key, x, n, a, b, rounds, MOST: tl.constexpr, EACH: tl.constexpr):
    """Returns p(key, x, n) on a·b places; with EACH, elements have `rounds` of their own."""
    x = _forth(key, x, a, b, rounds, MOST, EACH)
    while tl.max((x >= n).to(tl.int32)) > 0:
        x = tl.where(x >= n, _forth(key, x, a, b, rounds, MOST, EACH), x)
    return x


@triton.jit
def _forth(key, x, a, b, rounds, MOST: tl.constexpr, EACH: tl.constexpr):
    left = x // b
    right = x - left * b
    stride = tl.where(rounds > 15, 32, 16).to(tl.uint64) if EACH else 32 if MOST > 15 else 16
    for i in tl.static_range(1, MOST + 1, 2):
        new_left = left + (((word(key, stride * right + i) >> 32) * a) >> 32)
        new_left = tl.where(new_left >= a, new_left - a, new_left)
        new_right = right + (((word(key, stride * new_left + (i + 1)) >> 32) * b) >> 32)
        new_right = tl.where(new_right >= b, new_right - b, new_right)
        if EACH:
            new_left = tl.where(i <= rounds, new_left, left)
            new_right = tl.where(i <= rounds, new_right, right)
        left = new_left
        right = new_right
    return left * b + right


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
