"""A git merge of dvc.lock: settled by stage; a lock that lies is refused."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from slm.core.errors import UserError
from slm.versions.lock import locked_outs, settle
from tests.workspace import add_dataset, add_entry, commit, edit, environment, git, hashes, script

ROWS = "".join(f'{{"text": "story {{}} number {i} of a hill"}}\n' for i in range(40))
CASE = Path(__file__).parents[3] / "shared" / "cases" / "lock-merge"


@pytest.fixture
def copy(small_sample: Path, tmp_path: Path) -> Path:
    folder = shutil.copytree(small_sample, tmp_path / "copy", symlinks=True)
    git(folder, "branch", "-M", "main")
    return folder


def build(folder: Path, name: str, text: str) -> None:
    (folder / "data" / name / "source" / "a.jsonl").write_text(ROWS.replace("{}", text))
    script(folder, "make_data", name)
    commit(folder)


def merge(folder: Path, branch: str) -> list[str]:
    """The files that conflict."""
    words = ["git", "merge", "-q", branch]
    subprocess.run(words, cwd=folder, env=environment(folder), capture_output=True, check=False)
    return git(folder, "diff", "--name-only", "--diff-filter=U").split()


def test_two_branches_that_each_add_a_dataset_are_settled_by_make_data_alone(copy):
    for name in ("aa", "bb"):
        git(copy, "checkout", "-q", "-b", name, "main")
        add_dataset(copy, name, "files: {train: '*.jsonl'}")
        build(copy, name, name)
    bins = {name: hashes(copy / "data" / name / "bins") for name in ("aa", "bb")}
    assert "dvc.lock" in merge(copy, "aa")
    git(copy, "checkout", "HEAD", "--", "params.yaml")
    add_entry(copy, "aa", "files", ["files: {train: '*.jsonl'}"])
    for name in ("aa", "bb"):
        script(copy, "make_data", name)
        assert hashes(copy / "data" / name / "bins") == bins[name]
    stages = yaml.safe_load((copy / "dvc.lock").read_text())["stages"]
    assert {name.split("@")[1] for name in stages} == {"sample", "aa", "bb"}
    commit(copy)
    for name in ("sample", "aa", "bb"):
        assert script(copy, "make_data", name).startswith("nothing to do")
        assert "every byte is as manifest.json and dvc.lock say" in script(copy, "verify", name)


def test_a_dataset_that_both_sides_changed_is_built_again(copy):
    add_dataset(copy, "aa", "files: {train: '*.jsonl'}")
    build(copy, "aa", "old")
    git(copy, "tag", "before")
    for name in ("one", "two"):
        git(copy, "checkout", "-q", "-b", name, "before")
        build(copy, "aa", name)
    assert {"dvc.lock", "data/aa/source/a.jsonl"} <= {*merge(copy, "one")}
    (copy / "data/aa/source/a.jsonl").write_text(ROWS.replace("{}", "three"))
    said = script(copy, "make_data", "aa")
    assert "built data/aa/bins" in said
    commit(copy)
    assert "every byte is as" in script(copy, "verify", "aa")
    assert "story three" in script(copy, "inspect_bins", "--dataset", "aa")
    assert script(copy, "make_data", "sample").startswith("nothing to do")


# --- by stage ---


def side(**datasets: str) -> dict:
    """A dvc.lock whose stages have these hashes, by dataset."""
    return {
        "schema": "2.0",
        "stages": {
            f"bins@{name}": {"cmd": "x", "outs": [{"path": f"data/{name}/bins", "md5": md5}]}
            for name, md5 in datasets.items()
        },
    }


@pytest.mark.parametrize(("base", "ours", "theirs", "both", "left"), [
    ({}, {"a": "1"}, {"b": "2"}, set(), {"a": "1", "b": "2"}),
    ({"a": "1"}, {"a": "2"}, {"a": "3"}, {"a"}, {}),
    ({"a": "1", "b": "1"}, {"a": "2", "b": "1"}, {"a": "1", "b": "2"}, set(), {"a": "2", "b": "2"}),
    ({"a": "1", "b": "1"}, {"b": "2"}, {"a": "1", "b": "3"}, {"b"}, {}),
    ({"a": "1"}, {"a": "2", "b": "1"}, {"a": "2", "b": "2"}, {"b"}, {"a": "2"}),
])  # fmt: skip
def test_each_stage_is_of_the_side_that_changed_it(tmp_path, base, ours, theirs, both, left):
    lock = tmp_path / "dvc.lock"
    git(tmp_path, "init", "-q", "-b", "main")
    for branch, content in (("main", base), ("one", ours), ("two", theirs)):
        if branch != "main":
            git(tmp_path, "checkout", "-q", "-b", branch, "main")
        lock.write_text(yaml.safe_dump(side(**content), default_flow_style=True, width=10_000))
        commit(tmp_path)
    git(tmp_path, "checkout", "-q", "one")
    assert merge(tmp_path, "two") == ["dvc.lock"]
    lock.write_text("<<<<<<< one\n")  # whatever git, or a user, left there
    assert settle(lock) == both
    assert yaml.safe_load(lock.read_text()) == side(**left)
    assert settle(lock) is None


@pytest.mark.parametrize(("stage", "path"), [
    ("bins@aa", "data/bb/bins"), ("audit@aa", "metrics/bb/text.json"), ("bins@a", "data/aa/bins"),
])  # fmt: skip
def test_a_lock_that_lies_is_refused_with_the_cure(tmp_path, stage, path):
    lock = tmp_path / "dvc.lock"
    content = {"schema": "2.0", "stages": {stage: {"outs": [{"path": path, "md5": "1"}]}}}
    lock.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match=rf"has {path} under stage {stage}.*`make data` settles"):
        locked_outs(lock, stage)


@pytest.mark.skipif(not CASE.is_dir(), reason="real stories are not part of the repository")
@pytest.mark.parametrize("kind", ["conflicted", "kept-both"])
def test_the_lock_that_was_met_is_refused(tmp_path, kind):
    shutil.copy(CASE / f"dvc.lock.{kind}", tmp_path / "dvc.lock")
    with pytest.raises(UserError, match="`make data` settles"):
        locked_outs(tmp_path / "dvc.lock", "bins@aa")


@pytest.mark.parametrize("target", ["verify", "pull", "diff_bins"])
def test_the_other_targets_name_the_cure_and_it_cures(copy, target):
    edit(copy / "dvc.lock", "schema: '2.0'", "<<<<<<< HEAD\nschema: '2.0'")
    if target != "diff_bins":
        assert "`rm dvc.lock`" in script(copy, target, "sample", fails=True)
    (copy / "dvc.lock").unlink()
    script(copy, "make_data", "sample")
    assert not git(copy, "status", "--porcelain", "--", "dvc.lock")
