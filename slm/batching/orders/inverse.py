"""Which row of "packed" has a token? The inverse of slm.batching.orders.pieces, epoch by epoch."""

import numpy as np

from slm.batching.orders.packing import Packing
from slm.batching.orders.pieces import DocumentIndex, packed_pieces, turns_of
from slm.batching.sampling import Plan
from slm.core.counter import round_keys, unpermute, word

CHUNK = 2**14  # rows at once


def rows_of_token(plan: Plan, index: DocumentIndex, token: int, epochs: np.ndarray) -> np.ndarray:
    """Returns the global row that has `token` in x in each of these epochs, both uint64."""
    pack = _pack(plan)
    keys = word(plan.key, epochs)
    which = int(index.borders.of(np.array([token]))[0])
    begin, end = index.borders.bounds[which : which + 2].tolist()
    if end - begin <= plan.block_size:
        number = int(index.number(np.array([which]))[0])
        places = _short(plan, pack, number, end - begin, epochs)
    else:
        places = _long(pack, index, which, token - begin, keys)
    return epochs * np.uint64(pack.rows) + unpermute(round_keys(keys, pack.rows), places, pack.rows)


def has_target(index: DocumentIndex, token: int) -> bool:
    """Whether `token` is the target of the one before it."""
    last = int(index.borders.bounds[-1])
    which = index.borders.of(np.array([token - 1]))[0]
    return token < last and (index.follows or token < index.borders.bounds[which + 1])


def targets_met(plan: Plan, index: DocumentIndex, rows: int) -> int:
    """Returns how many different targets the first `rows` rows have."""
    pack = _pack(plan)
    if rows >= pack.rows:
        tokens = int(index.borders.bounds[-1])
        return tokens - 1 if index.follows else tokens - len(index.borders)
    chunks = range(0, rows, CHUNK)
    numbers = (np.arange(i, min(rows, i + CHUNK), dtype=np.uint64) for i in chunks)
    return sum(int(packed_pieces(plan, index, part).targets.sum()) for part in numbers)


def _pack(plan: Plan) -> Packing:
    assert plan.packing is not None
    return plan.packing


def _short(plan: Plan, pack: Packing, number: int, length: int, epochs: np.ndarray) -> np.ndarray:
    """Returns the rows of the plan that have a short document."""
    first, stop = pack.first[length : length + 2].tolist()
    item = int(np.searchsorted(pack.short[first:stop], number))
    dealt = word(word(plan.dealing, epochs), np.full(len(epochs), length, np.uint64))
    items = np.full(len(epochs), item, np.uint64)
    slot = unpermute(round_keys(dealt, stop - first), items, stop - first).astype(np.int64)
    mine = np.flatnonzero(pack.lengths == length)
    mine = mine[np.argsort(pack.slots[mine])]
    of_kind = mine[np.searchsorted(pack.slots[mine], slot, side="right") - 1]
    kind = np.searchsorted(pack.first_slot, of_kind, side="right") - 1
    return (pack.first_row[kind] + slot - pack.slots[of_kind]).astype(np.uint64)


def _long(
    pack: Packing, index: DocumentIndex, which: int, inside: int, keys: np.ndarray
) -> np.ndarray:
    """Returns the rows of the plan that have token `inside` of a long document."""
    number = int(index.number(np.array([which]))[0])
    first = int(pack.stream_of.bounds[np.searchsorted(pack.long, number)])
    at = (first + inside - turns_of(pack, keys)) % pack.tokens
    kind = np.searchsorted(pack.stream, at, side="right") - 1
    return (pack.first_row[kind] + (at - pack.stream[kind]) // pack.gap[kind]).astype(np.uint64)
