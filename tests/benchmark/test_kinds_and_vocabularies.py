"""What the tables of kinds, vocabularies and shuffles are made from: the same text, merges, ids."""

import json

import pytest

from benchmark.data import kinds, shuffling
from benchmark.tokens import encodings, texts, vocabularies
from slm.bins.opening import open_bins
from slm.text.corpus import make_raw
from slm.text.stories import stories
from tests.helpers import texts_of

TEXTS = list(stories(7, "train", 30))


@pytest.mark.parametrize("name", kinds.KINDS)
def test_a_file_of_each_kind_holds_the_same_documents(tmp_path, name):
    for folder in ("source", "raw"):
        (tmp_path / folder).mkdir()
    kinds.KINDS[name](tmp_path / "source" / name, iter(TEXTS))
    entry = {"kind": "files", "files": {"train": name}, "separator": kinds.SEPARATOR}
    make_raw("bench", entry, tmp_path / "source", tmp_path / "raw")
    assert texts_of(tmp_path / "raw") == TEXTS


@pytest.mark.parametrize("pattern", ["gpt2", "o200k"])
def test_both_trainers_print_the_same_hash_of_their_merges(tmp_path, capfd, monkeypatch, pattern):
    monkeypatch.setattr(texts, "WORDS", 400)
    vocabularies._draw(tmp_path, 20_000, "-")
    said = []
    for train in (vocabularies._ours, vocabularies._theirs):
        train(tmp_path, 500, pattern)
        said.append(capfd.readouterr().out)
    assert said[0] == said[1] and said[0].startswith("244 ")


def test_both_engines_print_the_same_hash_of_their_ids(tmp_path, capfd):
    encodings._draw(tmp_path, 20_000)
    for text in encodings.TEXTS:
        for engine in encodings.ENGINES:
            encodings._encode(tmp_path / text, "qwen", engine)
        one, other = map(json.loads, capfd.readouterr().out.splitlines())
        assert (one["bytes"], one["sha256"]) == (other["bytes"], other["sha256"])
        assert one["bytes"] >= 20_000


def test_other_merges_have_another_hash(capfd):
    for merges in ('["a b"]', '[["a", "b"]]', '["b a"]'):
        vocabularies._print(f'{{"model": {{"merges": {merges}}}}}')
    one, same, other = capfd.readouterr().out.splitlines()
    assert one == same != other


def test_a_shuffle_has_the_tokens_of_the_source_s_order_and_another_order(tmp_path, capfd):
    shuffling._make(tmp_path, "500")
    said, ids = [], []
    for order in shuffling.ORDERS:
        shuffling._write(tmp_path, order)
        said.append(capfd.readouterr().out)
        ids.append(open_bins(tmp_path / "bins").ids("train").tolist())
    assert said[0] == said[1] and "500" in said[0]
    assert ids[0] != ids[1] and sorted(ids[0]) == sorted(ids[1])
