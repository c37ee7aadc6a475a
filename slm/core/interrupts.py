"""How does a signal end a command? As a KeyboardInterrupt, said in one line with exit status 1.

Ctrl-C, SIGTERM and SIGHUP end a command alike, but for one that is ignored, as nohup has it. Python
drops what is raised amid a `__del__`; an interrupt that came there is raised again. A second one
ends the command at once.
"""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Timer, main_thread
from typing import Any, NoReturn

CAME = Event()  # whether one came: what fails after it, as something cleans up, fails for it
_DROPPED = Event()  # whether it comes again
LINE = b"error: interrupted; run the same command again to go on\n"


def interruptible() -> None:
    """Lets the signals that end a command raise KeyboardInterrupt in the main thread."""
    handle(_interrupted)


def handle(handler: Callable) -> None:
    """Gives the signals that end a command another handler."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def end_at_once(*_: object) -> NoReturn:
    """Says the line and ends the command, without what Python and libraries do at their end."""
    with suppress(OSError, RuntimeError):  # its reader is gone; or it was being written
        sys.stdout.flush()
    os.write(2, LINE)
    os._exit(1)  # and not by the signal, which DVC would report a second time


def _interrupted(*_: object) -> None:
    if CAME.is_set() and not _DROPPED.is_set():
        end_at_once()
    CAME.set()
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
