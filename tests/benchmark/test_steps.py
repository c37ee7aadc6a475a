"""The training step of the benchmark: its model, its intervals, and what it reports."""

from functools import partial
from math import comb, log
from pathlib import Path

import pytest
import torch

from benchmark.batches.interleaved import against, interval_ranks
from benchmark.batches.steps import GRAPHS, NAMES, Run, measure_steps, trainer, training_step
from benchmark.batches.steps_table import ROWS, steps_table
from benchmark.batches.synthetic import write_synthetic
from slm.batching.tensors import NO_TARGET
from slm.training.cuda import captured
from slm.training.model import GPT, SIZES, Parameters, Size, gpt, parameters

pytestmark = pytest.mark.slow  # whole benchmarks, small

CPU = torch.device("cpu")
CUDA = torch.cuda.is_available()
TINY = Size(layers=2, heads=2, width=16)
VOCABULARY = 128
make = partial(gpt, TINY, VOCABULARY, 12)


def ids(rows: int = 4, tokens: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(VOCABULARY, (rows, tokens + 1), generator=generator)


def loss_of(model: GPT, rows: torch.Tensor) -> float:
    return model(rows[:, :-1], rows[:, 1:]).item()


# --- the model ---


def test_the_loss_begins_at_that_of_a_guess():
    assert loss_of(make(seed=1), ids(64)) == pytest.approx(log(VOCABULARY), abs=0.1)


def test_the_sizes_have_the_parameters_that_their_names_say():
    shapes = {"8M": 128, "30M": 256, "124M": 1024}
    for name, tokens in shapes.items():
        with torch.device("meta"):
            model = GPT(SIZES[name], 50_304, tokens)
        assert f"{sum(parameters(model)) / 1e6:.0f}M" == name


def test_parameters_are_counted_apart_and_the_vocabulary_is_rounded_up():
    norms, matrices = 2 * 2 * 16 + 16, 2 * 12 * 16 * 16
    assert parameters(make(seed=1)) == Parameters((128 + 12) * 16, norms + matrices)
    assert parameters(gpt(TINY, 129, 12, seed=1)).embeddings == (192 + 12) * 16


def test_a_seed_gives_the_same_weights_and_leaves_the_global_state_alone():
    before = torch.get_rng_state()
    one, same, other = make(seed=1), make(seed=1), make(seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.ids.weight, same.ids.weight)
    for a, b, c in zip(one.parameters(), same.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        assert a.ndim == 1 or not torch.equal(a, c)  # norms begin as ones


def test_a_token_changes_no_logits_before_it():
    model, x = make(seed=1), ids()[:, :12]
    changed = x.clone()
    changed[:, 7] = (x[:, 7] + 1) % VOCABULARY
    differs = (model(x) != model(changed)).any(-1)
    assert not differs[:, :7].any()
    assert differs[:, 7:].all()


def test_positions_without_a_target_do_not_count():
    model, x = make(seed=1), ids()
    x, y = x[:, :-1], x[:, 1:].clone()
    y[:, 5:] = NO_TARGET
    assert model(x, y).item() == pytest.approx(model(x[:, :5], y[:, :5]).item(), rel=1e-5)


def test_steps_on_one_batch_learn_it():
    model, rows = make(seed=1), ids()
    batch = rows[:, :-1], rows[:, 1:]
    loss, optimizer = trainer(model, CPU, "default")
    optimizer.param_groups[0]["lr"] = 1e-2
    step, first = training_step(loss, optimizer, lambda: batch), loss_of(model, rows)
    for _ in range(20):
        step()
    assert loss_of(model, rows) < 0.8 * first


# --- how sure the ratios are ---


@pytest.mark.parametrize("count", [*range(6, 30), 100])
def test_the_interval_holds_the_median_with_95_percent_and_no_rank_to_spare(count):
    low, high = interval_ranks(count)
    assert low + high == count + 1  # symmetric

    def coverage(low: int) -> float:  # the median lies above `low` numbers at least, below as many
        return sum(comb(count, i) for i in range(low, count + 1 - low)) / 2**count

    assert coverage(low) >= 0.95 > coverage(low + 1)


def test_too_few_rounds_bound_nothing():
    with pytest.raises(ValueError, match="5 rounds"):
        interval_ranks(5)


def test_a_ratio_is_that_of_blocks_of_the_same_round():
    base = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]  # a machine that slows down
    found = against({"fixed": base, "other": [1.5 * t for t in base]})
    assert found["other"] == {"ms": 12_000, "ratio": 1.5, "low": 1.5, "high": 1.5}
    assert found["fixed"] == {"ms": 8000, "ratio": 1, "low": 1, "high": 1}


# --- what is reported ---


@pytest.fixture(scope="module")
def bins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("steps")
    write_synthetic(folder, 5000)
    return folder


def measured(bins: Path, device: torch.device = CPU) -> dict:
    runs = {"tiny 2x8": Run(Size(1, 1, 16), 2, 8), "not run 2x8": Run(TINY, 2, 8)}
    return measure_steps(bins, {"order": "shuffled", "seed": 1}, device, quick=True, runs=runs)


def test_every_loader_is_reported_against_the_fixed_batch(bins):
    found = measured(bins)
    assert list(found) == ["tiny 2x8"]
    run = found["tiny 2x8"]
    assert list(run) == ["parameters", "compiled", "dtype", "fixed", *NAMES]
    assert (run["compiled"], run["dtype"]) == (None, "float32")
    assert run["parameters"] == (50_304 + 8) * 16 + 12 * 16 * 16 + 3 * 16
    assert run["fixed"]["ratio"] == run["fixed"]["low"] == run["fixed"]["high"] == 1
    for name in NAMES:
        assert run[name]["ms"] > 0
        assert 0 < run[name]["low"] <= run[name]["ratio"] <= run[name]["high"]
    assert all(ROWS[name] in "\n".join(steps_table(found)) for name in ("fixed", *NAMES))


def test_a_loader_that_cannot_run_is_left_out_with_its_reason(bins, monkeypatch):
    def none(task):
        raise RuntimeError("no shared memory\nand more")

    monkeypatch.setitem(measure_steps.__globals__["LOADERS"], "dataloader", none)
    found = measured(bins)
    run = found["tiny 2x8"]
    assert run["dataloader"] is None
    assert run["failed"] == {"dataloader": "no shared memory"}
    assert run["device"]["ms"] > 0
    assert "  DataLoader with workers: not here: no shared memory" in steps_table(found)


def test_a_run_whose_batch_is_the_data_is_left_out(bins):
    runs, told = {"large 5x1000": Run(TINY, 5, 1000)}, []
    batching = {"order": "shuffled", "seed": 1}
    found = measure_steps(bins, batching, CPU, quick=True, runs=runs, say=told.append)
    assert (found, told, steps_table(found)) == ({}, [], [])


def test_the_table_says_what_a_loader_adds():
    row = {"ms": 1234.5678, "ratio": 1.3312, "low": 1.32, "high": 1.343}
    names = ("fixed", *NAMES, *GRAPHS)
    run = {"parameters": 8_000_000, "compiled": "reduce-overhead", "dtype": "bfloat16"}
    lines = steps_table({"124M 32x1024": {**run, **dict.fromkeys(names, row)}})
    assert lines[0].startswith("124M model, 32 × 1024 tokens (bfloat16, reduce-overhead)")
    assert lines[2].startswith("  the notebook's get_batch ")
    assert " ".join(lines[2].split()).endswith(" 1,234.568 +33.1 % (32.0 to 34.3)")
    assert max(map(len, lines)) <= 100


# --- in a CUDA graph ---


@pytest.mark.skipif(not CUDA, reason="no CUDA GPU")
def test_replays_are_the_steps_that_they_were_captured_from(bins):
    cuda, weights = torch.device("cuda"), []
    with torch.cuda.stream(torch.cuda.Stream()):
        batches = torch.stack(ids(40).cuda().split(4))
        for graphed in (False, True):
            place = torch.zeros(1, dtype=torch.int64, device=cuda)

            def draw(place: torch.Tensor = place) -> tuple:  # of ten batches the next, in turn
                rows = batches[place.add_(1) % 10][0]
                return rows[:, :-1], rows[:, 1:]

            model = make(seed=1, device=cuda)
            step = training_step(model, trainer(model, cuda, "default")[1], draw)
            replay = captured({"step": step})["step"] if graphed else step  # after three steps
            for _ in range(20 if graphed else 23):
                replay()
            assert place.item() == 23
            weights.append(model.ids.weight.detach().clone())
    # A step moves a weight by 1e-4 about: a graph that left one out would be seen.
    torch.testing.assert_close(*weights, rtol=0, atol=5e-5)


@pytest.mark.skipif(not CUDA, reason="no CUDA GPU")
def test_on_a_gpu_the_whole_step_is_reported_in_a_graph_too(bins):
    run = measured(bins, torch.device("cuda"))["tiny 2x8"]
    assert "failed" not in run
    assert all(run[name]["ms"] > 0 for name in ("fixed", *NAMES, *GRAPHS))
    assert run["graph fixed"]["ratio"] == 1
