"""The tables that pictures are drawn from: each row is what a loop over the documents counts."""

import csv
import io
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm.stats.histograms import MOST, byte_rows, length_rows, rank_rows, ranks, slope, to_csv

documents = st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 9000)), max_size=60)


@given(st.lists(st.integers(0, 3000), max_size=80))
@settings(max_examples=100, deadline=None)
def test_every_document_is_in_the_row_of_its_length(lengths):
    rows = length_rows(np.array(lengths, np.int64))
    for start, end, number in rows:
        assert number == sum(start <= length < end for length in lengths)
    assert sum(number for *_, number in rows) == len(lengths)
    assert not rows or (rows[0][0] == 0 and rows[-1][1] > max(lengths))
    assert all(one[1] == other[0] for one, other in pairwise(rows))


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=80))
@settings(max_examples=100, deadline=None)
def test_equal_widths_hold_99_percent_of_the_documents_and_one_row_the_rest(lengths):
    rows = length_rows(np.array(lengths, np.int64))
    width = rows[0][1] - rows[0][0]
    assert str(width).rstrip("0") in ("1", "2", "5")
    equal = [row for row in rows if row[1] - row[0] == width and row[0] % width == 0]
    assert len(rows) - len(equal) <= 1 and len(equal) <= MOST + 1
    common = sorted(lengths)[(99 * len(lengths) - 1) // 100]
    assert any(start <= common < end for start, end, _ in equal)
    assert width == 1 or common >= MOST * width / 2.5, "no finer width would do"


def test_a_length_that_the_widths_just_reach_needs_no_row_more():
    assert length_rows(np.array([0, 1, 1, 2])) == [(0, 1, 1), (1, 2, 2), (2, 3, 1)]
    rows = length_rows(np.array([1] * 100 + [500]))
    assert rows == [(0, 1, 0), (1, 2, 100), (2, 501, 1)]
    assert length_rows(np.array([], np.int64)) == []


@given(documents)
@settings(max_examples=100, deadline=None)
def test_every_document_is_in_the_row_of_its_bytes_per_token(found):
    docs = np.cumsum([(0, 0), *found], axis=0).astype(np.uint64)
    rows = byte_rows(docs)
    shares = [Fraction(text, tokens) for tokens, text in found if tokens]
    expected = Counter(share // Fraction(1, 20) for share in shares)  # the row that holds it
    for start, end, number in rows:
        assert Fraction(end) - Fraction(start) == Fraction(1, 20)
        assert number == expected[Fraction(start) // Fraction(1, 20)]
    assert sum(number for *_, number in rows) == len(shares)
    assert not rows or (rows[0][2] and rows[-1][2])


@given(st.lists(st.integers(0, 50), min_size=1, max_size=200))
@settings(max_examples=100, deadline=None)
def test_the_count_at_a_rank_is_that_of_the_ordered_counts(seen):
    used = sorted((number for number in seen if number), reverse=True)
    rows = rank_rows(np.array(seen, np.int64))
    assert [rank for rank, _ in rows] == ranks(len(used))
    assert all(number == used[rank - 1] for rank, number in rows)


@pytest.mark.parametrize("last", [0, 1, 2, 8, 9, 10, 100, 50_257])
def test_ranks_begin_at_1_end_at_the_last_and_are_an_eighth_apart(last):
    found = ranks(last)
    assert found == sorted(set(found)) and found[:8] == [*range(1, min(last, 8) + 1)]
    assert not last or found[-1] == last
    assert all(after == max(rank + 1, rank * 9 // 8) for rank, after in pairwise(found[:-1]))
    assert len(ranks(50_257)) < 100


def test_the_slope_is_that_of_a_power_law_and_there_is_none_of_one_point():
    rows = [(rank, 2**20 // rank**2) for rank in (1, 2, 4, 8, 16)]
    assert slope(rows) == pytest.approx(-2)
    assert slope([(1, 5), (2, 5)]) == 0
    assert slope([(1, 5)]) is slope([]) is None


def test_the_csv_is_read_back_as_it_was():
    rows = {"train": [(0, 10, 3), (10, 25, 1)], "validation": []}
    found = list(csv.DictReader(io.StringIO(to_csv("lengths", rows).decode())))
    assert found[1] == {"split": "train", "from": "10", "to": "25", "documents": "1"}
    assert Counter(row["split"] for row in found) == {"train": 2}
