"""DVC's own commands on the pipeline: metrics, plots, status, experiments, a queue."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.pages import PAGES, blocks
from tests.workspace import ROOT, dvc, environment, git, hashes, script

BINS = "data/sample/bins"
NOT_CACHED = ("raw", "facts", "selection", "vocabulary", "tokens")
SPLITS = ("train", "validation")
FIGURES = [f"{split}.{figure}" for split in SPLITS for figure in ("tokens", "bytes_per_token")]
COMMANDS = [line.split() for line in "".join(blocks("sh", "docs/dvc.md")).splitlines()]
(SHOW,) = (words[1:] for words in COMMANDS if words[:3] == ["dvc", "exp", "show"])
(QUEUE,) = (words[1:] for words in COMMANDS if "--queue" in words)


@pytest.fixture(scope="module")
def built(small_sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose small sample is built and committed, for tests that leave it so."""
    return shutil.copytree(small_sample, tmp_path_factory.mktemp("built") / "clone", symlinks=True)


@pytest.fixture(scope="module")
def tried(built: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Such a workspace after `dvc exp run -S` there, and what that printed."""
    folder = shutil.copytree(built, tmp_path_factory.mktemp("tried") / "clone", symlinks=True)
    return folder, dvc(folder, "exp", "run", "-S", "bins.end_of_text=append")


def stages(said: str) -> list[str]:
    """The stages that ran."""
    return re.findall(r"Running stage '(\w+)@sample'", said)


def plots(folder: Path) -> dict[str, dict]:
    """The specification of each plot in DVC's page."""
    page = (folder / "dvc_plots/index.html").read_text(encoding="utf-8")
    found = re.findall(r'<div id = "(\w+)">.*?var spec = (\{.*?\});\n', page, re.DOTALL)
    return {name: json.loads(spec) for name, spec in found}


def values(spec: dict, key: str) -> set[str]:
    return {row[key] for row in spec["data"]["values"]}


# --- metrics ---


def test_metrics_are_few_columns_and_nothing_of_the_benchmark(built):
    head, row = dvc(built, "metrics", "show").rstrip().splitlines()
    assert head.split() == ["Path", *sorted(FIGURES), "vocab_size"] and len(head) < 140
    assert row.split()[0] == "metrics/sample/summary.json"
    all_figures = json.loads((built / "metrics/sample/tokens.json").read_text())
    summary = json.loads((built / "metrics/sample/summary.json").read_text())
    for split in SPLITS:
        assert summary[split].items() < all_figures[split].items()


def test_all_figures_are_compared_on_request(tried):
    folder, _ = tried
    said = json.loads(dvc(folder, "metrics", "diff", "--json"))
    assert set(said["metrics/sample/summary.json"]) == {*FIGURES}
    files = ("metrics/sample/tokens.json", "metrics/sample/text.json")
    said = json.loads(dvc(folder, "metrics", "diff", "--json", "--targets", *files))
    assert said[files[0]]["train.rank_slope"]["diff"] and files[1] not in said


# --- plots ---


def test_the_three_plots_have_a_column_for_each_split_and_their_titles(built):
    dvc(built, "plots", "show")
    listed = yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]
    titles = {name: plot["title"] for entry in listed for name, plot in entry.items()}
    found = plots(built)
    assert [*found] == [*titles] == ["lengths", "ranks", "bytes"]
    for name, spec in found.items():
        assert spec["title"]["text"] == titles[name] and "<DVC" not in json.dumps(spec)
        assert values(spec, "split") == {*SPLITS}
        assert spec["encoding"]["column"]["field"] == "split"
        axes = (spec["encoding"][axis]["field"] for axis in "xy")
        assert all(axis in spec["data"]["values"][0] for axis in axes)
    assert git(built, "status", "--porcelain") == ""


def test_two_revisions_are_laid_over_each_other(tried):
    dvc(tried[0], "plots", "diff", "HEAD")
    for spec in plots(tried[0]).values():
        assert values(spec, "rev") == {"HEAD", "workspace"}


def test_what_the_page_of_plots_loads_is_said_in_the_documentation(built):
    dvc(built, "plots", "show")
    page = (built / "dvc_plots/index.html").read_text(encoding="utf-8")
    hosts = re.findall(r'<script src="https://([\w.]+)/', page)
    assert hosts == ["cdn.jsdelivr.net"] * 3
    assert "three scripts from `cdn.jsdelivr.net`" in PAGES["docs/dvc.md"]


