"""The permutation: as stated, one for every size, and such that every order is as likely.

The statistics are those of `python -m benchmark.orders.permutation`, of fewer sizes.
"""

import math
import random
from functools import partial
from itertools import permutations as every_order

import numpy as np
import pytest
import torch

from benchmark.orders import permutation as table
from benchmark.orders.uniformity import cycles, figures
from slm.core.counter import network, permute, permute_all, round_keys, unpermute, word
from tests.batching.test_sampling import TINYSTORIES, slow_permuted, surprise, uint64

LIMIT = 5  # of |z|
KNOWN = {7: "orders", 8: "even", 9: "even", 25: "even", 256: "by B", 257: "by B", 289: "by B"}


def permutations(n: int, times: int) -> np.ndarray:
    """(times, n): what the keys 0, 1, 2 … of one seed make of 0 … n - 1."""
    keys = round_keys(np.repeat(word(1, np.arange(times, dtype=np.uint64)), n), n)
    places = np.tile(np.arange(n, dtype=np.uint64), times)
    return permute(keys, places, n).astype(np.int64).reshape(times, n)


def single_keys(n: int, key: int = 5) -> list:
    return [part.reshape(()) for part in round_keys(uint64([key]), n)]


# --- the definition ---


def test_the_permutation_follows_the_definition():
    sizes = [*range(1, 70), 81, 255, 256, 257, 1000, 2**16 - 1, 2**16, 2**16 + 1, 10**6, 2**62]
    for n in sizes:
        x = [*range(min(n, 40)), n // 2, n - 1]
        expected = [slow_permuted(n + 5, place, n) for place in x]
        assert permute(single_keys(n, n + 5), uint64(x), n).tolist() == expected
        keys = round_keys(torch.tensor([n + 5]).expand(len(x)), n)
        assert permute(keys, torch.tensor(x), n).tolist() == expected


def test_the_permutation_is_one_for_every_size_up_to_2000_and_so_is_its_inverse():
    for n in range(1, 2001):
        places = np.arange(n, dtype=np.uint64)
        actual = permute(single_keys(n, key=n), places, n)
        assert np.bincount(actual.astype(np.int64), minlength=n).tolist() == [1] * n
        assert (unpermute(single_keys(n, key=n), actual, n) == places).all()


@pytest.mark.parametrize("n", [1, 2, 3, 5, 10, 63, 64, 1000, 70_000])
def test_all_of_a_permutation_is_each_of_it(n):
    keys = np.array([0, 5, 2**64 - 1], np.uint64)
    for key, row in zip(keys, permute_all(keys, n), strict=True):
        single = [part.reshape(()) for part in round_keys(key[None], n)]
        assert (row == permute(single, np.arange(n, dtype=np.uint64), n)).all()


@pytest.mark.parametrize("n", [2**32 - 1, 2**32, 2**32 + 1, 2**32 + 12345, 3 * 2**40 + 7, 2**62])
def test_the_permutation_of_very_many_blocks_has_an_inverse(n):
    draw = random.Random(n)
    some = uint64([*range(100), *(draw.randrange(n) for _ in range(100_000)), n - 2, n - 1])
    keys = single_keys(n)
    for one, other in ((permute, unpermute), (unpermute, permute)):
        actual = one(keys, some, n)
        assert actual.max() < n
        assert (other(keys, actual, n) == some).all()
        assert np.unique(actual).size == np.unique(some).size


def test_a_place_costs_at_most_four_thirds_passes():
    for n in range(1, 3000):
        of = network(n)
        assert n <= of.a * of.b <= n * (8 / 5 if n == 5 else 4 / 3)
        assert of.a * of.b < n + of.a


@pytest.mark.parametrize("n", [7, 13, 37, 100, 215])
def test_every_block_is_as_likely_in_every_place_of_a_small_epoch(n):
    actual = permutations(n, 40 * n)
    counts = np.bincount((actual + np.arange(n) * n).ravel(), minlength=n * n)
    assert abs(surprise(counts, (n - 1) ** 2)) < 4


@pytest.mark.parametrize("n", [8, 13, 16, 37, 100, 215, 256, 300, 1009])
def test_neighbours_in_an_epoch_have_nothing_to_do_with_each_other(n):
    actual = permutations(n, 100_000 // n)
    apart = np.bincount(((actual[:, 1:] - actual[:, :-1]) % n).ravel(), minlength=n)[1:]
    assert abs(surprise(apart)) < 4


# --- every order is as likely ---


@pytest.mark.parametrize("n", [24, 700, 4001])
def test_epochs_have_nothing_to_do_with_each_other(n):
    actual = permutations(n, 300)
    same = (actual[1:] == actual[:-1]).sum(1)  # fixed points: Poisson with mean 1
    assert abs(same.mean() - 1) < 4 / math.sqrt(300)
    assert abs(same.var() - 1) < 0.5
    together = np.corrcoef(actual[1:].ravel(), actual[:-1].ravel())[0, 1]
    assert abs(together) < 4 / math.sqrt(actual.size)


def test_an_epoch_of_many_blocks_looks_drawn():
    n = TINYSTORIES // 256 - 1
    actual = permute(single_keys(n), np.arange(n, dtype=np.uint64), n).astype(np.int64)
    wide = network(n).b
    for apart in (1, 2, 64, wide):  # `wide` places on, only the left half of the network differs
        assert abs(np.corrcoef(actual[apart:], actual[:-apart])[0, 1]) * math.sqrt(n) < 4
        pairs = actual[apart:] * 64 // n * 64 + actual[:-apart] * 64 // n
        assert abs(surprise(np.bincount(pairs))) < 4


@pytest.mark.slow
@pytest.mark.parametrize("n", [*range(2, 10), 13, 16, 25, 49, 63, 64, 100, 225, 255, 256, 257, 289])
def test_orders_look_drawn(n):
    epochs = max(12_000, 5 * math.factorial(n) if n < 9 else 0)
    of = network(n)
    found = figures(partial(table.drawn, 1337), n, of.a, of.b, epochs)
    assert {name: z for name, z in found.items() if abs(z) > LIMIT} == {}


@pytest.mark.slow
@pytest.mark.parametrize(("n", "name"), KNOWN.items())
def test_the_statistics_find_what_was_wrong_with_the_permutation_before(n, name):
    of = table.earlier_network(n)
    epochs = max(12_000, 5 * math.factorial(n) if n < 9 else 0)
    assert abs(figures(partial(table.earlier, 1337), n, of.a, of.b, epochs)[name]) > LIMIT


@pytest.mark.parametrize("n", [9, 10, 64, 65])
def test_the_statistics_find_nothing_in_numpy_s_shuffle_and_are_as_wide_as_they_say(n):
    of, found = network(n), []
    draw = table.shuffled(n)
    for _ in range(60):
        found += figures(draw, n, of.a, of.b, 500).values()
    assert max(map(abs, found)) < LIMIT
    assert np.mean(found) == pytest.approx(0, abs=4 / math.sqrt(len(found)))
    assert np.std(found) == pytest.approx(1, abs=4 / math.sqrt(2 * len(found)))


def test_cycles_are_counted():
    orders = np.array(list(every_order(range(5))))
    assert np.bincount(cycles(orders)).tolist() == [0, 24, 50, 35, 10, 1]  # Stirling's numbers


def test_the_table_has_a_row_for_each_size_and_names_what_is_at_fault(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["permutation", "--before", "--sizes", "6", "9"])
    table.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:4]] == ["| 6", "| 9"]
    assert lines[3].startswith("| 9 | 3 × 3 | 12 | 12,000 |")
    assert lines[-2].startswith("1 above 5: 9: even +109.5")
    assert lines[-1].startswith("largest |z| of 14: 109.5 of the permutation (even at n = 9)")
