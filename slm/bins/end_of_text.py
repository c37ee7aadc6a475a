"""How does end-of-text go into a stream of ids, and out of it again?

In: the ids of documents end to end, in parts, and where the documents end. Out: the same with one
id more or one less a document, in parts. Memory does not follow the length of the stream.
"""

from bisect import bisect_left
from collections.abc import Iterator

import numpy as np


def with_end_of_text(
    chunks: Iterator[np.ndarray], ends: np.ndarray, end_of_text: int, policy: str
) -> Iterator[np.ndarray]:
    """The ids of `chunks` with the id `end_of_text` after ("append") or before each document.

    `ends` has (documents + 1,) running totals of tokens, from 0: where the documents end.
    """
    places = ends[1:] if policy == "append" else ends[:-1]
    done = read = 0
    for chunk in chunks:
        until = bisect_left(places, read + len(chunk), lo=done)
        inside = places[done:until].astype(np.int64) - read
        yield np.insert(chunk, inside, end_of_text)
        done, read = until, read + len(chunk)
    yield np.full(len(places) - done, end_of_text)


def without_end_of_text(
    chunks: Iterator[np.ndarray], bounds: np.ndarray, policy: str
) -> Iterator[np.ndarray]:
    """The inverse of slm.bins.from_tokens.with_end_of_text: each document's last ("append") or first id out.

    `bounds` has (documents + 1,) running totals of tokens, from 0, with end-of-text counted. What
    an id says is not asked: a document may hold the id of end-of-text itself.
    """
    places, back = (bounds[1:], 1) if policy == "append" else (bounds[:-1], 0)
    done = read = 0
    for chunk in chunks:
        until = bisect_left(places, read + len(chunk) + back, lo=done)
        yield np.delete(chunk, places[done:until].astype(np.int64) - back - read)
        done, read = until, read + len(chunk)
