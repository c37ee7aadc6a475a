"""A fresh clone pulls its bins; what ends a pull, and what may not be pushed, lost or cleaned."""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from slm.bins.format import write_docs, write_manifest
from slm.core.files import md5_of
from slm.core.ids import write_ids
from slm.versions.cache import file_list, missing_objects, object_path
from slm.versions.lock import locked_hash
from tests.workspace import ROOT, commit, dvc, edit, environment, git, hashes, script, workspace

BINS, OBJECTS, CACHE = "data/sample/bins", "data/prebuilt/files/md5", ".dvc/cache/files/md5"
VERSION = locked_hash(ROOT / "dvc.lock", "bins@sample", BINS)
SIZE = 64 * 2**20


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This repository, committed."""
    return workspace(tmp_path_factory.mktemp("origin"))


@pytest.fixture
def clone(origin: Path, tmp_path: Path) -> Path:
    """A fresh clone of it."""
    return cloned(origin, tmp_path / "clone")


@pytest.fixture(scope="module")
def bins(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a pull brings."""
    folder = cloned(origin, tmp_path_factory.mktemp("bins") / "clone")
    script(folder, "pull")
    return hashes(folder / BINS)


def cloned(origin: Path, folder: Path, *options: str) -> Path:
    git(origin, "clone", "-q", *options, str(origin), str(folder))
    return folder


def other_bins(folder: Path) -> dict[str, str]:
    """Write whole bins of another version; return their hashes."""
    folder.mkdir(parents=True)
    totals = np.array([[0, 0], [3, 9]], np.uint64)
    files = {
        "train.bin": write_ids(folder / "train.bin", [np.arange(3)], np.dtype("<u2")),
        "train.docs.npy": write_docs(folder / "train.docs.npy", [totals], 1),
    }
    counts = {"tokens": 3, "documents": 1, "text_bytes": 9}
    write_manifest(folder, {"dtype": "uint16", "splits": {"train": {**counts, "files": files}}})
    return hashes(folder)


def into_cache(folder: Path, cache: Path) -> None:
    """What `dvc commit` would do with a folder."""
    listed = [{"md5": md5_of(path), "relpath": path.name} for path in sorted(folder.iterdir())]
    (folder.parent / "listed").write_text(json.dumps(listed, sort_keys=True))
    named = {found["md5"]: folder / found["relpath"] for found in listed}
    named[md5_of(folder.parent / "listed") + ".dir"] = folder.parent / "listed"
    for name, path in named.items():
        object_path(cache, name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, object_path(cache, name))


def flip(path: Path) -> None:
    """Turn a bit in the middle of a file, which keeps its mode."""
    mode, content = path.stat().st_mode, bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(mode)


# --- what is shipped ---


def test_the_shipped_objects_are_those_of_dvc_lock_no_more_and_no_fewer():
    named = {
        object_path(ROOT / OBJECTS, md5) for md5 in file_list(ROOT / OBJECTS, VERSION).values()
    }
    named.add(object_path(ROOT / OBJECTS, VERSION))
    tracked = git(ROOT, "ls-files", "data/prebuilt").split()
    assert {ROOT / name for name in tracked} == named
    assert missing_objects(ROOT / OBJECTS, VERSION) == []
    assert sum(path.stat().st_size for path in named) < 4e6
    said = git(ROOT, "check-attr", "text", "--", *tracked).splitlines()
    assert {line.split(": ")[-1] for line in said} == {"unset"}


def test_a_fresh_clone_pulls_verifies_and_has_nothing_to_build(origin, tmp_path, bins):
    clone = cloned(origin, tmp_path / "clone", "-c", "core.autocrlf=true")
    assert script(clone, "pull").startswith(f"pulled {BINS}\n")
    assert "every byte" in script(clone, "verify")
    assert script(clone, "make_data").startswith("nothing to do")
    assert hashes(clone / BINS) == bins
    assert {path.name for path in (clone / "data/sample").iterdir()} == {"source", "bins"}
    assert git(clone, "status", "--porcelain") == ""
    assert dvc(clone, "data", "status") == "No changes.\n"
    assert script(clone, "pull").startswith("nothing to pull")


