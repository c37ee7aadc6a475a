"""examples/train.py and examples/sample.py: any kill, any resume, the same weights; then a text."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType

import pytest
import torch

import examples.sample
import examples.train
from slm import open_bins
from slm.core.errors import UserError
from tests.training.test_training import TEXTS, TOKENS, made
from tests.workspace import ROOT

SHORT = (
    "--batch-size", "4", "--block-size", "16", "--steps", "12", "--every", "4",
    "--model", "1", "2", "16",
)  # fmt: skip


@pytest.fixture(scope="module")
def ground(tmp_path_factory) -> Iterator[Path]:
    """Bins of three kinds, and one thread, since the same number gives the same weights."""
    folder = tmp_path_factory.mktemp("examples")
    for name, end_of_text in (("bins", "append"), ("other", "none")):
        made(folder / name, {"train": TEXTS * 20, "validation": TEXTS}, end_of_text)
    made(folder / "foreign", {"train": TEXTS * 20, "validation": TEXTS}, tokens=TOKENS[:-1])
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield folder
    torch.set_num_threads(before)


def run(script: ModuleType, *words: str) -> str:
    """What a run of it in this process prints."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setattr(sys, "argv", ["it", *words])
        script.main()
    return printed.getvalue()


def train(ground: Path, out: str, *words: str) -> list[dict]:
    """The reports of a run to the end."""
    given = ("--bins", f"{ground}/bins", "--out", f"{ground}/{out}", *SHORT, *words)
    return [json.loads(line) for line in run(examples.train, *given).splitlines()]


def start(ground: Path, out: str, *words: str, launcher=()) -> subprocess.Popen:
    """A run in a process of its own, of one thread as here."""
    given = ("--bins", ground / "bins", "--out", ground / out, *SHORT, *words)
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    words = (sys.executable, *launcher, ROOT / "examples/train.py", *given)
    return subprocess.Popen(words, env=env, text=True, stdout=subprocess.PIPE)


def weights(ground: Path, out: str) -> dict[str, torch.Tensor]:
    return torch.load(ground / out / "checkpoint.pt", weights_only=True)["model"]


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def straight(ground: Path) -> list[dict]:
    return train(ground, "straight")


def test_each_report_is_a_line_of_json_and_the_last_has_bits_per_byte(ground, straight):
    first, *reports = straight
    assert first["device"] == "cpu" and first["bins"][0].startswith("mine bpe-")
    assert [report["step"] for report in reports] == [4, 8, 12]
    assert [*reports[-1]] == ["step", "loss", "tokens_per_second", "bits_per_byte"]
    assert reports[-1]["loss"] < reports[0]["loss"] < 7
    assert 0 < reports[-1]["bits_per_byte"][0] < 8


def test_the_checkpoint_has_the_version_of_the_bins_and_reads_without_pickle(ground, straight):
    state = torch.load(ground / "straight/checkpoint.pt", weights_only=True)
    assert state["bins"] == straight[0]["bins"] and state["settings"]["steps"] == 12
    assert state["vocabulary"] == open_bins(ground / "bins").manifest["tokenizer"]


@pytest.mark.parametrize("order", ["shuffled", "packed"])
def test_killed_and_resumed_it_ends_in_the_same_weights(ground, straight, order):
    if order != "shuffled":
        train(ground, f"{order}-straight", "--order", order)
    process = start(ground, f"{order}-killed", "--order", order)
    for line in process.stdout:
        if json.loads(line).get("loss"):  # the first checkpoint is there
            process.send_signal(signal.SIGKILL)
            break
    process.communicate()
    reports = train(ground, f"{order}-killed", "--order", order)
    assert 0 < reports[0]["step"] < 12 and reports[-1]["step"] == 12
    through = "straight" if order == "shuffled" else f"{order}-straight"
    assert same(weights(ground, through), weights(ground, f"{order}-killed"))


def test_a_run_that_is_done_changes_nothing(ground, straight):
    before = (ground / "straight/checkpoint.pt").read_bytes()
    assert [report["step"] for report in train(ground, "straight")] == [12]
    assert (ground / "straight/checkpoint.pt").read_bytes() == before


def test_it_scores_as_often_as_is_asked_and_sweeps_what_a_kill_left(ground):
    (ground / "scored").mkdir()
    (ground / "scored/checkpoint.pt.77.tmp").write_bytes(b"half")
    reports = train(ground, "scored", "--score", "5", "--every", "100")
    assert [(r["step"], "bits_per_byte" in r) for r in reports[1:]] == [
        (5, True), (10, True), (12, True)
    ]  # fmt: skip
    assert [path.name for path in (ground / "scored").iterdir()] == ["checkpoint.pt"]


def test_a_mixture_is_trained_on_and_resumed(ground):
    mixed = ("--bins", f"{ground}/bins", f"{ground}/other", "--weights", "3", "1")
    reports = train(ground, "mixed", *mixed)
    assert len(reports[0]["bins"]) == len(reports[-1]["bits_per_byte"]) == 2
    assert [report["step"] for report in train(ground, "mixed", *mixed)] == [12]


@pytest.mark.slow
def test_two_ranks_are_one_run(ground, straight):
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    said, _ = start(ground, "ranks", launcher=launcher).communicate()
    reports = [json.loads(line) for line in said.splitlines()]
    assert [report["step"] for report in reports[1:]] == [4, 8, 12]
    for ours, theirs in zip(reports[1:], straight[1:], strict=True):
        assert ours["loss"] > 0 and abs(ours["loss"] - theirs["loss"]) < 0.5
    one, other = weights(ground, "straight"), weights(ground, "ranks")
    assert all(torch.allclose(one[name], other[name], atol=0.02) for name in one)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--seed", "2"), r"made with seed 1337, not 2; `rm .*`, or change --out"),
        (("--bins", "{}/other"), "or change --out"),
        (("--bins", "{}/nowhere"), "nowhere"),
        (("--bins", "{0}/bins", "{0}/other", "--weights", "1"), "1 --weights for 2 --bins"),
    ],
)
def test_what_cannot_be_gone_on_with_is_refused(ground, straight, words, named):
    with pytest.raises(UserError, match=named):
        train(ground, "straight", *(word.format(ground) for word in words))


def sample(ground: Path, *words: str) -> str:
    return run(examples.sample, "--bins", f"{ground}/bins", "--out", f"{ground}/straight", *words)


def test_a_sample_goes_on_with_the_prompt_and_the_seed_decides_it(ground, straight):
    words = ("--prompt", "The cat", "--tokens", "30")
    said = sample(ground, *words)
    assert said.startswith("The cat") and said == sample(ground, *words)
    assert sample(ground, *words, "--seed", "2") != said


def test_before_there_is_a_model_its_maker_is_named(ground):
    with pytest.raises(UserError, match=r"checkpoint\.pt not found; `make train`"):
        sample(ground, "--out", f"{ground}/nowhere")


def test_bins_of_another_vocabulary_are_refused(ground, straight):
    with pytest.raises(UserError, match=r"has vocabulary bpe-263.* on mine bpe-263"):
        sample(ground, "--bins", f"{ground}/foreign")
