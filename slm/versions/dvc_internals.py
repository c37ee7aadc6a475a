"""What of DVC is used beyond its documented interface, which is its commands and `dvc.api`?

Any release may change it, so all imports and patches are here, and, as protocols, what the objects
that come out of DVC must have (its names of files on disk are in slm.versions.leftovers).
pyproject.toml gives DVC an upper bound; tests/versions/test_dvc_internals.py holds protocols
and patches to the DVC that is installed. It is imported where it is needed, since that takes half
a second.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from slm.core.errors import delaying_interrupts

Settings = dict[str, Any]  # the sections of .dvc/config
HASHED: dict[tuple, str] = {}  # MD5s of local files, by what identifies their content
FileSystem = Any  # the client of a remote, with the methods of fsspec


class Store(Protocol):
    """Objects by their hashes: DVC's cache, or a remote (dvc_data.hashfile.db.HashFileDB)."""

    path: str
    fs: FileSystem
    cache_types: list[str]

    def oid_to_path(self, oid: str) -> str: ...
    def add(self, path: list[str], fs: FileSystem, oid: list[str], **how: bool) -> int: ...
    def add_bytes(self, oid: str, data: bytes) -> None: ...


class Repository(Protocol):
    """dvc.repo.Repo; `cache.local` and what `cloud.get_remote_odb` returns are a `Store`."""

    root_dir: str
    tmp_dir: str
    config: Settings
    cache: Any
    cloud: Any
    experiments: Any
    lock: AbstractContextManager

    def reproduce(self, targets: Any = None, **how: bool) -> list[Any]: ...
    def data_status(self) -> dict[str, Any]: ...


def dvc_errors() -> type[Exception]:
    """What DVC raises."""
    from dvc.exceptions import DvcException

    return DvcException


def stage_failed() -> type[Exception]:
    """What DVC raises where a stage's command ends with another status than 0."""
    from dvc.stage.exceptions import StageCmdFailedError

    return StageCmdFailedError


def lock_taken() -> type[Exception]:
    """What DVC raises where another DVC holds its lock."""
    from dvc.lock import LockError

    return LockError


@contextmanager
def repository() -> Iterator[Repository]:
    """DVC's repository here, for the block: quiet, with this environment's `python` for stages.

    It writes dvc.lock by rename: DVC itself writes it in place, and a kill would leave it empty.
    Links to one file are hashed once, and stay links: DVC itself would copy bins a second time,
    where they are links to tokens.
    """
    with delaying_interrupts():  # a library's import may drop one
        import dvc.dvcfile
        import dvc.output
        import dvc_data.hashfile.hash as hashing
        from dvc.repo import Repo

    with ExitStack() as stack:
        stack.enter_context(_own_python_first())
        stack.enter_context(replaced(logging.getLogger("dvc"), "level", logging.ERROR))
        stack.enter_context(replaced(dvc.dvcfile, "modify_yaml", _written_by_rename))
        stack.enter_context(replaced(hashing, "file_md5", _once_a_file(hashing.file_md5)))
        output = dvc.output.Output
        stack.enter_context(replaced(output, "commit", _without_a_copy(output.commit)))
        yield stack.enter_context(Repo())


@contextmanager
def unrecorded() -> Iterator[None]:
    """Let DVC write nothing into dvc.lock during the block."""
    import dvc.dvcfile

    with replaced(dvc.dvcfile, "modify_yaml", _written_nowhere):
        yield


@contextmanager
def failed_copies() -> Iterator[list[OSError]]:
    """The errors of copies into the cache during the block, which DVC logs and then ignores."""
    errors: list[OSError] = []
    handler = logging.Handler()
    handler.emit = lambda record: errors.extend(  # type: ignore[method-assign]
        error for error in record.exc_info or () if isinstance(error, OSError)
    )
    with replaced(logging.getLogger("dvc_data"), "handlers", [handler]):
        yield errors


def local_files() -> FileSystem:
    """DVC's client of the local disk."""
    from dvc.fs import localfs

    return localfs


def link_or_copy_object(cache: Store, name: str, target: Path) -> None:
    """Make `target` of the object `name`, in the way that `cache.type` of .dvc/config says."""
    from dvc_objects.fs.generic import transfer

    links = list(cache.cache_types)
    transfer(cache.fs, cache.oid_to_path(name), cache.fs, str(target), links=links)


def read_config(root: Path) -> Settings:
    """The settings of the clone at `root`."""
    from dvc.config import Config

    return Config(str(root / ".dvc"))


def share_cache(root: Path, cache: Path) -> None:
    """Let the clone at `root` use another's cache, and keep DVC's own records inside itself.

    DVC itself writes its settings in ASCII, and empties the file at another letter.
    """
    from configobj import ConfigObj

    settings = ConfigObj(str(root / ".dvc" / "config.local"), encoding="utf-8")
    settings.setdefault("cache", {})["dir"] = str(cache)
    settings.setdefault("core", {})["site_cache_dir"] = str(root / ".dvc" / "tmp" / "site")
    settings.write()


def remote_files(config: Settings, name: str) -> tuple[Callable[[], FileSystem], str]:
    """What makes the client of a remote, and the remote's path there."""
    from dvc.fs import get_cloud_fs

    kind, options, base = get_cloud_fs(config, name=name)
    return lambda: kind(**options), base


def lock_holders(locks: dict) -> Iterator[dict]:
    """Who holds paths, by .dvc/tmp/rwlock: a `pid` and a `cmd` each."""
    yield from locks["write"].values()
    for readers in locks["read"].values():
        yield from readers


@contextmanager
def replaced(target: Any, name: str, value: object) -> Iterator[None]:
    """Give an attribute another value for the block.

    Raises AttributeError where there is none of that name, as when DVC has changed.
    """
    before = getattr(target, name)
    setattr(target, name, value)
    try:
        yield
    finally:
        setattr(target, name, before)


@contextmanager
def _own_python_first() -> Iterator[None]:
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), before])
    try:
        yield
    finally:
        os.environ["PATH"] = before


def _without_a_copy(commit: Callable[..., None]) -> Callable[..., None]:
    def without(output: Any, filter_info: str | None = None, relink: bool = True) -> None:
        links = next(iter(output.cache.cache_types), None) in ("hardlink", "symlink")
        with failed_copies() as errors:
            commit(output, filter_info, relink and links)
        if errors:
            raise errors[0]

    return without


def _once_a_file(md5: Callable[..., str]) -> Callable[..., str]:
    def file_md5(path: str, fs: FileSystem, **how: Any) -> str:
        if fs.protocol != "local":
            return md5(path, fs, **how)
        at = Path(path).stat()
        key = at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns, how.get("name")
        if key not in HASHED:
            HASHED[key] = md5(path, fs, **how)
        return HASHED[key]

    return file_md5


@contextmanager
def _written_by_rename(path: str, fs: object = None) -> Iterator[dict]:
    """DVC's `modify_yaml`, but for a file that no one comments, and that takes its place whole."""
    from dvc.utils.serialize import dump_yaml, load_yaml

    temporary = Path(f"{path}.{os.getpid()}.tmp")
    try:
        data = load_yaml(path) if Path(path).exists() else {}
        yield data
        dump_yaml(str(temporary), data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _written_nowhere(path: str, fs: object = None) -> Iterator[dict]:
    """DVC's `modify_yaml`, but nothing is written."""
    yield {}
