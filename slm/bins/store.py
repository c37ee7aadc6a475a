"""Where are bins of other revisions kept? In a store, under a hash of their content.

<store>/<name>/ is a folder of bins that is filled once, verified, and renamed once. So a folder of
the store is right and never changes; any number of them are open at the same time. If several
processes want one, a single process fetches it.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from slm.bins.opening import open_bins
from slm.bins.verifying import damage
from slm.core.errors import UserError
from slm.core.files import landing


def local_store(store: str | Path | None = None) -> Path:
    """Returns the folder of the store: as named, or $SLM_STORE, or one for all clones."""
    named = store or os.environ.get("SLM_STORE") or "~/.cache/slm/bins"
    return Path(named).expanduser().absolute()  # the working folder may change


def stored(store: Path, name: str, fill: Callable[[Path], None]) -> Path:
    """Returns the folder of bins `name` of the store; if it is missing, `fill` fills an empty one.

    Raises UserError if the filled bins are corrupt, and if the store cannot be written.
    """
    folder = store / name
    if not is_there(folder):  # before the lock: the store may be read-only
        with filling(folder):
            _fill(folder, fill)
    return folder


@contextmanager
def filling(folder: Path) -> Iterator[None]:
    """Holds the lock of a folder of the store; UserError if the store cannot be written."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_name(f"{folder.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise UserError(
            f"the store {folder.parent} cannot be written ({error.strerror or error}); free space "
            "there, correct its owner or mode, or name another: SLM_STORE=folder, or store=…"
        ) from None


def is_there(folder: Path) -> bool:
    """Whether all files are there with their lengths; a program may have removed old files."""
    try:
        open_bins(folder)
    except UserError:
        return False
    return True


def _fill(folder: Path, fill: Callable[[Path], None]) -> None:
    if is_there(folder):
        return
    with landing(folder) as temporary:
        fill(temporary)
        if wrong := next(damage(temporary), "").replace(f"{temporary}/", ""):
            raise UserError(
                f"these bins were corrupt when DVC stored them: {wrong}; build them again"
            )
