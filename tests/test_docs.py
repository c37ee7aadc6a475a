"""Every command and every piece of Python in the documentation runs, and prints what it shows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from slm import open_bins
from tests import workspace as workspaces
from tests.pages import FOLLOWED, NAMES, PAGES, blocks, prose
from tests.workspace import edit, environment, workspace

CANNOT = {  # commands that this test cannot run, and why
    "make data DATASET=tinystories": "asks the true hub for 1 GB; test_hub.py has a stand-in",
    "make data DATASET=name": "a name to fill in; two that exist are built here",
    "make data EXECUTOR=dask SCHEDULER=tcp://…": "needs a cluster; test_clusters.py starts one",
    "make data EXECUTOR=ray RAY_ADDRESS=host:port": "needs a cluster; test_ray.py starts one",
    "PIP_FIND_LINKS=/that/folder make data": "a folder to fill in, and a set-up that takes minutes",
    "make data DATASET=shakespeare": "a file of the reader's; test_recipes.py cuts a stand-in",
    "make data JSON=1": "tests/versions/test_answers.py runs it and the others that answer so",
    "dvc status dvc.yaml": "the lock of these pages' workspace; test_pipeline.py asks it",
    "make train": "takes minutes; tests/examples/test_train.py runs its script small",
    "make sample": "needs that model; tests/examples/test_train.py runs its script",
    "make compare TRAIN=1": "takes minutes; tests/training/test_training.py trains small",
    "dvc exp apply": "half a command: tests/compare/test_compare.py applies one",
    "make bench": "takes minutes; tests/benchmark/test_bench.py runs its script small",
    'make bench ARGS="--synthetic 471872517"': "takes minutes, and 1 GB of disk and of memory",
    "python -m scripts.benchmark --synthetic 471872517": "takes minutes, as `make bench` does",
    "make diff A=rev B=rev": "revisions to fill in; one that exists is compared here",
    "make bench-data": "takes minutes; test_bench_data.py runs it small",
    "make bench-data DOCUMENTS=2119719": "takes minutes; test_bench_data.py runs it small",
    "make pull REMOTE=name": "a remote to fill in; tests/versions/test_prebuilt.py pulls from one",
    "make push REMOTE=name": "a remote to fill in; tests/versions/test_prebuilt.py pushes to one",
    "make push DATASET=sample REMOTE=prebuilt": "needs a commit first; test_prebuilt.py runs it",
    "git rm -rq --cached data/prebuilt": "tests/versions/test_prebuilt.py runs it",
    "git add -f data/prebuilt": "tests/versions/test_prebuilt.py has a clone of what was added so",
    "git status": "its answer is tested in tests/versions/test_prebuilt.py",
    "dvc data status": "its answer is tested in tests/versions/test_prebuilt.py",
    "make test": "this test is part of it",
    "make test-quick": "the tests outside of this file are part of it",
    'make test ARGS="-k word"': "this test is part of it",
    "make setup": "takes half a minute; test_setup.py runs it",
    "make diff": "its revisions are in a block",
    "dvc pull": "what it takes in is the reason for our own; test_prebuilt.py",
    "make test-peers": "installs 100 MB; test_peers.py is what it runs",
    "make export TO=nanogpt": "a block has it with VERIFY=1",
    "make export TO=…": "the formats stand in a block",
    "make check": "this test is part of it",
    "make test-kills": "takes a quarter of an hour; test_kills.py is its short form",
    "make pull REMOTE=ours": "a remote of the reader's; test_remotes.py runs its blocks",
    "make push REMOTE=ours": "the same",
    "make push REMOTE=hf://datasets/owner/name": "tests/stores/test_on_the_hub.py has a stand-in",
    "make clean": "would take away what the others made; test_prebuilt.py runs it",
    ". .venv/bin/activate": "the environment here is the one that runs this test",
    "dvc status": "its answer is in the prose; tests/versions/test_pipeline.py runs it",
    "dvc exp run -S": "half a command: a block has it whole",
    "dvc exp run": "half a command: a block has it whole",
    "dvc exp show": "a block has it with options",
    "dvc exp run --run-all": "test_dvc_commands.py waits for `dvc queue start`",
    "dvc queue start": "its worker would outlive this test; test_dvc_commands.py runs it",
    "dvc queue status": "its answer is the queue's; test_dvc_commands.py runs it",
    "dvc exp run --queue -S bins.end_of_text=none,append"
    " -C data/sample/raw -C data/sample/tokens": "test_dvc_commands.py runs it",
    "dvc repro": "takes all stages; tests/versions/test_pipeline.py runs it alone",
    "dvc repro --force download": "takes changed text at a URL; tests/text/test_by_url.py",
    "dvc gc": "removes versions that nobody names; our pages only say what it does not know",
    "dvc add": "half a command: what to add is the reader's",
}


@pytest.fixture(scope="module")
def followed(_fast_commands, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A small workspace in which every command of the pages was run, and what they printed."""
    folder = workspace(tmp_path_factory.mktemp("pages"))
    edit(folder / "params.yaml", "train: 5000, validation: 250", "train: 600, validation: 40")
    (entry,) = (block for block in blocks("yaml", "docs/data.md") if "ours:" in block)
    (readme,) = blocks("yaml", "README.md")
    datasets, select = readme.removeprefix("datasets:\n").split("select:\n")
    edit(folder / "params.yaml", "datasets:\n", f"datasets:\n{entry}{datasets}")
    edit(folder / "params.yaml", "select:\n", f"select:\n{select}")
    (folder / ".venv").symlink_to(
        workspaces.PYTHON.parents[1]
    )  # for the one that make would set up
    venv = {"MAKEFLAGS": "MADE_FROM=warm"}
    printed = ""
    for command in "".join(blocks("sh")).splitlines():
        if command in CANNOT:
            continue
        words = ["sh", "-ec", command]
        variables = {**environment(folder), **home(folder), **venv}
        done = subprocess.run(
            words, cwd=folder, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        printed += f"$ {command}\n{done.stdout}"
    return folder, printed


def home(folder: Path) -> dict[str, str]:
    """A home of its own: the store of bins lies there."""
    return {"HOME": str(folder.with_name("home"))}


def test_every_command_runs_and_the_bins_follow_the_parameters(followed):
    folder, printed = followed
    assert "built data/mine/bins" in printed and "nothing to do: data/sample/bins" in printed
    assert "end of text: append" in printed
    assert (folder / "data/ours/bins/train.bin").stat().st_size == 2 * 6
    splits = open_bins(folder / "data/mine/bins").manifest["splits"]
    assert splits["train"]["documents"] > 300 and splits["validation"]["tokens"] > 1000


def test_every_command_in_the_prose_is_run_too_or_has_its_reason():
    run = set("".join(blocks("sh")).splitlines())
    named = set(re.findall(r"`((?:make|dvc|git|\. \.venv|PIP_\S+ make)[ /][^`\n]*)`", prose()))
    assert named - run <= set(CANNOT)
    assert set(CANNOT) <= named | run, "a reason for what is no longer there"


def test_what_the_pages_show_is_printed(followed):
    _, printed = followed
    lines = {shape(line) for line in printed.splitlines()}
    shown = "".join(block for block in blocks("text") if "→" not in block)
    assert [line for line in shown.splitlines() if shape(line) not in lines] == []


def shape(line: str) -> str:
    """A line without its numbers, and with single spaces."""
    return re.sub(r"[\d,.]*\d", "N", " ".join(line.split()))


@pytest.mark.parametrize("code", blocks("python"))
def test_every_piece_of_python_runs(followed, code):
    folder, _ = followed
    env = {**environment(folder), **home(folder)}
    subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, check=True)


