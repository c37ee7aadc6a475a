"""Which random number belongs to a counter? The generator and the permutation behind the orders.

Pure functions of 64-bit integers. Bit for bit, with + and · wrapping at 2^64:

    mix(z)        z ^= z >> 30; z *= 0xBF58476D1CE4E5B9; z ^= z >> 27; z *= 0x94D049BB133111EB;
                  z ^= z >> 31                                    (>> brings in zeros)
    word(key, c)  mix(key + (c + 1)·0x9E3779B97F4A7C15): output c of SplitMix64 seeded with key
    below(w, m)   the high 64 of the 128 bits of w·m: one of 0 … m − 1, each with a probability
                  that is within 2^-64 of 1 / m
    p(key, x, n)  permutes 0 … n − 1: with A = ceil(√n), B = ceil(n / A), l, r = divmod(x, B), a
                  Feistel network on the A·B places, of rounds i = 1 … 6, or … 12 if n < 256:
                      l = (l + f(r, A)) mod A where i is odd,
                      r = (r + f(l, B)) mod B where i is even,
                      f(v, m) = ((word(key, 16·v + i) >> 32)·m) >> 32,
                  then x = l·B + r; all of it again while x >= n. As A·B < n + A, that is at most
                  4/3 passes on average over x, whatever the key, and 1 + 1/√n where n is large.
                  No round uses word(key, 0).

Counters, words and x are NumPy uint64 arrays or PyTorch int64 tensors of one dimension; the code is
the same. An int64 has the same bits once a right shift is masked, (z >> s) & (2^(64 - s) - 1); in
Triton there is uint64, and `tl.umulhi` for `below`. With m and n up to 2^62 no sum that is compared
or divided meets the sign bit.
"""

from functools import lru_cache
from math import isqrt

import numpy as np

LARGEST = 2**62  # of m and n
_GOLDEN, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def word(key, counter):
    """Output `counter` of SplitMix64 seeded with `key`, an int or an array as `counter` is."""
    if isinstance(key, int):
        return _mix(counter * _number(_GOLDEN, counter) + _number(key + _GOLDEN, counter))
    return _mix(counter * _number(_GOLDEN, counter) + (key + _number(_GOLDEN, counter)))


def below(words, m: int):
    """`words` scaled to 0 … m - 1: the high half of the product, from halves of 32 bits."""
    mask, low_m = _number(2**32 - 1, words), _number(m & 0xFFFFFFFF, words)
    low, high = words & mask, _shift(words, 32)
    middle = high * low_m + _shift(low * low_m, 32)
    if m < 2**32:
        return _shift(middle, 32)
    high_m = _number(m >> 32, words)
    return high * high_m + _shift(middle, 32) + _shift(low * high_m + (middle & mask), 32)


def rounds(n: int) -> int:
    """Rounds of the permutation of n: with 6, neighbours in few places are not quite at random."""
    return 6 if n >= 256 else 12


def round_keys(key, n: int) -> list:
    """What `permute` takes of `key`: the j-th + 16·v·golden, mixed, is word(key, 16·v + j)."""
    return [key + _number(_GOLDEN * (i + 1), key) for i in range(1, rounds(n) + 1)]


def permute(keys: list, x, n: int):
    """p(key, x, n), all x < n; each of `keys` as long as x or, one for all, of no dimension."""
    return _walk(_forth, keys, x, n)


def unpermute(keys: list, x, n: int):
    """The inverse: unpermute(keys, permute(keys, x, n), n) is x."""
    return _walk(_back, keys, x, n)


def _walk(once, keys: list, x, n: int):
    high = isqrt(n - 1) + 1
    wide = -(-n // high)
    x = once(keys, x, high, wide)
    while high * wide > n and (out := x >= _number(n, x)).any():
        x[out] = once([key[out] if key.ndim else key for key in keys], x[out], high, wide)
    return x


def _forth(keys: list, x, high: int, wide: int):
    left, right = _split(x, wide)
    for odd, even in zip(keys[::2], keys[1::2], strict=True):
        left = _modulo(left + _part(odd, right, high), high)
        right = _modulo(right + _part(even, left, wide), wide)
    return left * _number(wide, left) + right


def _back(keys: list, x, high: int, wide: int):
    left, right = _split(x, wide)
    for odd, even in zip(keys[-2::-2], keys[::-2], strict=True):
        right = _modulo(right + (_number(wide, x) - _part(even, left, wide)), wide)
        left = _modulo(left + (_number(high, x) - _part(odd, right, high)), high)
    return left * _number(wide, left) + right


def _split(x, wide: int):
    left = x // _number(wide, x)
    return left, x - left * _number(wide, x)


def _part(key, v, m: int):
    """f of the docstring, in 0 … m - 1."""
    return _shift(_shift(_mix(v * _number(16 * _GOLDEN, v) + key), 32) * _number(m, v), 32)


def _mix(z):
    z = (z ^ _shift(z, 30)) * _number(_FIRST, z)
    z = (z ^ _shift(z, 27)) * _number(_SECOND, z)
    return z ^ _shift(z, 31)


def _modulo(z, m: int):
    """z mod m for z < 2m. In NumPy z - m wraps to a huge number where z < m."""
    return np.minimum(z, z - _number(m, z)) if isinstance(z, np.ndarray) else z % m


def _shift(z, places: int):
    if isinstance(z, np.ndarray):
        return z >> _uint64(places)
    return (z >> places) & (2 ** (64 - places) - 1)


def _number(value: int, like):
    """The low 64 bits of `value`, as what `like` calculates with."""
    return _uint64(value) if isinstance(like, np.ndarray) else _int64(value)


@lru_cache
def _uint64(value: int) -> np.ndarray:
    return np.array(value % 2**64, np.uint64)  # no dimension: three times as quick as an int


def _int64(value: int) -> int:
    return (value + 2**63) % 2**64 - 2**63
