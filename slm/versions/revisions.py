"""Which bins does a revision have, of this repository or of another?

In: the path of bins in a repository, a tag, commit, branch or DVC experiment, and the repository:
the folder of a clone, or what `git clone` takes. Out: a folder of the store (see slm.bins.store), and
the revision's commit; whatever is checked out stays as it is. Of a folder git alone resolves the
revision. Of a URL the store remembers commits and tags, and opens those with no network; branches
and experiments move, so they are asked for each time.
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import yaml

from slm.bins.opening import Bins, open_folder
from slm.bins.store import is_there, stored
from slm.core.errors import UserError
from slm.core.files import write_file
from slm.core.git import git
from slm.versions.places import Place, fill, from_cache, from_remote

STORE = ".cache/slm/bins"  # in the home folder: one for all clones of all repositories
FOLDER = re.compile(r"([0-9a-f]{32})\.dir")  # DVC's hash of a folder


class Revision(NamedTuple):
    """A commit, and DVC's hash of the bins in its dvc.lock, which is their name in the store."""

    commit: str
    hash: str


def open_revision(
    path: str | Path,
    rev: str,
    *,
    repo: str | Path = ".",
    remote: str | None = None,
    store: str | Path | None = None,
    verify: bool = False,
) -> Bins:
    """Open the bins at `path` in the repository `repo` as of revision `rev`.

    `rev` is a tag, commit, branch or DVC experiment, `repo` the folder of a clone or a URL. The bins
    are opened from `store` (~/.cache/slm/bins), into which they are brought once: from DVC's cache
    of that clone, or from `remote` (its default one). `verify` reads every byte first. Raises
    UserError where the revision, its bins or an object of theirs cannot be found whole.
    """
    folder, commit = at_revision(path, rev, repo, remote, store)
    return open_folder(folder, verify, f"`rm -r {folder}`, then open it again", commit)


def at_revision(
    path: str | Path, rev: str, repo: str | Path, remote: str | None, store: str | Path | None
) -> tuple[Path, str]:
    """The folder of the store that holds bins `path` as of `rev`, and that revision's commit.

    Raises UserError where the revision, its bins or an object of theirs cannot be found whole.
    """
    path, store = str(PurePosixPath(path)), Path(store or Path.home() / STORE)
    if Path(repo, ".dvc").is_dir():
        found = _look(Path(repo), rev, path)
        places = _places(Path(repo), found.commit, remote)
        return _stored(store, found.hash, places), found.commit
    repo, memory = str(repo), store / "known"
    known, fixed = _remembered(memory, repo, path, rev)
    if fixed and is_there(store / known.hash):
        return store / known.hash, known.commit
    with _clone(repo, f"; it was {known.commit} when last asked for" if known else "") as clone:
        found = _look(clone, known.commit if fixed else rev, path)
        folder = _stored(store, found.hash, _places_then(clone, clone, found.commit, remote))
        tag = _git(clone, "rev-parse", "--quiet", "--verify", f"refs/tags/{rev}") is not None
    for name, fixed in ((rev, tag), (found.commit, True)):
        _remember(memory, repo, path, name, found, fixed)
    return folder, found.commit


def _stored(store: Path, hash_: str, places: Iterator[Place]) -> Path:
    return stored(store, hash_, lambda folder: fill(folder, hash_, places))


# --- what a clone says ---


def _look(clone: Path, rev: str, path: str) -> Revision:
    """What `rev` is in a clone, and which bins its dvc.lock has at `path`."""
    commit = _commit(clone, rev)
    text = _git(clone, "show", f"{commit}:./dvc.lock")
    if text is None:
        raise UserError(f"revision {rev} has no dvc.lock, so no bins; name one that has")
    try:
        stages = yaml.safe_load(text)["stages"].values()
        outs = {out["path"]: out.get("md5") or "" for s in stages for out in s.get("outs", [])}
    except (yaml.YAMLError, AttributeError, KeyError, TypeError):
        raise UserError(f"dvc.lock of revision {rev} cannot be read; name another") from None
    if not (found := FOLDER.fullmatch(outs.get(path, ""))):
        bins = ", ".join(name for name in outs if name.endswith("/bins")) or "none"
        raise UserError(f"dvc.lock of revision {rev} has no bins {path}; the bins it has: {bins}")
    return Revision(commit, found[1])


