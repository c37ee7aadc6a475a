"""What do killed runs and full disks leave, and is another DVC at work in this clone?

DVC copies under names of its own, writes its list of locks in place, and removes neither after a
kill; on a full disk the copies would block every later run. What has a process id in its name is
removed once that process has ended, DVC's nameless copies while we hold DVC's own lock (those in a
cache that is outside of the clone, and may be shared, once they are a day old).
"""

import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from slm.core.errors import UserError
from slm.core.files import alive
from slm.versions.dvc_internals import Repository, lock_holders, lock_taken

# Beside what they become: folders and files of ours, by their process; DVC's copies.
OURS = ("data/*/*.tmp", "metrics/*/*.tmp", "reports/*/*/*.tmp", "*.yaml.*.tmp", "dvc.lock.*.tmp")
COPIES = ("data/*/bins/.*.tmp", "data/prebuilt/files/md5/*/.*.tmp")
DAY = 86400  # seconds


def clean_up(repo: Repository) -> None:
    """Remove what killed runs left; UserError, which names it, where another DVC is at work."""
    try:
        with repo.lock:  # waits for three seconds
            _refuse_others(Path(repo.tmp_dir, "rwlock"))
            for left in leftovers(Path(repo.root_dir), Path(repo.cache.local.path)):
                remove(left)
    except lock_taken():
        raise _busy("another DVC") from None


def leftovers(root: Path, cache: Path) -> Iterator[Path]:
    """What killed runs left, in the clone at `root` and in DVC's cache."""
    for path in (path for sign in OURS for path in root.glob(sign)):
        process = re.search(r"\.(\d+)\.(?:old\.)?tmp$", path.name)
        if process and not alive(process[1]):  # as bins.123.tmp or bins.123.old.tmp
            yield path
    yield from (path for sign in COPIES for path in root.glob(sign))
    shared = not cache.is_relative_to(root)  # by other clones, whose copies may be under way
    for path in (*cache.glob(".*.tmp"), *cache.glob("*/.*.tmp")):
        if not shared or _age(path) > DAY:
            yield path


def remove(path: Path) -> None:
    """Remove a file or a folder; where it has gone, or is not ours to remove, so be it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0


def _refuse_others(locks: Path) -> None:
    """Raise where a living process has a lock; else none has, and the list may be unreadable."""
    try:
        listed, since = json.loads(locks.read_bytes()), locks.stat().st_mtime
        holders = list(lock_holders(listed))
    except FileNotFoundError:
        return
    except (ValueError, AttributeError, KeyError, TypeError):  # half of it was written
        holders = []
    for holder in holders:
        if _since(holder["pid"], since):
            raise _busy(f"`{holder['cmd']}` (process {holder['pid']})")
    locks.unlink(missing_ok=True)


def _since(process: int, moment: float) -> bool:
    """Whether a process lives and began by then; a later one has the id of one that is dead."""
    import psutil

    return alive(str(process)) and psutil.Process(process).create_time() <= moment + 1


def _busy(who: str) -> UserError:
    return UserError(f"{who} is at work here; wait until it ends")