def test_pushing_to_prebuilt_makes_the_shipped_objects_and_git_takes_none_unasked(clone):
    script(clone, "pull")
    before = hashes(clone / OBJECTS)
    shutil.rmtree(clone / OBJECTS)
    script(clone, "push", "--remote", "prebuilt")
    assert hashes(clone / OBJECTS) == before
    git(clone, "rm", "-rq", "--cached", "data/prebuilt")
    git(clone, "add", "-A")
    assert git(clone, "ls-files", "data/prebuilt") == ""


def test_pulling_another_dataset_makes_it_the_chosen_one_where_that_works(clone, bins):
    lock = (clone / "dvc.lock").read_text()
    (clone / "dvc.lock").write_text(lock + re.sub("sample", "twin", lock.split("stages:\n")[1]))
    edit(clone / "params.yaml", "datasets:\n", "datasets:\n  twin: {kind: generated}\n")
    assert "names no bins of tinystories" in script(clone, "pull", "tinystories", fails=True)
    assert "dataset: sample " in (clone / "params.yaml").read_text()
    script(clone, "pull", "twin")
    assert hashes(clone / "data/twin/bins") == bins
    assert "dataset: twin " in (clone / "params.yaml").read_text()


# --- what a pull keeps, and what it repairs ---


def test_bins_that_are_nowhere_else_are_not_lost_by_a_pull(clone, bins):
    other = other_bins(clone / BINS)
    said = script(clone, "pull", fails=True)
    assert said.startswith(f"error: {BINS} is neither what dvc.lock names nor in DVC's cache")
    assert hashes(clone / BINS) == other
    into_cache(clone / BINS, clone / CACHE)
    script(clone, "pull")
    assert hashes(clone / BINS) == bins


def test_broken_bins_are_replaced_but_not_a_file_of_another_s(clone, bins):
    script(clone, "pull")
    flip(clone / BINS / "train.bin")
    (clone / BINS / "notes.txt").write_text("mine")
    assert f"error: {BINS}/notes.txt is neither" in script(clone, "pull", fails=True)
    (clone / BINS / "notes.txt").unlink()
    script(clone, "pull")
    assert hashes(clone / BINS) == bins


def test_a_corrupt_object_in_the_cache_is_fetched_again_and_one_in_the_remote_refused(clone, bins):
    script(clone, "pull")
    largest = max((clone / CACHE).glob("*/*"), key=lambda path: path.stat().st_size)
    flip(largest)
    shutil.rmtree(clone / BINS)
    script(clone, "pull")
    assert hashes(clone / BINS) == bins and missing_objects(clone / CACHE, VERSION) == []
    shutil.rmtree(clone / CACHE)
    flip(clone / OBJECTS / largest.relative_to(clone / CACHE))
    (clone / BINS / "train.bin").unlink()
    said = script(clone, "pull", fails=True)
    assert "`git restore data/prebuilt` brings back" in said and said.count("\n") == 1
    assert f"{largest.parent.name}/{largest.name} is missing or corrupt" in said
    assert not (clone / BINS / "train.bin").exists(), "what was there is as it was"
    git(clone, "restore", "data/prebuilt")
    script(clone, "pull")
    assert hashes(clone / BINS) == bins


# --- what ends a pull ---

# Runs a script, and sends itself a signal before the first change to a file that fits a pattern.
STOPPED = """
import os, re, runpy, signal, sys
number, sign, name = int(sys.argv.pop(1)), sys.argv.pop(1), sys.argv.pop(1)
def hook(event, args):
    writes = event == "open" and isinstance(args[2], int) and args[2] & os.O_CREAT
    if writes or event in ("os.rename", "os.remove", "os.mkdir", "os.chmod"):
        if re.search(sign, " ".join([event, *(str(arg) for arg in args[:2])])):
            signal.raise_signal(number)
sys.addaudithook(hook)
runpy.run_module(name, run_name="__main__")
"""
MOMENTS = {
    "an object is there, unchecked": r"^os.chmod .*/cache/files/md5/../\w{30} 292",
    "bins are being copied": r"^os.rename .*/bins\.\d+\.tmp/.* .*/train.bin",
    "neither has the name": r"^os.rename \S*/bins\.\d+\.tmp \S*/bins$",
}


