"""How is a command kept from running twice at once? By a lock that ends with its process."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slm.core.errors import UserError


@contextmanager
def only_one(path: Path, command: str) -> Iterator[None]:
    """Hold the lock `path` for the block; raises UserError, which says who has it, if taken."""
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
