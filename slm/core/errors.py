"""How do errors reach the user?

An error that the user can repair is one line on standard error, with exit status 1 and no
traceback: what was found, what was expected, which command repairs it. Any other error is a bug
and keeps its traceback.
"""

import errno
import io
import sys
from collections.abc import Callable
from pathlib import Path

from slm.core.interrupts import CAME, end_at_once, interruptible


class UserError(ValueError):
    """An error that the user can repair: a bad argument or a refused state, in one line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))  # messages of YAML and Arrow have several lines


def check(fine: bool, otherwise: str) -> None:
    """Raises UserError with the message `otherwise` unless `fine`."""
    if not fine:
        raise UserError(otherwise)


def run_main(main: Callable[[], None]) -> None:
    """Runs a script's `main`; a UserError ends it in one line and with status 1."""
    interruptible()
    for stream in (sys.stdout, sys.stderr):  # a terminal may not have all characters
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        main()
        if CAME.is_set():  # and was dropped
            raise KeyboardInterrupt
    except BrokenPipeError:
        sys.exit(1)  # the reader of the output, such as `head`, has ended
    except (KeyboardInterrupt, Exception) as error:
        if CAME.is_set() or isinstance(error, KeyboardInterrupt):
            end_at_once()
        if isinstance(error, UserError):
            sys.exit(f"error: {error}")
        if not isinstance(error, OSError) or error.errno not in REPAIRS:
            raise
        sys.exit(f"error: {error.filename or 'writing'}: {error.strerror}; {REPAIRS[error.errno]}")


def cause_chain(error: BaseException) -> list[BaseException]:
    """Returns an exception and all its causes, also those hidden by `raise … from None`."""
    chain = [error]
    for link in chain:
        chain += [e for e in (link.__cause__, link.__context__) if e and e not in chain]
    return chain


def positive(word: str) -> int:
    """Returns a command-line argument as an integer above 0; raises ValueError (for argparse)."""
    if not (word.isascii() and word.isdecimal() and int(word) > 0):
        raise ValueError
    return int(word)


_FULL = "the disk is full: free some space and run the same command again"
_MODE = "correct its path, owner or mode"
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR)
REPAIRS = dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _FULL) | dict.fromkeys(_REFUSED, _MODE)


def differs(path: Path, listing: str) -> UserError:
    """Returns the error for a file whose hash differs from that in `listing`, beside it."""
    return UserError(f"{path} is not as {listing} says; `rm -r {path.parent}`, then `make data`")
