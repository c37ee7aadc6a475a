"""Facts about threads: first order, errors at their position, little in memory, and no waiting."""

import gc
import threading
import time
import weakref
from collections.abc import Iterator

import pytest

from slm.core.threads import in_order, prefetch

N = 200


class Counted:
    """An iterator of 0, 1, 2, …; `taken` of them so far; raises where it is told to."""

    def __init__(self, end: float = float("inf"), fails_at: float = float("inf")) -> None:
        self.taken, self.end, self.fails_at = 0, end, fails_at

    def __iter__(self) -> "Counted":
        return self

    def __next__(self) -> int:
        if self.taken == self.fails_at:
            raise ValueError("source")
        if self.taken >= self.end:
            raise StopIteration
        self.taken += 1
        return self.taken - 1


def same(item: int) -> int:
    return item


def one_by_one(results: Iterator[int]) -> list:
    actual: list = []
    try:
        for result in results:
            actual.append(result)
    except ValueError as error:
        actual.append(str(error))
    return actual


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = threading.active_count()
    yield
    if threading.active_count() > before:
        gc.collect()  # a generator that nobody holds ends its threads
    assert threading.active_count() <= before  # one of an earlier test may have ended


@pytest.mark.parametrize("depth", [1, 2, 50, 1000])
def test_ahead_gives_the_same_items_in_order(depth):
    assert list(prefetch(range(N), depth)) == list(range(N))
    assert list(prefetch([], depth)) == []
    assert list(prefetch([None, None], depth)) == [None, None]


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_results_come_in_the_order_of_their_items(workers):
    def slow_at_first(item: int) -> int:
        time.sleep(0.02 if item % 8 == 0 else 0)
        return item * item

    assert list(in_order(slow_at_first, range(N), workers)) == [i * i for i in range(N)]
    assert list(in_order(same, [], workers)) == []
    assert list(in_order(same, [7], workers)) == [7]


def test_work_runs_on_all_workers_at_once():
    together = threading.Barrier(4, timeout=5)
    assert list(in_order(lambda _: together.wait() >= 0, range(8), 4)) == [True] * 8


@pytest.mark.parametrize("position", [0, 1, 17])
def test_an_error_of_the_source_comes_at_its_place(position):
    assert one_by_one(prefetch(Counted(N, position))) == [*range(position), "source"]


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("position", [0, 1, 17])
def test_an_error_of_work_comes_at_its_place(position, workers):
    def work(item: int) -> int:
        if item >= position:
            raise ValueError(f"work {item}")
        return item

    assert one_by_one(in_order(work, range(N), workers)) == [*range(position), f"work {position}"]


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("position", [0, 1, 17])
def test_an_error_of_the_items_comes_after_the_results_before_it(position, workers):
    actual = one_by_one(in_order(same, prefetch(Counted(N, position)), workers))
    assert actual == [*range(position), "source"]


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_of_two_errors_the_first_item_s_is_raised(workers):
    def work(item: int) -> int:
        if item == 4:
            raise ValueError("work 4")
        return item

    assert one_by_one(in_order(work, Counted(N, 6), workers)) == [0, 1, 2, 3, "work 4"]


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_ahead_takes_no_more_than_its_depth(depth):
    source = Counted()
    items = prefetch(source, depth)
    assert source.taken == 0  # nothing starts before the first is asked for
    for number in range(20):
        assert next(items) == number
        time.sleep(0.005)
        assert source.taken <= number + 1 + depth
    assert source.taken == 20 + depth
    items.close()


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_in_order_takes_no_more_than_one_item_above_its_workers(workers):
    source = Counted()
    results = in_order(same, source, workers)
    assert source.taken == 0
    for number in range(20):
        assert next(results) == number
        assert source.taken <= number + 1 + workers + 1
    results.close()


def test_what_was_given_out_is_not_kept():
    class Item:
        pass

    alive: list[weakref.ref] = []

    def items() -> Iterator[Item]:
        for _ in range(50):
            item = Item()
            alive.append(weakref.ref(item))
            yield item

    most = 0
    for _ in in_order(lambda item: item, prefetch(items()), 2):
        most = max(most, sum(ref() is not None for ref in alive))
    assert most <= 2 + 3 + 1 + 2  # waiting in `ahead` and in `in_order`, here, and on the way


def test_stopping_early_ends_threads_and_source():
    closed = []

    def source() -> Iterator[int]:
        try:
            yield from Counted()
        finally:
            closed.append(True)

    for number in in_order(same, prefetch(source()), 3):
        if number == 5:
            break
    gc.collect()
    assert closed == [True]


def test_an_error_of_the_consumer_passes_through_and_nothing_hangs():
    with pytest.raises(KeyError):
        for number in in_order(same, prefetch(Counted()), 3):
            if number == 5:
                raise KeyError(number)


def test_a_generator_that_was_never_started_is_no_thread():
    in_order(same, prefetch(Counted()), 3).close()
