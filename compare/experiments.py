"""How is a variant built and kept, with the workspace left as it was?

In: variants by their names, and a workspace whose text is built. Out: DVC experiments on the last
commit, one a variant, with its params.yaml, dvc.lock and metrics, its bins in DVC's cache: `dvc exp
show` lists them, `dvc exp apply` takes one, slm.bins opens one by name. They are built in a clone
beside the data, which shares DVC's cache, has hard links to what is built here, and goes when all
is done: so nothing is downloaded, and of two variants with one vocabulary the second only writes
bins. Each is kept once it is whole; after a failure or an interrupt those before it stay.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, suppress
from pathlib import Path

from compare.variants import Variant
from slm.bins import Bins, open_bins
from slm.cache import file_list, place
from slm.errors import UserError
from slm.git import git
from slm.leftovers import remove
from slm.lock import hash_at
from slm.params import read_params, set_values
from slm.pipeline import build, experiment, open_repo
from slm.raw import link
from slm.unbinning import restore

MADE_OF = ("dvc.yaml", "dvc.lock", "params.yaml", "metrics", "scripts", "slm")
SHARED = ("source", "raw", "vocabulary", "tokens", "bins")


def kept(dataset: str, names: list[str]) -> dict[str, str]:
    """The commits of those experiments of these names whose bins DVC's cache has."""
    with open_repo() as repo:
        cache = Path(repo.cache.local.path)
    return {
        name: commit
        for name, commit in _experiments().items()
        if name in names and _in_cache(cache, commit, dataset)
    }


def _experiments() -> dict[str, str]:
    """The commit of each experiment of this repository, by name."""
    listed = _git(Path(), "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps")
    found = (line.split() for line in listed.splitlines())
    return {ref.split("/")[4]: commit for commit, ref in found if ref.count("/") == 4}


def _in_cache(cache: Path, commit: str, dataset: str) -> bool:
    files = _files(cache, commit, dataset)
    return files is not None and all(place(cache, md5).is_file() for md5 in files.values())


def _files(cache: Path, commit: str, dataset: str) -> dict[str, str] | None:
    """The objects of an experiment's bins by the names of the files; None where they are gone."""
    lock = content(commit, "dvc.lock")
    hash_ = hash_at(lock, Path("dvc.lock"), f"bins@{dataset}", f"data/{dataset}/bins")
    return file_list(cache, hash_) if hash_ else None


@contextmanager
def opened(dataset: str, commits: dict[str, str]) -> Iterator[dict[str, Bins]]:
    """The bins of kept experiments by name, for the block: links to DVC's cache, no copies."""
    with open_repo() as repo:
        cache = Path(repo.cache.local.path)
    folder = Path("data", dataset, f"opened.{os.getpid()}.tmp")
    try:
        for name, commit in commits.items():
            (folder / name).mkdir(parents=True)
            for file, md5 in (_files(cache, commit, dataset) or {}).items():
                link(place(cache, md5), folder / name / file)
        yield {name: open_bins(folder / name) for name in commits}
    finally:
        remove(folder)


def content(commit: str, path: str) -> bytes:
    """A file of an experiment that git has, such as its metrics; UserError where it has none."""
    return _git(Path(), "show", f"{commit}:./{path}").encode()


def make(dataset: str, wanted: dict[str, Variant], say: Callable[[str], None]) -> None:
    """Build these variants, given by their names; `say` is told what comes next.

    Raises UserError, or exits as a stage does that fails.
    """
    if not Path("data", dataset, "raw").is_dir():  # as after a pull
        build(f"download@{dataset}", alone=True)
    with _scratch(dataset) as root:
        for number, (name, variant) in enumerate(wanted.items(), 1):
            say(f"{variant.label} ({number} of {len(wanted)})")
            with chdir(root):
                _build(dataset, name, variant)
            _bring(root, name)


def _build(dataset: str, name: str, variant: Variant) -> None:
    set_values(Path("params.yaml"), variant.values)
    experiment(name)


def _bring(root: Path, name: str) -> None:
    """Take an experiment over from the clone, in place of one whose bins are gone."""
    for ref in _git(Path(), "for-each-ref", "--format=%(refname)", "refs/exps").splitlines():
        if ref.endswith(f"/{name}"):
            _git(Path(), "update-ref", "-d", ref)
    made = _git(root, "for-each-ref", "--format=%(refname)", "refs/exps").splitlines()
    ref = next(ref for ref in made if ref.endswith(f"/{name}"))
    _git(Path(), "fetch", "-q", "--no-tags", str(root.resolve()), f"+{ref}:{ref}")


@contextmanager
def _scratch(dataset: str) -> Iterator[Path]:
    """A clone of this repository as it is here, uncommitted changes too, for the block."""
    folder = Path("data", dataset, f"compare.{os.getpid()}.tmp").resolve()  # swept if killed
    top = Path(_git(Path(), "rev-parse", "--show-toplevel").strip())
    root = folder / _git(Path(), "rev-parse", "--show-prefix").strip()
    try:
        _git(top, "clone", "-q", "--shared", "--", str(top), str(folder))
        _sign(top, folder)
        _carry_changes(top, folder)
        _share(dataset, root)
        with chdir(root):
            _vocabulary_and_tokens(dataset)
        yield root
    finally:
        remove(folder)


def _sign(top: Path, folder: Path) -> None:
    """Let the clone's commits have the user's name, which may be set here alone, or any at all."""
    for key, otherwise in (("user.name", "slm"), ("user.email", "slm@localhost")):
        known = git(top, "config", key).stdout.decode(errors="replace").strip()
        _git(folder, "config", key, known or otherwise)


def _carry_changes(top: Path, folder: Path) -> None:
    """Make the clone's files those of the workspace; of those that git does not know, only what
    results are made of: an experiment is a commit, and a user may have anything lying about."""
    listed = _git(top, "diff", "--name-only", "-z", "HEAD")
    new = ("ls-files", "-z", "--others", "--exclude-standard", "--full-name", "--", *MADE_OF)
    for name in filter(None, (listed + _git(Path(), *new)).split("\0")):
        remove(folder / name)
        if (top / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(top / name, folder / name)
    _git(folder, "add", "--all")  # metrics of a dataset that is new are part of an experiment


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
                shutil.copytree(here / name, there / name, copy_function=_link)
    with suppress(FileNotFoundError):
        shutil.copyfile(".dvc/config.local", root / ".dvc" / "config.local")
    with open_repo() as repo:
        cache = repo.cache.local.path
    _set_cache(root, Path(cache).parents[1])


def _link(source: str, target: str) -> None:
    link(Path(source), Path(target))


def _set_cache(root: Path, cache: Path) -> None:
    from dvc.config import Config

    with Config(str(root / ".dvc")).edit("local") as settings:
        settings["cache"]["dir"] = str(cache)


def _vocabulary_and_tokens(dataset: str) -> None:
    """What is not here of them may come back from the bins; else it is made again."""
    with suppress(UserError):
        restore(Path("data", dataset), read_params(Path("params.yaml"))["datasets"][dataset],
                Path("dvc.lock"))  # fmt: skip


def _git(folder: Path, *words: str) -> str:
    done = git(folder, *words)
    if done.returncode:
        said = done.stderr.decode(errors="replace")
        raise UserError(f"git {words[0]}: {said}; experiments need a clone with a commit")
    return done.stdout.decode(errors="replace")