# --- status ---


def test_after_a_build_dvc_has_nothing_to_say(built):
    assert dvc(built, "status", "dvc.yaml") == "Data and pipelines are up to date.\n"


def test_in_a_fresh_clone_outputs_are_absent_and_nothing_is_modified(built, tmp_path):
    clone = tmp_path / "clone"
    git(built, "clone", "-q", str(built), str(clone))
    status = json.loads(dvc(clone, "status", "--json", "dvc.yaml"))
    assert absent(status) == {f"data/sample/{name}" for name in (*NOT_CACHED, "bins")}
    shutil.copytree(built / ".dvc/cache", clone / ".dvc/cache")
    dvc(clone, "checkout", "bins")
    status = json.loads(dvc(clone, "status", "--json", "dvc.yaml"))
    assert absent(status) == {f"data/sample/{name}" for name in NOT_CACHED}
    assert "describe@sample" not in status
    assert dvc(clone, "data", "status") == "No changes.\n"


def absent(status: dict) -> set[str]:
    """The paths that are not there, where nothing else is said of any."""
    changes = [change for stage in status.values() for kind in stage for change in kind.values()]
    assert {how for of in changes for how in of.values()} <= {"deleted", "not in cache"}
    return {path for of in changes for path in of}


# --- experiments ---


def test_an_experiment_in_the_workspace_runs_what_its_value_changes_and_leaves_it_there(tried):
    folder, said = tried
    assert stages(said) == ["bins", "describe"]
    assert "  end_of_text: append" in (folder / "params.yaml").read_text()
    head, *rows = (line.split("|")[1:-1] for line in dvc(folder, *SHOW).strip().splitlines())
    cells = [cell.strip() for cell in head]
    if "Created" in cells:  # a minute later it differs, too
        cells.remove("Created")
    assert cells == ["Experiment", *FIGURES, "bins.end_of_text"]
    assert [row[-1].strip() for row in rows[1:]] == ["none", "append"]


def test_the_way_back_to_the_last_commit(tried, built, tmp_path):
    folder = shutil.copytree(tried[0], tmp_path / "copy", symlinks=True)
    git(folder, "restore", "params.yaml", "dvc.lock", "metrics")
    assert "tokenize:" not in script(folder, "make_data")
    assert hashes(folder / BINS) == hashes(built / BINS)
    assert git(folder, "status", "--porcelain") == ""


def test_beside_the_workspace_nothing_is_tokenized_and_the_workspace_stays(built, tmp_path):
    folder = shutil.copytree(built, tmp_path / "copy", symlinks=True)
    copied = ("-C", "data/sample/raw", "-C", "data/sample/tokens")
    before = hashes(folder / "data")
    said = dvc(folder, "exp", "run", "--temp", "-S", "describe.block_size=128", *copied)
    assert stages(said) == ["audit", "select", "vocabulary", "describe"]
    assert hashes(folder / "data") == before and git(folder, "status", "--porcelain") == ""
    assert "describe.block_size" in dvc(folder, *SHOW)


@pytest.fixture
def queued(built: Path, tmp_path: Path) -> Iterator[Path]:
    """A workspace with the experiments of docs/dvc.md in its queue."""
    folder = shutil.copytree(built, tmp_path / "copy", symlinks=True)
    real_dvc(folder, *QUEUE)
    yield folder
    real_dvc(folder, "queue", "stop")


def real_dvc(folder: Path, *words: str) -> str:
    """What a dvc command prints that is no fork of the warm one, as its worker outlives it."""
    command = [sys.executable, "-m", "dvc", *words]
    env = environment(folder)
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_a_queue_builds_beside_the_workspace(queued):
    assert real_dvc(queued, "queue", "status").count("Queued") == 2
    real_dvc(queued, "queue", "start")
    until = time.monotonic() + 300
    while (said := real_dvc(queued, "queue", "status")).count("Success") < 2:
        assert "Failed" not in said and time.monotonic() < until, said
        time.sleep(1)
    rows = dvc(queued, *SHOW).splitlines()[2:]
    assert sum(" append " in row for row in rows) == 1
    assert git(queued, "status", "--porcelain") == ""
