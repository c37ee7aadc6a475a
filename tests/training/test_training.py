"""Training on several bins: bits per byte are those of plain loops, and the same each time."""

import json
import shutil
import subprocess
import sys
from functools import partial
from itertools import chain, pairwise
from math import log2, nan
from pathlib import Path

import numpy as np
import pytest
import torch

import scripts.train_variants
import slm.training.hardware
import slm.training.runs
import slm.training.trainer
from compare.training_table import left_out, training_table
from slm.bins.format import write_docs, write_manifest
from slm.bins.opening import Bins, open_bins
from slm.core.files import to_json
from slm.core.ids import dtype_for, write_ids
from slm.tokens.vocabulary import BYTES, RANKS, describe, rank_file, trained_encoding
from slm.training.bits import bits_per_byte, scored_bytes
from slm.training.model import Size, gpt
from slm.training.runs import CODE, code, train
from slm.training.trainer import Fitted, fit, moments, rate, training_step
from tests.helpers import one_line
from tests.workspace import ROOT, environment

pytestmark = pytest.mark.usefixtures("one_thread")

CPU, CUDA = torch.device("cpu"), torch.cuda.is_available()
TOKENS = (*BYTES, b"th", b"the", b" the", b"at", b" cat", b" sat")
TEXTS = ["the cat sat.", "é that", "", "The cats sat at the mat, and the cat sat there."] * 3
SETTINGS = {
    "bytes": 1000,
    "seeds": [1, 2, 3],
    "model": [1, 2, 16],
    "batch_size": 4,
    "block_size": 8,
    "learning_rate": 0.01,
}
ABSENT = ("yaml", "pyarrow", "tqdm", "psutil", "matplotlib", "dvc", "datasets")
WITHOUT = f"""
import sys
sys.modules.update(dict.fromkeys({ABSENT}))  # None: importing it raises ImportError
import scripts.train_variants
scripts.train_variants.read_settings = lambda path: {{"training": {SETTINGS}}}
scripts.train_variants.run_main(scripts.train_variants.main)
"""


def made(
    folder: Path,
    texts: dict[str, list[str]] | list[str] = TEXTS,  # by split, or the same for both
    end_of_text: str = "none",
    tokens: tuple[bytes, ...] = TOKENS,
    dataset: str = "mine",
) -> Bins:
    """Bins of these texts, as the pipeline would make them, with the vocabulary of `tokens`."""
    texts = texts if isinstance(texts, dict) else dict.fromkeys(("train", "validation"), texts)
    encoding, splits = trained_encoding(tokens), {}
    folder.mkdir(parents=True)
    (folder / RANKS).write_bytes(rank_file(encoding))
    for split, documents in texts.items():
        ids = [with_end(encoding.encode_ordinary(t), end_of_text, encoding) for t in documents]
        edges = [[0, *map(len, ids)], [0, *(len(text.encode()) for text in documents)]]
        totals = np.stack(np.cumsum(edges, axis=1), axis=1).astype(np.uint64)
        flat, dtype = np.array([*chain(*ids)], np.int64), dtype_for(encoding.n_vocab)
        files = {
            f"{split}.bin": write_ids(folder / f"{split}.bin", [flat], dtype),
            f"{split}.docs.npy": write_docs(folder / f"{split}.docs.npy", [totals], len(ids)),
        }
        counted = dict(zip(("tokens", "text_bytes"), totals[-1].tolist(), strict=True))
        splits[split] = {**counted, "documents": len(ids), "files": files}
    content = {
        "dataset": {"name": dataset, "files": {split: [] for split in texts}},
        "tokenizer": describe(encoding),
        "end_of_text": end_of_text,
        "dtype": dtype.name,
        "splits": splits,
    }
    write_manifest(folder, content)
    return open_bins(folder)


def with_end(ids: list[int], policy: str, encoding) -> list[int]:
    end = [encoding.eot_token]
    return end * (policy == "prepend") + ids + end * (policy == "append")


@pytest.fixture
def bins(tmp_path: Path) -> Bins:
    return made(tmp_path / "bins", {"train": TEXTS * 20, "validation": TEXTS})


# --- bits per byte ---


