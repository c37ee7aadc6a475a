"""How do errors reach the user?

An error that the user can repair is one line on standard error, with exit status 1 and no
traceback: what was found, what was expected, which command repairs it. Any other error is a bug
and keeps its traceback.

Ctrl-C, SIGTERM and SIGHUP end a command in one line too, but for one that is ignored, as nohup has
it. Each raises KeyboardInterrupt, again where it came amid a `__del__`, from which Python drops
what is raised; a second one ends the command at once. A stage that a command runs leaves the line
to it, since Ctrl-C reaches both.
"""

import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Timer, main_thread
from typing import Any, NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
WANTED = {"dvc": '"dvc>=3.60,<3.68"', "yaml": "pyyaml"}  # for pip, as pyproject.toml has them
_CAME = Event()  # whether one came: what fails after it, as something cleans up, fails for it
_DROPPED = Event()  # whether it comes again
_LINE = b"error: interrupted; run the same command again to go on\n"
_SAID_ABOVE = "SLM_INTERRUPT_IS_SAID_ABOVE"  # for what a command runs; scripts/__init__ has it too
INTERRUPTED = 130  # the exit status that leaves the line to the command above, as shells have it


class UserError(ValueError):
    """An error that the user can repair: a bad argument or a refused state, in one line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))  # messages of YAML and Arrow have several lines


def check(fine: bool, otherwise: str) -> None:
    """Raises UserError with the message `otherwise` unless `fine`."""
    if not fine:
        raise UserError(otherwise)


@contextmanager
def packages_of(extra: str) -> Iterator[None]:
    """For a block that imports packages of an extra (pyproject.toml): a missing one names it."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "slm":
            raise
        cure = f"`pip install {WANTED.get(package, package)}`"
        raise UserError(
            f"the package {package} is not installed; {cure}, or install slm with its extra "
            f"`{extra}`, as README says"
        ) from None


def run_main(main: Callable[[], None]) -> None:
    """Runs a script's `main`; a UserError ends it in one line and with status 1."""
    handle(_interrupted)
    for stream in (sys.stdout, sys.stderr):  # a terminal may not have all characters
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        main()
        raise_dropped()
    except BrokenPipeError:
        sys.exit(1)  # the reader of the output, such as `head`, has ended
    except (KeyboardInterrupt, Exception) as error:
        if _CAME.is_set() or isinstance(error, KeyboardInterrupt):
            end_at_once()
        if isinstance(error, UserError):
            sys.exit(f"error: {error}")
        if not isinstance(error, OSError) or error.errno not in REPAIRS:
            raise
        sys.exit(f"error: {error.filename or 'writing'}: {error.strerror}; {REPAIRS[error.errno]}")


def handle(handler: Callable) -> None:
    """Gives the signals that end a command another handler."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def end_at_once(*_: object) -> NoReturn:
    """Says the line and ends the command, without what Python and libraries do at their end."""
    with suppress(OSError, RuntimeError):  # its reader is gone; or it was being written
        sys.stdout.flush()
    if _SAID_ABOVE in os.environ:
        os._exit(INTERRUPTED)
    os.write(2, _LINE)
    os._exit(1)  # and not by the signal, which DVC would report a second time


@contextmanager
def saying_interrupts() -> Iterator[None]:
    """For a block that runs other commands: they leave the line to this one."""
    os.environ[_SAID_ABOVE] = "1"
    try:
        yield
    finally:
        del os.environ[_SAID_ABOVE]


@contextmanager
def delaying_interrupts() -> Iterator[None]:
    """For a short block that an interrupt would break: one that comes amid it comes after it."""
    before = {number: signal.getsignal(number) for number in ENDING}
    came: list[int] = []
    try:
        handle(lambda number, _: came.append(number))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def raise_dropped() -> None:
    """Raises the interrupt that came and was dropped, as by a library's `except:`."""
    if _CAME.is_set():
        raise KeyboardInterrupt


def _interrupted(*_: object) -> None:
    if _CAME.is_set() and not _DROPPED.is_set():
        end_at_once()
    _CAME.set()
    _DROPPED.clear()
    sys.unraisablehook = _dropped
    raise KeyboardInterrupt


def _dropped(error: Any) -> None:
    """Raises an interrupt that Python dropped once more, when the `__del__` has ended.

    What half-made objects, such as DVC's bars, complain of after an interrupt is dropped.
    """
    if issubclass(error.exc_type, KeyboardInterrupt):
        _DROPPED.set()
        again = Timer(0.01, signal.pthread_kill, (main_thread().ident, signal.SIGINT))
        again.daemon = True  # it sends nothing once Python ends, which would kill
        again.start()


def cause_chain(error: BaseException) -> list[BaseException]:
    """Returns an exception and all its causes, also those hidden by `raise … from None`."""
    chain = [error]
    for link in chain:
        chain += [e for e in (link.__cause__, link.__context__) if e and e not in chain]
    return chain


def brief(error: BaseException) -> str:
    """Returns an error's kind and the first line of what it says."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]


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