def _commit(clone: Path, rev: str) -> str:
    """The commit of a revision as git reads it, of a branch of origin, or of an experiment."""
    for name in (rev, f"refs/remotes/origin/{rev}"):
        words = ("rev-parse", "--quiet", "--verify", f"{name}^{{commit}}")
        if not rev.startswith("-") and (found := _git(clone, *words)):
            return found.strip()
    listed = _git(clone, "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps")
    if listed is None:
        raise UserError(f"{clone} is in no git repository; give the folder of a clone, or a URL")
    refs = (line.split() for line in listed.splitlines())
    found = {commit for commit, name in refs if name.split("/")[4:] == [rev]}
    if len(found) > 1:
        raise UserError(f"{len(found)} experiments are called {rev}; give the commit of one")
    if not found:
        raise UserError(
            f"revision {rev!r} is no tag, branch, commit or experiment there; `git tag`, `git "
            "branch` and `dvc exp list --all` name those of a clone, `git fetch` brings newer ones"
        )
    return found.pop()


def _git(clone: Path, *words: str) -> str | None:
    """What a git command prints, or None where it fails."""
    done = git(clone, *words)
    return None if done.returncode else done.stdout.decode(errors="replace")


# --- where its objects lie ---


def _places(root: Path, commit: str, remote: str | None) -> Iterator[Place]:
    """DVC's cache of a clone, its remote as it is set now, and as it was at the commit."""
    yield Place("DVC's cache", partial(from_cache, root))
    yield Place(f"remote {remote}" if remote else "the default remote",
                partial(from_remote, root, remote))  # fmt: skip
    top = (_git(root, "rev-parse", "--show-toplevel") or "").strip()
    inside = (_git(root, "rev-parse", "--show-prefix") or "").strip()
    with _clone(top, "") as clone:
        yield from _places_then(clone, clone / inside, commit, remote)


def _places_then(clone: Path, root: Path, commit: str, remote: str | None) -> Iterator[Place]:
    """The remote as it was at the commit; one that is a folder of the repository is there whole."""
    _git(clone, "checkout", "-q", "--detach", commit)
    name = f"remote {remote}" if remote else "the default remote"
    yield Place(f"{name} as of the revision", partial(from_remote, root, remote))


@contextmanager
def _clone(repo: str, more: str) -> Iterator[Path]:
    """A clone for the block, experiments too; where there can be none the error ends in `more`."""
    with tempfile.TemporaryDirectory(prefix="slm.") as temporary:
        experiments = "remote.origin.fetch=+refs/exps/*:refs/exps/*"
        # --shared copies nothing where the repository is a folder here, and has no meaning else
        options = ("-q", "--shared", "--no-checkout", "-c", experiments)
        done = git(Path(), "clone", *options, "--", repo, temporary)
        if done.returncode:
            said = done.stderr.decode(errors="replace").split("\n\n")[0]  # then come git's guesses
            raise UserError(
                f"{_bare(repo)} cannot be cloned ({_bare(said.strip())}); expected the root of a "
                f"clone, with .dvc in it, or a URL that `git clone` takes{more}"
            )
        yield Path(temporary)


def _bare(text: str) -> str:
    """URLs without a user's name and password."""
    return re.sub(r"//[^/@\s]*@", "//", text)


# --- what the store remembers of a URL ---


def _remember(memory: Path, repo: str, path: str, rev: str, found: Revision, fixed: bool) -> None:
    content = json.dumps({**found._asdict(), "fixed": fixed}).encode()
    with suppress(OSError):  # the store may be another's, and read-only
        memory.mkdir(exist_ok=True)
        write_file(_note(memory, repo, path, rev), content)


def _remembered(memory: Path, repo: str, path: str, rev: str) -> tuple[Revision | None, bool]:
    """What a revision was, and whether it is that for good: a commit, or, as in git, a tag."""
    try:
        found = json.loads(_note(memory, repo, path, rev).read_bytes())
        return Revision(found["commit"], found["hash"]), found["fixed"]
    except (OSError, ValueError, KeyError, TypeError):
        return None, False


def _note(memory: Path, repo: str, path: str, rev: str) -> Path:
    words = "\n".join((repo, path, rev))
    return memory / f"{hashlib.sha256(words.encode()).hexdigest()[:32]}.json"
