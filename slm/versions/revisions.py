"""Which bins does a revision have, of this repository or of another?

In: the path of bins in a repository, a tag, commit, branch or DVC experiment, and the repository:
the folder of a clone, or what `git clone` takes. Out: a folder of the store (see slm.bins.store),
and the revision's commit; whatever is checked out stays as it is. Of a folder git alone resolves
the revision. Of a URL the store remembers commits and tags, and opens those with no network;
branches and experiments move, so they are asked for each time.
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from slm.bins.manifest import url_in
from slm.bins.opening import Bins, open_folder
from slm.bins.store import is_there, local_store, stored
from slm.core.errors import UserError
from slm.core.files import write_file
from slm.core.git import git, git_text
from slm.stores.opening import open_bins
from slm.versions.lock import outs_by_stage
from slm.versions.places import Place, fill, from_cache, from_remote

FOLDER = re.compile(r"([0-9a-f]{32})\.dir")  # DVC's hash of a folder


class Revision(NamedTuple):
    """A commit, and DVC's hash of the bins in its dvc.lock, which is their name in the store."""

    commit: str
    hash: str
    root: str = "."  # the folder of dvc.lock in the repository


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

    `rev` is a tag, commit, branch or DVC experiment, `repo` the folder of a clone or a URL. The
    bins are brought once into `store` ($SLM_STORE, or ~/.cache/slm/bins): from DVC's cache of that
    clone, or from `remote` (its default one). `verify` reads every byte first. Raises UserError
    where the revision, its bins or an object of theirs is not found intact.
    """
    folder, commit = at_revision(path, rev, repo, remote, store)
    if url_in(folder) is not None:
        return open_bins(folder, verify=verify, store=store)._replace(revision=commit)
    return open_folder(folder, verify, f"`rm -r {folder}`, then open it again", commit)


def at_revision(
    path: str | Path, rev: str, repo: str | Path, remote: str | None, store: str | Path | None
) -> tuple[Path, str]:
    """The folder of the store that holds bins `path` as of `rev`, and that revision's commit.

    Raises what `open_revision` raises.
    """
    path, store = str(PurePosixPath(path)), local_store(store)
    if Path(repo, ".dvc").is_dir():
        asked = _look(Path(repo), rev, path)
        places = _places(Path(repo), asked.commit, remote)
        return _stored(store, asked.hash, places), asked.commit
    repo, memory = str(repo), store / "known"
    known, fixed = _remembered(memory, repo, path, rev)
    if known and fixed and is_there(store / known.hash):
        return store / known.hash, known.commit
    with _clone(repo, f"; it was {known.commit} when last asked for" if known else "") as clone:
        asked = _look(clone, known.commit if known and fixed else rev, path)
        folder = _stored(
            store, asked.hash, _places_then(clone, clone / asked.root, asked.commit, remote)
        )
        tag = _git(clone, "rev-parse", "--quiet", "--verify", f"refs/tags/{rev}") is not None
    for name, fixed in ((rev, tag), (asked.commit, True)):
        _remember(memory, repo, path, name, asked, fixed)
    return folder, asked.commit


def _stored(store: Path, hash_: str, places: Generator[Place]) -> Path:
    return stored(store, hash_, lambda folder: fill(folder, hash_, places))


def _look(clone: Path, rev: str, path: str) -> Revision:
    """What `rev` is in a clone, and which bins its dvc.lock has at `path`."""
    commit = _commit(clone, rev)
    folders = reversed(PurePosixPath(path).parents)  # ours may be a folder of the repository
    locks = (
        (folder, _git(clone, "show", f"{commit}:./{folder / 'dvc.lock'}")) for folder in folders
    )
    root, text = next(((folder, lock) for folder, lock in locks if lock is not None), (None, ""))
    if root is None or text is None:
        listed = (_git(clone, "ls-tree", "-r", "--name-only", commit) or "").splitlines()
        inside = [n.removesuffix("/.dvc/config") for n in listed if n.endswith("/.dvc/config")]
        more = f"; begin the path with the folder {' or '.join(inside)}" if inside else ""
        raise UserError(f"revision {rev} has no dvc.lock above {path}, so no bins{more}")
    lock, path = Path(f"dvc.lock of revision {rev}"), str(PurePosixPath(path).relative_to(root))
    stages = outs_by_stage(text.encode(), lock, "name another revision").values()
    outs = {out: md5 for stage in stages for out, md5 in stage.items()}
    if not (version := FOLDER.fullmatch(outs.get(path, ""))):
        bins = ", ".join(name for name in outs if name.endswith("/bins")) or "none"
        raise UserError(f"{lock} has no bins {path}; the bins it has: {bins}")
    return Revision(commit, version[1], str(root))


def _commit(clone: Path, rev: str) -> str:
    """The commit of a revision as git reads it, of a branch of origin, or of an experiment."""
    for name in (rev, f"refs/remotes/origin/{rev}"):
        words = ("rev-parse", "--quiet", "--verify", f"{name}^{{commit}}")
        if not rev.startswith("-") and (commit := _git(clone, *words)):
            return commit.strip()
    listed = _git(clone, "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps")
    if listed is None:
        git_text(clone, "rev-parse", "--git-dir", cure="give the folder of a clone, or a URL")
        raise UserError(f"git cannot list the experiments of {clone}; see `git fsck`")
    refs = (line.split() for line in listed.splitlines())
    commits = {commit for commit, name in refs if name.split("/")[4:] == [rev]}
    if len(commits) > 1:
        raise UserError(f"{len(commits)} experiments are called {rev}; give the commit of one")
    if not commits:
        raise UserError(
            f"revision {rev!r} is no tag, branch, commit or experiment there; `git tag`, `git "
            "branch` and `dvc exp list --all` name those of a clone, `git fetch` brings newer ones"
        )
    return commits.pop()


def _git(clone: Path, *words: str) -> str | None:
    """What a git command prints, or None where it fails."""
    done = git(clone, *words)
    return None if done.returncode else done.stdout.decode(errors="replace")


def _places(root: Path, commit: str, remote: str | None) -> Generator[Place]:
    """DVC's cache of a clone, its remote as it is set now, and as it was at the commit."""
    yield Place("DVC's cache", partial(from_cache, root))
    yield Place(f"remote {remote}" if remote else "the default remote",
                partial(from_remote, root, remote))  # fmt: skip
    top = (_git(root, "rev-parse", "--show-toplevel") or "").strip()
    inside = (_git(root, "rev-parse", "--show-prefix") or "").strip()
    with _clone(top, "") as clone:
        yield from _places_then(clone, clone / inside, commit, remote)


