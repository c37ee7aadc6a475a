"""The Makefile passes on what it is given, refuses what it does not know, and keeps an order."""

import re
import subprocess

import pytest

from tests.workspace import ROOT, environment

WITHOUT_DATASET = {  # set-up and tests, and what times stories of its own
    "help", "setup", "ready", "environment", "peers", "test", "test-quick", "test-kills",
    "test-peers", "check", "clean", "bench-data",
}  # fmt: skip
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"^([a-z-]+):.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE))


@pytest.mark.parametrize("target", sorted(RECIPES.keys() - WITHOUT_DATASET))
def test_every_target_of_data_takes_a_dataset(target):
    assert re.search(r"\$\((if )?(DATASET|BUILT)", RECIPES[target])


def dry(*words: str) -> subprocess.CompletedProcess:
    command = ["make", "-n", *words]
    return subprocess.run(
        command, cwd=ROOT, env=environment(ROOT), capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("word", ["dataset=sample", "DATASETS=sample", "FORCE=1"])
def test_a_variable_that_no_target_knows_is_refused(word):
    done = dry("data", word)
    assert done.returncode == 2 and f"no target knows {word.split('=')[0]}" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("word", ["DATASET=sample", "ARGS=-k a=b", "PIP_FIND_LINKS=/x", "JSON=1"])
def test_a_variable_that_one_knows_is_not(word):
    assert dry("data", word).returncode == 0


def test_every_variable_of_a_recipe_is_known():
    words = ["make", "-s", "--eval", "show: ; @echo $(KNOWN)", "show"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    known = set(done.stdout.split())
    own = {"PY", "PYTEST", "AS_JSON", "BUILT", "MAKE", "MAKEFILE_LIST"}
    recipes = "".join(RECIPES.values())
    used = set(re.findall(r"\$\((?:if |or |filter-out 0,)*\$?\(?([A-Z_]+)", recipes))
    assert used - own <= known


def test_targets_keep_their_order_with_many_jobs(tmp_path):
    (tmp_path / "Makefile").write_text(MAKEFILE)
    (tmp_path / "params.yaml").write_text("dataset: sample\n")
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nsleep "$(($# > 2 ? 1 : 0))"\necho "$2" >> log\n')
    python.chmod(0o755)
    (tmp_path / ".venv/installed").write_text("made\n")
    words = ["make", "-j4", "data", "verify", "DATASET=sample", "MADE_FROM=made"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (tmp_path / "log").read_text().split() == ["scripts.make_data", "scripts.verify"], done
