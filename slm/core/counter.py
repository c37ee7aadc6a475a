"""Which random number does a counter have? The generator and the permutation behind all orders.

Pure functions of 64-bit integers. Bit for bit, with + and · wrapping at 2^64:

    mix(z)        z ^= z >> 30; z *= 0xBF58476D1CE4E5B9; z ^= z >> 27; z *= 0x94D049BB133111EB;
                  z ^= z >> 31                                    (>> brings in zeros)
    word(key, c)  mix(key + (c + 1)·0x9E3779B97F4A7C15): output c of SplitMix64 seeded with key
    below(w, m)   the high 64 of the 128 bits of w·m: one of 0 … m − 1, each with a probability
                  within 2^-64 of 1 / m
    p(key, x, n)  permutes 0 … n − 1: with A the least even number >= √n (if n = 1, A = 1),
                  B = ceil(n / A), l, r = divmod(x, B), a Feistel network on the A·B positions, of
                  rounds i = 1 … R:
                      l = (l + f(r, A)) mod A where i is odd,
                      r = (r + f(l, B)) mod B where i is even,
                      f(v, m) = ((word(key, S·v + i) >> 32)·m) >> 32,
                  then x = l·B + r; all of it again while x >= n. R and S are those of _LEVELS. As
                  A·B < n + A, that takes at most 4/3 passes on average over x, for any key (8/5 if
                  n = 5), and 1 + 1/√n if n is large. No round uses word(key, 0).

Why so many rounds: two values in one column keep their distance with probability 1 / B in every two
rounds, so that such pairs are off by about n·B^(−R/2) of what chance gives: under 0.1 % below 2^16,
1 / B from there on. Why A is even: turning a column of odd length is an even permutation, and so is
all that odd rows and columns make. benchmark.orders.permutation prints what was seen.

Counters, words and x are one-dimensional NumPy uint64 arrays or PyTorch int64 tensors. An int64 has
the same bits if right shifts are masked: (z >> s) & (2^(64 - s) - 1). As m and n are at most 2^62,
no sum that is compared or divided reaches the sign bit.
"""

from functools import lru_cache
from math import isqrt
from typing import Any, NamedTuple

import numpy as np

LARGEST = 2**62  # of m and n
_LEVELS = ((1, 30, 32), (2**6, 12, 16), (2**16, 6, 16))  # from which n on, R, S
_GOLDEN, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


class Network(NamedTuple):
    """What p of the module's docstring does for an n."""

    a: Any  # A: positions are a rows of b; an int, or an array of one per element
    b: Any  # B
    rounds: int  # R, even
    stride: int  # S, above R


def word(key, counter):
    """Returns output `counter` of SplitMix64 seeded with `key`, an int or of counter's shape."""
    golden = _number(_GOLDEN, counter)
    key = _number(key + _GOLDEN, counter) if isinstance(key, int) else key + golden
    return _mix(counter * golden + key)


def below(words, m: int):
    """Returns `words` scaled to 0 … m - 1: the high half of the product, from 32-bit halves."""
    mask, low_m = _number(2**32 - 1, words), _number(m & 0xFFFFFFFF, words)
    low, high = words & mask, _shift(words, 32)
    middle = high * low_m + _shift(low * low_m, 32)
    if m < 2**32:
        return _shift(middle, 32)
    high_m = _number(m >> 32, words)
    return high * high_m + _shift(middle, 32) + _shift(low * high_m + (middle & mask), 32)


