"""The orders: exactly as stated, whatever the ranks; every token has its turn, and can be found."""

import math
import random
from itertools import count

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slm.batching.coverage import coverage, rows_with, seen
from slm.batching.sampling import length, plan, starts, starts_of, targets
from slm.core.counter import below, word
from slm.core.errors import UserError

WINDOWS = ("random", "shuffled", "sequential")  # test_packed.py has the other order
TINYSTORIES = 471_872_517
HUGE = 2**41 + 12345  # tokens: 2^33 blocks of 256


# --- the reference, written from the docstrings with Python's integers ---

MASK = 2**64 - 1


def slow_word(key: int, counter: int) -> int:
    z = (key + (counter + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK
    return z ^ z >> 31


def slow_permuted(key: int, x: int, n: int) -> int:
    a = 1 if n == 1 else next(a for a in count(math.isqrt(n) // 2 * 2, 2) if a * a >= n)
    b = (n + a - 1) // a
    rounds, stride = (30, 32) if n < 64 else (12, 16) if n < 65_536 else (6, 16)
    while True:
        left, right = divmod(x, b)
        for i in range(1, rounds + 1):
            if i % 2:
                left = (left + ((slow_word(key, stride * right + i) >> 32) * a >> 32)) % a
            else:
                right = (right + ((slow_word(key, stride * left + i) >> 32) * b >> 32)) % b
        x = left * b + right
        if x < n:
            return x


def slow_start(order: str, seed: int, tokens: int, block: int, row: int) -> int:
    if order == "random":
        return slow_word(slow_word(seed, 0), row) * (tokens - block) >> 64
    if order == "sequential":
        return min(row, (tokens - 1 + block - 1) // block) * block
    n = max(1, (tokens - block) // block)
    key = slow_word(slow_word(seed, 1), row // n)
    offset = slow_word(key, 0) * (tokens - n * block) >> 64
    return offset + block * slow_permuted(key, row % n, n)


# --- helpers ---


def uint64(values) -> np.ndarray:
    return np.array(values, np.uint64)


def first_starts(order: str, rows: int, tokens: int, block: int, seed: int = 1337) -> np.ndarray:
    return starts_of(plan(order, seed, tokens, block), np.arange(rows, dtype=np.uint64))


def surprise(counts: np.ndarray, freedom: int | None = None) -> float:
    """Chi-square against equal counts, in standard deviations from what chance gives."""
    chi = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
    freedom = freedom or counts.size - 1
    return float((chi - freedom) / math.sqrt(2 * freedom))


# --- the definition ---


def test_words_are_those_that_splitmix64_is_published_with():
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    assert word(1234567, np.arange(4, dtype=np.uint64)).tolist() == published
    assert [slow_word(1234567, i) for i in range(4)] == published


GOLDEN = {
    "random": [91220690, 169350495, 339381007, 186473529],
    "shuffled": [30832762, 219462778, 33472122, 354544250],
    "sequential": [0, 256, 512, 768],
}


@pytest.mark.parametrize("order", WINDOWS)
def test_the_first_starts_stay_what_they_are(order):
    assert starts(plan(order, 1337, TINYSTORIES, 256), 0, 4)[0].tolist() == GOLDEN[order]


@pytest.mark.parametrize("tokens", [5, 17, 1000, 70_000, TINYSTORIES, 2**32 + 5, HUGE, 2**62])
@pytest.mark.parametrize("order", WINDOWS)
def test_starts_follow_the_definition(order, tokens):
    draw = random.Random(tokens)
    block = min(256, tokens - 1) if tokens > 20 else 4
    seed = draw.choice([0, 1337, 2**64 - 1])
    rows = [*range(40), *(draw.randrange(2 ** draw.randrange(1, 62)) for _ in range(200))]
    expected = [slow_start(order, seed, tokens, block, row) for row in rows]
    assert starts_of(plan(order, seed, tokens, block), uint64(rows)).tolist() == expected


@pytest.mark.parametrize("tokens", [5, 1000, TINYSTORIES, HUGE, 2**62])
@pytest.mark.parametrize("order", WINDOWS)
def test_pytorch_and_numpy_give_the_same_starts(order, tokens):
    draw = random.Random(tokens)
    order = plan(order, 2**64 - 3, tokens, 3)
    rows = [*range(1000), *(draw.randrange(2**62) for _ in range(1000))]
    actual = starts_of(order, torch.tensor(rows))
    assert actual.dtype == torch.int64
    assert actual.tolist() == starts_of(order, uint64(rows)).tolist()
    assert targets(order, actual).tolist() == targets(order, actual.numpy()).tolist()


@given(st.lists(st.integers(0, MASK), min_size=1), st.integers(1, 2**62))
@settings(max_examples=200, deadline=None)
def test_below_is_the_high_half_of_the_product(words, m):
    expected = [w * m >> 64 for w in words]
    signed = torch.tensor([w - 2**64 if w >= 2**63 else w for w in words])
    assert below(uint64(words), m).tolist() == expected
    assert below(signed, m).tolist() == expected


# --- steps and ranks ---


@pytest.mark.parametrize("tokens", [1000, 50_000, TINYSTORIES])
@pytest.mark.parametrize("order", WINDOWS)
def test_a_run_of_steps_is_its_single_steps(order, tokens):
    order = plan(order, 1, tokens, 64)
    for step in (0, 3, order.blocks // 24 - 5):
        run = starts(order, max(step, 0), 12, rank=1, world_size=2, steps=20)
        one_by_one = [starts(order, max(step, 0) + i, 12, 1, 2)[0] for i in range(20)]
        assert run.dtype == np.int64
        assert run.tolist() == [row.tolist() for row in one_by_one]


@pytest.mark.parametrize("world_size", [2, 3, 4, 6, 8, 24])
@pytest.mark.parametrize("order", WINDOWS)
def test_ranks_together_have_the_same_global_batch(order, world_size):
    order = plan(order, 1, 9_999, 64)
    whole = starts(order, 5, 24, steps=10)
    split = [starts(order, 5, 24 // world_size, r, world_size, 10) for r in range(world_size)]
    assert np.concatenate(split, axis=1).tolist() == whole.tolist()


def test_another_seed_is_another_order():
    for order in ("random", "shuffled"):
        one, other = (first_starts(order, 1000, TINYSTORIES, 256, seed) for seed in (1, 2))
        assert (one == other).mean() < 0.01


# --- random ---


def test_random_starts_are_uniform_at_small_sizes():
    counts = np.bincount(first_starts("random", 200_000, 47, 10), minlength=37)
    assert counts.size == 37
    assert abs(surprise(counts)) < 4


@pytest.mark.parametrize("tokens", [TINYSTORIES, HUGE])
def test_random_starts_are_uniform_at_large_sizes_also_in_their_low_bits(tokens):
    actual = first_starts("random", 1_000_000, tokens, 256)
    assert abs(surprise(np.bincount(actual * 1000 // (tokens - 256)))) < 4
    assert abs(surprise(np.bincount(actual % 1024))) < 4
    assert abs(surprise(np.bincount(actual[1:] % 32 * 32 + actual[:-1] % 32))) < 4
    assert actual.max() > 0.9999 * (tokens - 257)


@pytest.mark.parametrize("order", WINDOWS)
@pytest.mark.parametrize(("tokens", "block"), [(11, 10), (30, 10), (37, 10), (40, 1), (8, 4)])
def test_both_ends_of_the_tokens_are_reached_and_never_passed(order, tokens, block):
    actual = first_starts(order, 5000 if order != "sequential" else 99, tokens, block)
    assert actual.min() == 0
    if order != "sequential":
        assert actual.max() == tokens - block - 1
    valid = targets(plan(order, 1, tokens, block), actual)
    assert (actual + valid)[valid > 0].max() == tokens - 1


# --- shuffled ---


@pytest.mark.parametrize("block", [1, 7, 64])
@pytest.mark.parametrize("more", [1, 2, 63, 64, 65, 128, 129, 1000, 12_345])
def test_an_epoch_has_every_target_once_but_fewer_than_two_blocks(block, more):
    order = plan("shuffled", 3, block + more, block)
    out = set()
    for epoch in range(5):
        rows = np.arange(epoch * order.blocks, (epoch + 1) * order.blocks, dtype=np.uint64)
        tokens = (starts_of(order, rows)[:, None] + np.arange(1, block + 1)).ravel()
        assert np.unique(tokens).size == tokens.size == order.blocks * block
        assert 1 <= tokens.min() <= tokens.max() <= order.tokens - 1
        assert order.tokens - 1 - tokens.size < 2 * block
        out.add(int(tokens.min()))
    assert len(out) > 1 or order.tokens - order.blocks * block < 3


def test_offsets_of_epochs_are_uniform():
    order = plan("shuffled", 3, 70, 10)  # 6 blocks and an offset of 0 … 9
    firsts = starts_of(order, np.arange(6 * 20_000, dtype=np.uint64)).reshape(-1, 6).min(1)
    assert abs(surprise(np.bincount(firsts, minlength=10))) < 4


# --- sequential ---


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize(("tokens", "block"), [(101, 10), (102, 10), (110, 10), (11, 10), (99, 7)])
def test_sequential_has_every_token_but_the_first_once(world_size, tokens, block):
    order = plan("sequential", 0, tokens, block)
    steps = length(order, 4, world_size)
    had = []
    for rank in range(world_size):
        actual = starts(order, 0, 4, rank, world_size, steps + 2)  # and two that have none
        for start, valid in zip(actual.flat, targets(order, actual).flat, strict=True):
            had += range(start + 1, start + 1 + valid)
    assert sorted(had) == list(range(1, tokens))
    assert targets(order, starts(order, steps - 1, 4 * world_size)).any()
    assert not targets(order, starts(order, steps, 4 * world_size)).any()


# --- which step, which row ---


@pytest.mark.parametrize(("tokens", "block"), [(11, 10), (39, 10), (300, 10), (41, 1)])
@pytest.mark.parametrize("order", WINDOWS)
def test_seen_finds_every_row_that_has_a_token_as_a_target(order, tokens, block):
    order = plan(order, 9, tokens, block)
    batch, world, step, steps = 3, 2, 4, 15
    expected = {token: [] for token in range(tokens)}
    for at in range(step, step + steps):
        for rank in range(world):
            actual = starts(order, at, batch, rank, world)[0]
            for row, (start, valid) in enumerate(zip(actual, targets(order, actual), strict=True)):
                for token in range(start + 1, start + 1 + valid):
                    expected[token].append([at, rank, row])
    for token, where in expected.items():
        assert seen(order, token, batch, world, step, steps).tolist() == where
    assert not seen(order, 0, batch, world, step, steps).size


def test_seen_costs_one_look_an_epoch_whatever_the_size():
    order = plan("shuffled", 1, HUGE, 256)
    for token in (300_000, 2**40, HUGE - 600):
        [row] = rows_with(order, token, order.blocks, 2 * order.blocks).tolist()
        [start] = starts_of(order, uint64([row])).tolist()
        assert start < token <= start + 256


# --- coverage ---


@pytest.mark.parametrize(("tokens", "block"), [(11, 10), (25, 10), (29, 10), (39, 10), (317, 10)])
@pytest.mark.parametrize("order", ["shuffled", "sequential"])
def test_coverage_is_what_counting_gives(order, tokens, block):
    for seed in range(5):
        planned = plan(order, seed, tokens, block)
        had = np.zeros(tokens, bool)
        for step in range(60):
            actual = starts(planned, step, 3)[0]
            for start, valid in zip(actual, targets(planned, actual), strict=True):
                had[start + 1 : start + 1 + valid] = True
            share = coverage(planned, 3, steps=step + 1)
            assert share.seen == pytest.approx(had.sum() / (tokens - 1), abs=1e-12)
            assert share.seen + share.unseen == pytest.approx(1)


@pytest.mark.parametrize(("tokens", "block"), [(11, 10), (15, 10), (200, 10), (50, 1)])
def test_coverage_of_random_is_the_mean_over_seeds(tokens, block):
    left = []
    for seed in range(2000):
        had = np.zeros(tokens, bool)
        actual = first_starts("random", 12, tokens, block, seed)
        had[(actual[:, None] + np.arange(1, block + 1)).ravel()] = True
        left.append(1 - had.sum() / (tokens - 1))
    expected = coverage(plan("random", 0, tokens, block), 4, 3).unseen
    assert np.mean(left) == pytest.approx(expected, abs=4 * np.std(left) / math.sqrt(2000) + 1e-12)


def test_an_epoch_drawn_with_replacement_leaves_36_percent_and_a_shuffled_one_nothing():
    steps = TINYSTORIES // (64 * 256)
    left = {o: coverage(plan(o, 1, TINYSTORIES, 256), 64, steps=steps).unseen for o in WINDOWS}
    assert left["random"] == pytest.approx(math.exp(-1), abs=1e-3)
    assert left["shuffled"] < 1e-4
    assert left["sequential"] < 1e-4


# --- refusals ---


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ("shufled", 1, 100, 10),
            "'shufled'; it must be one of random, shuffled, sequential, packed",
        ),
        (("random", 1, 10, 10), "needs 11 tokens and the data has 10"),
        (("random", 1, 0, 10), "needs 11 tokens and the data has 0"),
        (("random", -1, 100, 10), "seed is -1"),
        (("random", 2**64, 100, 10), "seed is 18446744073709551616"),
        (("random", 1, 100, 0), "block_size is 0"),
        (("random", 1.0, 100, 10), r"seed is 1\.0; it must be an integer"),
        (("random", 1, 100, "10"), "block_size is '10'"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_in_one_line(arguments, says):
    with pytest.raises(UserError, match=says) as refusal:
        plan(*arguments)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"step": -1}, "step is -1"),
        ({"step": 2**60}, "step is 1152921504606846976"),
        ({"steps": 0}, "steps is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"rank": 2, "world_size": 2}, r"rank is 2; it must be an integer, in 0 … 1"),
        ({"rank": -1}, "rank is -1"),
        ({"world_size": 0}, "world_size is 0"),
        ({"batch_size": 4.5}, r"batch_size is 4\.5"),
        ({"step": None}, "step is None"),
    ],
)
def test_rows_that_cannot_be_are_refused(arguments, says):
    with pytest.raises(UserError, match=says):
        starts(plan("shuffled", 1, 1000, 10), **{"step": 0, "batch_size": 4, **arguments})


def test_a_token_outside_the_data_is_refused():
    with pytest.raises(UserError, match=r"token is 1000; it must be an integer, in 0 … 999"):
        seen(plan("shuffled", 1, 1000, 10), 1000, 4)


# --- no global state ---


@pytest.mark.parametrize("order", WINDOWS)
def test_the_global_random_states_are_neither_read_nor_changed(order):
    def draw() -> list:
        order_ = plan(order, 1, 10_000, 10)
        return [starts(order_, 3, 8, steps=4).tolist(), coverage(order_, 8), seen(order_, 5, 8)]

    np.random.seed(1)
    torch.manual_seed(1)
    random.seed(1)
    numpys, torchs, pythons = np.random.get_state(), torch.get_rng_state(), random.getstate()
    one = draw()
    assert str(np.random.get_state()) == str(numpys)
    assert torch.equal(torch.get_rng_state(), torchs)
    assert random.getstate() == pythons
    np.random.seed(2)
    torch.manual_seed(2)
    assert str(draw()) == str(one)
