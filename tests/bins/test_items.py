"""Facts about the documents of a split as a sequence, and as a source of others' loaders."""

import pickle

import numpy as np
import pytest

from slm.bins.items import Documents
from tests.export.test_export import HELD, TRAIN, documents, made

__all__ = ("made",)  # a fixture, which the tests here use

TEXTS = {"train": TRAIN, "validation": HELD}
KINDS = pytest.mark.parametrize(
    ("policy", "shard_tokens"),
    [("none", None), ("append", None), ("prepend", None), ("append", 400)],
)


@KINDS
def test_each_document_has_its_ids_and_its_text(made, policy, shard_tokens):
    bins = made("gpt2", policy, shard_tokens)
    for split, texts in TEXTS.items():
        found = bins.documents(split)
        assert len(found) == len(texts)
        assert [item.ids.tolist() for item in found] == documents(bins, split)
        assert [item.text for item in found] == texts
        assert found[0].ids.dtype == np.uint16


@KINDS
def test_numbers_and_slices_are_those_of_a_list(made, policy, shard_tokens):
    bins = made("gpt2", policy, shard_tokens)
    found, expected = bins.documents("train"), documents(bins, "train")
    for index in (0, 5, -1, -len(expected), np.int64(7)):
        assert found[index].ids.tolist() == expected[index]
    for cut in (slice(2, 9), slice(None, None, 40), slice(-3, None), slice(9, 2), slice(5, 1, -2)):
        assert [item.ids.tolist() for item in found[cut]] == expected[cut]
    for index in (len(expected), -len(expected) - 1):
        with pytest.raises(IndexError, match=f"documents 0 to {len(expected) - 1}"):
            found[index]
    for wrong in ("1", 1.0, True, None):
        with pytest.raises(TypeError, match="a whole number or a slice"):
            found[wrong]


def test_a_split_that_is_not_there_is_named(made):
    with pytest.raises(ValueError, match=r"split is 'test'; .* has train, validation"):
        made().documents("test")


def test_it_is_pickled_without_its_files(made):
    found = made().documents("train")
    before = found[3].ids.tolist()
    content = pickle.dumps(found)
    assert len(content) < 20_000
    other = pickle.loads(content)  # noqa: S301 - ours
    assert other[3].ids.tolist() == before
    assert isinstance(other, Documents)
    assert repr(other) == repr(found)
    assert "documents of train" in repr(found)


def test_pytorch_takes_it_as_a_dataset_with_workers(made):
    from torch.utils.data import DataLoader

    bins = made()
    loader = DataLoader(
        bins.documents("train"), batch_size=7, num_workers=2, collate_fn=_ids_of, shuffle=False
    )
    found = [ids for batch in loader for ids in batch]
    assert found == documents(bins, "train")


def _ids_of(items: list) -> list[list[int]]:
    return [item.ids.tolist() for item in items]
