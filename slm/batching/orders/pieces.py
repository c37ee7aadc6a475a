"""Which documents, or parts of them, stand in a row? Each row as pieces, in order, on the host.

In: global rows of a plan, and the documents of its split. Out: Pieces, which cover each row from 0
to T. A piece is a run of tokens of one document, or padding: the end of a row without tokens.

Rows of "packed", with slm.batching.orders.packing's plan of R rows per epoch, e = g // R,
k = word(word(seed, 2), e), d = word(word(seed, 3), e), and p of slm.core.counter: row g has row
r = p(k, g mod R, R) of the plan, copy c of its kind.
    Slot s of length l, s = slot of the kind + c, holds document p(word(d, l), s, n) of the n
    documents of that length.
    Its gap begins in the stream at f = stream of the kind + c·gap, and ends at the end of the
    stream at the latest; token f of an epoch's stream is token (f + word-below(k)) mod S of the
    long documents end to end, word-below(k) = below(word(k, 0), S), S their tokens: so that other
    places are cut in each epoch.
"""

from typing import NamedTuple

import numpy as np

from slm.batching.orders.borders import Borders
from slm.batching.orders.packing import Packing
from slm.batching.sampling import Plan
from slm.core.counter import below, permute, permute_each, round_keys, word

STRIDE = 64  # tokens


class Pieces(NamedTuple):
    """(pieces,) int64 each, in order of rows and within them; numbers are those of the split."""

    row: np.ndarray  # which of the rows that were asked for
    number: np.ndarray  # which of the row's pieces
    begin: np.ndarray  # place in the row
    length: np.ndarray  # tokens
    start: np.ndarray  # first token; 0 for padding
    document: np.ndarray  # -1 for padding
    targets: np.ndarray  # tokens that have a target: the first so many


class DocumentIndex:
    """The documents of a split: where they begin. Those without tokens are left out."""

    def __init__(self, offsets: np.ndarray, follows: bool) -> None:
        """`offsets` are running totals; `follows`: an end-of-text follows each but the last."""
        self.offsets, self.follows = np.array(offsets, np.int64), follows
        kept = np.flatnonzero(np.diff(self.offsets))
        self.numbers = None if len(kept) == len(offsets) - 1 else kept
        bounds = self.offsets if self.numbers is None else self.offsets[np.append(kept, -1)]
        self.borders = Borders(bounds, STRIDE)

    def number(self, which: np.ndarray) -> np.ndarray:
        """Returns the numbers in the split of these documents."""
        return which if self.numbers is None else self.numbers[which]


def window_pieces(index: DocumentIndex, starts: np.ndarray, size: int) -> Pieces:
    """Returns the pieces of windows at `starts`, which have `size` targets each."""
    first, last = index.borders.of(starts), index.borders.of(starts + (size - 1))
    row, number = ragged(last - first + 1)
    which = first[row] + number
    start = np.maximum(index.borders.bounds[which], starts[row])
    begin = start - starts[row]
    flat = row * size + begin
    length = np.diff(flat, append=len(starts) * size)
    return Pieces(row, number, begin, length, start, index.number(which), length)


def ending_pieces(index: DocumentIndex, starts: np.ndarray, valid: np.ndarray, size: int) -> Pieces:
    """Returns the pieces of windows that have so many targets, and padding after them."""
    some = np.flatnonzero(valid)
    first, last = index.borders.of(starts[some]), index.borders.of((starts + valid - 1)[some])
    row, number = ragged(last - first + 1)
    which = first[row] + number
    start = np.maximum(index.borders.bounds[which], starts[some][row])
    stop = np.minimum(index.borders.bounds[which + 1], (starts + valid)[some][row])
    parts = [(some[row], stop - start, start, index.number(which))]
    left = np.flatnonzero(valid < size)
    zeros = np.zeros(len(left), np.int64)
    pieces = _in_order([*parts, (left, size - valid[left], zeros, zeros - 1)], index, size)
    return pieces._replace(targets=np.where(pieces.document < 0, 0, pieces.length))