def _places_then(clone: Path, root: Path, commit: str, remote: str | None) -> Generator[Place]:
    """The remote as it was at the commit, which may be a folder of the repository, checked out."""
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
            message = done.stderr.decode(errors="replace").split("\n\n")[0]  # then git guesses
            raise UserError(
                f"{_bare(repo)} cannot be cloned ({_bare(message.strip())}); expected the root of "
                f"a clone, with .dvc in it, or a URL that `git clone` takes{more}"
            )
        yield Path(temporary)


def _bare(text: str) -> str:
    """URLs without a user's name and password."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def _remember(memory: Path, repo: str, path: str, rev: str, asked: Revision, fixed: bool) -> None:
    content = json.dumps({**asked._asdict(), "fixed": fixed}).encode()
    with suppress(OSError):  # the store may be another's, and read-only
        memory.mkdir(exist_ok=True)
        write_file(_note(memory, repo, path, rev), content)


def _remembered(memory: Path, repo: str, path: str, rev: str) -> tuple[Revision | None, bool]:
    """What a revision was, and whether it is that for good: a commit, or, as in git, a tag."""
    try:
        note = json.loads(_note(memory, repo, path, rev).read_bytes())
        return Revision(note["commit"], note["hash"]), note["fixed"]
    except (OSError, ValueError, KeyError, TypeError):
        return None, False


def _note(memory: Path, *words: str) -> Path:
    key = "\n".join(words).encode()
    return memory / f"{hashlib.sha256(key).hexdigest()[:32]}.json"
