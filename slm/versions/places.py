"""Where may the objects of bins be copied from? DVC's cache of a clone, and its remotes."""

import errno
import json
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from slm.core.errors import UserError, packages_of
from slm.versions.cache import is_intact
from slm.versions.dvc_internals import FileSystem, local_files, read_config, remote_files
from slm.versions.objects import set_client_defaults
from slm.versions.remote_errors import as_user_error

FULL = {errno.ENOSPC, errno.EDQUOT}


class Place(NamedTuple):
    """Where objects may be; `get` copies one, given its hash, to a path, or raises."""

    name: str
    get: Callable[[str, Path], None]


@packages_of("data")
def fill(folder: Path, hash_: str, places: Generator[Place]) -> None:
    """Fill the empty `folder` with the bins that DVC has as <hash_>.dir.

    Each object comes from the first place that has it intact, by its MD5: DVC itself takes what a
    cache or a remote hands out. `places` is a generator that is asked no further than needed, and
    closed. Raises UserError where no place has an object intact.
    """
    listing, asked = folder / "listing", list[Place]()
    with closing(places):
        _get(f"{hash_}.dir", listing, asked, places)
        objects = json.loads(listing.read_bytes())
        listing.unlink()
        for entry in objects:
            name = entry["relpath"]
            if Path(name).name != name:  # another's repository may name what it likes
                raise UserError(f"{hash_}.dir has a file {name!r}, so it is no folder of bins")
            _get(entry["md5"], folder / name, asked, places)


def _get(object_: str, to: Path, places: list[Place], more: Iterator[Place]) -> None:
    """Copy an object from the first of `places`, then of `more`, that has it intact."""
    tried = []
    for place in _each(places, more):
        try:
            place.get(object_, to)
        except FileNotFoundError:
            tried.append(f"not in {place.name}")
        except ModuleNotFoundError:  # DVC itself; `as_user_error` has those of remotes
            raise
        except Exception as error:  # each remote's client has errors of its own
            if getattr(error, "errno", None) in FULL:  # no other place would help
                raise
            tried.append(f"{place.name}: {error or type(error).__name__}")
        else:
            if is_intact(to, object_):
                return
            tried.append(f"corrupt in {place.name}")
    raise UserError(
        f"object {object_} of these bins: {', '.join(tried)}; `make push REMOTE=name` in a clone "
        "that has them, name a remote that has them, or check that revision out and `make data`"
    )


def _each(places: list[Place], more: Iterator[Place]) -> Iterator[Place]:
    """The places asked before, then more, which join them."""
    yield from list(places)
    for place in more:
        places.append(place)
        yield place


def from_cache(root: Path, object_: str, to: Path) -> None:
    """Copy an object from DVC's cache of the clone at `root`."""
    cache = read_config(root)["cache"].get("dir") or str(root / ".dvc" / "cache")
    _copy(local_files(), cache, object_, to)


def from_remote(root: Path, remote: str | None, object_: str, to: Path) -> None:
    """Copy an object from a remote of the clone at `root`, None for its default.

    Raises FileNotFoundError where it is not there, LookupError where no remote is set, and
    UserError, which says the cure, where the remote cannot be asked.
    """
    config, missing = read_config(root), None
    if not (name := remote or config["core"].get("remote")):
        raise LookupError("none is set")
    with as_user_error(config, name):
        client, base = remote_files(config, name)
        set_client_defaults(fs := client())
        try:
            _copy(fs, base, object_, to)
        except FileNotFoundError as error:
            missing = error
    if missing:
        raise missing


def _copy(fs: FileSystem, base: str, object_: str, to: Path) -> None:
    """By DVC's layout: an object has its hash for a name, the first two letters as a folder."""
    fs.get_file(fs.join(base, "files", "md5", object_[:2], object_[2:]), str(to))
