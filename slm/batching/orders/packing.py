"""Which documents share a row of "packed"? The plan: whole documents, and pieces of long ones.

In: the offsets of a split's documents, and T, the tokens of a row. Out: a Packing, the same for all
seeds and epochs: which lengths stand in each row. Which document of a length comes where is dealt
anew in each epoch (slm.batching.orders.pieces). Bit for bit:

1. A document has L tokens; it is short where 1 <= L <= T and long where L > T. Slot i of length l,
   i = 0 … n_l - 1, takes one of the n_l short documents of that length, which are by number.
2. Best fit decreasing, on counts: for l = T … 1, while slots of l are left, in ascending order,
   they go into the open rows with the least free space of at least l: into min(rows, slots left) of
   the kind that was put there last (rows of a kind have the same lengths; the first of them are
   taken, the others stay as a kind of their own, put back before them). Where none has it, new
   rows are opened: with m = T // l, c // m rows of m each for c slots left, slot i + j·rows being
   number j of row i, then one row of the c mod m that are left.
3. Kinds are sorted by their free space, most first, else by when the loop above last put them, or
   put them back. Rows are numbered in that order. Each ends in a gap of its free space if that is
   at least 16.
4. The long documents, by number, end to end, are the stream. It fills the gaps in order of rows,
   so that a kind's begins where those before end, then further rows of T, which are the last kind.
5. A row has its slots in the order in which they were taken, then its part of the stream, at most
   two pieces as long documents are longer than a row, then padding.

All arrays are int32, or int64 if the split has 2^31 tokens or more. In int32 a short document takes
4 bytes, a long one 8 and 2 for its look-up, a slot of a kind 8 and a kind 16. Kinds are as many as
lengths ask for, not documents: 4 to 6 bytes per document for millions, up to 28 where each row is
a kind of its own, beside 8 for the documents' offsets.
"""

from typing import NamedTuple

import numpy as np

from slm.batching.orders.borders import Borders

LEAST_GAP = 16  # tokens: what is smaller is padding


