"""How does end-of-text get out of a stream of ids again? (Into it: slm.bins.writing.documents.)

In: the ids of documents end to end, in parts, and the offsets of the documents. Out: parts with one
id less per document. Memory does not grow with the length of the stream.
"""

from bisect import bisect_left
from collections.abc import Iterator

import numpy as np


def without_end_of_text(
    chunks: Iterator[np.ndarray], offsets: np.ndarray, policy: str
) -> Iterator[np.ndarray]:
    """Yields `chunks` without the last ("append") or first id of each document.

    `offsets` has (documents + 1,) offsets in tokens, from 0, with end-of-text counted. The removed
    ids are not compared: a document may hold the id of end-of-text itself.
    """
    positions, back = {"append": (offsets[1:], 1), "prepend": (offsets[:-1], 0)}[policy]
    for chunk, inside in _placed(chunks, positions, back):
        yield np.delete(chunk, inside)


def text_ids(document: np.ndarray, policy: str) -> np.ndarray:
    """Returns the ids of a document without end-of-text, which `policy` adds."""
    return document[policy == "prepend" : -1 if policy == "append" else None]


def _placed(
    chunks: Iterator[np.ndarray], positions: np.ndarray, back: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields each chunk with the positions, moved `back`, that are in it, from 0 in the chunk."""
    done = read = 0
    for chunk in chunks:
        until = bisect_left(positions, read + len(chunk) + back, lo=done)
        yield chunk, positions[done:until].astype(np.int64) - back - read
        done, read = until, read + len(chunk)
