"""The README, Makefile, dvc.yaml and pyproject.toml say what is so."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from statistics import mean

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmark.batches.steps import GRAPHS, NAMES
from benchmark.data.workspace import ROOT, edit, environment, git, workspace

README = (ROOT / "README.md").read_text(encoding="utf-8")
CANNOT = {  # commands that this test cannot run, and why
    "make data DATASET=tinystories": "asks the true hub for 1 GB; tests/text/test_hub.py has a stand-in",
    "make data DATASET=name": "a name to fill in; two that exist are built here",
    "PIP_FIND_LINKS=/that/folder make data": "a folder to fill in, and a set-up that takes minutes",
    "make compare TRAIN=1": "takes minutes; tests/training/test_training.py trains small",
    "dvc exp show -A --only-changed": "its answer is the reader's; tests/compare/test_compare.py asks git",
    "dvc exp apply": "half a command: tests/compare/test_compare.py applies one",
    "make bench": "takes minutes; tests/benchmark/test_bench.py runs its script small",
    'make bench ARGS="--synthetic 471872517"': "takes minutes, and 1 GB of disk and of memory",
    "python -m scripts.benchmark --synthetic 471872517": "takes minutes, as `make bench` does",
    "make diff A=rev B=rev": "revisions to fill in; one that exists is compared here",
    "make bench-data": "takes minutes; tests/benchmark/test_bench_data.py runs it small",
    "make bench-data DOCUMENTS=2119719": "takes minutes; tests/benchmark/test_bench_data.py runs it small",
    "make pull REMOTE=name": "a remote to fill in; tests/versions/test_prebuilt.py pulls from one",
    "make push REMOTE=name": "a remote to fill in; tests/versions/test_prebuilt.py pushes to one",
    "make push REMOTE=prebuilt": "needs a commit first; tests/versions/test_prebuilt.py runs it",
    "git rm -rq --cached data/prebuilt": "tests/versions/test_prebuilt.py runs it",
    "git add -f data/prebuilt": "tests/versions/test_prebuilt.py has a clone of what was added so",
    "git status": "its answer is tested in tests/versions/test_prebuilt.py",
    "dvc data status": "its answer is tested in tests/versions/test_prebuilt.py",
    "make test": "this test is part of it",
    "make check": "this test is part of it",
    "make test-kills": "takes a quarter of an hour; tests/kills/test_kills.py is its short form",
    "make pull REMOTE=ours": "a remote of the reader's; tests/versions/test_remotes.py runs its blocks",
    "make push REMOTE=ours": "the same",
    "make clean": "would take away what the other commands made; tests/versions/test_prebuilt.py runs it",
    ". .venv/bin/activate": "the environment here is the one that runs this test",
    "dvc status": "its answer is in the prose; tests/versions/test_pipeline.py runs it",
    "dvc status dvc.yaml": "its answer is in the prose; tests/versions/test_pipeline.py runs it",
    "dvc repro": "takes all stages; tests/versions/test_pipeline.py runs it alone",
    "dvc add": "half a command: what to add is the reader's",
}


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A small workspace in which every command of the README was run, and what they printed."""
    folder = workspace(tmp_path_factory.mktemp("readme"))
    edit(folder / "params.yaml", "train: 5000, validation: 250", "train: 600, validation: 40")
    (entry,) = (block for block in blocks("yaml") if "mine:" in block)
    edit(folder / "params.yaml", "datasets:\n", f"datasets:\n{entry}")
    # The environment that runs this test stands for the one that make would set up: its stamp is
    # newer than all, or make would begin by removing it.
    (folder / ".venv").mkdir()
    (folder / ".venv/installed").touch()
    venv = {"MAKEFLAGS": f"VENV={sys.prefix} STAMP=.venv/installed"}
    said = ""
    for command in "".join(blocks("sh")).splitlines():
        if command in CANNOT:
            continue
        words = ["sh", "-ec", command]
        variables = {**environment(folder), **home(folder), **venv}
        done = subprocess.run(
            words, cwd=folder, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        said += f"$ {command}\n{done.stdout}"
    return folder, said


def home(folder: Path) -> dict[str, str]:
    """A home of its own: the store of bins lies there."""
    return {"HOME": str(folder.with_name("home"))}


def test_every_command_runs_and_the_bins_follow_the_parameters(followed):
    folder, said = followed
    assert "built data/mine/bins" in said and "nothing to do: data/sample/bins" in said
    assert "end of text: append" in said
    assert (folder / "data/mine/bins/train.bin").stat().st_size == 2 * 6


def test_every_command_in_the_prose_is_run_too_or_has_its_reason():
    run = set("".join(blocks("sh")).splitlines())
    named = set(re.findall(r"`((?:make|dvc|git|\.|PIP_\S+ make) [^`]*)`", README))
    named = {command for command in named if not command.startswith((". A", ". E"))}
    assert named - run <= set(CANNOT)
    assert set(CANNOT) <= named | run, "a reason for what is no longer there"


def test_what_the_readme_says_is_printed_is_printed(followed):
    _, said = followed
    for line in "".join(blocks("text")).splitlines():
        shape = re.sub(r"[\d,.]*\d", "N", " ".join(line.split()))
        lines = [re.sub(r"[\d,.]*\d", "N", " ".join(other.split())) for other in said.splitlines()]
        assert shape in lines, line


@pytest.mark.parametrize("code", blocks("python"))
def test_every_piece_of_python_runs(followed, code):
    folder, _ = followed
    env = {**environment(folder), **home(folder)}
    subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, check=True)


