"""Which step saw token t, and what share of the tokens has a run seen? slm.batching.sampling, backwards.

Token t is a target of the row that starts at s where s < t <= s + T; token 0 never is one. Nothing
is stored: `seen` asks the inverse of the permutation once an epoch ("shuffled"), divides once
("sequential"), or looks at every row in question ("random", 20 ns each). `coverage` is exact for
"shuffled" and "sequential", and for "random" the mean over seeds in closed form.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from slm.batching.counter import unpermute
from slm.batching.sampling import Plan, check_steps, epoch_keys, starts_of
from slm.core.errors import check

CHUNK = 2**16  # rows or epochs looked at together


class Coverage(NamedTuple):
    """Shares of the N - 1 tokens that can be a target."""

    seen: float
    unseen: float


def seen(
    plan: Plan, token: int, batch_size: int, world_size: int = 1, step: int = 0, steps: int = 1
) -> np.ndarray:
    """Where steps step … step + steps - 1 have `token` as a target.

    Returns (times, 3) int64, in order: step, rank, row of the rank's batch.
    """
    check_steps(step, steps, batch_size, 0, world_size)
    wide = batch_size * world_size
    rows = rows_with(plan, token, step * wide, (step + steps) * wide).astype(np.int64)
    return np.stack([rows // wide, rows % wide // batch_size, rows % batch_size], axis=1)


def rows_with(plan: Plan, token: int, first: int, stop: int) -> np.ndarray:
    """The global rows first … stop - 1 that have `token` as a target: ascending uint64.

    Epoch e of "shuffled" is rows e·n … (e + 1)·n - 1 and has a token once or, at its ends, never.
    """
    check(0 <= token < plan.tokens, f"token is {token}; it must be in 0 … {plan.tokens - 1}")
    if plan.order == "sequential":
        row = (token - 1) // plan.block_size
        return np.array([row] if first <= row < stop and token else [], np.uint64)
    each, look = (plan.blocks, _in_epochs) if plan.order == "shuffled" else (1, _in_rows)
    found = [look(plan, token, part) for part in _chunks(first // each, -(-stop // each))]
    rows = np.concatenate([np.zeros(0, np.uint64), *found])
    return rows[(rows >= first) & (rows < stop)]


def coverage(plan: Plan, batch_size: int, world_size: int = 1, steps: int = 1) -> Coverage:
    """The share of the N - 1 possible targets that steps 0 … steps - 1 have, and that they leave.

    For "random": of M = N - T starts, c = min(t, N - t, T, M) have token t as a target, so that G
    rows leave it with probability (1 - c / M)^G; 36 % where G·T = N and T is far below N.
    """
    check_steps(0, steps, batch_size, 0, world_size)
    rows, total = steps * batch_size * world_size, plan.tokens - 1
    if plan.order == "sequential":
        left = total - min(rows * plan.block_size, total)
    elif plan.order == "random":
        left = _left_by_draws(plan, rows)
    else:
        left = total - _met_in_epochs(plan, rows)
    return Coverage((total - left) / total, left / total)


def _in_rows(plan: Plan, token: int, rows: np.ndarray) -> np.ndarray:
    """Those of `rows` with `token` as a target, whatever the order."""
    begin = starts_of(plan, rows)
    return rows[(begin < token) & (begin + plan.block_size >= token)]


def _in_epochs(plan: Plan, token: int, epochs: np.ndarray) -> np.ndarray:
    """The rows of these epochs with `token` as a target."""
    offsets, keys = epoch_keys(plan, epochs)
    inside = (offsets < token) & (offsets + plan.blocks * plan.block_size >= token)
    blocks = (token - offsets[inside] - 1) // plan.block_size
    places = unpermute([key[inside] for key in keys], blocks, plan.blocks)
    return epochs[inside] * plan.blocks + places


def _left_by_draws(plan: Plan, rows: int) -> float:
    """How many targets `rows` draws with replacement leave: c = 1, 2 … at both ends, else most."""
    choices = plan.tokens - plan.block_size
    most = min(plan.block_size, choices)
    with np.errstate(divide="ignore"):  # c = M: in every row
        left = np.exp(rows * np.log1p(-np.arange(1, most + 1) / choices))
    return float(2 * left[:-1].sum() + (plan.tokens + 1 - 2 * most) * left[-1])


def _met_in_epochs(plan: Plan, rows: int) -> int:
    """How many targets the first `rows` rows of "shuffled" have."""
    epochs, places = divmod(rows, plan.blocks)
    size, span = plan.block_size, plan.blocks * plan.block_size
    if not epochs:
        return places * size
    offsets = _offsets(plan, epochs)  # whole epochs have offset + 1 … offset + span
    met = span + int(np.minimum(np.diff(offsets), span).sum())
    if not places:
        return met
    # Two blocks or more: those intervals overlap, and of the epoch begun only the two blocks at
    # either end can reach beyond them.
    [offset], keys = epoch_keys(plan, np.array([epochs], np.uint64))
    ends = np.unique(np.arange(-2, 2) % plan.blocks).astype(np.uint64)
    drawn = ends[unpermute([key.reshape(()) for key in keys], ends, plan.blocks) < places]
    begin = (drawn * size + offset).astype(np.int64)
    before, after = offsets[0] - begin, begin + size - (offsets[-1] + span)
    return met + int(before.clip(0, size).sum() + after.clip(0, size).sum())


def _offsets(plan: Plan, epochs: int) -> np.ndarray:
    """The offsets, ascending and once each, of the first `epochs` epochs."""
    met = np.zeros(plan.tokens - plan.blocks * plan.block_size, bool)  # at most 2T
    for part in _chunks(0, epochs):
        met[epoch_keys(plan, part)[0]] = True
        if met.all():
            break
    return np.flatnonzero(met)


def _chunks(first: int, stop: int) -> Iterator[np.ndarray]:
    for begin in range(first, stop, CHUNK):
        yield np.arange(begin, min(begin + CHUNK, stop), dtype=np.uint64)