def stopped(clone: Path, number: int, sign: str) -> subprocess.CompletedProcess:
    words = [sys.executable, "-c", STOPPED, str(number), sign, "scripts.pull"]
    pipes = {"capture_output": True, "text": True, "check": False}
    return subprocess.run(words, cwd=clone, env=environment(clone), **pipes)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_pull_killed_at_any_moment_leaves_the_old_or_the_new_and_a_rerun_ends_well(
    clone, bins, moment
):
    old = other_bins(clone / BINS)
    into_cache(clone / BINS, clone / CACHE)
    done = stopped(clone, signal.SIGKILL, MOMENTS[moment])
    assert done.returncode == -signal.SIGKILL
    assert (clone / BINS).exists() == (moment != "neither has the name")
    assert not (clone / BINS).exists() or hashes(clone / BINS) == old
    script(clone, "pull")
    assert hashes(clone / BINS) == bins and list(clone.rglob("*.tmp")) == []


def test_ctrl_c_in_a_pull_is_one_line_and_the_next_goes_on(clone, bins):
    done = stopped(clone, signal.SIGINT, r"^open .*/cache/.*\.tmp ")
    assert done.returncode == 1 and done.stdout == "", done
    assert done.stderr == "error: interrupted; run the same command again to go on\n"
    script(clone, "pull")
    assert hashes(clone / BINS) == bins


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own, where we may mount one."""
    (tmp_path / "disk").mkdir()
    if not mount("-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", tmp_path / "disk"):
        pytest.skip("a full disk needs leave to mount a tmpfs (root)")
    yield tmp_path / "disk"
    subprocess.run(["umount", "--lazy", tmp_path / "disk"], check=True)


def mount(*words: str | Path) -> bool:
    found = shutil.which("mount")
    return (
        found and not subprocess.run([found, *words], capture_output=True, check=False).returncode
    )


def test_a_full_disk_in_a_pull_is_one_line_and_once_freed_the_same_bins(origin, disk, bins):
    clone = cloned(origin, disk / "clone")
    for free in (2**20, 3 * 2**20):  # in the way into the cache, and from there to the workspace
        used = shutil.disk_usage(disk).used
        assert mount("-o", f"remount,size={used + free}", disk)
        said = script(clone, "pull", fails=True)
        assert mount("-o", f"remount,size={SIZE}", disk)
        assert "the disk is full" in said and said.count("\n") == 1, said
        assert not (clone / BINS).exists()
    script(clone, "pull")
    assert hashes(clone / BINS) == bins and list(clone.rglob("*.tmp")) == []


# --- what is not pushed ---


def test_a_push_asks_for_a_remote_and_a_commit(clone):
    script(clone, "pull")
    assert "to which remote?" in script(clone, "push", fails=True)
    for name in ("dvc.lock", "params.yaml", "data/sample/source/new.txt"):
        with (clone / name).open("a") as file:
            file.write("# changed\n")
        said = script(clone, "push", "--remote", "prebuilt", fails=True)
        assert f"error: {name} is not committed" in said
        commit(clone)
    assert "0 files" in script(clone, "push", "--remote", "prebuilt")


def test_what_rots_in_the_workspace_is_not_pushed_and_what_rots_in_the_cache_does_not_matter(clone):
    script(clone, "pull")
    flip(max((clone / CACHE).glob("*/*"), key=lambda path: path.stat().st_size))
    shipped = hashes(clone / OBJECTS)
    shutil.rmtree(clone / OBJECTS)
    assert "6 files" in script(clone, "push", "--remote", "prebuilt")
    assert hashes(clone / OBJECTS) == shipped
    shutil.rmtree(clone / OBJECTS)
    flip(clone / BINS / "train.bin")
    said = script(clone, "push", "--remote", "prebuilt", fails=True)
    assert "train.bin differs in chunk 0" in said and "FIX=1` repairs it before a push" in said
    assert not (clone / OBJECTS).exists()


# --- who is at work ---


def test_one_works_and_the_others_say_who(clone):
    (clone / "data/.lock").write_text("`make data` (process 7)")
    with (clone / "data/.lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for words in (["pull"], ["push", "--remote", "prebuilt"], ["clean"]):
            said = script(clone, *words, fails=True)
            assert said == "error: `make data` (process 7) is at work here; wait until it ends\n"


def test_a_plain_dvc_at_work_is_named_and_one_that_is_dead_is_no_obstacle(clone):
    script(clone, "pull")
    with (clone / ".dvc/tmp/lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "is at work here; wait until it ends" in script(clone, "make_data", fails=True)
    locks, path = clone / ".dvc/tmp/rwlock", str(clone / BINS)
    holder = {"pid": os.getpid(), "cmd": "dvc repro"}
    locks.write_text(json.dumps({"write": {path: holder}, "read": {}}))  # while a stage runs
    said = f"error: `dvc repro` (process {os.getpid()}) is at work here; wait until it ends\n"
    assert script(clone, "pull", fails=True) == said
    os.utime(locks, (0, 0))  # before this process began: a dead one had its id
    assert script(clone, "make_data").startswith("nothing to do")


# --- leftovers, and what can be made again ---


def test_what_killed_runs_left_is_removed_and_what_a_living_one_writes_is_not(clone):
    script(clone, "pull")
    dead = [f"{name}.999999999.tmp" for name in ("params.yaml", "dvc.lock", "data/sample/raw")]
    dead += ["data/sample/bins.999999999.old.tmp/a", f"{BINS}/.x.tmp"]
    dead += [f"{CACHE}/.x.tmp", f"{CACHE}/ab/.x.tmp", f"{OBJECTS}/ab/.x.tmp"]
    for name in [*dead, f"data/sample/tokens.{os.getpid()}.tmp/a"]:
        (clone / name).parent.mkdir(exist_ok=True)
        (clone / name).write_text("half")
    assert git(clone, "status", "--porcelain") == ""
    assert script(clone, "make_data").startswith("nothing to do")
    assert [path.name for path in clone.rglob("*.tmp")] == [f"tokens.{os.getpid()}.tmp"]
    assert "every byte" in script(clone, "verify")


def test_clean_removes_what_can_be_made_again_and_nothing_else(clone):
    script(clone, "pull")
    (clone / "data/sample/raw").mkdir()
    assert script(clone, "clean") == f"removed data/sample/raw\nremoved {BINS}\n"
    assert {path.name for path in (clone / "data/sample").iterdir()} == {"source"}
    assert git(clone, "status", "--porcelain") == ""
    script(clone, "pull")
    flip(clone / BINS / "train.bin")  # broken ones are worth nothing where the cache has whole ones
    assert f"removed {BINS}\n" in script(clone, "clean")
    assert (
        missing_objects(clone / CACHE, VERSION) == []
        and missing_objects(clone / OBJECTS, VERSION) == []
    )


def test_clean_keeps_bins_that_the_cache_has_not_and_text_whose_source_is_gone(clone, bins):
    script(clone, "pull")
    flip(max((clone / CACHE).glob("*/*"), key=lambda path: path.stat().st_size))
    (clone / "data/mine/raw").mkdir(parents=True)  # params.yaml of this commit has no such dataset
    said = script(clone, "clean")
    assert f"kept {BINS}: DVC's cache does not have them; `rm -rf {BINS}` gives them up\n" in said
    assert "kept data/mine/raw: params.yaml has no dataset 'mine'" in said
    assert hashes(clone / BINS) == bins and (clone / "data/mine/raw").exists()


def test_clean_keeps_what_somebody_else_put_among_the_bins_and_ends_a_killed_mend(clone):
    script(clone, "pull")
    shutil.copytree(clone / BINS, clone / "data/sample/damaged.tmp")
    flip(clone / "data/sample/damaged.tmp/train.bin")
    (clone / BINS / "notes.txt").write_text("mine")
    said = script(clone, "clean")
    assert f"kept {BINS}: DVC's cache does not have {BINS}/notes.txt; " in said
    assert "removed data/sample/damaged.tmp" in said
    assert {path.name for path in (clone / "data/sample").iterdir()} == {"source", "bins"}
    (clone / BINS / "notes.txt").rename(clone / "notes.txt")
    assert script(clone, "clean") == f"removed {BINS}\n"


def test_make_clean_without_an_environment_leaves_data_as_it_is(clone):
    (clone / BINS).mkdir()
    words = ["make", "-s", "clean", f"VENV={clone}/none"]
    pipes = {"capture_output": True, "text": True, "check": True}
    done = subprocess.run(words, cwd=clone, env=environment(clone), **pipes)
    assert "data/ stays as it is" in done.stdout and (clone / BINS).exists()
