"""Which documents have the same text? By the hash in their facts; an empty document is no copy.

In: facts of every split. Out: numbers, the same for the same text in any split, and rows.
"""

import numpy as np

from slm.selection.facts import halves


def numbered(facts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns (documents,) int64 per split: the same number for the same text, -1 for none."""
    hashes = np.concatenate([halves(own) for own in facts.values()])
    first, second = map(np.ascontiguousarray, hashes.T)
    order = np.argsort(first)
    ordered, other = first[order], second[order]
    new = np.diff(ordered) > 0
    if np.any(~new & (np.diff(other) != 0)):  # two texts agree in the first half of their hashes
        order = np.lexsort((second, first))
        new = (np.diff(first[order]) > 0) | (np.diff(second[order]) != 0)
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.cumsum(np.append(True, new)[: len(order)])
    numbers[np.concatenate([own["bytes"] == 0 for own in facts.values()])] = -1
    ends = np.cumsum([len(split) for split in facts.values()])
    return dict(zip(facts, np.split(numbers, ends[:-1]), strict=True))


def repeated(numbers: np.ndarray) -> np.ndarray:
    """Returns the rows whose number is also in an earlier row."""
    rows = np.arange(len(numbers))
    first = np.empty(int(numbers.max(initial=-1)) + 2, np.int64)
    first[numbers[::-1]] = rows[::-1]  # of assignments to one place the last one stays
    return np.flatnonzero((numbers >= 0) & (first[numbers] != rows))


def in_other(numbers: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns the rows whose number is also in another split."""
    return np.flatnonzero((numbers >= 0) & np.isin(numbers, other))
