"""Which source is a row of a mixture from, and which of its rows? Pure functions of integers.

In: weights, one integer per source, W their sum, and stages, each from a global row on. Row g of
stage i, which begins at row G, is at place j = (g - G) mod W of block B = (g - G) // W. With p and
`word` of slm.core.counter and k = word(word(word(seed, 4), i), B), place j has u = p(k, j, W), and
is of the source s with weights[0] + … + weights[s - 1] <= u < … + weights[s]. So each block has
exactly weights[s] rows of source s, in an order of its own, and this one is that source's row
    (its rows before the stage) + B·weights[s] + (places before j in the block that are of s).
So the rows of a source come in their own order, and none is lost or comes twice where a stage ends
amid a block. All of a block is looked at for that, so W is bounded.
"""

from typing import NamedTuple

import numpy as np

from slm.core.counter import permute_all, word

MOST_WEIGHT = 10_000  # W, at most
TOGETHER = 2**16  # places that are looked at at once


class Stage(NamedTuple):
    """Weights from a row on."""

    first: int  # global row
    key: int
    ends: np.ndarray  # (sources + 1,) uint64: running totals of the weights
    before: np.ndarray  # (sources,) uint64: rows of each source before this stage


def stages_of(seed: int, firsts: list[int], weights: list[list[int]]) -> list[Stage]:
    """Returns the stages that begin at these global rows, ascending from 0."""
    keys = word(word(seed, np.array([4], np.uint64)), np.arange(len(firsts), dtype=np.uint64))
    before = np.zeros(len(weights[0]), np.uint64)
    made: list[Stage] = []
    for first, key, each in zip(firsts, keys, weights, strict=True):
        if made:
            before = before + counts(made[-1], first - made[-1].first)
        ends = np.cumsum([0, *each]).astype(np.uint64)
        made.append(Stage(first, int(key), ends, before))
    return made


def counts(stage: Stage, rows: int) -> np.ndarray:
    """Returns how many of a stage's first `rows` rows are of each source, (sources,) uint64."""
    blocks, rest = divmod(rows, int(stage.ends[-1]))
    begun = np.arange(rows - rest, rows, dtype=np.uint64)
    some = np.bincount(_sources(stage, begun)[0], minlength=len(stage.ends) - 1)
    return np.diff(stage.ends) * np.uint64(blocks) + some.astype(np.uint64)


def rows_of(stages: list[Stage], rows: int) -> np.ndarray:
    """Returns how many of the first `rows` global rows are of each source, (sources,) uint64."""
    stage = max((one for one in stages if one.first <= rows), key=lambda one: one.first)
    return stage.before + counts(stage, rows - stage.first)


def sources(stages: list[Stage], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the source, int64, and the row of that source, uint64, of global rows, uint64."""
    if len(stages) == 1:
        return _sources(stages[0], rows)
    firsts = np.array([stage.first for stage in stages], np.uint64)
    at = np.searchsorted(firsts, rows, side="right") - 1
    source, own = np.empty(len(rows), np.int64), np.empty(len(rows), np.uint64)
    for i in np.unique(at):
        source[at == i], own[at == i] = _sources(stages[i], rows[at == i] - firsts[i])
    return source, own


def _sources(stage: Stage, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the same for rows that are counted from the stage's first."""
    total = int(stage.ends[-1])
    blocks = rows // np.uint64(total)
    begins = np.flatnonzero(np.diff(blocks, prepend=~blocks[:1]))  # runs of rows of one block
    run = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(rows)))
    places = run * total + (rows - blocks * np.uint64(total)).astype(np.int64)
    of_place, nth = _places(stage, blocks[begins])
    source, own = of_place[places], nth[places]
    return source, stage.before[source] + blocks * np.diff(stage.ends)[source] + own


def _places(stage: Stage, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the source of each place of these blocks, and how many before it are of that source.

    They are (blocks·W,) int64 and uint64.
    """
    total = int(stage.ends[-1])
    some = max(1, TOGETHER // total)
    parts = [_some_places(stage, blocks[i : i + some]) for i in range(0, len(blocks) or 1, some)]
    return tuple(map(np.concatenate, zip(*parts, strict=True)))  # type: ignore[return-value]


def _some_places(stage: Stage, blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    total = int(stage.ends[-1])
    drawn = permute_all(word(stage.key, blocks), total)
    source = np.searchsorted(stage.ends, drawn, side="right") - 1
    order = np.argsort(source, axis=1, kind="stable")
    nth = np.empty(order.shape, np.uint64)  # of those sorted by source
    np.put_along_axis(nth, order, np.arange(total, dtype=np.uint64)[None], 1)
    return source.ravel(), (nth - stage.ends[source]).ravel()
