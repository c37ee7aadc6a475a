"""Which documents have the same text? By the hash in their facts; an empty document is no copy.

In: facts of every split. Out: numbers, the same for the same text in any split, and rows.
"""

import numpy as np

from slm.selection.facts import halves


def numbered(facts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns (documents,) int64 per split: the same number for the same text, -1 for none."""
    every = np.concatenate(list(facts.values()))
    hashes = halves(every)
    order = np.lexsort(hashes.T)
    new = np.append(True, np.any(np.diff(hashes[order], axis=0), axis=1))[: len(every)]
    numbers = np.empty(len(every), np.int64)
    numbers[order] = np.cumsum(new)
    numbers[every["bytes"] == 0] = -1
    ends = np.cumsum([len(split) for split in facts.values()])
    return dict(zip(facts, np.split(numbers, ends[:-1]), strict=True))


def repeated(numbers: np.ndarray) -> np.ndarray:
    """Returns the rows whose number is also in an earlier row."""
    first = np.unique(numbers, return_index=True)[1]
    later = numbers >= 0
    later[first] = False
    return np.flatnonzero(later)


def in_other(numbers: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns the rows whose number is also in another split."""
    return np.flatnonzero((numbers >= 0) & np.isin(numbers, other))