def network(n: int) -> Network:
    """Returns the network that permutes 0 … n - 1, for n in 1 … 2^62."""
    a = min(n, (isqrt(n - 1) | 1) + 1)
    return Network(a, -(-n // a), *max(level for level in _LEVELS if level[0] <= n)[1:])


def round_keys(key, n: int) -> list:
    """Returns the keys for `permute`: number i + S·v·golden, mixed, is word(key, S·v + i)."""
    return [key + _number(_GOLDEN * (i + 1), key) for i in range(1, network(n).rounds + 1)]


def permute(keys: list, x, n: int):
    """Returns p(key, x, n), all x < n; each of `keys` has the shape of x, or no dimension."""
    return _walk(_forth, keys, x, n)


def unpermute(keys: list, x, n: int):
    """The inverse: unpermute(keys, permute(keys, x, n), n) is x."""
    return _walk(_back, keys, x, n)


def permute_all(key, n: int):
    """Returns p(key, x, n) of every x, (keys, n), for a NumPy array of keys: by one pass."""
    of, keys = network(n), [each[:, None] for each in round_keys(key, n)]
    every = np.arange(of.a * of.b, dtype=np.uint64)
    made = _forth(keys, np.tile(every, (len(key), 1)), of)
    x = made[:, :n].copy()
    while (out := np.nonzero(x >= _uint64(n)))[0].size:
        x[out] = made[out[0], x[out].view(np.int64)]
    return x


def permute_each(key, x, n):
    """Returns p(key, x, n) for NumPy arrays of keys, x and n, each x < n."""
    made, firsts = np.empty_like(x), [first for first, *_ in _LEVELS]
    for first, until in zip(firsts, [*firsts[1:], LARGEST + 1], strict=True):
        mine = np.flatnonzero((n >= first) & (n < until))
        if mine.size:
            made[mine] = _each(key[mine], x[mine], n[mine], first)
    return made


def _each(key, x, n, like: int):
    """The same where rounds are as for `like`; n up to 2^52, as √n is taken in float64."""
    roots = np.sqrt((n - _uint64(1)).astype(float)).astype(np.uint64)
    a = np.minimum(n, (roots | _uint64(1)) + _uint64(1))
    of, keys = network(like)._replace(a=a, b=(n + a - _uint64(1)) // a), round_keys(key, like)
    x = _forth(keys, x, of)
    while (out := np.flatnonzero(x >= n)).size:
        again = of._replace(a=of.a[out], b=of.b[out])
        x[out] = _forth([key[out] for key in keys], x[out], again)
    return x


def _walk(way, keys: list, x, n: int):
    of = network(n)
    x = way(keys, x, of)
    while of.a * of.b > n and (out := x >= _number(n, x)).any():
        x[out] = way([key[out] if key.ndim else key for key in keys], x[out], of)
    return x


def _forth(keys: list, x, of: Network):
    left, right = _split(x, of.b)
    for odd, even in zip(keys[::2], keys[1::2], strict=True):
        left = _modulo(left + _round(odd, right, of.a, of), of.a)
        right = _modulo(right + _round(even, left, of.b, of), of.b)
    return left * _number(of.b, left) + right


def _back(keys: list, x, of: Network):
    left, right = _split(x, of.b)
    for odd, even in zip(keys[-2::-2], keys[::-2], strict=True):
        right = _modulo(right + (_number(of.b, x) - _round(even, left, of.b, of)), of.b)
        left = _modulo(left + (_number(of.a, x) - _round(odd, right, of.a, of)), of.a)
    return left * _number(of.b, left) + right


def _split(x, b):
    left = x // _number(b, x)
    return left, x - left * _number(b, x)


def _round(key, v, m, of: Network):
    """f of the module's docstring, in 0 … m - 1."""
    if isinstance(v, np.ndarray):  # the same in place
        z = v * _uint64(of.stride * _GOLDEN)
        z += key
        z = _shift(_mix(z), 32)
        z *= _number(m, v)
        return _shift(z, 32)
    return _shift(_shift(_mix(v * _number(of.stride * _GOLDEN, v) + key), 32) * _number(m, v), 32)


def _mix(z):
    if isinstance(z, np.ndarray):  # in place
        z ^= z >> _uint64(30)
        z *= _uint64(_FIRST)
        z ^= z >> _uint64(27)
        z *= _uint64(_SECOND)
        z ^= z >> _uint64(31)
        return z
    z = (z ^ _shift(z, 30)) * _number(_FIRST, z)
    z = (z ^ _shift(z, 27)) * _number(_SECOND, z)
    return z ^ _shift(z, 31)


def _modulo(z, m):
    """z mod m for z < 2m; in NumPy z - m wraps to a huge number if z < m."""
    return np.minimum(z, z - _number(m, z)) if isinstance(z, np.ndarray) else z % m


def _shift(z, bits: int):
    if isinstance(z, np.ndarray):
        return z >> _uint64(bits)
    return (z >> bits) & (2 ** (64 - bits) - 1)


def _number(value, like):
    """The low 64 bits of `value`, in a type to calculate with `like`; an array as it is."""
    if isinstance(value, np.ndarray):
        return value
    return _uint64(value) if isinstance(like, np.ndarray) else signed(value)


@lru_cache
def _uint64(value: int) -> np.ndarray:
    return np.array(value % 2**64, np.uint64)  # without dimension: faster than an int


def signed(value: int) -> int:
    """Returns the int64 with the low 64 bits of `value`."""
    return (value + 2**63) % 2**64 - 2**63
