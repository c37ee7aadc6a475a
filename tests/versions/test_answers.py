"""With JSON=1 a command prints one line of JSON on standard output, and nothing else there."""

import json
import shutil
import subprocess

import pytest

from slm.bins.opening import open_bins
from slm.core.params import read_params
from tests import workspace
from tests.workspace import edit, environment


@pytest.fixture(scope="module")
def copy(small_sample, tmp_path_factory):
    folder = shutil.copytree(
        small_sample, tmp_path_factory.mktemp("answers") / "copy", symlinks=True
    )
    (folder / ".venv").symlink_to(workspace.PYTHON.parents[1])
    listed = "    - {}\n    - {bins.end_of_text: none}\n"
    params = (folder / "params.yaml").read_text()
    start = params.index("    - {}\n")
    (folder / "params.yaml").write_text(
        params[:start] + listed + params[params.index("batching:") :]
    )
    return folder


def answer(folder, *words: str) -> dict:
    done = make(folder, *words)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    return json.loads(line)


def make(folder, *words: str) -> subprocess.CompletedProcess:
    env = environment(folder) | {"MAKEFLAGS": "MADE_FROM=warm"}
    env.pop("PYTHONPATH", None)
    command = ["make", *words, "JSON=1"]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


def test_data_says_which_version_was_built_though_stages_print(copy):
    shutil.rmtree(copy / "data/sample/tokens")
    shutil.rmtree(copy / "data/sample/bins")
    edit(copy / "params.yaml", "end_of_text: none           #", "end_of_text: append         #")
    built = answer(copy, "data")
    assert built["built"] is True and built["dataset"] == "sample"
    bins = open_bins(copy / built["bins"])
    assert built["version"] == bins.version and "end_of_text=append" in bins.version
    train = bins.manifest["splits"]["train"]
    assert built["splits"]["train"] == {k: train[k] for k in ("documents", "tokens", "text_bytes")}
    assert answer(copy, "data")["built"] is False


def test_verify_says_what_it_verified(copy):
    found = answer(copy, "verify")
    assert found["repaired"] is False and found["bins"] == "data/sample/bins"


def test_describe_has_the_figures_or_the_rows(copy):
    shown = answer(copy, "describe")
    assert shown["figures"]["train"]["documents"] == shown["splits"]["train"]["documents"]
    assert all((copy / path).is_file() for path in shown["pictures"])
    rows = answer(copy, "describe", "ROWS=unfinished")["rows"]
    assert isinstance(rows, list)


def test_datasets_has_an_entry_each_or_the_one_that_is_asked_for(copy):
    listed = answer(copy, "datasets")
    assert listed["chosen"] == "sample" and len(listed["datasets"]) > 5
    (one,) = answer(copy, "datasets", "DATASET=tinystories")["datasets"]
    assert (one["name"], one["tokens"]) == ("tinystories", None)
    assert one["bytes"] == 1_000_775_442 and one["documents"] is None
    (sample,) = answer(copy, "datasets", "DATASET=sample")["datasets"]
    generated = read_params(copy / "params.yaml")["datasets"]["sample"]["documents"]
    assert (sample["bytes"], sample["documents"]) == (None, sum(generated.values()))


def test_compare_has_the_figures_of_each_variant(copy):
    compared = answer(copy, "compare")
    assert [v["label"] for v in compared["variants"]] == ["gpt2, end of text appended", "gpt2"]
    assert all(v["figures"]["train"]["tokens"] > 0 for v in compared["variants"])
    assert all((copy / path).is_file() for path in compared["reports"])


def test_a_failure_leaves_standard_output_empty_and_says_its_line(copy):
    done = make(copy, "data", "DATASET=nowhere")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ")
