"""How is DVC asked? What the chosen dataset lacks, and to build it.

Through DVC's own Python interface, since each start of its command takes half a second. A stage
that fails has said why on standard error; that is not said again. What DVC does not survive is
mended here: it writes dvc.lock in place, so that a kill leaves it empty, and on a full disk it
goes on without its copy.
"""

import logging
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slm.core.errors import UserError
from slm.core.files import md5_of
from slm.versions.leftovers import clean_up
from slm.versions.lock import locked_outs

INTERRUPTED = ("exited with -2", "exited with -15")  # by SIGINT, by SIGTERM: as a stage ended
DESCRIBE = ("audit", "describe")  # the stages whose outputs git tracks


def todo(name: str) -> set[str]:
    """The stages of dataset `name` that have something to do; empty where its bins are built.

    What the stages before the bins wrote may be gone, as it is after a pull. Where DVC cannot tell,
    all are named by the first, "download": `build` says why.
    """
    with open_repo() as repo:
        found = _stale(repo)
        if found is None:  # a stage has something to do and what it reads is gone: which one?
            known = _stale(repo, f"tokenize@{name}", f"audit@{name}")
            found = {"download"} if known is None or known else {"bins", "describe"}
        elif _changed(repo.data_status(), f"data/{name}/bins"):
            found.add("bins")
    return found | {stage for stage in DESCRIBE if _metrics_differ(f"{stage}@{name}")}


def _stale(repo, *targets: str) -> set[str] | None:
    """The stages that would run, those up to `targets` or all; None where DVC raises an error."""
    try:
        stale = repo.reproduce(list(targets) or None, dry=True, allow_missing=True)
    except _dvc_errors():
        return None
    return {stage.name.split("@")[0] for stage in stale}


def _changed(status: dict, bins: str) -> bool:
    """Whether DVC's status of the workspace speaks of the folder `bins` or of a file in it."""
    paths = [path for kind in status["uncommitted"].values() for path in kind]
    paths += status["not_in_cache"]
    return any(_path(path).startswith(f"{bins}/") for path in paths)


def _path(entry: str | dict) -> str:
    return (entry["new"] if isinstance(entry, dict) else entry).rstrip("/") + "/"


def _metrics_differ(stage: str) -> bool:
    """Whether a file that git tracks is not as dvc.lock says; DVC may take it for one to come."""
    outs = locked_outs(Path("dvc.lock"), stage)
    return any(not Path(out).is_file() or md5_of(Path(out)) != md5 for out, md5 in outs.items())


def build(target: str | None = None, *, alone: bool = False, record: bool = True) -> bool:
    """Run every stage that has something to do, or those up to `target`, or `target` alone.

    Alone it asks for what it reads and not for what that was made from. Without `record` dvc.lock
    stays as it is. Raises UserError or exits where a stage fails.
    """
    import dvc.dvcfile

    with _running() as repo:
        if not record:
            dvc.dvcfile.modify_yaml = _unwritten
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
def _running() -> Iterator:
    """DVC's repository for a block that runs stages; what fails is said once."""
    from dvc.stage.exceptions import StageCmdFailedError

    with open_repo() as repo, _failed_copies() as copies:
        try:
            yield repo
        except _dvc_errors() as error:
            if full := _cause(error, OSError):
                raise full from None  # the disk is full, most likely
            failed = _cause(error, StageCmdFailedError)
            if str(failed).endswith(INTERRUPTED):
                raise KeyboardInterrupt from None
            if str(failed).endswith("exited with 1"):
                sys.exit(1)  # the stage's own line says why
            raise UserError(f"dvc: {failed or error.__cause__ or error}") from None
        if copies:
            raise copies[0]


def _cause(error: BaseException | None, kind: type) -> BaseException | None:
    while error is not None and not isinstance(error, kind):
        error = error.__cause__
    return error


def _dvc_errors() -> type[Exception]:
    """What DVC raises; not imported before it is needed, since that takes half a second."""
    from dvc.exceptions import DvcException

    return DvcException


@contextmanager
def open_repo() -> Iterator:
    """DVC's repository here, without what killed runs left in it.

    Raises UserError outside of a clone, where another DVC is at work, and where DVC cannot write
    its own records, which lie outside of the clone.
    """
    import dvc.dvcfile
    from dvc.repo import Repo

    dvc.dvcfile.modify_yaml = _whole_file
    logging.getLogger("dvc").setLevel(logging.ERROR)
    # A stage's `python` is the one of this environment, whatever PATH was.
    own = str(Path(sys.executable).parent)
    os.environ["PATH"] = os.pathsep.join([own, os.environ.get("PATH", "")])
    with _records():
        try:
            opened = Repo()
        except _dvc_errors() as error:
            raise UserError(f"dvc: {error}; work in a git clone of this repository") from None
        with opened as repo:
            clean_up(repo)
            yield repo


@contextmanager
def _records() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        mend = "free some space and run the same command again"
        raise UserError(f"DVC's records (its site_cache_dir): {error}; {mend}") from None


@contextmanager
def _whole_file(path: str, fs=None) -> Iterator[dict]:
    """DVC's `modify_yaml`, but a copy is changed and takes the place of dvc.lock once whole."""
    from dvc.utils.serialize import modify_yaml

    temporary = Path(f"{path}.{os.getpid()}.tmp")
    try:
        if Path(path).exists():
            shutil.copyfile(path, temporary)
        with modify_yaml(str(temporary), fs=fs) as data:
            yield data
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _unwritten(path: str, fs=None) -> Iterator[dict]:
    """DVC's `modify_yaml`, but nothing is written."""
    yield {}


@contextmanager
def _failed_copies() -> Iterator[list[OSError]]:
    """The errors of copies into the cache, which DVC logs and otherwise ignores."""
    found: list[OSError] = []
    log = logging.getLogger("dvc_data")
    handler = logging.Handler()
    handler.emit = lambda record: found.extend(filter(_is_os_error, record.exc_info or ()))
    before, log.handlers = log.handlers, [handler]
    try:
        yield found
    finally:
        log.handlers = before


def _is_os_error(error: object) -> bool:
    return isinstance(error, OSError)