def packed_pieces(plan: Plan, index: DocumentIndex, rows: np.ndarray) -> Pieces:
    """Returns the pieces of global rows, uint64, of a plan of "packed"."""
    pack = plan.packing
    assert pack is not None
    epochs = rows // np.uint64(pack.rows)
    few, own = _different(epochs)
    keys, dealing = word(plan.key, few), word(plan.dealing, few)
    turns = turns_of(pack, keys)
    networks = [key[own] for key in round_keys(keys, pack.rows)]
    places = permute(networks, rows - epochs * np.uint64(pack.rows), pack.rows).astype(np.int64)
    kind = np.searchsorted(pack.first_row, places.astype(pack.first_row.dtype), side="right") - 1
    copy = places - pack.first_row[kind]
    row, number = ragged(pack.first_slot[kind + 1] - pack.first_slot[kind])
    slot = pack.first_slot[kind[row]] + number
    length = pack.lengths[slot].astype(np.int64)
    dealing = dealing[own] if own.ndim == 0 else dealing[own][row]
    dealt = word(dealing, length.astype(np.uint64))
    counts = np.diff(pack.first)[length].astype(np.uint64)
    taken = permute_each(dealt, (pack.slots[slot] + copy[row]).astype(np.uint64), counts)
    document = pack.short[pack.first[length] + taken.astype(np.int64)].astype(np.int64)
    short = row, length, index.offsets[document], document
    used = np.bincount(row, length, len(rows)).astype(np.int64)
    ends = [_stream(pack, index, turns[own], kind, copy), _padding(pack, used, kind, copy)]
    parts = [short, *ends[0], ends[1]]
    return _in_order(parts, index, pack.block_size)


def turns_of(pack: Packing, keys: np.ndarray) -> np.ndarray:
    """Returns which token of the stream is the first in each epoch, (epochs,) int64."""
    return below(word(keys, keys * np.uint64(0)), pack.tokens).astype(np.int64)


def _different(epochs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the different epochs, and which each is: without dimension if there is one."""
    if epochs.size and epochs.min() == epochs.max():
        return epochs[:1], np.array(0)
    return np.unique(epochs, return_inverse=True)


def _amount(pack: Packing, kind: np.ndarray, copy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns where the gap of each row begins in the stream, and how many tokens it takes."""
    gap = pack.gap[kind].astype(np.int64)
    begin = pack.stream[kind] + copy * gap
    return begin, (pack.tokens - begin).clip(0, gap)


def _stream(pack: Packing, index: DocumentIndex, turns, kind, copy) -> list[tuple]:
    """Returns the pieces of long documents in the gaps: the first, and the second, of each row."""
    begin, amount = _amount(pack, kind, copy)
    row = np.flatnonzero(amount)
    if not len(row):
        return []
    amount, at = amount[row], (begin + turns)[row]
    at -= pack.tokens * (at >= pack.tokens)
    which, totals = pack.stream_of.of(at), pack.stream_of.bounds
    first = np.minimum(amount, totals[which + 1] - at)
    long = pack.long[which].astype(np.int64)
    parts = [(row, first, index.offsets[long] + at - totals[which], long)]
    more = np.flatnonzero(first < amount)
    after = pack.long[(which[more] + 1) % len(pack.long)].astype(np.int64)
    return [*parts, (row[more], (amount - first)[more], index.offsets[after], after)]


def _padding(pack: Packing, used: np.ndarray, kind: np.ndarray, copy: np.ndarray) -> tuple:
    left = pack.block_size - used - _amount(pack, kind, copy)[1]
    row = np.flatnonzero(left)
    return row, left[row], np.zeros(len(row), np.int64), np.full(len(row), -1)


def _in_order(parts: list[tuple], index: DocumentIndex, size: int) -> Pieces:
    """Returns pieces that are given as (row, length, start, document), each part by rows."""
    row, length, start, document = (
        np.concatenate([part[i] for part in parts]).astype(np.int64) for i in range(4)
    )
    order = np.argsort(row, kind="stable")
    row, length, start, document = row[order], length[order], start[order], document[order]
    counts = np.bincount(row)
    number = np.arange(len(row)) - (np.cumsum(counts) - counts)[row]
    begin = np.cumsum(length) - length - row * size
    end = index.offsets[document + 1]
    end = end + (index.follows & (end < index.offsets[-1]))
    targets = np.where(document < 0, 0, np.minimum(length, end - 1 - start))
    return Pieces(row, number, begin, length, start, document, targets)


def interleaved(rows: list[np.ndarray], parts: list[Pieces]) -> Pieces:
    """Returns the pieces of several sources as one; each source has these rows, ascending."""
    own = [mine[pieces.row] for mine, pieces in zip(rows, parts, strict=True)]
    joined = Pieces(*map(np.concatenate, zip(*parts, strict=True)))
    joined = joined._replace(row=np.concatenate(own))
    order = np.argsort(joined.row, kind="stable")
    return Pieces(*(array[order] for array in joined))


def packed_places(pieces: Pieces, places: np.ndarray) -> tuple:
    """Returns the token of each place of a batch, and of each piece its end.

    That is (places,), and (pieces,) each: the last place, and the token after it. `places` are 0, 1
    … b·T - 1. The tokens of padding mean nothing, and may lie beyond the split.
    """
    index = np.repeat(pieces.start - pieces.begin, pieces.length)
    index += places
    return index, pieces.begin + (pieces.length - 1), pieces.start + pieces.length


def ragged(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns, for rows with so many pieces, the row and the number of each piece in it."""
    row = np.repeat(np.arange(len(counts)), counts)
    return row, np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
