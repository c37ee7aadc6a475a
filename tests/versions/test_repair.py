"""Corrupt bins are found, wherever they are, and repaired to what the committed lock names."""

import io
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest

from scripts import verify as script_verify
from slm.core.errors import UserError
from slm.versions.cache import all_objects, corrupt_objects, file_list, object_path
from slm.versions.lock import locked_hash
from slm.versions.pipeline import open_repo
from tests.pages import PAGES
from tests.workspace import commit, edit, environment, git, hashes, script

BINS, TOKENS, CACHE = (Path(p) for p in ("data/sample/bins", "data/sample/tokens", ".dvc/cache"))
OBJECTS, STORE = CACHE / "files/md5", Path("store/files/md5")
HOWS = ("flip", "truncate", "empty")


def made(sample: Path, folder: Path, kind: str) -> bytes:
    """A built and committed workspace, its bins pushed to a folder in it; as a tar with links."""
    shutil.copytree(sample, folder, symlinks=True, dirs_exist_ok=True)
    config = (
        f"[core]\nremote = store\n[cache]\ntype = {kind}\n['remote \"store\"']\nurl = ../store\n"
    )
    (folder / ".dvc/config.local").write_text(config)
    with (folder / ".gitignore").open("a") as ignored:
        ignored.write("/store/\n/.dvc/config.local\n")
    if kind != "copy":  # its files are links to one another
        for gone in (TOKENS, CACHE):
            shutil.rmtree(folder / gone)
        shutil.rmtree(folder / BINS)
        script(folder, "make_data")
    commit(folder)
    shutil.copytree(folder / OBJECTS, folder / STORE)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(folder, ".")
    return packed.getvalue()


