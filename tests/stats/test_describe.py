"""Each figure of bins is what plain loops over the documents find, whatever the end-of-text."""

import json
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

import slm.stats.describe
from slm.batching.sampling import plan, starts
from slm.bins.format import write_docs, write_manifest
from slm.bins.opening import Bins, open_bins
from slm.bins.writing.from_tokens import write_bins
from slm.core.errors import UserError
from slm.core.ids import dtype_for, write_ids
from slm.core.rounding import rounded
from slm.stats.describe import across, figures
from slm.stats.histograms import ranks
from slm.text.stories import stories
from slm.tokens.token_files import make_tokens
from slm.tokens.vocabulary import load_encoding
from tests.helpers import NASTY, build, json_lines, texts_of
from tests.workspace import EXCERPT

GPT2 = tiktoken.get_encoding("gpt2")
FILES = {"train": ["train.jsonl"], "validation": ["validation.jsonl"]}


def bins_of(folder: Path, contents: dict[str, bytes], end_of_text: str) -> Bins:
    """The bins of two splits, by the functions that the stages call."""
    raw = build(folder, contents, files=FILES)
    for name in ("tokens", "bins"):
        (folder / name).mkdir()
    make_tokens(raw, load_encoding("gpt2"), folder / "tokens", "gigatoken", 1)
    write_bins(folder / "tokens", folder / "bins", end_of_text)
    return open_bins(folder / "bins")


def by_hand(folder: Path, documents: list[list[int]], vocab_size: int, text_bytes: int = 3) -> Bins:
    """Bins of a split "train" with these ids, each of them so many bytes of text."""
    ids = np.array([i for document in documents for i in document], np.int64)
    edges = np.cumsum([0, *map(len, documents)])
    totals = np.stack([edges, edges * text_bytes], axis=1).astype(np.uint64)
    dtype = dtype_for(vocab_size)
    files = {
        "train.bin": write_ids(folder / "train.bin", [ids], dtype),
        "train.docs.npy": write_docs(folder / "train.docs.npy", [totals], len(documents)),
    }
    counted = {"tokens": len(ids), "documents": len(documents), "text_bytes": int(totals[-1, 1])}
    content = {
        "tokenizer": {"vocab_size": vocab_size},
        "dtype": dtype.name,
        "splits": {"train": {**counted, "files": files}},
    }
    write_manifest(folder, content)
    return open_bins(folder)


def slowly(texts: list[str], documents: list[list[int]], vocab_size: int, block_size: int) -> dict:
    """The figures of these documents, from their definitions: lists, loops and a Counter."""
    ids = [i for document in documents for i in document]
    owner = [number for number, document in enumerate(documents) for _ in document]
    seen, size, text_bytes = Counter(ids), len(ids), sum(len(text.encode()) for text in texts)
    ordered = sorted(map(len, documents))
    bits = -sum(n / size * math.log2(n / size) for n in seen.values())
    rows = [owner[start : start + block_size + 1] for start in range(size - block_size)]
    frequent = sorted(seen.values(), reverse=True)

    def least(percent: int) -> int:
        enough = percent * len(ordered)
        return next(n for n in ordered if 100 * sum(m <= n for m in ordered) >= enough)

    return {
        "documents": len(texts),
        "empty_documents": texts.count(""),
        "tokens": size,
        "text_bytes": text_bytes,
        "bin_bytes": size * (2 if vocab_size <= 65_536 else 4),
        "bytes_per_token": text_bytes / size,
        "tokens_per_document": {
            "mean": size / len(texts),
            **{f"p{percent}": least(percent) for percent in (50, 90, 99)},
            "longest": max(ordered),
        },
        "vocabulary_share": len(seen) / vocab_size,
        "rare_ids": sum(seen[i] < 100 for i in range(vocab_size)),
        "entropy_bits_per_token": bits,
        "entropy_bits_per_byte": bits * size / text_bytes,
        "rank_slope": slow_slope([(rank, frequent[rank - 1]) for rank in ranks(len(frequent))]),
        "windows_across_borders": sum(len(set(row)) > 1 for row in rows) / len(rows),
    }


def slow_slope(rows: list[tuple[int, int]]) -> float | None:
    """The slope of the least squares line, by the textbook's sums."""
    x, y = [math.log10(rank) for rank, _ in rows], [math.log10(count) for _, count in rows]
    n, xy, xx = len(rows), sum(map(math.prod, zip(x, y, strict=True))), sum(v * v for v in x)
    if n < 2:
        return None
    return (n * xy - sum(x) * sum(y)) / (n * xx - sum(x) ** 2)


def ids_of(texts: list[str], end_of_text: str) -> list[list[int]]:
    """tiktoken's ids of each document, with end-of-text where the policy puts it."""
    before = [GPT2.eot_token] * (end_of_text == "prepend")
    after = [GPT2.eot_token] * (end_of_text == "append")
    return [before + GPT2.encode_ordinary(text) + after for text in texts]


