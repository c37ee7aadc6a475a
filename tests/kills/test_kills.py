"""Crashes and faults: whatever ends a build, running it again ends in the undisturbed bins.

This is the short form; `make test-kills` plays many more random kills.
"""

import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.helpers import parquet
from tests.hub_faults import FaultyHub
from tests.kills.ground import OUTS, Ground
from tests.kills.random_kills import ENDINGS, drawn, play
from tests.workspace import ROOT, commit, environment

SIZE = 256 * 2**20


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that is a small disk of its own where we may mount one, else any folder."""
    folder = tmp_path_factory.mktemp("disk")
    if _mount("-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", folder):
        yield folder
        subprocess.run(["umount", "--lazy", folder], check=True)
    else:
        yield folder


def _mount(*words: str | Path) -> bool:
    return (
        shutil.which("mount")
        and not subprocess.run(["mount", *words], capture_output=True, check=False).returncode
    )


@pytest.fixture(scope="module")
def ground(disk: Path) -> Ground:
    return Ground(disk, documents=600)


@pytest.fixture(autouse=True)
def as_built(request: pytest.FixtureRequest, ground: Ground) -> Iterator[None]:
    """Tests share the ground: one that fails leaves the truth to the next."""
    failed = request.session.testsfailed
    yield
    if request.session.testsfailed > failed:
        ground.repair()


# --- ends of processes ---


def number_of(fixed: str | None = None, **wanted: str) -> int:
    """The first round of seed 0 that is drawn so; its ending may be fixed."""
    rounds = (drawn(random.Random(f"0/{number}"), number, fixed) for number in range(1000))
    return next(found.number for found in rounds if wanted.items() <= vars(found).items())


# A single stage is killed before its rename in test_pipeline, and anywhere in the long form.
KILLS = {
    "all": {"victim": "make_data", "ending": "group", "moment": "writing", "start": "nothing"},
    "DVC alone": {"victim": "make_data", "ending": ENDINGS[1], "moment": "writing"},
}


@pytest.mark.parametrize("kill", KILLS)
def test_a_build_killed_at_a_random_moment_is_made_good_by_the_next(ground, kill):
    assert not play(ground, number_of(**KILLS[kill]), seed=0).wrong


def test_ctrl_c_is_one_line_and_the_next_run_goes_on(ground):
    number = number_of("Ctrl-C", start="end of text", moment="uniform")
    assert not play(ground, number, 0, "Ctrl-C").wrong


# Runs make_data, and kills it once the file that argv[1] names was opened to be written in place.
KILLED = """
import builtins, os, runpy, signal, sys
name, real = os.path.abspath(sys.argv.pop(1)), builtins.open
def opened(file, mode="r", *more, **and_more):
    found = real(file, mode, *more, **and_more)
    if "w" in mode and os.path.abspath(file) == name:
        os.kill(os.getpid(), signal.SIGKILL)
    return found
builtins.open = opened
runpy.run_module("scripts.make_data", run_name="__main__")
"""


def test_what_dvc_writes_in_place_is_not_lost_or_no_obstacle_when_it_is_killed(ground):
    """A kill between opening and writing; the long form meets it for dvc.lock now and then."""
    ground.remove("bins")
    words = [sys.executable, "-c", KILLED, "dvc.lock", "faults"]
    subprocess.run(words, cwd=ground.root, env=environment(ground.root), check=False)
    assert not ground.not_whole()
    (ground.root / ".dvc/tmp/rwlock").write_text("")  # as a kill leaves that one
    assert not ground.rerun() and not ground.different()


# --- a full disk ---


def test_a_full_disk_is_one_line_at_every_stage_and_once_freed_the_same_bins(ground, disk):
    if not os.path.ismount(disk):
        pytest.skip("a full disk needs leave to mount a tmpfs (root)")
    sizes = {out: _size(ground.data / out, linked=out != "raw") for out in OUTS}
    ground.remove(*OUTS, records=True)
    ground.set_policy("append")  # without end-of-text, bins are links to tokens and take no room
    before = sum(sizes[out] for out in ("raw", "facts", "selection", "vocabulary"))
    for free, stages in (
        (sizes["raw"] // 2, []),
        (before + sizes["tokens"] // 2, ["download", "audit", "select", "vocabulary"]),
        (sizes["tokens"] + sizes["bins"] // 2, ["tokenize"]),
        (sizes["bins"] * 3 // 2, ["bins"]),  # the workspace has them, DVC's cache has not
    ):
        used = shutil.disk_usage(disk).used
        assert _mount("-o", f"remount,size={(used + free) // 4096 * 4096}", disk)
        job = ground.start("make_data")
        said = job.communicate(timeout=60)[0].strip().split("\n")
        assert _mount("-o", f"remount,size={SIZE}", disk)  # an assertion leaves it usable
        assert job.returncode == 1 and "the disk is full" in said[-1], said
        assert [line.split(":")[0] for line in said[:-1]] == stages, said
        assert not ground.not_whole()
    assert not ground.rerun() and not ground.different()


def _size(folder: Path, linked: bool) -> int:
    """Bytes of a folder's files; without those that are links to their source, unless `linked`."""
    files = [path.stat() for path in folder.iterdir()]
    return sum(file.st_size for file in files if linked or file.st_nlink == 1)


