"""How are lengths, ids and bytes per token spread? The tables that pictures are drawn from.

In: the lengths of a split's documents, how often each id occurs, running totals. Out: the rows of
three tables, in whole numbers and decimals that are exact, so that the same bins give the same
bytes. Few rows, whatever the size of the bins.

    lengths   from, to, documents: so many have from <= tokens < to. All bins are equally wide, but
              for the last one, which has the documents that are longer than the others reach
    ranks     rank, count: the rank-th most frequent id stands there count times; at ranks 1, 2, …
              that are an eighth apart once they are above 8, and at the last
    bytes     from, to, documents: so many have from <= bytes of text a token < to, in steps of
              0.05; documents without a token are left out
"""

import csv
import io
from itertools import count

import numpy as np

TABLES = {
    "lengths": ("from", "to", "documents"),
    "ranks": ("rank", "count"),
    "bytes": ("from", "to", "documents"),
}
MOST = 60  # bins of lengths below the longest percent, at most
STEPS = 20  # bins of bytes per token from one whole number to the next


def to_csv(name: str, rows: dict[str, list[tuple]]) -> bytes:
    """The table `name` of all splits, given the rows of each, as CSV with `split` first."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("split", *TABLES[name]))
    writer.writerows((split, *row) for split, values in rows.items() for row in values)
    return file.getvalue().encode()


def length_rows(lengths: np.ndarray) -> list[tuple[int, int, int]]:
    """Rows of `lengths`, given (documents,) tokens of each.

    The width is the least of 1, 2, 5, 10, … with which MOST bins hold 99 % of the documents.
    """
    ordered = np.sort(lengths)
    if not len(ordered):
        return []
    longest, common = int(ordered[-1]), int(ordered[(len(ordered) * 99 - 1) // 100])
    widths = (digit * 10**zeros for zeros in count() for digit in (1, 2, 5))
    width = next(width for width in widths if width * MOST > common)
    edges = [*range(0, common + 1, width), (common // width + 1) * width]
    edges += [longest + 1] * (longest >= edges[-1])
    counted = np.diff(np.searchsorted(ordered, edges)).tolist()
    return list(zip(edges, edges[1:], counted, strict=False))


def rank_rows(seen: np.ndarray) -> list[tuple[int, int]]:
    """Rows of `ranks`, given (vocabulary size,) how often each id occurs."""
    ordered = np.sort(seen)[::-1]
    return [(rank, int(ordered[rank - 1])) for rank in ranks(int(np.count_nonzero(seen)))]


def ranks(last: int) -> list[int]:
    """1 … `last`, thinned out to an eighth apart; none where `last` is 0."""
    counted, rank = [], 1
    while rank < last:
        counted.append(rank)
        rank = max(rank + 1, rank * 9 // 8)
    return [*counted, last] if last else []


def slope(rows: list[tuple[int, int]]) -> float | None:
    """Of log count over log rank, by least squares over rows of `ranks`; None below two of them.

    Zipf's law is a slope of -1 (Zipf, The Psycho-Biology of Language, 1935).
    """
    if len(rows) < 2:
        return None
    x, y = np.log(np.array(rows, np.float64)).T
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / (x * x).sum())


def byte_rows(docs: np.ndarray) -> list[tuple[str, str, int]]:
    """Rows of `bytes` from the first that has a document to the last, given a split's docs array:
    (documents + 1, 2) running totals of tokens and of bytes."""
    tokens, text = np.diff(docs.astype(np.int64), axis=0).T
    places = text[tokens > 0] * STEPS // tokens[tokens > 0]
    if not len(places):
        return []
    first, counted = int(places.min()), np.bincount(places - places.min()).tolist()
    return [(_step(first + i), _step(first + i + 1), n) for i, n in enumerate(counted)]


def _step(number: int) -> str:
    return f"{number // STEPS}.{number % STEPS * 100 // STEPS:02}"
