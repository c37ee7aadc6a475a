"""A copy of this repository's files in a folder of its own, where a test may build and break."""

import hashlib
import os
import shutil
import subprocess
import sys
from importlib.util import cache_from_source
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHON = Path(sys.executable)  # what runs the commands; tests put one here that starts faster
EXCERPT = ROOT.parent / "shared" / "tinystories"


def workspace(folder: Path) -> Path:
    """The files that git knows or would add, committed in `folder`: what a clone would hold."""
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            _copy(ROOT / name, folder / name)
    git(folder, "init", "-q")
    for key, value in (("name", "test"), ("email", "test@example.org")):  # of nobody's own settings
        git(folder, "config", f"user.{key}", value)
    git(folder, "add", "-A", "-f")  # data/prebuilt is ignored, and shipped by force
    commit(folder)
    for name in filter(None, listed.split("\0")):  # what is compiled already, as in a used clone
        if name.endswith(".py") and (ROOT / cache_from_source(name)).is_file():
            _copy(ROOT / cache_from_source(name), folder / cache_from_source(name))
    return folder


def _copy(file: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(file, to)


def git(folder: Path, *words: str) -> str:
    """What a git command prints."""
    return _run(folder, "git", *words).stdout


def commit(folder: Path) -> None:
    """Commit all that is in the folder."""
    git(folder, "add", "-A")
    named = ("-c", "user.name=test", "-c", "user.email=test@example.org")  # in a clone, too
    git(folder, *named, "commit", "-q", "--allow-empty", "-m", "test")


def script(folder: Path, name: str, *words: str, fails: bool = False) -> str:
    """What `python -m scripts.<name>` prints (on standard error, where it should fail)."""
    done = _run(folder, str(PYTHON), "-m", f"scripts.{name}", *words, check=not fails)
    if fails:
        assert done.returncode == 1, done
        assert "Traceback" not in done.stderr, done.stderr
    return done.stderr if fails else done.stdout


def dvc(folder: Path, *words: str) -> str:
    """What a dvc command prints."""
    return _run(folder, str(PYTHON), "-m", "dvc", *words).stdout


def edit(file: Path, old: str, new: str, times: int = 1) -> None:
    """Replace `old`, which occurs so many times."""
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == times, (file, old)
    file.write_text(text.replace(old, new), encoding="utf-8")


def add_dataset(folder: Path, name: str, lines: str) -> Path:
    """Give params.yaml a dataset of kind `files` with these lines; return its source folder."""
    add_entry(folder, name, "files", lines.split("\n"))
    source = folder / "data" / name / "source"
    source.mkdir(parents=True)
    return source


def add_entry(folder: Path, name: str, kind: str, lines: list[str]) -> None:
    """Give params.yaml a dataset of this kind with these lines."""
    entry = "".join(f"    {line}\n" for line in [f"kind: {kind}", *lines])
    edit(folder / "params.yaml", "datasets:\n", f"datasets:\n  {name}:\n{entry}")


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of each file below a folder, by its name there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def environment(folder: Path) -> dict[str, str]:
    """This environment's Python first on PATH, and the folder's own slm before the installed."""
    own = (str(PYTHON.parent), str(Path(sys.executable).parent))
    path = os.pathsep.join([*own, os.environ["PATH"]])
    outer = {"PYTHONDONTWRITEBYTECODE", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"}  # a make around us
    outer |= {"ARGS", "DATASET", "DOCUMENTS", "REMOTE", "A", "B", "FIX", "ROWS", "TRAIN"}
    kept = {key: value for key, value in os.environ.items() if key not in outer}
    return {**kept, "PATH": path, "PYTHONPATH": str(folder)}


def _run(folder: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess:
    done = subprocess.run(
        words, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False
    )
    assert not check or done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done