# --- bits that flip at rest ---


def flip(path: Path, draw: random.Random) -> None:
    """Turn one bit, and leave size and time as they were: nobody wrote this."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(content)
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_bit_that_flips_in_tokens_and_in_dvc_s_cache_is_noticed_and_the_line_repairs_it(ground):
    whole = (ground.data / "bins" / "train.bin").read_bytes()
    (copy,) = (path for path in ground.objects() if path.read_bytes() == whole)
    flip(ground.data / "tokens" / "train.ids", random.Random(1))
    flip(copy, random.Random(2))
    ground.remove("bins", cache=False)
    said = ground.start("write_bins").communicate(timeout=60)[0]
    assert said.count("\n") == 1 and "is not as tokens.json says" in said, said
    follow(ground, said)
    assert "built" in ground.start("make_data").communicate(timeout=60)[0]  # from the cache
    said = ground.start("verify").communicate(timeout=60)[0]
    assert "train.bin differs in chunk 0" in said and "FIX=1` repairs it" in said
    commit(ground.root)  # a repair takes what the committed dvc.lock names
    said = ground.start("verify", "scripts.verify", "faults", "--fix").communicate(timeout=60)[0]
    assert "repaired: built again" in said
    assert not ground.rerun() and not ground.different()


def follow(ground: Ground, said: str) -> None:
    """Do what the error line says, as the user would."""
    remove = re.search(r"`(rm -rf? [^`]+)`", said)[1].split()
    subprocess.run(remove, cwd=ground.root, check=True)


# --- faults between the hub and here ---


@pytest.mark.parametrize("kind", ["cut", "flip"])
def test_a_fault_in_flight_is_repaired_at_once_or_by_the_next_run(tmp_path, kind):
    entry = {"kind": "hub", "path": "some/stories", "column": "text", "splits": ["train"]}
    content = parquet([f"Story {i} is about a hill." * 20 for i in range(2000)], rows=500)
    with FaultyHub() as hub:
        revision = hub.publish("some/stories", {"data/train.parquet": content})
        (tmp_path / "data/x/source").mkdir(parents=True)
        params = {"dataset": "x", "datasets": {"x": {**entry, "revision": revision}}}
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
        hub.fault(kind, path="GET /files/", times=1, at=random.Random(kind).randrange(len(content)))
        env = {**environment(ROOT), **hub.environment(tmp_path / "home")}
        words = [sys.executable, "-m", "scripts.download", "x"]
        runs = {"cwd": tmp_path, "env": env, "capture_output": True, "text": True, "check": False}
        first = subprocess.run(words, **runs)
        raw = tmp_path / "data/x/raw"
        assert first.returncode == (kind == "flip"), first
        assert raw.exists() == (kind == "cut"), "what is wrong does not land"
        assert raw.exists() or subprocess.run(words, **runs).returncode == 0
    assert (raw / "train-00000-of-00001.parquet").read_bytes() == content