# --- what a page is like ---


def test_the_readme_is_read_in_one_sitting():
    readme = PAGES["README.md"]
    assert len(readme.splitlines()) <= 200 and len(readme.split()) <= 1500


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("docs/")])
def test_a_page_is_short_and_is_in_the_readme_s_table(name):
    assert len(PAGES[name].split()) <= 900
    assert f"| [{name}]({name}) |" in PAGES["README.md"]


def test_pages_whose_blocks_are_not_followed_have_none():
    assert [name for name in NAMES if name not in FOLLOWED and "```" in PAGES[name]] == []


def test_all_pages_are_listed_here():
    found = {f"docs/{path.name}" for path in (workspaces.ROOT / "docs").glob("*.md")}
    assert found == {name for name in NAMES if name.startswith("docs/")}


@pytest.mark.parametrize("name", NAMES)
def test_links_and_paths_lead_somewhere(name):
    here = (workspaces.ROOT / name).parent
    links = re.findall(r"\]\((?!https?:)([^)#]+)", PAGES[name])
    assert [link for link in links if not (here / link).exists()] == []
    paths = re.findall(r"`((?:slm|scripts|tests|compare|benchmark)/[\w/.-]+)`", PAGES[name])
    made = ("benchmark/pictures/<", "benchmark/results/<")
    gone = [path for path in paths if not (workspaces.ROOT / path).exists()]
    assert [path for path in gone if not path.startswith(made)] == []


def test_the_pages_name_every_target_of_the_makefile_and_no_other():
    makefile = (workspaces.ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)", prose()))
    named |= set(re.findall(r"^make ([a-z-]+)", "".join(blocks("sh")), re.MULTILINE))
    assert named <= targets
    assert targets - named <= {"help"}
