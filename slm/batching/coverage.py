"""Which step saw a token, and what share of the tokens has a run seen?

Token t is a target of the row that starts at s if s < t <= s + T, and of the row of "packed" that
has t - 1, if that has a target; token 0 never is one. Nothing is stored: `seen` inverts the
permutations once per epoch ("shuffled", "packed"), divides once ("sequential"), or tries every row
("random"). `coverage` is exact but for "random", where it is the mean over seeds in
closed form. "packed" needs the `documents` of the split, a DocumentIndex.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from slm.batching.orders.inverse import has_target, rows_of_token, targets_met
from slm.batching.orders.pieces import DocumentIndex
from slm.batching.sampling import Plan, epoch_keys, integer, integers, span_of, starts_of
from slm.core.counter import unpermute

CHUNK = 2**16  # rows or epochs at once


class Coverage(NamedTuple):
    """Shares of the N - 1 tokens that can be a target."""

    seen: float
    unseen: float


def seen(
    plan: Plan,
    token: int,
    batch_size: int,
    world_size: int = 1,
    step: int = 0,
    steps: int = 1,
    documents: DocumentIndex | None = None,
) -> np.ndarray:
    """Returns where steps step … step + steps - 1 have `token` as a target, in order.

    Each row of the (times, 3) int64 is step, rank, and row of the rank's batch. Raises UserError if
    an argument is out of range.
    """
    step, steps, batch_size, _, world_size = integers(step, steps, batch_size, 0, world_size)
    per_step = batch_size * world_size
    first, stop = step * per_step, (step + steps) * per_step
    rows = rows_with(plan, token, first, stop, documents).astype(np.int64)
    return np.stack([rows // per_step, rows % per_step // batch_size, rows % batch_size], axis=1)


def rows_with(
    plan: Plan, token: int, first: int, stop: int, documents: DocumentIndex | None = None
) -> np.ndarray:
    """Returns the global rows first … stop - 1 that have `token` as a target, ascending uint64.

    Epoch e of "shuffled" is rows e·n … (e + 1)·n - 1; it has a token once or, at its ends, never.
    Raises UserError if there is no such token.
    """
    token = integer("token", token, 0, plan.tokens - 1)
    if plan.order == "sequential":
        row = (token - 1) // plan.block_size
        return np.array([row] if first <= row < stop and token else [], np.uint64)
    select: Callable
    size, select = (1, _in_rows) if plan.order == "random" else (plan.blocks, _in_epochs)
    if plan.order == "packed":
        select = partial(_in_packed, _needed(documents))
    parts = [select(plan, token, part) for part in _chunks(first // size, -(-stop // size))]
    rows = np.concatenate([np.zeros(0, np.uint64), *parts])
    return rows[(rows >= first) & (rows < stop)]


def coverage(
    plan: Plan,
    batch_size: int,
    world_size: int = 1,
    steps: int = 1,
    documents: DocumentIndex | None = None,
) -> Coverage:
    """Returns the shares of the N - 1 possible targets that steps 0 … steps - 1 have and leave.

    For "random": of M = N - T starts, c = min(t, N - t, T, M) have token t as a target, so that G
    rows leave it with probability (1 - c / M)^G: 36 % if G·T = N and T is far below N.
    """
    _, steps, batch_size, _, world_size = integers(0, steps, batch_size, 0, world_size)
    rows, total = steps * batch_size * world_size, plan.tokens - 1
    left: float
    if plan.order == "sequential":
        left = total - min(rows * plan.block_size, total)
    elif plan.order == "packed":
        left = total - targets_met(plan, _needed(documents), rows)
    elif plan.order == "random":
        left = _left_by_draws(plan, rows)
    else:
        left = total - _met_in_epochs(plan, rows)
    return Coverage((total - left) / total, left / total)


def _in_rows(plan: Plan, token: int, rows: np.ndarray) -> np.ndarray:
    starts = starts_of(plan, rows)
    return rows[(starts < token) & (starts + plan.block_size >= token)]


def _in_packed(documents: DocumentIndex, plan: Plan, token: int, epochs: np.ndarray) -> np.ndarray:
    if not token or not has_target(documents, token):
        return epochs[:0]
    return rows_of_token(plan, documents, token - 1, epochs)


def _needed(documents: DocumentIndex | None) -> DocumentIndex:
    if documents is None:
        raise TypeError("order 'packed' needs the documents of the split")
    return documents


def _in_epochs(plan: Plan, token: int, epochs: np.ndarray) -> np.ndarray:
    offsets, keys = epoch_keys(plan, epochs)
    inside = (offsets < token) & (offsets + plan.blocks * plan.block_size >= token)
    blocks = (token - offsets[inside] - 1) // plan.block_size
    positions = unpermute([key[inside] for key in keys], blocks, plan.blocks)
    return epochs[inside] * plan.blocks + positions


def _left_by_draws(plan: Plan, rows: int) -> float:
    """Returns how many targets `rows` draws leave: c = 1, 2 … at both ends, else `most`."""
    choices = plan.tokens - plan.block_size
    most = min(plan.block_size, choices)
    with np.errstate(divide="ignore"):  # c = M: in every row
        left = np.exp(rows * np.log1p(-np.arange(1, most + 1) / choices))
    return float(2 * left[:-1].sum() + (plan.tokens + 1 - 2 * most) * left[-1])


def _met_in_epochs(plan: Plan, rows: int) -> int:
    """Returns how many targets the first `rows` rows of "shuffled" have."""
    epochs, left = divmod(rows, plan.blocks)
    size, span = plan.block_size, plan.blocks * plan.block_size
    if not epochs:
        return left * size
    offsets = _offsets(plan, epochs)  # complete epochs have offset + 1 … offset + span
    met = span + int(np.minimum(np.diff(offsets), span).sum())
    if not left:
        return met
    # With two blocks or more those intervals overlap; of the last epoch only the two blocks at
    # either end can reach beyond them.
    [offset], keys = epoch_keys(plan, np.array([epochs], np.uint64))
    ends = np.unique(np.arange(-2, 2) % plan.blocks).astype(np.uint64)
    drawn = ends[unpermute([key.reshape(()) for key in keys], ends, plan.blocks) < left]
    starts = (drawn * size + offset).astype(np.int64)
    before, after = offsets[0] - starts, starts + size - (offsets[-1] + span)
    return met + int(before.clip(0, size).sum() + after.clip(0, size).sum())


def _offsets(plan: Plan, epochs: int) -> np.ndarray:
    """Returns the different offsets of the first `epochs` epochs, ascending."""
    met = np.zeros(span_of(plan), bool)  # at most 2T
    for part in _chunks(0, epochs):
        met[epoch_keys(plan, part)[0]] = True
        if met.all():
            break
    return np.flatnonzero(met)


def _chunks(first: int, stop: int) -> Iterator[np.ndarray]:
    for begin in range(first, stop, CHUNK):
        yield np.arange(begin, min(begin + CHUNK, stop), dtype=np.uint64)
