"""How do the objects of a version travel between a remote, DVC's cache and the workspace?

A version of bins is a listing, named in dvc.lock by its MD5 with `.dir` behind it, and the files
that it lists, named by theirs. What arrives is hashed before it counts, whatever `verify` of the
remote says, and so is what is in the cache: no corrupt object stays there. A push sends the
bytes of the workspace, the listing last, so that a remote that has the listing has all. DVC's own
transfer is not used: it first asks what a remote has, and takes a dead HTTP server for an empty
one.
"""

import json
import logging
from pathlib import Path

from slm.bins.verifying import damage
from slm.core.errors import UserError
from slm.core.files import landing
from slm.versions.cache import file_list, is_intact, object_path
from slm.versions.dvc_internals import (
    FileSystem,
    Repository,
    Store,
    link_or_copy_object,
    local_files,
)
from slm.versions.remote_errors import writing


class CorruptObjectError(Exception):
    """The object at this address is not the one that it is named by."""


class MissingObjectError(Exception):
    """A remote has no object at this address."""


class MissingFolderError(Exception):
    """A remote has nothing at all at this address."""


def remote_store(repo: Repository, remote: str | None) -> Store:
    """DVC's store of objects on a remote (None: the default one); nothing is asked of it yet."""
    logging.getLogger("aiohttp_retry").setLevel(logging.ERROR)  # it logs what DVC leaves open
    store = repo.cloud.get_remote_odb(remote, "pull or push")
    set_client_defaults(store.fs)
    return store


def set_client_defaults(fs: FileSystem) -> None:
    """Set what DVC leaves open in the client of a remote."""
    if fs.protocol == "ssh":  # or a false server could log in elsewhere with the user's keys
        from asyncssh import SSHClient

        fs.config["agent_forwarding"] = False
        fs.config.setdefault("timeout", 120)  # seconds to connect; DVC's own is half an hour
        fs.config["client_factory"] = SSHClient  # DVC's own asks for a password on the terminal


def fetch(cache: Store, store: Store, listing: str) -> None:
    """Bring the objects of the version `listing` into DVC's cache, where they are not yet.

    Raises CorruptObjectError, MissingObjectError and MissingFolderError with the address on the
    remote, and what the remote's client raises.
    """
    _bring(cache, store, [listing])
    _bring(cache, store, sorted({*listed_files(cache, listing).values()}))


def checkout(cache: Store, listing: str, folder: Path) -> None:
    """Copy or link a version from the cache, as `cache.type` says, and make it `folder` at once.

    DVC's own checkout removes the old files first, and a kill leaves half of the new ones. Raises
    UserError where the version is no complete folder of bins; then `folder` is as it was.
    """
    with landing(folder) as new:
        for file, name in listed_files(cache, listing).items():
            link_or_copy_object(cache, name, new / file)
        for line in damage(new):
            line = line.replace(new.name, folder.name)
            raise UserError(f"what dvc.lock names is no complete folder of bins: {line}")


def send(folder: Path, store: Store, listing: str, content: bytes) -> int:
    """Send the files of `folder`, then their listing; the number of objects that were not there.

    An object of another length, as an interrupted push leaves it, is replaced; the bytes of one
    that is there are not read. Raises what the remote's client raises.
    """
    if store.fs.protocol in ("http", "https"):
        raise UserError("HTTP remotes are read-only here; push to the same folder by another way")
    files = {file["md5"]: folder / file["relpath"] for file in json.loads(content)}
    absent = [name for name, path in files.items() if _is_absent(store, name, path.stat().st_size)]
    if absent:
        paths = [str(files[name]) for name in absent]
        with writing():
            store.add(paths, local_files(), absent, hardlink=False, check_exists=False)
    if not _is_absent(store, listing, len(content)):
        return len(absent)
    with writing():
        store.add_bytes(listing, content)
    return len(absent) + 1


def listed_files(cache: Store, listing: str) -> dict[str, str]:
    """The objects of a version by the names of its files; its listing must be in the cache."""
    files = file_list(Path(cache.path), listing)
    assert files is not None, f"{listing} was brought, or seen, before"
    return files


def _bring(cache: Store, store: Store, names: list[str]) -> None:
    absent = [name for name in names if not _has_intact(cache, name)]
    if not absent:
        return
    paths = [store.oid_to_path(name) for name in absent]
    try:
        cache.add(paths, store.fs, absent, check_exists=False)
    except FileNotFoundError:
        _raise_what_is_missing(store, paths)
        raise
    finally:  # what came beside one that did not come counts as well, or goes
        pairs = zip(paths, absent, strict=True)
        bad = [path for path, name in pairs if not _has_intact(cache, name)]
    if bad:
        raise CorruptObjectError(store.fs.unstrip_protocol(bad[0]))


def _has_intact(cache: Store, name: str) -> bool:
    """Whether the cache has an object with the bytes that it is named by; others are removed."""
    path = object_path(Path(cache.path), name)
    if not path.is_file():
        return False
    if is_intact(path, name):
        return True
    path.unlink()
    return False


def _raise_what_is_missing(store: Store, paths: list[str]) -> None:
    fs, base = store.fs, store.fs.parent(store.fs.parent(store.path))
    if fs.protocol not in ("http", "https") and not fs.exists(base):  # HTTP need not show folders
        raise MissingFolderError(fs.unstrip_protocol(base)) from None
    for path in paths:
        if not fs.exists(path):
            raise MissingObjectError(fs.unstrip_protocol(path)) from None


def _is_absent(store: Store, name: str, size: int) -> bool:
    """Whether a remote has no object of this name and size; one of another size is removed."""
    path = store.oid_to_path(name)
    try:
        there = store.fs.info(path)["size"]
    except FileNotFoundError:
        return True
    if there == size:
        return False
    store.fs.remove(path)
    return True
