"""How do reading, computing and writing overlap, with results in order?

In threads: decoding, tokenizing, hashing and writing release Python's lock. An exception in a
thread is raised in place of its result. Only a few items wait at a time, so memory does not grow
with the length of the input.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

A = TypeVar("A")
B = TypeVar("B")
_END: Any = object()


def prefetch(items: Iterable[A], depth: int = 2) -> Iterator[A]:
    """Yields the same items in order; one thread makes up to `depth` of them in advance."""
    source = iter(items)
    with ThreadPoolExecutor(1) as pool:
        pending = deque(pool.submit(next, source, _END) for _ in range(depth))
        while (item := pending.popleft().result()) is not _END:
            pending.append(pool.submit(next, source, _END))
            yield item


def in_order(work: Callable[[A], B], items: Iterable[A], workers: int) -> Iterator[B]:
    """Yields `map(work, items)`, computed on `workers` threads; at most workers + 1 wait."""
    failed: list[Exception] = []
    with ThreadPoolExecutor(workers) as pool:
        pending: deque = deque()
        for item in _until_error(items, failed):
            pending.append(pool.submit(work, item))
            if len(pending) > workers + 1:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    if failed:  # raised after the results of all items before it
        raise failed[0]


def _until_error(items: Iterable[A], failed: list[Exception]) -> Iterator[A]:
    try:
        yield from items
    except Exception as error:
        failed.append(error)