@pytest.fixture(scope="module")
def packed(small_sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """Built once for each cache type; a tar keeps hard links, which copytree does not."""
    found: dict[str, bytes] = {}

    def of(kind: str) -> bytes:
        if kind not in found:
            found[kind] = made(small_sample, tmp_path_factory.mktemp(kind), kind)
        return found[kind]

    return of


class Here:
    """A built workspace, which is the working directory, to break and to repair."""

    def __init__(self, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys, self._patch = capsys, monkeypatch
        self.lock, self.params = Path("dvc.lock").read_bytes(), Path("params.yaml").read_bytes()
        self.bins = hashes(BINS)
        self.name = locked_hash(Path("dvc.lock"), "bins@sample", str(BINS))
        self.objects = file_list(OBJECTS, self.name)

    def verify(self, *words: str) -> str:
        """What `make verify` says, where it ends well."""
        self._patch.setattr(sys, "argv", ["verify", *words])
        script_verify.main()
        return "".join(self._capsys.readouterr())

    def found(self, *words: str) -> str:
        """What it says where it does not: the lines, and the last one."""
        with pytest.raises(UserError) as error:
            self.verify(*words)
        return self._capsys.readouterr().err + str(error.value)

    def fixed(self, *words: str) -> str:
        """What FIX=1 says, after which all is as it was committed."""
        said = self.verify("sample", "--fix", *words)
        assert hashes(BINS) == self.bins
        assert Path("dvc.lock").read_bytes() == self.lock
        assert Path("params.yaml").read_bytes() == self.params
        assert not corrupt_objects(OBJECTS, all_objects(OBJECTS)) and self.name in all_objects(
            OBJECTS
        )
        assert not list(Path("data/sample").glob("*.tmp"))
        assert "every byte" in said
        return said

    def object(self, name: str = "train.bin", objects: Path = OBJECTS) -> Path:
        return object_path(objects, self.objects[name])


@pytest.fixture
def unpacked(packed, tmp_path, capsys, monkeypatch) -> Callable[[str], Here]:
    def of(kind: str) -> Here:
        with tarfile.open(fileobj=io.BytesIO(packed(kind))) as tar:
            tar.extraction_filter = lambda member, _: member  # our own, and its links are meant
            tar.extractall(tmp_path)  # noqa: S202
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        return Here(capsys, monkeypatch)

    return of


@pytest.fixture
def here(unpacked) -> Iterator[Here]:
    return unpacked("copy")


def spoil(path: Path, how: str = "flip") -> None:
    """Change a file's bytes where they lie and leave its time as it was: nobody wrote this."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[random.Random(str(path.name)).randrange(len(content))] ^= 4
    content = {"flip": content, "truncate": content[: len(content) // 2], "empty": b""}[how]
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(content)
        file.truncate()
    path.chmod(before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def all_files() -> dict[str, str]:
    """What is here, but for the files that say who is at work."""
    ours = ("data/.lock", ".dvc/tmp/")
    return {name: sha for name, sha in hashes(Path()).items() if not name.startswith(ours)}


def no_copies() -> None:
    """Neither cache nor remote."""
    shutil.rmtree(CACHE)
    shutil.rmtree("store")


# --- one thing at a time ---


@pytest.mark.parametrize("how", HOWS)
def test_what_rots_in_the_bins_comes_back_from_the_cache(here, how):
    shutil.rmtree("store")
    for name in ("train.bin", "validation.docs.npy", "manifest.json"):
        spoil(BINS / name, how)
        before = all_files()
        said = here.found()
        assert name in said and said.endswith("; `make verify DATASET=sample FIX=1` repairs it")
        assert all_files() == before, "it only looked"
        assert "repaired from DVC's cache" in here.fixed()


@pytest.mark.parametrize("how", HOWS)
def test_what_rots_in_the_cache_is_removed_and_comes_back_from_the_bins(here, how):
    shutil.rmtree("store")
    for path in (here.object(), here.object("manifest.json"), object_path(OBJECTS, here.name)):
        spoil(path, how)
        before = all_files()
        said = here.found()
        assert f"{path} had other bytes than its name says" in said and "bins is intact" in said
        assert before.items() - all_files().items() == {(str(path), before[str(path)])}
        here.fixed()
        assert path.is_file()


def test_what_rots_in_the_cache_together_with_its_list_is_repaired_in_one_go(here):
    spoil(object_path(OBJECTS, here.name))
    spoil(here.object())
    here.fixed()


@pytest.mark.parametrize("how", HOWS)
def test_what_rots_in_bins_and_cache_comes_back_from_the_remote(here, how):
    spoil(BINS / "train.bin", how)
    spoil(here.object(), how)
    spoil(here.object("validation.bin"), how)
    assert "train.bin" in here.found()
    said = here.fixed("--remote", "store")
    assert "repaired from the remote" in said and "built" not in said


@pytest.mark.parametrize("how", HOWS)
def test_with_hard_links_one_fault_is_in_bins_cache_and_tokens_and_all_are_repaired(unpacked, how):
    here = unpacked("hardlink")
    assert (BINS / "train.bin").samefile(here.object())
    assert (BINS / "train.bin").samefile(TOKENS / "train.ids")
    spoil(BINS / "train.bin", how)
    said = here.found()
    assert "train.bin " in said and str(here.object()) in said
    assert "tokens/train.ids was not as tokens.json says" in said
    assert not TOKENS.exists() and not here.object().exists()
    assert "repaired from the remote" in here.fixed()
    assert (BINS / "train.bin").samefile(here.object())


def test_tokens_that_rot_are_removed_and_the_bins_stay(here):
    intact = shutil.copytree(TOKENS, "intact")
    for name, how in (*product(("train.totals", "validation.ids"), HOWS), ("tokens.json", "empty")):
        spoil(TOKENS / name, how)
        said = here.found()
        assert f"tokens/{name} was not as tokens.json says" in said and not TOKENS.exists()
        here.fixed()
        shutil.copytree(intact, TOKENS)


def test_after_a_repair_dvc_finds_nothing_to_say(here):
    spoil(BINS / "train.bin")
    spoil(here.object("validation.bin"))
    here.fixed()
    with open_repo() as repo:
        status = repo.data_status()
        assert not status["uncommitted"] and not status["not_in_cache"]
        assert not repo.status(targets=["dvc.yaml"])


def test_a_flipped_bit_reads_as_the_readme_says(here):
    spoil(BINS / "train.bin")
    line = here.found().splitlines()[0]
    shown = re.search(r'"(data/sample/bins/train.bin differs [^"]*)"', PAGES["docs/versions.md"])[1]
    assert re.sub(r"[\d,]*\d", "N", line) == re.sub(r"[\d,]*\d", "N", shown)


def test_a_missing_file_and_missing_bins_come_back(here):
    (BINS / "train.bin").unlink()
    assert "train.bin is missing" in here.found()
    here.fixed()
    shutil.rmtree(BINS)
    assert "no bins here" in here.found()
    here.fixed()


def test_a_stray_is_taken_out_of_the_bins_and_kept(here):
    (BINS / "notes.txt").write_text("seeds of my runs")
    assert "notes.txt is not of these bins" in here.found()
    here.fixed()
    (kept,) = Path("data/sample").glob("strays.*/notes.txt")
    assert kept.read_text() == "seeds of my runs"


def test_intact_files_of_damaged_bins_replace_objects_that_are_missing_in_the_cache(here):
    shutil.rmtree("store")
    here.object("validation.bin").unlink()
    spoil(BINS / "train.bin")
    assert "repaired from DVC's cache" in here.fixed()


def test_a_pulled_workspace_is_repaired_without_text_and_without_a_stage(here):
    for name in ("raw", "vocabulary", "tokens", "bins"):
        shutil.rmtree(f"data/sample/{name}")
    shutil.rmtree(CACHE)
    assert "repaired from the remote" in here.fixed()
    assert not Path("data/sample/raw").exists()


# --- building again ---


@pytest.mark.parametrize("how", HOWS)
def test_a_corrupt_remote_is_refused_and_the_bins_are_built_again(here, how):
    """Also where params.yaml chooses another dataset, which it does again afterwards."""
    shutil.rmtree(CACHE)
    shutil.rmtree(BINS)
    spoil(here.object(objects=STORE) if how != "empty" else object_path(STORE, here.name), how)
    edit(Path("params.yaml"), "dataset: sample", "dataset: tinystories")
    here.params = Path("params.yaml").read_bytes()
    said = here.fixed()
    assert "is corrupt" in said and "repaired: built again" in said


def test_where_everything_is_corrupt_but_the_source_the_bins_are_built_from_that(unpacked):
    here = unpacked("hardlink")
    with open_repo() as repo:
        repo.status(
            targets=["dvc.yaml"]
        )  # DVC remembers the hashes by time and size, which rot leaves alone
    shutil.rmtree("store")
    spoil(object_path(OBJECTS, here.name))  # nobody knows now which objects are those of these bins
    spoil(BINS / "train.bin")
    spoil(Path("data/sample/raw/train-00000-of-00001.jsonl"))
    said = here.fixed()
    assert "data/sample/raw is not what dvc.lock names" in said and "built again" in said


# Repairs, and is killed where argv[1] says: as bins are given their name, or once they are built.
KILLED = """
import os, signal, sys
import slm.core.files, slm.versions.repair
from scripts.verify import main
def killed(*words, **more):
    os.kill(os.getpid(), signal.SIGKILL)
def built(*words, real=slm.versions.repair.build, **more):
    real(*words, **more)
    killed()
where = sys.argv.pop(1)
if where == "landing":
    slm.core.files._replace, slm.versions.repair.build = killed, None
else:
    slm.core.files._replace, slm.versions.repair.build = None, built
main()
"""


def killed(where: str) -> None:
    words = [sys.executable, "-c", KILLED, where, "--fix"]
    done = subprocess.run(words, env=environment(Path.cwd()), capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done


def test_a_repair_that_was_killed_is_ended_by_the_next(here):
    spoil(BINS / "train.bin")
    killed("landing")
    assert list(Path("data/sample").glob("bins.*.tmp"))
    assert "repaired from DVC's cache" in here.fixed()


def test_a_build_that_was_killed_in_a_repair_has_not_touched_dvc_lock(here):
    no_copies()
    spoil(BINS / "train.bin")
    shutil.rmtree(TOKENS)
    edit(
        Path("slm/bins/format.py"), '"""What is a bin?', '"""What are bins?'
    )  # another lock, same bins
    killed("built")
    assert Path("dvc.lock").read_bytes() == here.lock
    here.fixed()


def test_where_a_build_gives_another_version_the_bins_and_the_lock_are_as_they_were(here):
    no_copies()
    spoil(BINS / "train.bin")
    edit(Path("params.yaml"), "end_of_text: none", "end_of_text: append")
    before = hashes(BINS)
    said = here.found("--fix", "--remote", "nowhere")
    assert "remote 'nowhere' doesn't exist" in said
    assert "another version than the committed dvc.lock names" in said
    assert hashes(BINS) == before and Path("dvc.lock").read_bytes() == here.lock


def test_where_the_build_fails_the_bins_and_the_lock_are_as_they_were(here):
    no_copies()
    spoil(BINS / "train.bin")
    shutil.rmtree("data/sample/raw")
    edit(
        Path("slm/text/stories.toml"),
        "[",
        "(",
        Path("slm/text/stories.toml").read_text().count("["),
    )
    before = hashes(BINS)
    with pytest.raises((UserError, SystemExit)):
        here.verify("--fix")
    assert hashes(BINS) == before and Path("dvc.lock").read_bytes() == here.lock


# --- which lock ---


def test_what_is_built_and_not_committed_is_whole_and_said_to_be_uncommitted(here):
    edit(Path("params.yaml"), "end_of_text: none", "end_of_text: append")
    script(Path.cwd(), "make_data")
    built = hashes(BINS)
    assert built != here.bins
    said = here.verify("--fix")
    assert "every byte" in said and "note: dvc.lock is not committed" in said
    assert hashes(BINS) == built, "nothing to repair"
    here.lock, here.params = (Path(name).read_bytes() for name in ("dvc.lock", "params.yaml"))
    spoil(BINS / "validation.bin")
    here.found()
    said = here.verify("--fix")
    assert "note: dvc.lock here names another version than the last commit" in said
    assert hashes(BINS) == here.bins, "takes only what the committed lock names"
    assert Path("dvc.lock").read_bytes() == here.lock


def test_another_version_than_either_lock_names_is_no_whole_version(here):
    edit(Path("params.yaml"), "end_of_text: none", "end_of_text: append")
    script(Path.cwd(), "write_bins", "sample")
    assert "another version of the bins" in here.found()
    here.params = Path("params.yaml").read_bytes()
    here.fixed()


def test_without_a_committed_lock_there_is_nothing_to_mend_to(here):
    git(Path(), "rm", "-q", "--cached", "dvc.lock")
    named = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    git(Path(), *named, "commit", "-q", "-m", "no lock")
    assert "note: dvc.lock is not committed" in here.verify()
    spoil(BINS / "train.bin")
    assert (
        "the committed dvc.lock names no bins of sample to repair to; commit the one here"
        in here.found("--fix")
    )
    Path("dvc.lock").unlink()
    said = here.found()
    assert said.endswith("names any of sample; `make data DATASET=sample` builds them"), said


def test_without_git_a_verify_says_so_in_one_line(here, monkeypatch):
    monkeypatch.setenv("PATH", str(Path("nowhere").absolute()))
    assert here.found() == "git is not on PATH; versions are named by it, so install it"
