"""How is a command kept from running twice at the same time? By a lock of its process."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slm.core.errors import UserError


@contextmanager
def only_one(path: Path, command: str) -> Iterator[None]:
    """Holds the lock `path` in the block; raises UserError, which names the holder, if taken."""
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another command"  # it is about to write its name
            raise UserError(f"{holder} is at work here; wait until it ends") from None
        file.truncate(0)
        file.write(f"`{command}` (process {os.getpid()})")
        file.flush()
        yield