@pytest.mark.parametrize("end_of_text", ["none", "append", "prepend"])
@pytest.mark.parametrize("shape", [(1, 1), (2, 7), (3, 16), (1, 106)])
def test_bits_are_those_of_each_token_given_the_one_before_it(tmp_path, end_of_text, shape):
    texts = ["the cat", *TEXTS]
    bins = made(tmp_path / "bins", texts, end_of_text)
    size = bins.manifest["tokenizer"]["vocab_size"]
    scores = torch.randn(size, size, generator=torch.Generator().manual_seed(1))
    chances = torch.softmax(scores.double(), dim=1).tolist()  # of the next token, by the last
    ids = bins.ids("validation").tolist()
    bits = -sum(log2(chances[before][after]) for before, after in pairwise(ids))
    text_bytes = sum(len(text.encode()) for text in texts)
    first = 0 if end_of_text == "prepend" else len(b"the")
    actual = bits_per_byte(lambda x: scores[x], bins, "validation", *shape)
    assert actual == pytest.approx(bits / (text_bytes - first), rel=1e-6)


def test_a_model_that_knows_nothing_has_the_bits_of_the_alphabet(tmp_path):
    bins = made(tmp_path / "bins", ["abc" * 50], tokens=BYTES)

    def uniform(x: torch.Tensor) -> torch.Tensor:
        return torch.zeros(*x.shape, 1024)

    assert bits_per_byte(uniform, bins, "validation", 2, 10) == pytest.approx(10)


def test_the_first_token_s_bytes_are_left_out(tmp_path):
    for number, (text, first) in enumerate([("the end", 3), ("éa", 1), (" cat sat", 4)]):
        bins = made(tmp_path / f"{number}", [text, "more"])
        assert scored_bytes(bins, "validation", bins.token_bytes) == len(text.encode()) + 4 - first


def test_end_of_text_has_no_bytes_to_leave_out(tmp_path):
    before = made(tmp_path / "before", ["the end", "more"], "prepend")
    empty = made(tmp_path / "empty", ["", "the end", "more"], "append")
    assert [scored_bytes(b, "validation", b.token_bytes) for b in (before, empty)] == [11, 11]


def test_a_split_of_less_than_a_row_has_no_bits(tmp_path):
    bins = made(tmp_path / "bins", ["abc"])
    with pytest.raises(Exception) as error:
        bits_per_byte(lambda x: x, bins, "validation", 1, 3)
    assert "a row of 3 needs 4 tokens" in one_line(error)


# --- one training ---


def test_the_rate_climbs_to_its_peak_and_falls_to_a_tenth():
    rates = [rate(step, 200, 0.5) for step in range(200)]
    assert rates[:10] == pytest.approx([0.05 * i for i in range(1, 11)])
    assert max(rates) == rates[9] == 0.5
    assert all(a > b for a, b in pairwise(rates[9:]))
    assert rates[104] == pytest.approx(0.5 * 0.55)  # half way down
    assert rates[-1] == pytest.approx(0.05)


@pytest.mark.parametrize("steps", range(1, 45))
def test_any_number_of_steps_has_a_rate_and_a_moment_at_its_end(steps):
    rates = [rate(step, steps, 1.0) for step in range(steps)]
    assert max(rates) == 1 and min(rates) > 0
    actual = moments(steps, 10)
    assert actual[-1] == steps and len(actual) == min(steps, 10) and actual[0] >= 1
    apart = np.diff([0, *actual])
    assert apart.min() >= 1 and apart.max() - apart.min() <= 1


@pytest.mark.slow
def test_a_step_goes_as_far_as_its_rate_says():
    model = gpt(Size(1, 1, 16), 64, 8, seed=1)
    x = torch.randint(64, (4, 9), generator=torch.Generator().manual_seed(1))
    rates = torch.tensor([0.0, 1e-2, 0.0, 1e-4])
    step, went = training_step(model, lambda: (x[:, :-1], x[:, 1:]), rates), []
    for _ in rates:
        before = model.ids.weight.detach().clone()
        step()
        went.append((model.ids.weight - before).abs().max().item())
    assert went[0] == went[2] == 0
    assert went[1] == pytest.approx(1e-2, rel=0.1)
    assert 0 < went[3] < 2e-4


def fitted(bins: Bins, seed: int = 1, steps: int = 30, device: torch.device = CPU) -> Fitted:
    return fit(bins, seed, steps, SETTINGS, device)


def scores(actual: Fitted) -> list[tuple[int, float]]:
    return [(step, bits) for step, _, bits in actual.curve]


