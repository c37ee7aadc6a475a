"""How do reading, computing and writing overlap, with results in their first order?

Threads, since what is slow here (decoding, tokenizing, hashing, writing) runs outside Python's
lock. An exception in a thread is raised where its result would have come; at most a few items
wait at a time, so memory does not follow the length of the input.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")
_END = object()


def prefetch(items: Iterable[A], depth: int = 2) -> Iterator[A]:
    """The same items in the same order, made by one thread up to `depth` before they are needed."""
    source = iter(items)
    with ThreadPoolExecutor(1) as pool:
        pending = deque(pool.submit(next, source, _END) for _ in range(depth))
        while (item := pending.popleft().result()) is not _END:
            pending.append(pool.submit(next, source, _END))
            yield item


def in_order(work: Callable[[A], B], items: Iterable[A], workers: int) -> Iterator[B]:
    """`map(work, items)` on `workers` threads, at most one more item waiting than threads."""
    failed: list[Exception] = []
    with ThreadPoolExecutor(workers) as pool:
        pending: deque = deque()
        for item in _until_error(items, failed):
            pending.append(pool.submit(work, item))
            if len(pending) > workers + 1:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    if failed:  # its place is after the results of all the items before it
        raise failed[0]


def _until_error(items: Iterable[A], failed: list[Exception]) -> Iterator[A]:
    try:
        yield from items
    except Exception as error:
        failed.append(error)