def test_the_readme_s_tables_of_batches_and_steps_are_the_kept_results():
    result = json.loads((ROOT / "benchmark/results/nvidia-h200.json").read_text())
    for shape, found in result["batches"].items():
        of = ("notebook", "dataloader", "host", "device", "graph")
        cells = [brief(found[name]["us"]) for name in of]
        cells += [brief(found[name]["times"]) for name in ("device", "graph")]
        cells += [", ".join(f"{100 * found[name]['of_copy']:.1f}" for name in ("device", "graph"))]
        assert f"| {shape.replace('x', ' × ')} | {' | '.join(cells)} |" in README
    for run, found in result["steps"].items():
        cells = [cell(name, found[name]) for name in (*NAMES, *GRAPHS)]
        name = run.replace("x", " × ").replace("M ", "M, ")
        assert f"| {name} | {cell('fixed', found['fixed'])} | {' | '.join(cells)} |" in README
    cpu = json.loads((ROOT / "benchmark/results/amd-epyc.json").read_text())
    one, other = (cpu["batches"]["64x256"][name]["us"] for name in ("notebook", "host"))
    assert f"the notebook {one:,.0f} µs and host placement {other:.0f} µs" in README
    sha256 = result["digest"]["sha256"]
    assert cpu["digest"] == result["digest"] and f"`{sha256[:8]}…{sha256[-9:]}`" in README


def test_the_readme_s_table_of_trainings_is_the_kept_result():
    (path,) = (ROOT / "reports/sample-200000/training").glob("*.json")
    result = json.loads(path.read_text())
    known = {(v["encoding"].rsplit("-", 1)[0], v["end_of_text"]): v for v in result["variants"]}
    order = [("gpt2", "none"), ("gpt2", "append"), ("bpe-1024", "none"), ("bpe-4096", "none")]
    trained = [known[key] for key in order]
    bits = [of["bits_per_byte"] for of in trained]
    rows = {
        "validation bits per byte, mean": [f"{of['mean']:.4f}" for of in bits],
        "lowest–highest of the seeds": [f"{of['low']:.4f}–{of['high']:.4f}" for of in bits],
        "parameters, embeddings": [f"{of['parameters']['embeddings']:,}" for of in trained],
        "parameters, others": [f"{of['parameters']['others']:,}" for of in trained],
        "steps": [f"{of['steps']:,}" for of in trained],
        "seconds of training, mean": [
            f"{mean(r['seconds'] for r in of['runs']):.1f}" for of in trained
        ],
    }
    for name, cells in rows.items():
        assert f"| {name} | {' | '.join(cells)} |" in README
    assert f"On one {result['device']} (" in README
    settings = result["settings"]
    assert f"`bytes: {settings['bytes']}`, `batch_size: {settings['batch_size']}`" in README
    trained_here = [of["low"] for of in bits[2:]]
    assert max(of["high"] for of in bits[:2]) < min(trained_here), "gpt2 ends below the trained"
    for one, other in ((bits[0], bits[1]), (bits[2], bits[3])):
        assert one["low"] < other["high"] and other["low"] < one["high"], "not to be told apart"


def brief(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def cell(name: str, found: dict) -> str:
    added = "" if name.endswith("fixed") else f" ({100 * (found['ratio'] - 1):+.1f} %)"
    return f"{found['ms']:.2f}{added}"


def test_the_readme_names_every_target_of_the_makefile_and_no_other():
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)", README))
    named |= set(re.findall(r"^make ([a-z-]+)", "".join(blocks("sh")), re.MULTILINE))
    assert named <= targets
    assert targets - named <= {"help", "setup"}


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pins}


def test_every_dependency_is_locked_within_its_range():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    groups = project["dependency-groups"]
    assert [
        r for r in groups.pop("kernel") if "==" not in r
    ] == []  # exact; the lock has not 285 MB
    lists = [project["project"]["dependencies"], *groups.values(), *extras.values()]
    wanted = [requirement for requirements in lists for requirement in requirements]
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(locked()[canonicalize_name(requirement.name)])


def test_the_training_side_imports_numpy_and_pytorch_alone():
    code = (
        "import sys, slm.bins, slm.batching.sampling; light = 'torch' not in sys.modules;"
        "import slm.batching;"
        "heavy = {'tiktoken', 'pyarrow', 'dvc', 'datasets', 'yaml'};"
        "print(light, sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True []\n"


def test_no_output_of_a_stage_is_tracked_by_git():
    tracked = git(ROOT, "ls-files", "data").split()
    shipped = r"data/[^/]+/source/.*|data/prebuilt/files/.*"
    assert [name for name in tracked if not re.fullmatch(shipped, name)] == []


def test_make_alone_lists_the_targets_and_needs_no_environment(tmp_path):
    words = ["make", "-C", str(ROOT), f"VENV={tmp_path}/none"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment(ROOT), check=True)
    assert "make data " in done.stdout and not (tmp_path / "none").exists()