def test_a_seed_gives_the_same_result_and_another_seed_another(bins):
    one, same, other = fitted(bins), fitted(bins), fitted(bins, seed=2)
    assert scores(one) == scores(same)
    assert all(a != b for (_, a), (_, b) in zip(scores(one), scores(other), strict=True))
    assert (one.graph, one.failed) == (False, None)


def test_training_learns_and_seconds_pass(bins):
    _, seconds, bits = zip(*fitted(bins, steps=60).curve, strict=True)
    assert bits[-1] < 0.7 * bits[0]
    assert all(a < b for a, b in pairwise((0, *seconds)))


def test_training_leaves_the_global_state_alone(bins):
    before, drawn = torch.get_rng_state(), np.random.get_state()[1].copy()
    fitted(bins, steps=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], drawn)
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_long_validation_is_scored_less_often_on_the_cpu(tmp_path):
    bins = made(tmp_path / "bins", {"train": TEXTS, "validation": TEXTS * 5})
    tokens = bins.manifest["splits"]["validation"]["tokens"]
    often = {steps: len(fitted(bins, steps=steps).curve) for steps in (1, 20, 60)}
    expected = {steps: max(1, 3 * steps * 32 // (2 * tokens)) for steps in often}
    assert often == expected and 1 < often[60] < 10


def test_a_loss_that_is_no_number_is_said(bins, monkeypatch):
    monkeypatch.setattr(slm.training.trainer, "bits_per_byte", lambda *_: nan)
    with pytest.raises(Exception) as error:
        fitted(bins)
    assert "smaller training.learning_rate" in one_line(error)


@pytest.mark.skipif(CUDA, reason="a GPU can do it")
def test_what_cannot_be_a_graph_is_trained_without_and_says_why(bins):
    begin = partial(slm.training.trainer._begin, bins, 1, 30, SETTINGS, CPU)
    begun, failed = slm.training.trainer._graphed(begin)
    assert failed and begun.done == 0
    assert begun.batches.step == 0


# --- in a CUDA graph ---


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return torch.device("cuda", torch.cuda.current_device())


@pytest.mark.skipif(not CUDA, reason="no CUDA GPU")
def test_replays_give_the_same_bits_as_steps_one_by_one(bins, on_gpu, monkeypatch):
    one, same = (fitted(bins, steps=150, device=on_gpu) for _ in range(2))
    assert (one.graph, one.failed) == (True, None)
    assert scores(one) == scores(same)
    monkeypatch.setattr(slm.training.trainer, "WORTH_A_GRAPH", 1000)
    eager = fitted(bins, steps=150, device=on_gpu)
    assert (eager.graph, eager.failed) == (False, None)
    assert [bits for _, bits in scores(eager)] == pytest.approx([b for _, b in scores(one)], 1e-3)


@pytest.mark.skipif(not CUDA, reason="no CUDA GPU")
def test_a_failed_capture_trains_from_the_start_without(bins, on_gpu, monkeypatch):
    def fails(steps: dict) -> None:
        steps["step"]()
        raise RuntimeError("no graph\nand more")

    monkeypatch.setattr(slm.training.trainer, "WORTH_A_GRAPH", 1000)
    eager = fitted(bins, steps=150, device=on_gpu)
    monkeypatch.setattr(slm.training.trainer, "WORTH_A_GRAPH", 100)
    monkeypatch.setattr(slm.training.trainer, "captured", fails)
    actual = fitted(bins, steps=150, device=on_gpu)
    assert (actual.graph, actual.failed) == (False, "no graph")
    assert scores(actual) == scores(eager)


# --- several variants ---


@pytest.fixture
def variants(tmp_path: Path) -> list[Path]:
    """Bins of one text: three vocabularies, the largest first, and one with end-of-text."""
    bins = [
        made(tmp_path / "large", tokens=(*TOKENS, b"there")),
        made(tmp_path / "end", end_of_text="append"),
        made(tmp_path / "middle"),
        made(tmp_path / "small", tokens=BYTES),
    ]
    return [of.folder for of in bins]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """Trainings that take no time; (vocabulary, seed) of each that ran."""
    ran = []

    def fit(bins, seed, steps, settings, device) -> Fitted:
        ran.append((bins.folder.name, seed))
        curve = [[steps, 1.5, 2 + seed / 7]]
        return Fitted(curve, slm.training.trainer.Parameters(1000, 2_000_000), False, None)

    monkeypatch.setattr(slm.training.runs, "fit", fit)
    return ran


def test_the_result_says_what_was_trained_and_is_what_the_file_has(variants, tmp_path):
    lines, out = [], tmp_path / "reports" / "training"
    actual = train(variants, SETTINGS, CPU, out, say=lines.append)
    (file,) = out.iterdir()
    assert file.read_bytes() == to_json(actual)
    assert [*actual] == ["device", "kind", "machine", "settings", "code", "left_out", "variants"]
    assert (actual["kind"], actual["settings"]) == ("cpu", SETTINGS)
    end, small = (of["encoding"] for of in actual["variants"])
    assert lines == [f"training on {name} with seed 1" for name in (f"{end} append", small)]
    for of, folder in zip(actual["variants"], ("end", "small"), strict=True):
        manifest = open_bins(tmp_path / folder).manifest
        assert of["data"] == manifest["sha256"] and of["graph"] is False
        assert of["vocab_size"] == manifest["tokenizer"]["vocab_size"]
        text = manifest["splits"]["train"]
        assert of["tokens"] == of["steps"] * 32
        assert of["bytes"] == round(of["tokens"] * text["text_bytes"] / text["tokens"])
        assert abs(of["bytes"] - 1000) <= of["bytes"] / of["steps"] / 2
        assert of["parameters"] == {"embeddings": (320 + 8) * 16, "others": 12 * 256 + 3 * 16}
        (run,) = of["runs"]
        assert run["curve"][-1] == [of["bytes"], run["seconds"], run["bits_per_byte"]]
        assert of["bits_per_byte"] == dict.fromkeys(("mean", "low", "high"), run["bits_per_byte"])


def test_the_cpu_trains_the_smallest_vocabularies_with_one_seed_and_says_so(
    variants, tmp_path, fake
):
    actual = train(variants, SETTINGS, CPU, tmp_path / "out")
    assert fake == [("end", 1), ("small", 1)]
    large, _, middle, _ = (open_bins(of).manifest["tokenizer"]["encoding"] for of in variants)
    assert actual["left_out"] == {"variants": [large, middle], "seeds": [2, 3]}
    line = f"left out, as there is no GPU here: variants {large}, {middle}; seeds 2, 3"
    assert left_out(actual) == line
    assert training_table(actual)[-1] == line


def test_what_is_kept_is_not_trained_again(variants, tmp_path, fake):
    out, small = tmp_path / "out", variants[-1:]
    first = train(small, SETTINGS, CPU, out)
    again = train(variants[1:], SETTINGS, CPU, out)
    assert fake == [("small", 1), ("end", 1)]
    assert again["variants"][1:] == first["variants"]
    assert train(variants[1:], SETTINGS, CPU, out) == again and len(fake) == 2
    train(small, SETTINGS, CPU, out, fresh=True)
    assert len(fake) == 3


def test_another_setting_version_or_code_trains_again(variants, tmp_path, fake, monkeypatch):
    def runs(settings: dict = SETTINGS) -> int:
        train(variants[-1:], settings, CPU, tmp_path / "out")
        return len(fake)

    assert [runs(), runs(), runs({**SETTINGS, "bytes": 4000}), runs()] == [1, 1, 2, 3]
    monkeypatch.setattr(slm.training.hardware, "version", lambda name: "0.1")
    assert [runs(), runs()] == [4, 4]
    monkeypatch.setattr(slm.training.runs, "code", lambda: "another")
    assert [runs(), runs()] == [5, 5]
    for content in (b"", b"[]", b"{", b'{"variants": 3}'):
        next((tmp_path / "out").iterdir()).write_bytes(content)
        assert runs() == len(fake)
    assert len(fake) == 9


def test_the_code_that_decides_is_there_and_changes_its_hash(tmp_path, monkeypatch):
    for folder in CODE:
        shutil.copytree(ROOT / folder, tmp_path / folder)
    before = code()
    monkeypatch.setattr(slm.training.runs, "ROOT", tmp_path)
    assert code() == before
    for file in (file for folder in CODE for file in (tmp_path / folder).glob("[a-z]*.py")):
        file.write_bytes(b"")
        assert code() != before
        before = code()


def test_an_interrupted_run_keeps_what_is_finished(variants, tmp_path, fake, monkeypatch):
    whole, pair = slm.training.runs.fit, variants[2:]

    def interrupted(bins, *arguments):
        if bins.folder.name == "small":
            raise KeyboardInterrupt
        return whole(bins, *arguments)

    monkeypatch.setattr(slm.training.runs, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(pair, SETTINGS, CPU, tmp_path / "out")
    monkeypatch.setattr(slm.training.runs, "fit", whole)
    assert len(train(pair, SETTINGS, CPU, tmp_path / "out")["variants"]) == 2
    assert fake == [("middle", 1), ("small", 1)]


def test_bins_named_twice_are_trained_once(variants, tmp_path, fake):
    train([variants[3], variants[2], variants[3]], SETTINGS, CPU, tmp_path / "out")
    assert fake == [("small", 1), ("middle", 1)]


def test_a_gpu_trains_every_variant_with_every_seed(variants, tmp_path, fake, monkeypatch):
    monkeypatch.setattr(slm.training.runs, "device_name", lambda _: "NVIDIA H200")
    actual = train(variants, SETTINGS, torch.device("cuda", 0), tmp_path / "out")
    assert fake == [(of.name, seed) for of in variants for seed in (1, 2, 3)]
    assert "left_out" not in actual and (tmp_path / "out/nvidia-h200.json").is_file()
    for of in actual["variants"]:
        assert [run["seed"] for run in of["runs"]] == [1, 2, 3]
        assert of["bits_per_byte"] == {"mean": 2.28571, "low": 2.14286, "high": 2.42857}


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"dataset": "yours"}, "are not of the same text"),
        ({"texts": {"train": TEXTS}}, "has no split 'validation', only train"),
        ({"texts": {"validation": TEXTS}}, "has no split 'train', only validation"),
        ({"texts": {"train": TEXTS, "validation": ["too few"]}}, "validation has 7 tokens"),
        ({"texts": {"train": ["too few"], "validation": TEXTS}}, "train has 7 tokens"),
    ],
)
def test_bins_that_cannot_be_compared_are_refused(bins, tmp_path, other, says):
    other = made(tmp_path / "other", **other)
    with pytest.raises(Exception) as error:
        train([bins.folder, other.folder], SETTINGS, CPU, tmp_path / "out")
    assert says in one_line(error)
    assert str(other.folder) in one_line(error)
    assert not (tmp_path / "out").exists()