@pytest.mark.parametrize("end_of_text", ["none", "append", "prepend"])
def test_every_figure_of_a_built_sample_is_the_slow_one(tmp_path, end_of_text):
    train = [*stories(1, "train", 150), *NASTY]
    contents = {
        "train.jsonl": json_lines(train),
        "validation.jsonl": json_lines(["", *stories(1, "validation", 20)]),
    }
    bins = bins_of(tmp_path, contents, end_of_text)
    for split in FILES:
        texts = texts_of(tmp_path / "raw", split)
        expected = slowly(texts, ids_of(texts, end_of_text), GPT2.n_vocab, 64)
        assert rounded(figures(bins, split, 64)) == rounded(expected)


@pytest.mark.skipif(not EXCERPT.is_dir(), reason="needs ../shared/tinystories")
def test_every_figure_of_the_real_excerpt_is_the_slow_one(tmp_path):
    contents = {name: (EXCERPT / name).read_bytes() for (name,) in FILES.values()}
    bins = bins_of(tmp_path, contents, "append")
    for split, (name,) in FILES.items():
        texts = [json.loads(line)["text"] for line in contents[name].decode().split("\n") if line]
        expected = slowly(texts, ids_of(texts, "append"), GPT2.n_vocab, 64)
        assert rounded(figures(bins, split, 64)) == rounded(expected)


@given(
    st.lists(st.lists(st.integers(0, 299), max_size=9), min_size=1, max_size=30),
    st.integers(1, 12),
    st.sampled_from([300, 2**16 + 1]),
)
@settings(max_examples=60, deadline=None)
def test_figures_do_not_depend_on_where_the_parts_end(tmp_path_factory, ids, block_size, size):
    ids.append([0] * 13)  # so that there is a row
    bins = by_hand(tmp_path_factory.mktemp("bins"), ids, size)
    texts = ["abc" * len(document) for document in ids]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slm.stats.describe, "CHUNK", 7)
        found = figures(bins, "train", block_size)
    assert rounded(found) == rounded(slowly(texts, ids, size, block_size))


@given(st.lists(st.integers(0, 12), min_size=1, max_size=20), st.integers(1, 15))
@settings(max_examples=300, deadline=None)
def test_the_share_of_windows_across_borders_is_that_of_every_window(lengths, block_size):
    owner = [number for number, length in enumerate(lengths) for _ in range(length)]
    rows = [owner[start : start + block_size + 1] for start in range(len(owner))]
    rows = [row for row in rows if len(row) == block_size + 1]
    expected = sum(len(set(row)) > 1 for row in rows) / len(rows) if rows else None
    assert across(np.array(lengths), sum(lengths), block_size) == expected


def test_the_windows_are_those_that_random_draws():
    tokens, block_size, lengths = 40, 6, np.array([9, 0, 11, 20])
    drawn = starts(plan("random", 0, tokens, block_size), 0, 4_000).ravel()
    assert set(drawn.tolist()) == set(range(tokens - block_size))
    owner = np.repeat(np.arange(4), lengths)
    crossing = [owner[s] != owner[s + block_size] for s in sorted(set(drawn.tolist()))]
    assert across(lengths, tokens, block_size) == sum(crossing) / len(crossing)


def test_what_has_no_token_or_no_row_has_no_share(tmp_path):
    found = figures(by_hand(tmp_path, [[], []], 300), "train", 4)
    assert found["documents"] == found["empty_documents"] == 2
    assert found["tokens_per_document"] == {"mean": 0, "p50": 0, "p90": 0, "p99": 0, "longest": 0}
    none = {name for name, value in found.items() if value is None}
    entropies = {"entropy_bits_per_token", "entropy_bits_per_byte"}
    assert none == {"bytes_per_token", "rank_slope", "windows_across_borders", *entropies}
    assert across(np.array([5]), 5, 5) is None and across(np.array([6]), 6, 5) == 0


def test_ids_of_one_kind_have_no_entropy_and_as_many_kinds_as_ids_have_all(tmp_path):
    for name, ids, bits in (("one", [7] * 50, 0.0), ("all", list(range(256)), 8.0)):
        (tmp_path / name).mkdir()
        found = figures(by_hand(tmp_path / name, [ids], 256, text_bytes=2), "train", 4)
        assert found["entropy_bits_per_token"] == bits == 2 * found["entropy_bits_per_byte"]


def test_an_id_seen_100_times_is_not_rare_and_one_never_seen_is(tmp_path):
    bins = by_hand(tmp_path, [[0] * 100 + [1] * 99], 3)
    found = figures(bins, "train", 4)
    assert (found["rare_ids"], found["vocabulary_share"]) == (2, 2 / 3)


def test_an_id_beyond_the_vocabulary_is_refused_and_so_is_a_row_of_nothing(tmp_path):
    bins = by_hand(tmp_path, [[1, 2, 300]], 300)
    with pytest.raises(UserError, match="holds the id 300 and its vocabulary has 300"):
        figures(bins, "train", 2)
    with pytest.raises(UserError, match="block_size is 0"):
        figures(bins, "train", 0)


def test_the_figures_are_json_and_rounding_keeps_whole_numbers(tmp_path):
    found = rounded(figures(by_hand(tmp_path, [[1, 2], [3]] * 700_001, 300), "train", 2))
    assert json.loads(json.dumps(found)) == found
    assert found["tokens"] == 2_100_003 and found["bytes_per_token"] == 3.0
    assert rounded({"a": [1.23456789, 12_345_678, None, 0.000123456789]}) == {
        "a": [1.23457, 12_345_678, None, 0.000123457]
    }
