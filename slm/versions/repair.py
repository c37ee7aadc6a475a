"""How are damaged bins repaired?

In: the name of a dataset. Out: data/<name>/bins with the bytes that the committed dvc.lock names,
taken from DVC's cache, else from a remote, else built again; and DVC's cache with a copy of them.
All bytes are read before they count. dvc.lock is never written. Where nothing helps, the bins are
as they were; where a repair is killed, they are absent or incomplete, and the next one goes on.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slm.bins.format import STRAYS
from slm.bins.manifest import file_names
from slm.core.errors import UserError
from slm.core.params import read_params, set_dataset
from slm.versions.cache import (
    add_copy,
    add_folder,
    all_objects,
    corrupt_objects,
    file_list,
    missing_objects,
)
from slm.versions.lock import folder_hash, folder_list
from slm.versions.objects import checkout, fetch, remote_store
from slm.versions.pipeline import FOLDERS, build, open_repo
from slm.versions.remote_errors import as_user_error
from slm.versions.verify import Versions, damaged, drop, local_cache, versions

PARAMS = Path("params.yaml")


def repair(name: str, remote: str | None, known: Versions, wrong: bool) -> Iterator[str]:
    """Repair data/<name>/bins and its copy in DVC's cache; yields a line for each step.

    `wrong` says that they are `damaged`, as the caller has seen by reading every byte.

    Raises UserError, or exits as a stage does that fails, where nothing repairs them.
    """
    folder, committed = Path("data", name, "bins"), known.committed
    if wrong:
        if committed is None:
            cure = "commit the one here" if known.here else f"`make data DATASET={name}`"
            raise UserError(f"the committed dvc.lock names no bins of {name} to repair to; {cure}")
        with _set_aside(folder) as before:
            yield from _replaced(name, remote, committed, before)
    _done_with(aside(folder), folder)
    cache = local_cache()
    add_folder(cache, folder, folder_list(folder, file_names(folder)))


def _replaced(name: str, remote: str | None, committed: str, before: Path) -> Iterator[str]:
    folder = Path("data", name, "bins")
    _from_cache(folder, committed, before)
    if not damaged(folder, [committed]):
        yield f"{folder} is repaired from DVC's cache"
        return
    yield from _fetch(remote, committed)
    _from_cache(folder, committed, before)
    if not damaged(folder, [committed]):
        yield f"{folder} is repaired from the remote"
        return
    yield "neither DVC's cache nor a remote has these bins intact: building them again"
    yield from _build(name)
    if damaged(folder, [committed]):
        raise UserError(
            f"{folder} comes out as another version than the committed dvc.lock names; put code, "
            f"params.yaml and data/{name}/source back as they were committed, or commit dvc.lock "
            f"to repair to what it names here; it and {folder} are as they were"
        )
    yield f"{folder} is repaired: built again"


@contextmanager
def _set_aside(folder: Path) -> Iterator[Path]:
    """Give the folder another name for the block, and its own again where the block fails."""
    before = aside(folder)
    if before.exists() and not folder.exists():  # a repair was killed
        before.rename(folder)
    shutil.rmtree(before, ignore_errors=True)
    if folder.exists():
        folder.rename(before)
    try:
        yield before
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if before.exists():
            before.rename(folder)
        raise


def aside(folder: Path) -> Path:
    """Where the bins of `folder` are while they are repaired."""
    return folder.with_name("damaged.tmp")


def _done_with(before: Path, folder: Path) -> None:
    """Remove the old bins; what somebody else put among them is kept: it may be all there is."""
    names = {*file_names(folder), *STRAYS}
    strays = [path for path in before.glob("*") if path.name not in names]
    if strays:
        kept = Path(tempfile.mkdtemp(prefix="strays.", dir=folder.parent))
        for path in strays:
            path.rename(kept / path.name)
    shutil.rmtree(before, ignore_errors=True)


def _from_cache(folder: Path, committed: str, before: Path) -> None:
    """Check the committed bins out where the cache, or `before`, has all of them intact."""
    with open_repo() as repo:
        cache = Path(repo.cache.local.path)
        for name, md5 in (file_list(cache, committed) or {}).items():
            add_copy(cache, before / name, md5)
        if not missing_objects(cache, committed):
            checkout(repo.cache.local, committed, folder)


def _fetch(remote: str | None, committed: str) -> Iterator[str]:
    """Fetch what is missing of the committed bins from a remote; a line where that fails."""
    with open_repo() as repo:
        if remote is None and repo.config["core"].get("remote") is None:
            return
        try:
            with as_user_error(repo.config, remote):
                fetch(repo.cache.local, remote_store(repo, remote), committed)
        except UserError as error:  # what cannot be fetched may be built
            yield str(error)


def _build(name: str) -> Iterator[str]:
    """Run the stages up to bins, from nothing corrupt, and write nothing into dvc.lock."""
    cache = local_cache()
    yield from drop(corrupt_objects(cache, all_objects(cache)))  # DVC would hand them out
    for stage, out in FOLDERS.items():
        folder = Path("data", name, out)
        names = [path.name for path in folder.glob("*") if path.name not in STRAYS]
        if names and folder_hash(folder, names) not in versions(name, stage, out):
            shutil.rmtree(folder)
            yield f"{folder} is not what dvc.lock names; it is removed and made again"
    chosen = read_params(PARAMS)["dataset"]
    try:
        set_dataset(PARAMS, name)
        build(f"bins@{name}", record=False)
    finally:
        set_dataset(PARAMS, chosen)
