"""The readers themselves take our exports: every document and token is the same.

datasets is installed where tests run; the others, of the group `peers`, by `make test-peers`.
"""

import sys
from pathlib import Path

import numpy as np
import pytest

from slm.bins.opening import Bins
from slm.export.exporting import export
from slm.export.parts import Options
from tests.export.test_export import documents, flat, made
from tests.workspace import ROOT

__all__ = ("made",)  # a fixture, which the tests here use

PEERS = ROOT / ".venv.peers"  # where `make test-peers` and CI install them
BLOCK = 16


def peer(name: str):
    """A peer's module."""
    if PEERS.is_dir() and str(PEERS) not in sys.path:
        sys.path.append(str(PEERS))  # last: what the environment has is what we test with
    return pytest.importorskip(name, reason="the packages of the group `peers` are not installed")


def exported(bins: Bins, to: str, folder: Path, **options) -> Path:
    export(bins, to, folder / to, Options(**options))
    return folder / to


KINDS = pytest.mark.parametrize(
    ("encoding", "policy"),
    [("gpt2", "none"), ("gpt2", "append"), ("cl100k_base", "none"), ("cl100k_base", "append")],
)


@KINDS
def test_datasets_maps_a_row_a_document(made, tmp_path, encoding, policy):
    datasets = pytest.importorskip("datasets")
    bins = made(encoding, policy)
    out = exported(bins, "arrow", tmp_path)
    for split in bins.manifest["splits"]:
        rows = datasets.Dataset.from_file(str(out / f"{split}.arrow"))
        assert rows["input_ids"][:] == documents(bins, split)


@KINDS
def test_megatron_reads_each_document(made, tmp_path, encoding, policy):
    indexed = peer("megatron.core.datasets.indexed_dataset")
    bins = made(encoding, policy)
    out = exported(bins, "megatron", tmp_path)
    for split in bins.manifest["splits"]:
        found = indexed.IndexedDataset(str(out / split), mmap=True)
        expected = documents(bins, split)
        assert len(found) == len(expected)
        assert [found[i].tolist() for i in range(len(found))] == expected
        assert found.document_indices.tolist() == [*range(len(expected) + 1)]


@KINDS
def test_megatron_itself_writes_the_same_index(made, tmp_path, encoding, policy):
    indexed = peer("megatron.core.datasets.indexed_dataset")
    bins = made(encoding, policy)
    out = exported(bins, "megatron", tmp_path)
    dtype = {"uint16": np.uint16, "uint32": np.int32}[bins.manifest["dtype"]]
    builder = indexed.IndexedDatasetBuilder(str(tmp_path / "theirs.bin"), dtype=dtype)
    import torch

    for document in documents(bins, "train"):
        builder.add_item(torch.tensor(document, dtype=torch.int64))
        builder.end_document()
    builder.finalize(str(tmp_path / "theirs.idx"))
    for kind in ("bin", "idx"):
        theirs = (tmp_path / f"theirs.{kind}").read_bytes()
        assert (out / f"train.{kind}").read_bytes() == theirs


@KINDS
def test_datatrove_reads_each_window_with_its_positions(made, tmp_path, encoding, policy):
    dataset = peer("datatrove.utils.dataset")
    bins = made(encoding, policy)
    out, width = exported(bins, "datatrove", tmp_path), np.dtype(bins.manifest["dtype"]).itemsize
    for split in bins.manifest["splits"]:
        found = dataset.DatatroveFileDataset(str(out / f"{split}.ds"), BLOCK - 1, width)
        rows = [found[i]["input_ids"].tolist() for i in range(len(found))]
        stream = flat(documents(bins, split))
        assert flat(rows) == stream[: len(rows) * BLOCK]
        assert len(rows) == len(stream) // BLOCK


@KINDS
def test_olmo_core_finds_each_document(made, tmp_path, encoding, policy):
    if policy == "none":
        return  # refused, as test_export.py has it
    utils = peer("olmo_core.data.utils")
    bins = made(encoding, policy)
    out, dtype = exported(bins, "olmo", tmp_path), np.dtype(bins.manifest["dtype"]).type
    for split in bins.manifest["splits"]:
        expected, path = documents(bins, split), str(out / f"{split}.npy")
        told = {"eos_token_id": bins.end_of_text, "dtype": dtype}
        for found in (
            utils.iter_document_indices(path, **told),  # by the ids
            utils.iter_document_indices(path, use_array_if_local=False, dtype=dtype),  # the table
        ):
            slices = [utils.load_array_slice(path, *pair, dtype).tolist() for pair in found]
            assert slices == expected


@KINDS
def test_litdata_reads_each_block(made, tmp_path, encoding, policy):
    litdata = peer("litdata")
    bins = made(encoding, policy)
    out = exported(bins, "litdata", tmp_path, shard_tokens=BLOCK * 20)
    for split in bins.manifest["splits"]:
        loader = litdata.TokensLoader(block_size=BLOCK)
        found = litdata.StreamingDataset(str(out / split), item_loader=loader, shuffle=False)
        stream = flat(documents(bins, split))
        assert len(found) == len(stream) // BLOCK  # chunks are whole blocks, but the last
        assert flat([row.tolist() for row in found]) == stream[: len(found) * BLOCK]


@KINDS
def test_grain_takes_the_documents_themselves(made, encoding, policy):
    grain = peer("grain")
    bins = made(encoding, policy)
    rows = grain.MapDataset.source(bins.documents("train")).map(lambda item: item.ids.tolist())
    assert [rows[i] for i in range(len(rows))] == documents(bins, "train")
    shuffled = [*rows.shuffle(seed=1)]
    assert sorted(shuffled) == sorted(documents(bins, "train"))
