"""Facts about the benchmarks of orders: what they prove before they report, and what they train."""

import json
import sys
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

import benchmark.orders.features
import benchmark.orders.training
from benchmark.batches.interleaved import Pace
from benchmark.batches.synthetic import lengths, write_stories
from benchmark.orders import paging
from benchmark.orders.arms import ARMS, Setting, document_bits, document_mask, models
from benchmark.orders.features import measured
from benchmark.orders.features_table import features_table
from benchmark.orders.training import differences, table
from benchmark.orders.ways import WAYS, batches_of, check_equal, prove, synthetic_data
from slm.batching.batches import Batches
from slm.bins.opening import Bins, open_bins
from slm.bins.verifying import damage
from slm.training.model import Size, gpt
from tests.training.test_training import TEXTS, made

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
STORIES = "f765b29e"  # of the manifest of 1,000
SETTING = Setting(Size(1, 2, 16), 4, 8, 12, 0.01)


# --- stories ---


def test_stories_are_as_long_as_real_ones_and_end_in_end_of_text(tmp_path):
    write_stories(tmp_path, 1000)
    assert list(damage(tmp_path)) == []
    bins = open_bins(tmp_path)
    ids, (tokens, text) = bins.ids("train"), bins.docs("train").astype(np.int64).T
    assert np.diff(tokens).tolist() == lengths(1000, 1337).tolist()
    assert (ids[tokens[1:] - 1] == 50_256).all()
    assert np.diff(text).tolist() == (4 * (np.diff(tokens) - 1)).tolist()
    many = lengths(200_000, 1)
    assert many.mean() == pytest.approx(222, abs=1) and many.min() == 20 and many.max() > 2000
    assert bins.manifest["sha256"].startswith(STORIES)


# --- features ---


@pytest.fixture(scope="module")
def result() -> Iterator[dict]:
    with synthetic_data(300) as data:
        yield measured(data, [(4, 16), (2, 64)], CPU, Pace(6, 0.0002))


def test_every_way_is_measured_at_every_shape(result):
    assert json.loads(json.dumps(result))["data"]["documents"] == 300
    assert [*result["shapes"]] == ["4x16", "2x64"] and [*result["plans"]] == [16, 64]
    for ways in result["shapes"].values():
        assert [*ways] == [way.name for way in WAYS] and len(ways) == 8
        assert ways["shuffled"]["ratio"] == 1
        for of in ways.values():
            assert 0 < of["us_min"] <= of["us"] <= of["us_max"]
        told = [(name, f"{name}, documents") for name in ways if "documents" not in name]
        assert all(ways[one]["sha256"] == ways[other]["sha256"] for one, other in told)
        assert len({of["sha256"] for of in ways.values()}) == 4


def test_the_table_fits_and_has_columns_for_graphs_on_a_gpu_alone(result):
    lines = features_table(result)
    assert max(map(len, lines)) <= 100
    assert not any("in a graph" in line for line in lines)
    ways = {
        name: {**of, "graph": {"us": 1.234, "us_min": 1.0, "us_max": 123.4}}
        for name, of in result["shapes"]["4x16"].items()
    }
    lines = features_table({**result, "kind": "cuda", "shapes": {"4x16": ways}})
    assert max(map(len, lines)) <= 100
    assert sum(line.split()[-4:] == ["1.23", "1.00", "to", "123.4"] for line in lines) == 8


def test_batches_that_are_not_the_cpu_s_are_an_assertion_error():
    way = WAYS[-1]
    with synthetic_data(300) as data:
        batches, other = (batches_of(way, data, (4, size)) for size in (16, 17))
        same = batches_of(way, data, (4, 16))
        assert len(prove("same", batches, same)) == 64 and (batches.step, same.step) == (0, 40)
        with pytest.raises(AssertionError, match="other"):
            prove("other", batches, other)
        for number in (2, 3):  # documents, sources
            batch = [*same.get_batch()]
            same.step -= 1
            wrong = batch[number]
            batch[number] = wrong._replace(ids=wrong.ids + 1) if number == 2 else wrong + 1
            with pytest.raises(AssertionError, match="documents or sources"):
                check_equal("wrong", tuple(batch), same.get_batch())


