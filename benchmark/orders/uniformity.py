"""Do orders look drawn? A z for each property of many orders of 0 … n - 1.

In: a function that draws epochs first … first + count - 1 as (count, n) int64. Out: by name, how
many standard deviations a figure lies from its exact mean over orders that are all as likely.
Values of one order hang together, so that each z is honest: counts per epoch are taken with the
deviation that they show, chi-squares with the exact covariance of their cells and the degrees of
freedom that it leaves, and made a z by Wilson and Hilferty.

    orders            each of the n! orders, where n <= 8
    even              orders that are even permutations, where n <= 2048
    again             places with the value that they had in the epoch before
    fixed, descents   places with their own number; places whose next value is the smaller one
    places            each value in each place, where n <= 300
    +1, +B            x with p(x + 1) = p(x) + 1, and with p(x + B) = p(x) + B
    by d              each p(x + d) - p(x) mod n, for d = 1, 2, B, A and n // 2
"""

from collections.abc import Callable, Iterator
from math import factorial, sqrt

import numpy as np

Draw = Callable[[int, int, int], np.ndarray]  # n, first, count
FEW, PLACES, PARITY = 8, 300, 2048
CHUNK = 2**17  # values at once


def figures(draw: Draw, n: int, a: int, b: int, epochs: int) -> dict[str, float]:
    """Returns z by name over epochs 0 … epochs - 1; a and b are the columns' and rows' lengths."""
    counts: dict[str, list] = {}
    tables: dict[str, np.ndarray] = {}
    last, size = np.empty((0, n), np.int64), max(1, CHUNK // n)
    for first in range(0, epochs, size):
        orders = draw(n, first, min(size, epochs - first))
        for name, of_each in _counts(orders, last, b):
            counts.setdefault(name, []).append(of_each)
        for name, table in _tables(orders, a, b):
            tables[name] = tables.get(name, 0) + table
        last = orders[-1:]
    means = {
        "even": 1 / 2,
        "descents": (n - 1) / 2,
        "+1": 1 - 1 / n,
        "+B": (n - b) ** 2 / n / (n - 1),
    }
    found = {name: _z(np.concatenate(of), means.get(name, 1)) for name, of in counts.items()}
    steps = distances(n, a, b)
    for name, table in tables.items():
        found[name] = _z_of_table(name, table, n, epochs, steps.get(name, 0))
    return found


def distances(n: int, a: int, b: int) -> dict[str, int]:
    """Returns the different distances that are looked at, by name."""
    named = {n // 2: "by n/2", a: "by A", b: "by B", 2: "by 2", 1: "by 1"}  # the last name counts
    return {name: d for d, name in named.items()}


def _counts(orders: np.ndarray, last: np.ndarray, b: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yields what is counted in each epoch, (count,) each."""
    n = orders.shape[1]
    before = np.concatenate([last, orders])
    yield "again", (before[1:] == before[:-1]).sum(1)
    if n <= PARITY:
        yield "even", (n - cycles(orders)) % 2 == 0
    if n > FEW:
        yield "fixed", (orders == np.arange(n)).sum(1)
        yield "descents", (orders[:, 1:] < orders[:, :-1]).sum(1)
        yield "+1", (orders[:, 1:] == orders[:, :-1] + 1).sum(1)
        yield "+B", (orders[:, b:] == orders[:, :-b] + b).sum(1)


def _tables(orders: np.ndarray, a: int, b: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yields what is counted over all epochs, a cell for each case."""
    n = orders.shape[1]
    if n <= FEW:
        yield "orders", np.bincount(_rank(orders), minlength=factorial(n))
        return
    if n <= PLACES:
        yield "places", np.bincount((orders + np.arange(n) * n).ravel(), minlength=n * n)
    for name, d in distances(n, a, b).items():
        yield name, np.bincount(((orders[:, d:] - orders[:, :-d]) % n).ravel(), minlength=n)


def _z_of_table(name: str, table: np.ndarray, n: int, epochs: int, d: int) -> float:
    if name == "orders":
        mean = epochs / factorial(n)
        return wilson_hilferty(((table - mean) ** 2).sum() / mean, factorial(n) - 1)
    if name == "places":  # rows and columns have fixed sums
        off = ((table - epochs / n) ** 2).sum()
        return wilson_hilferty((n - 1) / epochs * off, (n - 1) ** 2)
    return wilson_hilferty(_distance_chi(table, n, d) / epochs, n - 2)


def _distance_chi(table: np.ndarray, n: int, d: int) -> float:
    """Returns epochs times the chi-square of the differences of p(x + d) and p(x).

    N_v is the number of x with difference v in one order. Of the ordered pairs x, y of its `places`
    `chained` have a place in common; four places of `apart` have difference v twice, or v and -v,
    in more ways than two other differences. So N_v - N_-v are uncorrelated, N_v + N_-v have one
    covariance with each other, and N_(n/2) with all; the sum of all is fixed.
    """
    places, chained = n - d, 2 * max(0, n - 2 * d)
    apart = places * (places - 1) - chained
    three = 1 / ((n - 1) * (n - 2))
    four = three / (n - 3)
    half = (n - 1) // 2
    up, down = table[1 : half + 1], table[: -half - 1 : -1]
    both = up + down
    spread = 2 * places / (n - 1) - 2 * chained * three + 4 * apart * four
    chi = ((both - both.mean()) ** 2).sum() / spread
    chi += ((up - down) ** 2).sum() / (2 * (places / (n - 1) + chained * three))
    if n % 2 == 0:
        mean = places / (n - 1)
        spread = mean + apart * (n - 2) * four - mean**2
        chi += (table[n // 2] - table.sum() / (n - 1)) ** 2 / spread
    return float(chi)


def cycles(orders: np.ndarray) -> np.ndarray:
    """Returns how many cycles each of the (count, n) orders has."""
    places = np.broadcast_to(np.arange(orders.shape[1]), orders.shape)
    least, ahead = places, orders  # the least of the places passed, and where 2^i steps lead
    for _ in range(orders.shape[1].bit_length()):
        least = np.minimum(least, np.take_along_axis(least, ahead, 1))
        ahead = np.take_along_axis(ahead, ahead, 1)
    return (least == places).sum(1)


def _rank(orders: np.ndarray) -> np.ndarray:
    """Returns a number below n! for each of the (count, n) orders."""
    n = orders.shape[1]
    rank = np.zeros(len(orders), np.int64)
    for i in range(n):
        rank = rank * (n - i) + (orders[:, i + 1 :] < orders[:, i : i + 1]).sum(1)
    return rank


def _z(counts: np.ndarray, mean: float) -> float:
    spread = mean if counts.dtype == bool else counts.std(ddof=1)  # of heads and tails
    return float((counts.mean() - mean) / spread * sqrt(len(counts)))


def wilson_hilferty(chi: float, freedom: int) -> float:
    """Returns the z of a chi-square."""
    part = 2 / (9 * freedom)
    return float(((chi / freedom) ** (1 / 3) - (1 - part)) / sqrt(part))
