"""Which random number does a counter have? The generator and the permutation behind all orders.

Pure functions of 64-bit integers. Bit for bit, with + and · wrapping at 2^64:

    mix(z)        z ^= z >> 30; z *= 0xBF58476D1CE4E5B9; z ^= z >> 27; z *= 0x94D049BB133111EB;
                  z ^= z >> 31                                    (>> brings in zeros)
    word(key, c)  mix(key + (c + 1)·0x9E3779B97F4A7C15): output c of SplitMix64 seeded with key
    below(w, m)   the high 64 of the 128 bits of w·m: one of 0 … m − 1, each with a probability
                  within 2^-64 of 1 / m
    p(key, x, n)  permutes 0 … n − 1: with A = ceil(√n), B = ceil(n / A), l, r = divmod(x, B), a
                  Feistel network on the A·B positions, of rounds i = 1 … 6, or … 12 if n < 256:
                      l = (l + f(r, A)) mod A where i is odd,
                      r = (r + f(l, B)) mod B where i is even,
                      f(v, m) = ((word(key, 16·v + i) >> 32)·m) >> 32,
                  then x = l·B + r; all of it again while x >= n. As A·B < n + A, that takes at
                  most 4/3 passes on average over x, for any key, and 1 + 1/√n if n is large.
                  No round uses word(key, 0).

Counters, words and x are one-dimensional NumPy uint64 arrays or PyTorch int64 tensors; the code is
the same. An int64 has the same bits if right shifts are masked: (z >> s) & (2^(64 - s) - 1). With m
and n up to 2^62 no sum that is compared or divided reaches the sign bit.
"""

from functools import lru_cache
from math import isqrt

import numpy as np

LARGEST = 2**62  # of m and n
_GOLDEN, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def word(key, counter):
    """Returns output `counter` of SplitMix64 seeded with `key`, an int or of counter's shape."""
    if isinstance(key, int):
        return _mix(counter * _number(_GOLDEN, counter) + _number(key + _GOLDEN, counter))
    return _mix(counter * _number(_GOLDEN, counter) + (key + _number(_GOLDEN, counter)))


def below(words, m: int):
    """Returns `words` scaled to 0 … m - 1: the high half of the product, from 32-bit halves."""
    mask, low_m = _number(2**32 - 1, words), _number(m & 0xFFFFFFFF, words)
    low, high = words & mask, _shift(words, 32)
    middle = high * low_m + _shift(low * low_m, 32)
    if m < 2**32:
        return _shift(middle, 32)
    high_m = _number(m >> 32, words)
    return high * high_m + _shift(middle, 32) + _shift(low * high_m + (middle & mask), 32)


def rounds(n: int) -> int:
    """Returns the rounds of the permutation of n; 6 are too few to mix a small n."""
    return 6 if n >= 256 else 12


def round_keys(key, n: int) -> list:
    """Returns the keys for `permute`: number j + 16·v·golden, mixed, is word(key, 16·v + j)."""
    return [key + _number(_GOLDEN * (i + 1), key) for i in range(1, rounds(n) + 1)]


def sides(n: int) -> tuple[int, int]:
    """Returns A and B of the permutation of n."""
    high = isqrt(n - 1) + 1
    return high, -(-n // high)


def rounds_of(n: np.ndarray) -> np.ndarray:
    return np.where(n >= 256, 6, 12)


def sides_of(n: np.ndarray):
    root = np.sqrt((n - _uint64(1)).astype(np.float64)).astype(np.uint64)
    a = root + _uint64(1)
    return a, (n + a - _uint64(1)) // a


def permute(keys: list, x, n: int):
    """Returns p(key, x, n), all x < n; each of `keys` has the shape of x, or no dimension."""
    return _walk(_forth, keys, x, n)


def unpermute(keys: list, x, n: int):
    """The inverse: unpermute(keys, permute(keys, x, n), n) is x."""
    return _walk(_back, keys, x, n)


def _walk(network, keys: list, x, n: int):
    a = isqrt(n - 1) + 1
    b = -(-n // a)
    x = network(keys, x, a, b)
    while a * b > n and (out := x >= _number(n, x)).any():
        x[out] = network([key[out] if key.ndim else key for key in keys], x[out], a, b)
    return x


def _forth(keys: list, x, a: int, b: int):
    left, right = _split(x, b)
    for odd, even in zip(keys[::2], keys[1::2], strict=True):
        left = _modulo(left + _round(odd, right, a), a)
        right = _modulo(right + _round(even, left, b), b)
    return left * _number(b, left) + right


def _back(keys: list, x, a: int, b: int):
    left, right = _split(x, b)
    for odd, even in zip(keys[-2::-2], keys[::-2], strict=True):
        right = _modulo(right + (_number(b, x) - _round(even, left, b)), b)
        left = _modulo(left + (_number(a, x) - _round(odd, right, a)), a)
    return left * _number(b, left) + right


def _split(x, b: int):
    left = x // _number(b, x)
    return left, x - left * _number(b, x)


def _round(key, v, m: int):
    """f of the module's docstring, in 0 … m - 1."""
    return _shift(_shift(_mix(v * _number(16 * _GOLDEN, v) + key), 32) * _number(m, v), 32)


def _mix(z):
    z = (z ^ _shift(z, 30)) * _number(_FIRST, z)
    z = (z ^ _shift(z, 27)) * _number(_SECOND, z)
    return z ^ _shift(z, 31)


def _modulo(z, m: int):
    """z mod m for z < 2m; in NumPy z - m wraps to a huge number if z < m."""
    return np.minimum(z, z - _number(m, z)) if isinstance(z, np.ndarray) else z % m


def _shift(z, bits: int):
    if isinstance(z, np.ndarray):
        return z >> _uint64(bits)
    return (z >> bits) & (2 ** (64 - bits) - 1)


def _number(value: int, like):
    """The low 64 bits of `value`, in a type to calculate with `like`; arrays as they are."""
    if isinstance(value, np.ndarray):
        return value
    return _uint64(value) if isinstance(like, np.ndarray) else signed(value)


@lru_cache
def _uint64(value: int) -> np.ndarray:
    return np.array(value % 2**64, np.uint64)  # without dimension: three times as fast as an int


def signed(value: int) -> int:
    """Returns the int64 with the low 64 bits of `value`."""
    return (value + 2**63) % 2**64 - 2**63


def permute_each(key, x, n):
    """Returns p(key, x, n) for arrays of keys, x and n, each x < n."""
    out = np.empty_like(x)
    few = rounds_of(n)
    for many in np.unique(few):
        mine = few == many
        out[mine] = _each(key[mine], x[mine], n[mine], int(many))
    return out


def _each(key, x, n, many: int):
    a, b = sides_of(n)
    keys = [key + _number(_GOLDEN * (i + 1), key) for i in range(1, many + 1)]
    x = _forth(keys, x, a, b)
    while (out := np.flatnonzero(x >= n)).size:
        x[out] = _forth([key[out] for key in keys], x[out], a[out], b[out])
    return x
