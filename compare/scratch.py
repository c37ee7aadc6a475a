"""Where is a variant built? In a clone beside the data that shares what is built here.

In: a dataset, and the workspace. Out: for the block a clone, data/<dataset>/compare.<pid>.tmp, with
the workspace's uncommitted changes, hard links to what is built here (copies where the disk has no
links), and DVC's cache. The workspace is only read. A kill leaves the clone, and the next command
sweeps it.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager, suppress
from pathlib import Path

from slm.core.errors import UserError
from slm.core.files import link_or_copy
from slm.core.git import git, git_text
from slm.core.params import read_params
from slm.versions.dvc_internals import share_cache
from slm.versions.leftovers import remove
from slm.versions.pipeline import FOLDERS
from slm.versions.restore import restore
from slm.versions.verify import local_cache

MADE_OF = ("dvc.yaml", "dvc.lock", "params.yaml", "metrics", "scripts", "slm")
SHARED = ("source", *FOLDERS.values(), "bins")


@contextmanager
def scratch(dataset: str) -> Iterator[Path]:
    """A clone of this repository as it is here, uncommitted changes too, for the block.

    Yields the folder of the clone that is ours; below its top, where our repository is a part of
    another. Raises UserError where git or DVC cannot, as in a repository without a commit.
    """
    folder = Path("data", dataset, f"compare.{os.getpid()}.tmp").resolve()  # swept if killed
    top = Path(run_git(Path(), "rev-parse", "--show-toplevel").strip())
    root = folder / run_git(Path(), "rev-parse", "--show-prefix").strip()
    try:
        run_git(top, "clone", "-q", "--shared", "--", str(top), str(folder))
        _sign(top, folder)
        with (folder / ".git" / "info" / "exclude").open("a") as file:
            # Keeps the user's text out of the commits: DVC adds what a stage reads, of any size.
            file.write(f"\n**/data/{dataset}/source\n")
        _carry_changes(top, folder)
        _share(dataset, root)
        with chdir(root), suppress(UserError):  # what does not come back is made again
            entry = read_params(Path("params.yaml"))["datasets"][dataset]
            restore(Path("data", dataset), entry, Path("dvc.lock"))
        yield root
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove the clone; a stage that is being interrupted may write into it for a moment more."""
    for _ in range(50):
        remove(folder)
        if not folder.exists():
            return
        time.sleep(0.1)


def _sign(top: Path, folder: Path) -> None:
    """Let the clone's commits have the user's name, which may be set here alone, or any at all."""
    for key, otherwise in (("user.name", "slm"), ("user.email", "slm@localhost")):
        known = git(top, "config", key).stdout.decode(errors="replace").strip()
        run_git(folder, "config", key, known or otherwise)


def _carry_changes(top: Path, folder: Path) -> None:
    """Make the clone's files those of the workspace; of those that git does not know, only what
    results are made of: an experiment is a commit, and a user may have anything there."""
    listed = run_git(top, "diff", "--no-renames", "--name-only", "-z", "HEAD")
    new = ("ls-files", "-z", "--others", "--exclude-standard", "--full-name", "--", *MADE_OF)
    for name in filter(None, (listed + run_git(Path(), *new)).split("\0")):
        remove(folder / name)
        if (top / name).is_symlink() or (top / name).is_file():  # and no submodule
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(top / name, folder / name, follow_symlinks=False)
    run_git(folder, "add", "--all")  # metrics of a dataset that is new are part of an experiment


def _share(dataset: str, root: Path) -> None:
    """Give the clone what is built here, and DVC's cache and settings."""
    here, there = Path("data", dataset), root / "data" / dataset
    for name in SHARED:
        if (here / name).is_dir():
            remove(there / name)
            if (here / name).is_symlink():
                there.mkdir(parents=True, exist_ok=True)
                (there / name).symlink_to((here / name).resolve())
            else:
                shutil.copytree(
                    here / name,
                    there / name,
                    copy_function=lambda file, to: link_or_copy(Path(file), Path(to)),
                )
    with suppress(FileNotFoundError):
        shutil.copyfile(".dvc/config.local", root / ".dvc" / "config.local")
    share_cache(root, local_cache().parents[1])


def run_git(folder: Path, *words: str) -> str:
    """What git prints; raises UserError where it fails."""
    return git_text(folder, *words, cure="experiments need a repository with a commit")
