"""The same stories give the same train.bin from files of every kind, and from a mixture."""

import gzip
import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import datasets
import pytest

from slm.bins.writing.from_tokens import write_bins
from slm.core.errors import UserError
from slm.text.stories import stories
from slm.tokens.token_files import make_tokens
from slm.tokens.vocabulary import load_encoding
from tests.helpers import array, build, comma_separated, json_lines, one_line, parquet, zstd
from tests.workspace import EXCERPT

END = "<end>"


def real() -> list[str]:
    """The real excerpt's stories, or as many of the generator's where it is not there."""
    if not EXCERPT.is_dir():
        return [text for text in stories(1337, "train", 1000) if text]
    lines = (EXCERPT / "train.jsonl").read_text(encoding="utf-8").split("\n")
    return [json.loads(line)["text"] for line in lines if line]


STORIES = real()


KINDS: dict[str, Callable[[list[str]], bytes]] = {
    "a.parquet": lambda texts: parquet(texts, rows=100, compression="zstd"),
    "a.jsonl": json_lines,
    "a.jsonl.gz": lambda texts: gzip.compress(json_lines(texts)),
    "b.json.gz": lambda texts: gzip.compress(json_lines(texts)),
    "a.jsonl.zst": lambda texts: zstd(json_lines(texts)),
    "a.json": array,
    "a.csv": comma_separated,
    "a.txt": lambda texts: "".join(text + END for text in texts).encode(),
}


def bins_of(raw: Path) -> bytes:
    """The bytes of train.bin."""
    tokens, bins = raw.parent / "tokens", raw.parent / "bins"
    for folder in (tokens, bins):
        folder.mkdir()
    make_tokens(raw, load_encoding("gpt2"), tokens, "gigatoken", 2)
    write_bins(tokens, bins, "append")
    return (bins / "train.bin").read_bytes()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return bins_of(build(tmp_path_factory.mktemp("first"), {"a.jsonl": json_lines(STORIES)}))


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_of_file_gives_the_same_train_bin(tmp_path, expected, name):
    raw = build(tmp_path, {name: KINDS[name](STORIES)}, separator=END)
    assert bins_of(raw) == expected


def test_a_folder_that_datasets_saved_gives_the_same_train_bin(tmp_path, expected):
    rows = datasets.Dataset.from_dict({"text": STORIES})
    rows.save_to_disk(tmp_path / "source/saved/train", num_shards=3)
    assert bins_of(build(tmp_path, {}, ["saved/train"])) == expected


def test_four_kinds_in_one_split_give_the_same_train_bin(tmp_path, expected):
    mixed = ["a.csv", "a.parquet", "a.txt", "b.json.gz"]
    parts = [STORIES[start:end] for start, end in pairwise([0, 10, 400, 401, len(STORIES)])]
    contents = {name: KINDS[name](part) for name, part in zip(mixed, parts, strict=True)}
    assert bins_of(build(tmp_path, contents, separator=END)) == expected


@pytest.mark.parametrize("name", [name for name in KINDS if name != "a.txt"])
def test_a_file_cut_in_the_middle_is_one_line_with_a_row_or_an_offset(tmp_path, name):
    content = KINDS[name](STORIES)
    with pytest.raises(UserError) as error:
        bins_of(build(tmp_path, {name: content[: len(content) * 6 // 10]}))
    said = one_line(error)
    row = re.search(r"row (\d+)(?: of|:)", said)
    assert name in said, said
    if name == "a.parquet":  # whose rows are listed at its end
        assert f"a.parquet, {len(content) * 6 // 10:,} bytes, cannot be read" in said
    else:
        assert row and len(STORIES) // 3 < int(row[1]) < len(STORIES) * 3 // 4, said
    assert not list(tmp_path.rglob("*.bin"))
