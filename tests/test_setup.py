"""Set-up installs what is due, and a set-up that fails leaves what worked."""

import os
import shutil
import struct
import subprocess
import sys
import sysconfig
import zipfile
from base64 import b64decode
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts import install_vocabulary
from scripts.install_vocabulary import CARRIED, rank_text
from scripts.set_up import _check_room, _failed, _move_scripts
from tests.workspace import ROOT, environment

NO_REGISTRY = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
NO_REGISTRY |= {"UV_OFFLINE": "1", "UV_NO_CACHE": "1"}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What set-up reads, in a folder whose path has a space and a letter beyond ASCII."""
    folder = tmp_path / "größe 1"
    (folder / "scripts").mkdir(parents=True)
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    for name in ("set_up.py", "install_vocabulary.py"):
        (folder / "scripts" / name).write_bytes((ROOT / "scripts" / name).read_bytes())
    return folder


def make(clone: Path, *words: str) -> subprocess.CompletedProcess:
    """`make` there, with a registry that has nothing."""
    return subprocess.run(
        ["make", f"PYTHON={sys.executable}", *words],
        cwd=clone,
        env=environment(clone) | NO_REGISTRY,
        capture_output=True,
        text=True,
    )


def installed(clone: Path, name: str) -> Path:
    """An environment that claims to be made from what is there."""
    files = [clone / "requirements.lock", *(clone / "scripts").glob("*.py")]
    files = sorted(files, key=lambda file: "requirements set_up install".index(file.name[:6]))
    content = b"".join(file.read_bytes() for file in files)
    done = subprocess.run(["git", "hash-object", "--stdin"], input=content, capture_output=True)
    (clone / name).mkdir()
    (clone / name / "installed").write_text(done.stdout.decode().strip())
    return clone / name


def test_a_lock_that_was_only_touched_installs_nothing(clone):
    installed(clone, ".venv")
    os.utime(clone / "requirements.lock")
    done = make(clone, "setup")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_environment_that_is_linked_from_another_clone_serves(clone):
    (clone / ".venv").symlink_to(installed(clone, "other"))
    done = make(clone, "setup")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_linked_environment_of_another_lock_is_left_alone_and_named(clone):
    other = installed(clone, "other")
    (clone / ".venv").symlink_to(other)
    with (clone / "requirements.lock").open("a") as file:
        file.write("another==1.0\n")
    done = make(clone, "setup")
    assert done.returncode and "Traceback" not in done.stderr
    assert f".venv is a link to {other}, which was not made from this" in done.stderr
    assert (clone / ".venv").is_symlink() and (other / "installed").exists()


@pytest.mark.slow
def test_a_set_up_that_fails_leaves_the_environment_that_worked(clone):
    subprocess.run(["git", "init", "-q"], cwd=clone, check=True)
    (clone / ".venv.old").mkdir()  # a kill between two renames left it with this name
    (clone / ".venv.old" / "works").write_text("")
    done = make(clone, "setup")
    assert done.returncode and "Traceback" not in done.stderr
    assert "error: set-up failed at" in done.stderr and ".venv is as it was" in done.stderr
    assert sorted(path.name for path in clone.glob(".venv*")) == [".venv"]
    assert (clone / ".venv" / "works").exists()


def test_a_first_set_up_that_fails_says_that_there_is_none_yet(clone):
    error = subprocess.CalledProcessError(1, ["uv", "pip", "install"])
    assert "`uv pip install`; there is no " in _failed(clone / ".venv", error)


def test_scripts_name_the_environment_as_it_is_called_in_the_end(tmp_path):
    script = tmp_path / "new" / "bin" / "dvc"
    script.parent.mkdir(parents=True)
    script.write_text(f"#!{tmp_path}/new/bin/python\n")
    _move_scripts(tmp_path / "new", tmp_path / "final")
    assert script.read_text() == f"#!{tmp_path}/final/bin/python\n"


def test_an_account_without_name_and_home_has_both_in_every_target():
    words = ["make", "-s", "--eval", "show: ; @echo $$USER $$HOME", "show"]
    done = subprocess.run(words, cwd=ROOT, env={"PATH": os.defpath}, capture_output=True, text=True)
    assert done.stdout == f"nobody {ROOT}/.dvc/tmp\n"


@given(st.dictionaries(st.integers(0, 2**32 - 1), st.binary(max_size=9), max_size=30))
def test_ranks_of_a_wheel_become_the_text_that_is_published(tokens):
    packed = struct.pack("<I", len(tokens))
    for rank, token in tokens.items():
        packed += struct.pack("<H", len(token)) + token + struct.pack("<I", rank)
    lines = [line.split(b" ") for line in rank_text(packed).splitlines()]
    assert [(int(rank), b64decode(token)) for token, rank in lines] == sorted(tokens.items())


def test_a_wheel_whose_ranks_are_not_the_published_ones_is_refused(tmp_path, monkeypatch):
    wheels = tmp_path / "share" / "wheels"
    wheels.mkdir(parents=True)
    with zipfile.ZipFile(wheels / "quicktok_v1-0.4.0-any.whl", "w") as archive:
        for name in CARRIED.values():
            archive.writestr(f"quicktok/data/{name}.vocab", struct.pack("<IHcI", 1, 1, b"a", 0))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    with pytest.raises(SystemExit) as error:
        install_vocabulary.main()
    assert "quicktok_v1-0.4.0-any.whl's cl100k is not the published file" in str(error.value)


def test_a_set_up_without_the_wheel_installs_gpt_2_s_vocabulary(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    install_vocabulary.main()
    written = {path.name for path in (tmp_path / "share" / "tiktoken").iterdir()}
    assert written == {*install_vocabulary.CACHED}
    assert "TIKTOKEN_CACHE_DIR" in (tmp_path / "tiktoken_cache.pth").read_text()


def test_a_folder_without_git_is_told_so_before_anything_is_installed(clone):
    done = make(clone, "setup")
    assert done.returncode == 2 and "git add -f data/prebuilt && git commit" in done.stderr
    assert [*clone.glob(".venv*")] == []


def test_a_disk_without_room_is_refused_first(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1.3e9))
    with pytest.raises(SystemExit, match=r"error: .* needs 1\.4 GB, or 5\.4 GB .* and 1\.3 GB are"):
        _check_room(tmp_path / ".venv")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1.5e9))
    _check_room(tmp_path / ".venv")


def test_without_a_python_the_ways_to_get_one_are_one_line(clone):
    done = make(clone, "setup", "PYTHON=")
    assert done.returncode == 2 and done.stderr.splitlines()[0].startswith(
        "error: no Python 3.11 to 3.14 found; `uv python install 3.13`"
    )
