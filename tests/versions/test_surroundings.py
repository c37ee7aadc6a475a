"""Where a clone stands, whose it is, and what is set around it: it changes nothing."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slm.core.git import LOCAL
from tests import workspace
from tests.workspace import add_dataset, commit, edit, environment, git

ROOTS = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")
SCRIPTS = ("make_data", "verify", "diff_bins", "show", "inspect_bins", "pull", "clean")
FAILS = "#!/bin/sh\necho a hook of the user's; exit 1\n"


def run(folder: Path, name: str, *words: str, **variables: str) -> tuple[int, str]:
    """The status of `python -m scripts.<name>`, and what it printed."""
    command = [str(workspace.PYTHON), "-m", f"scripts.{name}", *words]
    env = {**environment(folder), "PYTHONUTF8": "1", **variables}
    done = subprocess.run(
        command, cwd=folder, env=env, text=True, timeout=100,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert "Traceback" not in done.stdout, done.stdout
    return done.returncode, done.stdout


def of_git(folder: Path) -> tuple[str, bytes]:
    """What is staged and changed, and git's settings of the clone."""
    return git(folder, "status", "--porcelain"), (folder / ".git" / "config").read_bytes()


@pytest.fixture
def copy(small_sample: Path, tmp_path: Path) -> Path:
    return shutil.copytree(small_sample, tmp_path / "copy", symlinks=True)


@pytest.mark.parametrize("name", ["größe/slm", "a b/s l m", "日本/é 'x'"])
def test_every_target_works_wherever_the_clone_stands(small_sample, tmp_path, name):
    folder = shutil.copytree(small_sample, tmp_path / name, symlinks=True)
    for target in SCRIPTS:
        words = ("sample",) if target not in ("inspect_bins", "clean") else ()
        status, said = run(folder, target, *words)
        assert status == 0, (target, said)


def test_a_comparison_works_amid_letters_hooks_and_variables_and_leaves_git_as_it_was(
    small_sample, tmp_path
):
    folder = shutil.copytree(small_sample, tmp_path / "größe s", symlinks=True)
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    for hook in ("post-checkout", "pre-commit", "reference-transaction"):
        (hooks / hook).write_text(FAILS)
        (hooks / hook).chmod(0o755)
    for vocabulary in (1024, 4096):
        edit(
            folder / "params.yaml",
            f"    - {{tokenizer.encoding: bpe, tokenizer.vocab_size: {vocabulary}}}\n",
            "",
        )
    git(folder, "config", "core.hooksPath", str(hooks))
    before = of_git(folder)
    status, said = run(
        folder, "compare", GIT_DIR=str(folder / ".git"), GIT_WORK_TREE=str(folder),
        GIT_INDEX_FILE=str(folder / ".git" / "index"),
    )  # fmt: skip
    assert status == 0 and "compare.md" in said, said
    changed, settings = of_git(folder)
    assert settings == before[1]
    assert [line for line in changed.splitlines() if "reports/" not in line] == before[
        0
    ].splitlines()


@pytest.mark.parametrize("name", ["GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_COMMON_DIR"])
def test_variables_of_a_hook_reach_neither_git_nor_dvc(copy, name):
    before = of_git(copy)
    for target in ("make_data", "verify", "diff_bins"):
        status, said = run(copy, target, "sample", **{name: "/nowhere"})
        assert status == 0, said
    assert of_git(copy) == before


def test_all_variables_are_known_that_git_calls_local():
    assert {*git(Path(), "rev-parse", "--local-env-vars").split()} <= {*LOCAL}


@pytest.mark.parametrize("target", ["make_data", "pull", "compare"])
def test_a_split_index_is_refused_and_the_cure_cures_it(copy, target):
    git(copy, "config", "core.splitIndex", "true")
    git(copy, "update-index", "--split-index")
    status, said = run(copy, target, "sample")
    assert status == 1 and said.startswith("error: git's index is split"), said
    for cure in said.split("`")[1].split(" && "):
        git(copy, *cure.split()[1:])
    status, said = run(copy, "make_data", "sample")
    assert status == 0 and said.startswith("nothing to do"), said


@ROOTS
@pytest.mark.parametrize("target", ["make_data", "verify", "diff_bins", "compare", "show"])
def test_a_clone_of_another_account_is_one_line_with_git_s_cure(copy, target):
    for path in (copy, copy / ".git"):
        os.chown(path, 12345, 12345)
    status, said = run(copy, target, "sample")
    assert status == 1 and said.count("\n") == 1, said
    assert f"git config --global --add safe.directory {copy}" in said


