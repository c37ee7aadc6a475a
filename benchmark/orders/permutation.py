"""Does the permutation of the orders look drawn, at every size? -m benchmark.orders.permutation

In: sizes n (`--sizes 9 256`, else SIZES) and epochs (`--epochs`, else 12,000; 5·n! where that is
more and n <= 8). Keys are those of "shuffled" with seed 1337. Out: a table in Markdown, with each z
of benchmark.orders.uniformity and, in brackets, that of NumPy's own shuffle of as many epochs; as
the last line the largest of each. Above 5 is a fault. `--before` takes the permutation of sampling
1, which has some. All sizes take a quarter of an hour on one core.
"""

import argparse
from collections.abc import Iterator
from functools import partial
from math import factorial, isqrt

import numpy as np

from benchmark.orders.uniformity import FEW, figures
from slm.core.counter import Network, network, permute, round_keys, word
from slm.core.errors import check, positive, run_main
from slm.core.tables import say

SEED, EPOCHS, LIMIT = 1337, 12_000, 5
SIZES = (
    *range(2, 11), 12, 13, 16, 25, 30, 37, 49, 63, 64, 65, 81, 100, 121, 169, 225, 255, 256, 257,
    289, 400, 529, 1000, 1009, 2048, 4096, 4459, 65_535, 65_536,
)  # fmt: skip
NAMES = (
    "orders", "even", "again", "fixed", "descents", "places", "+1", "+B",
    "by 1", "by 2", "by B", "by A", "by n/2",
)  # fmt: skip


def main() -> None:
    """Measure each size, and print."""
    asked = _arguments()
    print(f"| n | A × B | rounds | epochs | {' | '.join(NAMES)} |")
    print(f"|--:|--:|--:|--:|{'---|' * len(NAMES)}")
    found: list[dict] = [{}, {}]
    for n in asked.sizes:
        say(f"n = {n:,}")
        epochs = max(asked.epochs, 5 * factorial(n) if n <= FEW else 0)
        of = earlier_network(n) if asked.before else network(n)
        draws = partial(earlier if asked.before else drawn, SEED), shuffled(n)
        both = [figures(draw, n, of.a, of.b, epochs) for draw in draws]
        for all_of, here in zip(found, both, strict=True):
            all_of.update({(n, name): z for name, z in here.items()})
        cells = f"{n:,} | {of.a} × {of.b} | {of.rounds} | {epochs:,}"
        print(f"| {cells} | {' | '.join(_cells(*both))} |", flush=True)
    print("", *_largest(*found), sep="\n", flush=True)
    largest = max(map(abs, found[0].values()))
    check(asked.before or largest <= LIMIT, f"a |z| is {largest:.1f}; {LIMIT} is a fault")


def drawn(seed: int, n: int, first: int, count: int) -> np.ndarray:
    """Returns epochs first … first + count - 1 of "shuffled" over n blocks, (count, n) int64."""
    keys, places = _keys(seed, n, first, count)
    return permute(round_keys(keys, n), places, n).view(np.int64).reshape(count, n)


def earlier(seed: int, n: int, first: int, count: int) -> np.ndarray:
    """Returns the same as sampling 1 had it."""
    keys, x = _keys(seed, n, first, count)
    of, out = earlier_network(n), np.ones(len(x), bool)
    while out.any():
        x[out] = _earlier_pass(keys[out], x[out], of)
        out = x >= n
    return x.view(np.int64).reshape(count, n)


def earlier_network(n: int) -> Network:
    """Returns the network of sampling 1."""
    a = isqrt(n - 1) + 1
    return Network(a, -(-n // a), 6 if n >= 256 else 12, 16)


def shuffled(n: int):
    """Returns a function that draws orders of 0 … n - 1 by NumPy's shuffle."""
    generator = np.random.Generator(np.random.PCG64([SEED, n]))

    def draw(n: int, first: int, count: int) -> np.ndarray:
        return generator.permuted(np.tile(np.arange(n), (count, 1)), axis=1)

    return draw


def _keys(seed: int, n: int, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the epoch's key and the place, (count * n,) uint64, of every value."""
    key = int(word(seed, np.ones(1, np.uint64))[0])
    keys = word(key, np.arange(first, first + count, dtype=np.uint64))
    return keys.repeat(n), np.tile(np.arange(n, dtype=np.uint64), count)


def _earlier_pass(keys: np.ndarray, x: np.ndarray, of: Network) -> np.ndarray:
    left, right = np.divmod(x, np.uint64(of.b))
    for i in range(1, of.rounds + 1):
        v, m = (right, of.a) if i % 2 else (left, of.b)
        turn = (word(keys, v * np.uint64(16) + np.uint64(i)) >> np.uint64(32)) * np.uint64(m)
        turn >>= np.uint64(32)
        if i % 2:
            left = (left + turn) % np.uint64(of.a)
        else:
            right = (right + turn) % np.uint64(of.b)
    return left * np.uint64(of.b) + right


def _cells(ours: dict, control: dict) -> Iterator[str]:
    for name in NAMES:
        yield f"{ours[name]:+.1f} ({control[name]:+.1f})" if name in ours else ""


def _largest(ours: dict, control: dict) -> Iterator[str]:
    """Yields how many z are above LIMIT, and the largest of each."""
    above = [f"{n}: {name} {z:+.1f}" for (n, name), z in ours.items() if abs(z) > LIMIT]
    if above:
        yield f"{len(above)} above {LIMIT}: {'; '.join(above)}"
    parts = []
    for whose, of in (("the permutation", ours), ("NumPy's shuffle", control)):
        n, name = max(of, key=lambda which: abs(of[which]))
        parts.append(f"{abs(of[n, name]):.1f} of {whose} ({name} at n = {n:,})")
    yield f"largest |z| of {len(ours)}: {', '.join(parts)}; {LIMIT} is a fault"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--sizes", type=positive, nargs="+", default=SIZES, metavar="n")
    parser.add_argument("--epochs", type=positive, default=EPOCHS, metavar="N")
    parser.add_argument("--before", action="store_true", help="the permutation of sampling 1")
    asked = parser.parse_args()
    check(min(asked.sizes) > 1, f"--sizes has {min(asked.sizes)}; orders begin at 2 blocks")
    return asked


if __name__ == "__main__":
    run_main(main)
