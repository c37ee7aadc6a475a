"""How is DVC asked? What the chosen dataset has to do, and to do it.

Through DVC's Python interface (see slm.versions.dvc_internals), since each start of its command
takes half a second. A stage that fails has said why on standard error; it is not said again. On a
full disk DVC goes on without its copy in the cache; here that is an error.
"""

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

from slm.core.errors import INTERRUPTED, UserError, raise_dropped, saying_interrupts
from slm.core.files import md5_of
from slm.core.git import git_text
from slm.versions.dvc_internals import (
    Repository,
    dvc_errors,
    failed_copies,
    repository,
    stage_failed,
    unrecorded,
)
from slm.versions.leftovers import clean_up
from slm.versions.lock import locked_outs

BY_A_SIGNAL = tuple(f"exited with {status}" for status in (INTERRUPTED, -1, -2, -15))
FOLDERS = {  # the stages before the bins, and which folder each writes
    "download": "raw",
    "audit": "facts",
    "select": "selection",
    "vocabulary": "vocabulary",
    "tokenize": "tokens",
}
DESCRIBE = ("audit", "describe")  # the stages that write what git tracks


def todo(name: str, selected: bool = False) -> set[str]:
    """The stages of dataset `name` that have something to do; empty where its bins are built.

    What the stages before the bins wrote may be gone, as it is after a pull. Where DVC cannot tell,
    all are named by the first, "download": `build` says why. `selected` says that the bins hold
    what `select:` asks for: then a change of it for another dataset is no reason to fetch the text.
    """
    with open_repo() as repo:
        stages = _stale(repo)
        if stages is None:  # a stage has something to do and what it reads is gone: which one?
            stages = _without_select(repo, name) if selected else _before_bins(repo, name)
        elif _changed(repo.data_status(), f"data/{name}/bins"):
            stages.add("bins")
    return stages | {stage for stage in DESCRIBE if _metrics_differ(f"{stage}@{name}")}


def _before_bins(repo: Repository, name: str) -> set[str]:
    known = _stale(repo, f"tokenize@{name}", f"select@{name}")
    return {"download"} if known is None or known else {"bins", "describe"}


def _without_select(repo: Repository, name: str) -> set[str]:
    """What each stage but `select` says, asked by itself."""
    stages = [*FOLDERS.keys() - {"select"}, "bins", "describe"]
    stale = {s for s in stages if _stale(repo, f"{s}@{name}", single_item=True) != set()}
    return {"download"} if stale & FOLDERS.keys() else stale


def _stale(repo: Repository, *targets: str, **how: bool) -> set[str] | None:
    """The stages that would run, those up to `targets` or all; None where DVC raises an error."""
    try:
        stale = repo.reproduce(list(targets) or None, dry=True, allow_missing=True, **how)
    except dvc_errors():
        return None
    return {stage.name.split("@")[0] for stage in stale}


def _changed(status: dict, bins: str) -> bool:
    """Whether DVC's status of the workspace speaks of the folder `bins` or of a file in it."""
    paths = [path for kind in status["uncommitted"].values() for path in kind]
    paths += status["not_in_cache"]
    names = (path["new"] if isinstance(path, dict) else path for path in paths)
    return any(f"{name.rstrip('/')}/".startswith(f"{bins}/") for name in names)


def _metrics_differ(stage: str) -> bool:
    """Whether a file that git tracks is not as dvc.lock says; DVC may take it for one to come."""
    outs = locked_outs(Path("dvc.lock"), stage).items()
    metrics = {Path(out): md5 for out, md5 in outs if out.startswith("metrics/")}
    return any(not path.is_file() or md5_of(path) != md5 for path, md5 in metrics.items())


def build(target: str | None = None, *, alone: bool = False, record: bool = True) -> bool:
    """Run every stage that has something to do, or those up to `target`, or `target` alone.

    Alone it asks for what it reads and not for what that was made from. Without `record` dvc.lock
    stays as it is. Raises UserError or exits where a stage fails.
    """
    with _running() as repo, nullcontext() if record else unrecorded():
        repo.reproduce(target, single_item=alone)
    return True


def experiment(name: str) -> None:
    """Run every stage that has something to do, as `dvc exp run` does, and keep the result so.

    Raises UserError or exits where a stage fails.
    """
    os.environ |= {"DVC_EXP_AUTO_PUSH": "false", "DVC_STUDIO_OFFLINE": "true"}  # nothing is sent
    with _running() as repo:
        repo.experiments.run(name=name, force=False)


@contextmanager
def _running() -> Iterator[Repository]:
    """DVC's repository for a block that runs stages; what fails is said once."""
    with open_repo() as repo, failed_copies() as copies, saying_interrupts():
        try:
            yield repo
        except dvc_errors() as error:
            if full := _cause(error, OSError):
                raise full from None  # the disk is full, most likely
            failed = _cause(error, stage_failed())
            if str(failed).endswith(BY_A_SIGNAL):
                raise KeyboardInterrupt from None
            if str(failed).endswith("exited with 1"):
                sys.exit(1)  # the stage's own line says why
            raise UserError(f"dvc: {failed or error.__cause__ or error}") from None
        if copies:
            raise copies[0]


def _cause(error: BaseException | None, kind: type[BaseException]) -> BaseException | None:
    while error is not None and not isinstance(error, kind):
        error = error.__cause__
    return error


@contextmanager
def open_repo() -> Iterator[Repository]:
    """DVC's repository here, without what killed runs left in it.

    Raises UserError outside of a clone, where another DVC is at work, and where DVC cannot write
    its own records, which are outside of the clone.
    """
    # git says what DVC would not: that it is no clone, or another account's.
    if git_text(Path(), "rev-parse", "--shared-index-path", cure="work in a git clone").strip():
        join = "git config core.splitIndex false && git update-index --no-split-index"
        raise UserError(f"git's index is split, which DVC cannot read; `{join}`")
    try:
        with ExitStack() as stack:
            try:
                repo = stack.enter_context(repository())
            except dvc_errors() as error:
                raise UserError(f"dvc: {error}; work in a git clone of this repository") from None
            clean_up(repo)
            raise_dropped()
            yield repo
    except sqlite3.OperationalError as error:
        cure = "free some space and run the same command again"
        raise UserError(f"DVC's records (its site_cache_dir): {error}; {cure}") from None
