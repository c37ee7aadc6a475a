"""How does a mistake of the user's reach the user?

As one line on standard error, exit status 1 and no traceback: what was found, what was expected,
which command repairs it. Anything else that goes wrong is ours and keeps its traceback.
"""

import errno
import signal
import sys
from collections.abc import Callable


class UserError(ValueError):
    """What the user can repair; the message is one line and says how."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))  # YAML's, Arrow's and others' have several


def check(fine: bool, otherwise: str) -> None:
    """Raise UserError, saying `otherwise`, unless `fine`."""
    if not fine:
        raise UserError(otherwise)


def run_main(main: Callable[[], None]) -> None:
    """Run a script's `main`; turn what the user can mend into one line and exit status 1."""
    signal.signal(signal.SIGTERM, _terminated)
    for stream in (sys.stdout, sys.stderr):  # a terminal may know fewer characters than our text
        stream.reconfigure(errors="backslashreplace")
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("error: interrupted; run the same command again to go on")
    except BrokenPipeError:
        sys.exit(1)  # the reader of our output, `head` perhaps, has gone
    except OSError as error:
        if error.errno not in REPAIRS:
            raise
        sys.exit(f"error: {error.filename or 'writing'}: {error.strerror}; {REPAIRS[error.errno]}")


def cause_chain(error: BaseException) -> list[BaseException]:
    """An exception and all that led to it; `datasets` hides causes with `raise … from None`."""
    found: list[BaseException] = [error]
    for link in found:
        found += [e for e in (link.__cause__, link.__context__) if e and e not in found]
    return found


def positive(word: str) -> int:
    """The whole number above 0 that an argument of a command line must be (for argparse)."""
    if not (word.isascii() and word.isdecimal() and int(word) > 0):
        raise ValueError
    return int(word)


def _terminated(*_: object) -> None:
    raise KeyboardInterrupt  # so that what was begun is put back, as after Ctrl-C


_FULL = "the disk is full: free some space and run the same command again"
_MODE = "mend its place, owner or mode"
REPAIRS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EACCES: _MODE,
    errno.EPERM: _MODE,
    errno.EROFS: _MODE,
    errno.EISDIR: _MODE,
    errno.ENOTDIR: _MODE,
}