def test_a_place_that_is_no_folder_is_refused_before_training(bins, tmp_path, fake):
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(Exception) as error:
        train([bins.folder], SETTINGS, CPU, tmp_path / "out")
    assert "--out" in one_line(error)
    assert fake == []


def test_the_table_is_for_people_and_says_where_a_graph_failed():
    bits = {"mean": 1.23456, "low": 1.2, "high": 1.25}
    variant = {
        "encoding": "bpe-4096-01234567",
        "vocab_size": 4096,
        "end_of_text": "append",
        "parameters": {"embeddings": 1_114_112, "others": 3_148_032},
        "steps": 123_456,
        "graph": False,
        "graph_failed": "no memory",
        "runs": [{"seconds": 1000.0}, {"seconds": 2000.0}],
        "bits_per_byte": bits,
    }
    lines = training_table({"device": "NVIDIA H200", "settings": SETTINGS, "variants": [variant]})
    assert max(map(len, lines)) <= 100
    row = "bpe-4096-01234567 append 4,096 1.1 + 3.1 123,456 1.2346 (1.2000–1.2500) 1,500.0"
    assert " ".join(lines[1].split()) == row
    assert lines[-1].endswith("append: without a CUDA graph, which failed: no memory")


# --- the door ---


@pytest.mark.slow
def test_the_door_needs_numpy_pytorch_and_tiktoken_alone(variants, tmp_path):
    command = [sys.executable, "-c", WITHOUT, "--out", tmp_path / "out", *variants[2:]]
    env = {**environment(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "out").iterdir()
    actual = json.loads(done.stdout.splitlines()[-1])
    assert actual == json.loads(file.read_bytes())
    assert training_table(actual) == done.stdout.splitlines()[:-2]


def test_results_lie_in_the_reports_of_the_dataset(variants, tmp_path, fake, monkeypatch, capsys):
    monkeypatch.setattr(scripts.train_variants, "read_settings", lambda _: {"training": SETTINGS})
    monkeypatch.setattr(scripts.train_variants, "this_device", lambda: CPU)
    monkeypatch.setattr(sys, "argv", ["train", str(variants[3])])
    monkeypatch.chdir(tmp_path)
    scripts.train_variants.main()
    (file,) = Path("reports/mine/training").iterdir()
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == json.loads(file.read_bytes())
