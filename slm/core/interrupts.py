"""How does a signal end a command? As a KeyboardInterrupt, said in one line with exit status 1.

Ctrl-C, SIGTERM and SIGHUP end a command alike, but for one that is ignored, as nohup has it. Python
drops what is raised amid a `__del__`; an interrupt that came there is raised again.
"""

import signal
import sys
from threading import Event, Timer, main_thread
from typing import Any

LINE = "error: interrupted; run the same command again to go on"
CAME = Event()  # whether one came: what fails after it, as something cleans up, fails for it


def interruptible() -> None:
    """Lets the signals that end a command raise KeyboardInterrupt, from the main thread."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupted)


def _interrupted(*_: object) -> None:
    CAME.set()
    sys.unraisablehook = _dropped
    raise KeyboardInterrupt


def _dropped(error: Any) -> None:
    """Raises an interrupt that Python dropped once more, when the `__del__` has ended.

    What half-made objects, such as DVC's bars, complain of after an interrupt is dropped.
    """
    if issubclass(error.exc_type, KeyboardInterrupt):
        again = Timer(0.01, signal.pthread_kill, (main_thread().ident, signal.SIGINT))
        again.daemon = True  # it sends nothing once Python ends, which would kill
        again.start()
