"""Runs the recipes of docs/training-loops.md: killed in mid-run, started again, compared.

A recipe is a block of that page; those marked `py` go on from the first. It runs in a process of
its own, which a hook of the model kills; what the model saw that hook has logged, whatever stands
between the batches and the model.
"""

import os
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from slm.batching.batches import Batches
from tests.batching.test_batching import make_bins
from tests.workspace import ROOT

STEPS, SAVED, KILLED = 12, 5, 8  # of a run; of its checkpoint; batches until it is killed
HOOK = f"""
import os, sys, torch
seen = []
def see(module, inputs):
    if getattr(module, "num_embeddings", 0) == 50_257 and torch.is_grad_enabled():
        seen.append(inputs[0])
        with open("seen." + os.environ.get("LOCAL_RANK", "0"), "a") as log:
            print(*inputs[0].flatten().tolist(), file=log)
        if len(seen) == {KILLED} and os.environ["RUN"] == "kill":
            os.kill(os.getpid(), 9)
torch.nn.modules.module.register_module_forward_pre_hook(see)
"""
BASE, *RECIPES = re.findall(
    r"^```py(?:thon)?\n(.*?)^```$", (ROOT / "docs/training-loops.md").read_text(), re.M | re.S
)


def recipe(word: str, **replaced: str) -> str:
    """The recipe with this word, after the lines with which each begins; with other arguments."""
    (code,) = (code for code in RECIPES if word in code)
    for name, value in replaced.items():
        code, times = re.subn(rf"\b{name}=\w+", f"{name}={value}", code)
        assert times == 1, name
    return HOOK + BASE + code


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a recipe runs: a folder with small bins, whose token i is i: one evaluates on all."""
    (tmp_path / "data/sample").mkdir(parents=True)
    make_bins(tmp_path / "data/sample/bins", tokens=1_000, vocab_size=50_257)
    return tmp_path


def run(folder: Path, code: str, kill: bool = False, launched: int = 1) -> None:
    """Run it, in so many processes of torchrun, and see that it ends well, unless it is killed."""
    (folder / "train.py").write_text(code)
    launch = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={launched}")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "RUN": "kill" if kill else "whole"}
    env |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    words = [sys.executable, *(launch if launched > 1 else ()), "train.py"]
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
    killed = done.returncode == -9 or "SIGKILL" in done.stderr
    assert killed if kill else done.returncode == 0, done.stderr


def seen(folder: Path, rank: int = 0) -> list[list[int]]:
    """The tokens of each batch that the model of a rank saw, which are then forgotten."""
    log = folder / f"seen.{rank}"
    lines = log.read_text().splitlines()
    log.unlink()
    return [[int(word) for word in line.split()] for line in lines]


def wanted(folder: Path, begin: int, end: int, rank: int = 0, ranks: int = 1) -> list[list[int]]:
    """The tokens of these batches of a rank, as a run that nothing stopped has them."""
    options = {"batch_size": 4 // ranks, "rank": rank, "world_size": ranks}
    batches = Batches(folder / "data/sample/bins", "train", block_size=32, seed=1337, **options)
    batches.step = begin
    return [x.flatten().tolist() for x, _ in islice(batches, end - begin)]


def resumes(folder: Path, code: str, ranks: int = 1, launched: int | None = None) -> None:
    """A run is killed, and goes on with the very batch after its checkpoint, to the end."""
    run(folder, code, True, launched or ranks)
    first = [seen(folder, rank) for rank in range(ranks)]
    run(folder, code, False, launched or ranks)
    for rank in range(ranks):
        assert len(first[rank]) > SAVED
        assert first[rank] == wanted(folder, 0, len(first[rank]), rank, ranks)
        assert seen(folder, rank) == wanted(folder, SAVED, STEPS, rank, ranks)
