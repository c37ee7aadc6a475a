"""Where are bins of other revisions kept? In a store, under a hash of their content.

<store>/<name>/ is a folder of bins that is filled once, verified, and renamed once. So a folder of
the store is right and never changes; any number of them are open at the same time. If several
processes want one, a single process fetches it.
"""

import fcntl
from collections.abc import Callable
from pathlib import Path

from slm.bins.opening import open_bins
from slm.bins.verifying import damage
from slm.core.errors import UserError
from slm.core.files import landing


def stored(store: Path, name: str, fill: Callable[[Path], None]) -> Path:
    """Returns the folder of bins `name` of the store; if it is missing, `fill` fills an empty one.

    Raises UserError if the filled bins are corrupt, and if the store cannot be written.
    """
    folder = store / name
    try:
        if not is_there(folder):  # before the lock: the store may be read-only
            store.mkdir(parents=True, exist_ok=True)
            with folder.with_name(f"{name}.lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                _fill(folder, fill)
    except OSError as error:
        raise UserError(
            f"the store {store} cannot be written ({error.strerror or error}); free space there, "
            "correct its owner or mode, or name another: open_revision(…, store=…)"
        ) from None
    return folder


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