def test_the_command_prints_a_table_and_a_line_of_json(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(benchmark.orders.features, "SHAPES", {"cpu": [(4, 16)]})
    monkeypatch.setattr(benchmark.orders.features, "this_device", lambda: CPU)
    write_stories(tmp_path, 300)
    file = tmp_path / "kept.json"
    for words in (["--documents", "300"], ["--bins", str(tmp_path)]):
        monkeypatch.setattr(sys, "argv", ["features", "--quick", "--json", str(file), *words])
        benchmark.orders.features.main()
        last = capsys.readouterr().out.splitlines()[-1]
        assert file.read_text() == f"{last}\n" and json.loads(last)["data"]["documents"] == 300


# --- pages ---


def test_every_gather_gives_slots_of_the_same_rows(tmp_path):
    path = paging.written(tmp_path / "train.bin", 500_000)
    for fills, _ in paging.GATHERS.values():
        rows, ids = paging.rows_of(path, (4, 16)), np.fromfile(path, np.uint16)
        for slot, (count, x) in enumerate(islice(fills(rows, 3), 2), 3):
            wanted = rows.draw(32 * slot + 31, 1).starts[:, None] + np.arange(16)
            assert count == 128 and (x == ids[wanted]).all()


# --- training ---


@pytest.fixture
def bins(tmp_path: Path) -> Bins:
    return made(tmp_path / "bins", {"train": TEXTS * 20, "validation": TEXTS}, "append")


def test_a_mask_and_positions_are_those_of_each_piece_alone(bins):
    batches = Batches(bins, "train", batch_size=3, block_size=40, seed=1, order="packed",
                      documents=True)  # fmt: skip
    x, _, documents = batches.get_batch()
    model = gpt(Size(2, 2, 16), bins.vocab_size, 40, seed=1).double()
    logits = model(x, None, document_mask(documents.positions), documents.positions)
    begins = documents.cu_seqlens.long().unique()
    assert len(begins) > 6
    for begin, end in pairwise(begins.tolist()):
        alone = model(x.flatten()[begin:end][None])[0]
        torch.testing.assert_close(logits.flatten(0, 1)[begin:end], alone)


def test_without_a_mask_nothing_changes_and_one_of_all_before_is_none():
    model, x = gpt(Size(2, 2, 16), 64, 8, seed=1), torch.arange(16).view(2, 8)
    positions = torch.arange(8).expand(2, 8)
    assert torch.equal(document_mask(positions)[0, 0], torch.ones(8, 8).tril() > 0)
    assert torch.equal(model(x, positions=positions), model(x))
    torch.testing.assert_close(model(x, mask=document_mask(positions)), model(x))


def test_bits_of_documents_are_those_of_each_document_alone(bins):
    made_of, total, text = models(bins, SETTING._replace(block_size=64), CPU), 0.0, 0
    ids, edges = bins.ids("validation").astype(np.int64), bins.docs("validation")[:, 0]
    table_ = bins.token_bytes
    for begin, end in zip(edges[:-1].astype(int), edges[1:].astype(int), strict=True):
        x, y = (torch.from_numpy(ids[begin:end])[part] for part in (slice(-1), slice(1, None)))
        if len(y):
            losses = torch.nn.functional.cross_entropy(made_of.plain(x[None])[0], y)
            total, text = total + losses.item() * len(y), text + int(table_[y.numpy()].sum())
    actual = document_bits(made_of.plain, bins, SETTING._replace(block_size=64), CPU)
    assert actual == pytest.approx(total / np.log(2) / text, rel=1e-5)


def test_all_arms_are_trained_with_all_seeds_and_compared(bins, tmp_path, monkeypatch, capsys):
    words = ["--model", "1", "2", "16", "--shape", "4", "8", "--steps", "12", "--seeds", "2"]
    monkeypatch.setattr(sys, "argv", ["training", "--bins", str(bins.folder), *words])
    monkeypatch.setattr(benchmark.orders.training, "this_device", lambda: CPU)
    benchmark.orders.training.main()
    lines = capsys.readouterr().out.splitlines()
    actual = json.loads(lines[-1])
    assert [*actual["arms"]] == [*ARMS] and actual["steps"] == 12
    for runs in actual["arms"].values():
        assert [run["seed"] for run in runs] == [1, 2]
        assert all(0 < run["windows"] < 20 and 0 < run["documents"] < 20 for run in runs)
    each = [run["windows"] for runs in actual["arms"].values() for run in runs]
    assert len({*each}) == 6
    assert max(map(len, table(actual))) <= 100 and set(table(actual)) <= set(lines)


def test_a_difference_is_held_against_the_spread_of_seeds():
    runs = {"shuffled": [1.0, 1.02], "packed": [0.9, 0.93], "packed, masks": [1.01, 1.0]}
    arms = {name: [dict.fromkeys(("windows", "documents"), bits) for bits in of]
            for name, of in runs.items()}  # fmt: skip
    first, second, *_ = differences({"arms": arms})
    assert first == (
        "bits per byte: packed -0.0950 (-9.41 %) against shuffled; seeds spread over 0.0300, and "
        "0.0650 of the difference exceeds that"
    )
    assert "packed, masks -0.0050" in second and "0.0000 of the difference exceeds" in second