def test_git_itself_is_named_where_there_is_no_clone(copy):
    shutil.rmtree(copy / ".git")
    for target in ("make_data", "diff_bins"):
        status, said = run(copy, target, "sample")
        assert status == 1 and "not a git repository" in said and said.count("\n") == 1


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "tkagg", "x"])
def test_the_backend_of_a_notebook_changes_no_picture(copy, backend):
    status, said = run(copy, "show", "sample", MPLBACKEND=backend)
    assert status == 0 and "drew reports/sample/describe/lengths.svg" in said, said


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_group_leaves_params_yaml_and_no_temporary_files(copy, number):
    source = add_dataset(copy, "mine", "files: {train: '*.txt'}\nseparator: \"\\n\"")
    (source / "a.txt").write_text("a story\n" * 400_000)
    commit(copy)
    command = [sys.executable, "-m", "scripts.make_data", "mine"]
    process = subprocess.Popen(
        command, cwd=copy, env=environment(copy), start_new_session=True, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # the suite may run under nohup
    )  # fmt: skip
    params = copy / "params.yaml"
    until = time.monotonic() + 30
    while "dataset: mine" not in params.read_text() and time.monotonic() < until:
        time.sleep(0.02)
    time.sleep(0.5)
    os.killpg(process.pid, number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" not in said, said
    assert said.count("error: ") == 1
    assert "dataset: sample" in params.read_text()
    assert not [*copy.glob("*.tmp"), *copy.glob("data/*/*.tmp")]


@pytest.mark.parametrize("name", ["random", "signal", "enum", "copy", "json"])
def test_a_users_own_module_is_not_taken_for_the_standard_library_s(copy, name):
    (copy / f"{name}.py").write_text("raise SystemExit('imported from the clone')\n")
    for target in ("make_data", "verify", "show"):
        # A new Python, since the tests' warm one has imported these before.
        command = [sys.executable, "-m", f"scripts.{target}", "sample"]
        env = {**environment(copy), "PYTHONPATH": ""}
        done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True)
        assert done.returncode == 0 and "from the clone" not in done.stderr, done.stderr


FOREIGN = {
    "PYTHONPATH": "foreign",
    "PYTHONHOME": "/nowhere",
    "PYTHONWARNINGS": "error",
    "PIP_USER": "1",
    "PIP_TARGET": "/nowhere",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
}


@pytest.mark.skipif(not Path(sys.prefix, "installed").exists(), reason="needs `make setup`")
@pytest.mark.parametrize("name", FOREIGN)
def test_variables_for_another_python_reach_no_target(copy, tmp_path, name):
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "numpy.py").write_text("raise SystemExit('a foreign numpy')\n")
    (copy / ".venv").symlink_to(sys.prefix)
    env = {**environment(copy), "PYTHONPATH": "", name: FOREIGN[name]}
    if name == "PYTHONPATH":
        env[name] = str(tmp_path / "foreign")
    words = ["make", "-s", "data", "describe", "DATASET=sample"]
    done = subprocess.run(words, cwd=copy, env=env, capture_output=True, text=True)
    assert done.returncode == 0 and "drew reports/sample" in done.stdout, done.stderr
    assert "nothing to do" in done.stdout and not done.stderr


INTERRUPTED_AT_EACH_WRITE = """
import signal
from scripts import _command
from slm.core import errors

def interrupted(path, name, write=_command.set_dataset):
    write(path, name)
    signal.raise_signal(signal.SIGTERM)

def main():
    _command.set_dataset = interrupted
    with _command.choosing("two", {"dataset": "one"}):
        print("the block has run")

errors.run_main(main)
"""


DROPPED_IN_THE_BLOCK = """
import contextlib, signal
from scripts import _command
from slm.core import errors

def main():
    with _command.choosing("two", {"dataset": "one"}):
        with contextlib.suppress(BaseException):  # as a library's import may have it
            signal.raise_signal(signal.SIGTERM)
        print("the block goes on")

errors.run_main(main)
"""


@pytest.mark.parametrize(
    ("program", "printed"),
    [(INTERRUPTED_AT_EACH_WRITE, ""), (DROPPED_IN_THE_BLOCK, "the block goes on\n")],
    ids=["amid a write", "dropped by a library"],
)
def test_params_yaml_names_its_dataset_again_whenever_a_signal_comes(tmp_path, program, printed):
    (tmp_path / "params.yaml").write_text("dataset: one\n")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, text=True,
        env=os.environ | {"PYTHONPATH": str(workspace.ROOT)}, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 1 and done.stdout == printed, done.stderr
    assert done.stderr.count("interrupted") == 1
    assert (tmp_path / "params.yaml").read_text() == "dataset: one\n"