class Packing(NamedTuple):
    """The plan of "packed" over one split."""

    block_size: int  # T
    rows: int  # per epoch
    first_row: np.ndarray  # (kinds + 1,)
    first_slot: np.ndarray  # (kinds + 1,): into `lengths` and `slots`
    gap: np.ndarray  # (kinds,): tokens of the stream at the end of each row, at most
    stream: np.ndarray  # (kinds,): where in the stream the kind's first gap begins
    lengths: np.ndarray  # (slots of kinds,): tokens, descending within a kind
    slots: np.ndarray  # (slots of kinds,): of their lengths, in the kind's first row; + 1 per row
    first: np.ndarray  # (T + 2,): where the documents of a length begin in `short`
    short: np.ndarray  # (short documents,): by length, then by number
    long: np.ndarray  # (long documents,): by number
    stream_of: Borders  # of the (long documents + 1,) running totals of their tokens

    @property
    def tokens(self) -> int:
        """Tokens of the stream."""
        return int(self.stream_of.bounds[-1])

    @property
    def padding(self) -> int:
        """Tokens of padding per epoch."""
        tokens = (np.diff(self.first) * np.arange(self.block_size + 1, dtype=np.int64)).sum()
        return self.rows * self.block_size - int(tokens) - self.tokens

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays, the look-ups of the stream among them."""
        arrays = [*self, self.stream_of.bounds, self.stream_of.every]
        return sum(array.nbytes for array in arrays if isinstance(array, np.ndarray))

    @property
    def most(self) -> int:
        """The most pieces of a row, padding among them."""
        slots = np.diff(self.first_slot)
        return min(int(slots.max()) + 3, self.block_size)


def packing(offsets: np.ndarray, block_size: int) -> Packing:
    """Returns the plan for documents with these (documents + 1,) running totals of tokens."""
    lengths = np.diff(np.asarray(offsets, np.int64))
    capped = np.minimum(lengths, block_size + 1)
    capped = capped.astype(np.uint16 if block_size < 2**16 - 1 else np.int64)  # sorted by radix
    counts = np.bincount(capped, minlength=block_size + 2)
    order = np.argsort(capped, kind="stable")[counts[0] :]
    counts[0] = 0
    first = np.cumsum(counts) - counts
    short, long = order[: first[-1]], order[first[-1] :]
    totals = np.append(0, np.cumsum(lengths[long]))
    kinds = sorted(_kinds(counts[:-1], block_size), key=lambda kind: -kind.free)
    arrays = {**_numbered(kinds, block_size, int(totals[-1])), "first": first, "short": short}
    arrays |= {"long": long, "totals": totals}
    small = np.int32 if lengths.sum() < 2**31 else np.int64
    arrays = {name: np.asarray(array).astype(small) for name, array in arrays.items()}
    # As many look-ups as half the documents: they are longer than a row, so a few comparisons do.
    stride = max(4 * block_size, 2 * int(totals[-1]) // max(1, len(long)))
    stream_of, rows = Borders(arrays.pop("totals"), stride), int(arrays["first_row"][-1])
    return Packing(block_size=block_size, rows=rows, stream_of=stream_of, **arrays)


class _Kind(NamedTuple):
    """Rows with the same lengths."""

    rows: int
    free: int  # tokens
    slots: tuple[tuple[int, int], ...]  # length, and slot of the first row


def _kinds(counts: np.ndarray, size: int) -> list[_Kind]:
    """Returns best fit decreasing's kinds; `counts` has the documents of each length 0 … size."""
    opened: dict[int, list[_Kind]] = {}  # by free space
    spaces = 0  # bit s: there are rows with s tokens free

    def put(kind: _Kind) -> None:
        nonlocal spaces
        opened.setdefault(kind.free, []).append(kind)
        spaces |= 1 << kind.free

    for length in range(size, 0, -1):
        slot, left = 0, int(counts[length])
        while left and (wide := spaces >> length):
            free = length + (wide & -wide).bit_length() - 1
            kind = opened[free].pop()
            taken = min(kind.rows, left)
            if taken < kind.rows:
                put(_Kind(kind.rows - taken, free, tuple((n, i + taken) for n, i in kind.slots)))
            elif not opened[free]:
                spaces ^= 1 << free
            put(_Kind(taken, free - length, (*kind.slots, (length, slot))))
            slot, left = slot + taken, left - taken
        for rows, each in (
            (left // (size // length), size // length),
            (1, left % (size // length)),
        ):
            if rows and each:
                slots = tuple((length, slot + i * rows) for i in range(each))
                put(_Kind(rows, size - each * length, slots))
                slot += rows * each
    return [kind for kinds in opened.values() for kind in kinds]


def _numbered(kinds: list[_Kind], size: int, stream: int) -> dict:
    """Returns the arrays of these kinds, and of the rows behind them that `stream` tokens need."""
    rows, gap = [kind.rows for kind in kinds], [kind.free for kind in kinds]
    gap = [free if free >= LEAST_GAP else 0 for free in gap]
    left = stream - sum(n * free for n, free in zip(rows, gap, strict=True))
    if left > 0:
        rows, gap = [*rows, -(-left // size)], [*gap, size]
    slots = [slot for kind in kinds for slot in kind.slots]
    per_kind = [len(kind.slots) for kind in kinds] + [0] * (len(rows) - len(kinds))
    lengths, numbers = np.array(slots, np.int64).reshape(-1, 2).T
    filled = np.array(rows, np.int64) * gap
    return {
        "first_row": np.cumsum([0, *rows]),
        "first_slot": np.cumsum([0, *per_kind]),
        "gap": gap,
        "stream": np.minimum(np.cumsum(filled) - filled, stream),
        "lengths": lengths,
        "slots": numbers,
    }
