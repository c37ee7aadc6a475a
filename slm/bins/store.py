"""Where do bins of other revisions lie? In a store, by a name that is a hash of their content.

<store>/<name>/ is a folder of bins: brought once, held to its manifest, landed by one rename. So a
folder of the store is right and never changes; any number of them are open at once, and of several
processes that want one a single one fetches it.
"""

import fcntl
from collections.abc import Callable
from pathlib import Path

from slm.bins.opening import open_bins
from slm.bins.verifying import damage
from slm.core.errors import UserError
from slm.core.files import landing


def stored(store: Path, name: str, fill: Callable[[Path], None]) -> Path:
    """The folder of bins `name` in the store; where it is not there, `fill` fills an empty one.

    Raises UserError where what `fill` brought is damaged, and where the store cannot be written.
    """
    folder = store / name
    try:
        if not is_there(folder):  # before the lock: the store may be another's, and read-only
            _bring(folder, fill)
    except OSError as error:
        raise UserError(
            f"the store {store} cannot be written ({error.strerror or error}); free space there, "
            "correct its owner or mode, or name another: open_revision(…, store=…)"
        ) from None
    return folder


def is_there(folder: Path) -> bool:
    """Whether all files are there, with their lengths: a cleaner of old files may have passed."""
    try:
        open_bins(folder)
    except UserError:
        return False
    return True


def _bring(folder: Path, fill: Callable[[Path], None]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_there(folder):
            with landing(folder) as temporary:
                fill(temporary)
                _check(temporary)


def _check(folder: Path) -> None:
    if wrong := next(damage(folder), "").replace(f"{folder}/", ""):
        raise UserError(f"these bins were damaged when DVC stored them: {wrong}; build them again")
