"""Which pair of symbols comes next? The merges of byte-level BPE, from words and their counts.

In: the distinct words of a text, and how often each occurs. Out: pairs of symbols, in order: each
time the pair that occurs most often, and of several the one whose symbols were known first. That
is the order of Hugging Face's trainer, and its way to count: `aaa` has (a, a) twice.

Pairs are looked at in rounds. A round knows those that occur `floor` times or more, and where, and
goes on while one of them is left; no other pair can be the next one until then. The next round
counts all pairs anew and reaches further down. So the many rare pairs are not kept while there are
frequent ones, and a heap finds the next of thousands that occur equally often.
"""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from itertools import chain

import numpy as np

from slm.tokens.from_file import VISIBLE

DEPTH = 32  # how much more often than its floor a round's first pair occurs
LETTERS = sorted(range(256), key=lambda byte: (byte not in VISIBLE, byte))  # in GPT-2's order
_BETWEEN, _GONE = -1, -2  # words; what a merge has taken into the symbol before it
Pair = tuple[int, int]  # of symbols


def pairs(words: dict[bytes, int]) -> Iterator[Pair]:
    """Yields pairs until none occurs: below 256 a symbol is a byte of LETTERS, then pair 0, 1, …

    A word's count is above 0.
    """
    symbols, weights = _joined(words)
    new = len(LETTERS)
    while (round_ := _Round(symbols, weights)).heap:
        for pair in round_.merged(new):
            yield pair
            new += 1
        left = symbols != _GONE
        symbols, weights = symbols[left], weights[left]


def _joined(words: dict[bytes, int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the symbols of all words, with _BETWEEN around each, and the count of each's word."""
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    between = np.cumsum(np.append(0, lengths + 1))
    inside = np.ones(between[-1] + 1, bool)
    inside[between] = False
    symbols = np.full(len(inside), _BETWEEN, np.int32)
    symbol_of = np.argsort(LETTERS).astype(np.int32)
    symbols[inside] = symbol_of[np.frombuffer(b"".join(words), np.uint8)]
    counts = np.fromiter(chain(words.values(), [0]), np.int64, len(words) + 1)
    return symbols, np.repeat(counts, np.append(lengths + 1, 1))


class _Round:
    """The pairs that occur `floor` times or more. Merges change `symbols`."""

    def __init__(self, symbols: np.ndarray, weights: np.ndarray) -> None:
        index = np.int32 if len(symbols) < 2**31 else np.int64
        self.symbols, self.weights = symbols, weights
        self.after = np.arange(1, len(symbols) + 1, dtype=index)
        self.before = np.arange(-1, len(symbols) - 1, dtype=index)
        self.where: dict[Pair, np.ndarray] = {}  # positions of the left symbol; some are stale
        at = np.flatnonzero((symbols[:-1] >= 0) & (symbols[1:] >= 0)).astype(index)
        left, right = symbols[at], symbols[at + 1]
        # NumPy sorts 16 bits in linear time.
        digits = np.uint16 if symbols.max() < 2**16 else np.uint32
        order = np.lexsort((right.astype(digits), left.astype(digits)))
        keys = left.astype(np.int64) << 32 | right
        groups = self._grouped(keys[order], at[order])
        self.floor = max(1, int(groups[2].max(initial=0)) // DEPTH)
        self.heap = self._known(*groups)  # minus the count, which may have fallen since
        heapify(self.heap)

    def merged(self, new: int) -> Iterator[Pair]:
        """Yields the next pair as long as there is one; it has become symbol `new`, new + 1, …"""
        while self.heap:
            known, pair = heappop(self.heap)
            at = self.where.pop(pair)
            at = at[(self.symbols[at] == pair[0]) & (self.symbols[self.after[at]] == pair[1])]
            count = int(self.weights[at].sum())
            if count == -known:
                self._merge(at if pair[0] != pair[1] else self._apart(at), new)
                new += 1
                yield pair
            elif count >= self.floor:
                self.where[pair] = at
                heappush(self.heap, (-count, pair))

    def _apart(self, at: np.ndarray) -> np.ndarray:
        """Returns those of ascending positions that a merge from the left takes, as of a run."""
        follows = np.append(False, self.after[at[:-1]] == at[1:])
        number = np.arange(len(at))
        first = np.maximum.accumulate(np.where(follows, 0, number))
        return at[(number - first) % 2 == 0]

    def _merge(self, at: np.ndarray, new: int) -> None:
        """Makes the pairs at these positions one symbol, and knows the pairs it is in."""
        symbols, taken = self.symbols, self.after[at]
        after = self.after[taken]
        symbols[at], symbols[taken] = new, _GONE
        self.after[at], self.before[after] = after, at
        before = self.before[at]
        # Twice the neighbour, and one more on the right; two that are neighbours count once.
        sides = np.concatenate([2 * symbols[before], 2 * symbols[after] + 1])
        kept = (sides >= 0) & (sides != 2 * new + 1)
        sides, positions = sides[kept], np.concatenate([before, at])[kept]
        order = np.argsort(sides, kind="stable")
        for entry in self._known(*self._grouped(sides[order], positions[order])):
            heappush(self.heap, entry)

    def _grouped(self, keys: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, ...]:
        """Returns positions, where those of one key begin, and how often each key occurs."""
        starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
        counts = np.add.reduceat(self.weights[at], starts) if len(at) else np.empty(0, np.int64)
        return at, starts, counts

    def _known(
        self, at: np.ndarray, starts: np.ndarray, counts: np.ndarray
    ) -> list[tuple[int, Pair]]:
        """Keeps the groups that occur `floor` times or more; returns their entries of the heap."""
        known = np.flatnonzero(counts >= self.floor)
        starts, ends = starts[known], np.append(starts, len(at))[known + 1]
        left, right = self.symbols[at[starts]], self.symbols[self.after[at[starts]]]
        pairs = list(zip(left.tolist(), right.tolist(), strict=True))
        ranges = zip(pairs, starts.tolist(), ends.tolist(), strict=True)
        self.where.update((pair, at[start:end]) for pair, start, end in ranges)
        return list(zip((-counts[known]).tolist(), pairs, strict=True))
