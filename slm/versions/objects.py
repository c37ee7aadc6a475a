"""How do the objects of a version travel between a remote, DVC's cache and the workspace?

A version of bins is a listing, named in dvc.lock by its MD5 with `.dir` behind it, and the files
that it lists, named by theirs. What comes is hashed before it counts, whatever `verify` of the
remote says, and so is what lies in the cache: no corrupt object stays there. What goes are the
bytes of the workspace, the listing last, so that a remote that has it has all. DVC's transfer is
not used: it asks first what a remote has, and takes a dead HTTP server for an empty one.
"""

import json
import logging
from pathlib import Path

from slm.bins.verifying import damage
from slm.core.errors import UserError
from slm.core.files import landing
from slm.versions.cache import file_list, is_whole, object_path


class CorruptObjectError(Exception):
    """The object at this address is not the one that it is named by."""


class MissingObjectError(Exception):
    """A remote has no object at this address."""


class MissingFolderError(Exception):
    """A remote has nothing at all at this address."""


def remote_store(repo, remote: str | None):
    """DVC's store of objects on a remote (None: the default one); nothing is asked of it yet."""
    logging.getLogger("aiohttp_retry").setLevel(logging.ERROR)  # it tells what DVC leaves open
    store = repo.cloud.get_remote_odb(remote, "pull or push")
    set_client_defaults(store.fs)
    return store


def set_client_defaults(fs) -> None:
    """Set what DVC leaves open in the client of a remote."""
    if fs.protocol == "ssh":  # or a false server could log in elsewhere with the user's keys
        fs.config["agent_forwarding"] = False
        fs.config.setdefault("timeout", 120)  # seconds to connect; DVC's own is half an hour


def fetch(cache, store, listing: str) -> None:
    """Bring the objects of the version `listing` into DVC's cache, where they are not yet.

    Raises CorruptObjectError, MissingObjectError and MissingFolderError with the address on the
    remote, and what the remote's client raises.
    """
    _bring(cache, store, [listing])
    _bring(cache, store, sorted({*file_list(Path(cache.path), listing).values()}))


def checkout(cache, listing: str, folder: Path) -> None:
    """Copy or link a version from the cache, as `cache.type` says; `folder` is it, once whole.

    DVC's own checkout removes the old files first, and a kill leaves half of the new ones. Raises
    UserError where the version is no whole folder of bins; then `folder` is as it was.
    """
    from dvc_objects.fs.generic import transfer

    with landing(folder) as new:
        for file, name in file_list(Path(cache.path), listing).items():
            links = list(cache.cache_types)
            transfer(cache.fs, cache.oid_to_path(name), cache.fs, str(new / file), links=links)
        for line in damage(new):
            line = line.replace(new.name, folder.name)
            raise UserError(f"what dvc.lock names is no whole folder of bins: {line}")


def send(folder: Path, store, listing: str, content: bytes) -> int:
    """Send the files of `folder`, then their listing; the number of objects that were not there.

    An object of another length, as an interrupted push leaves it, is replaced; the bytes of one
    that is there are not read. Raises what the remote's client raises.
    """
    from dvc.fs import localfs

    if store.fs.protocol in ("http", "https"):
        raise UserError("HTTP remotes are read-only here; push to the same folder by another way")
    files = {file["md5"]: folder / file["relpath"] for file in json.loads(content)}
    absent = [name for name, path in files.items() if _lacks(store, name, path.stat().st_size)]
    if absent:
        paths = [str(files[name]) for name in absent]
        store.add(paths, localfs, absent, hardlink=False, check_exists=False)
    if not _lacks(store, listing, len(content)):
        return len(absent)
    store.add_bytes(listing, content)
    return len(absent) + 1


def _bring(cache, store, names: list[str]) -> None:
    absent = [name for name in names if not _has_whole(cache, name)]
    if not absent:
        return
    paths = [store.oid_to_path(name) for name in absent]
    try:
        cache.add(paths, store.fs, absent, check_exists=False)
    except FileNotFoundError:
        _say_what_is_missing(store, paths)
        raise
    finally:  # what came beside one that did not come counts as well, or goes
        bad = [
            path for path, name in zip(paths, absent, strict=True) if not _has_whole(cache, name)
        ]
    if bad:
        raise CorruptObjectError(store.fs.unstrip_protocol(bad[0]))


def _has_whole(cache, name: str) -> bool:
    """Whether the cache has an object as it is named; one that is not so is removed."""
    path = object_path(Path(cache.path), name)
    if not path.is_file():
        return False
    if is_whole(path, name):
        return True
    path.unlink()
    return False


def _say_what_is_missing(store, paths: list[str]) -> None:
    fs, base = store.fs, store.fs.parent(store.fs.parent(store.path))
    if fs.protocol not in ("http", "https") and not fs.exists(base):  # HTTP need not show folders
        raise MissingFolderError(fs.unstrip_protocol(base)) from None
    for path in paths:
        if not fs.exists(path):
            raise MissingObjectError(fs.unstrip_protocol(path)) from None


def _lacks(store, name: str, size: int) -> bool:
    """Whether a remote has no object of this name and size; one of another size is removed."""
    path = store.oid_to_path(name)
    try:
        found = store.fs.info(path)["size"]
    except FileNotFoundError:
        return True
    if found == size:
        return False
    store.fs.remove(path)
    return True
