"""Facts about `make bench-data`: what it prints, and that it reports only what is the same."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmark.data.figures import check_same, scaled
from slm.core.errors import UserError

pytestmark = pytest.mark.slow  # whole benchmarks, small

ROOT = Path(__file__).parents[2]
DOCUMENTS = 300


def bench(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "benchmark.data", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def lines(work) -> list[str]:
    run = bench(DOCUMENTS, "--work", work, "--repeats", 2)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def test_a_row_stands_for_each_step_and_fits_the_terminal(lines):
    rows = (
        "download",
        "vocabulary",
        "tokenize ",
        "bins",
        "tokenize + bins",
        "the notebook's",
        "a process",
    )
    for row in rows:
        assert any(line.startswith(row) for line in lines), row
    assert max(map(len, lines[:-1])) <= 100


def test_the_last_line_is_json_with_all_figures(lines):
    found = json.loads(lines[-1])
    steps = {"download", "audit", "select", "vocabulary", "tokenize", "bins", "tokenize + bins"}
    steps |= {"recipe", "pool"}
    assert set(found["steps"]) == steps
    for name, step in found["steps"].items():
        more = {"parts", "start_seconds", "seconds_per_million", "times"}
        keys = {"documents", "tokens", "text_bytes", "seconds", "runs", "peak_mb"}
        assert set(step) == keys | (more if name in ("recipe", "pool") else set())
        assert step["seconds"] > 0 and 20 < step["peak_mb"] < 10_000
    assert found["steps"]["recipe"]["documents"] == DOCUMENTS
    assert found["steps"]["tokenize"]["documents"] == DOCUMENTS + 1_000
    assert found["steps"]["recipe"]["times"] > 0 and found["steps"]["pool"]["times"] > 0
    assert found["machine"]["cores"] >= 1


def test_units_and_engines_have_a_row_each(lines):
    ways = json.loads(lines[-1])["engines"]
    names = ["in one piece", "in units, by threads", "in units, Dask, 2 workers"]
    assert [*ways][:3] == names
    for name in names:
        assert any(line.startswith(name) for line in lines)
        assert ways[name]["seconds"] > 0 and ways[name]["ratio"] > 0
        assert len(ways[name]["runs"]) == 2
    assert ways[names[0]]["ratio"] == 1.0


def test_the_bytes_were_compared(lines):
    assert json.loads(lines[-1])["same_bytes"] is True
    assert any(line.startswith("bytes: recipe and pool wrote the first") for line in lines)


def test_only_the_stories_are_left_and_they_are_those_of_the_generator(lines, work):
    import pyarrow.parquet as pq

    from benchmark.data.shards import SEED
    from slm.text.stories import stories

    (kept,) = work.iterdir()
    assert kept.name.startswith(f"{DOCUMENTS}-")
    for split, rows in (("train", DOCUMENTS), ("validation", 1_000)):
        (shard,) = kept.glob(f"{split}-*.parquet")
        texts = pq.read_table(shard).column("text").to_pylist()
        assert texts == list(stories(SEED, split, rows))


@pytest.mark.parametrize("found", [[0, 1, 9, 3], [0, 1, 2], [0, 1, 2, 3, 4]])
def test_other_bytes_than_ours_are_refused(tmp_path, found):
    np.array(found, "<u2").tofile(tmp_path / "recipe.bin")
    with pytest.raises(UserError, match="recipe"):
        check_same(np.arange(4, dtype="<u2"), tmp_path / "recipe.bin", "recipe")


def test_a_longer_run_lies_on_the_line_through_the_two_that_were_measured():
    assert scaled(100_000, rows=100_000, seconds=30.0, start_seconds=4.0) == 30.0
    twice = 100_000 + (100_000 - 1_024)
    assert scaled(twice, rows=100_000, seconds=30.0, start_seconds=4.0) == pytest.approx(56.0)


def test_the_same_bytes_as_ours_pass(tmp_path):
    np.arange(4, dtype="<u2").tofile(tmp_path / "recipe.bin")
    check_same(np.arange(4, dtype="<u2"), tmp_path / "recipe.bin", "recipe")


@pytest.mark.parametrize("documents", ["0", "-5", "many", "1e6", "²"])
def test_documents_that_are_no_positive_number_are_one_line(documents):
    run = bench("--", documents)
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr.startswith(f"error: DOCUMENTS is {documents!r}")
    assert run.stderr.count("\n") == 1
