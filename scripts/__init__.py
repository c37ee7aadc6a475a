"""The commands. A signal ends each in one line, also while it still imports its modules."""

# isort: skip_file
import os  # Python has both already, wherever a user's own os.py lies
import sys


def _in_one_line(kind, error, trace) -> None:
    if not (issubclass(kind, KeyboardInterrupt) or _came()):
        return sys.__excepthook__(kind, error, trace)
    print("error: interrupted; run the same command again to go on", file=sys.stderr, flush=True)
    os._exit(1)  # and not by the signal, which DVC would report a second time


_came = bool  # False, until it is known below
sys.excepthook = _in_one_line

from slm.core import standard_library_first  # noqa: E402, F401
from slm.core.interrupts import CAME, interruptible  # noqa: E402
from slm.core.git import LOCAL  # noqa: E402

_came = CAME.is_set  # type: ignore[misc, assignment]
interruptible()
for name in (*LOCAL, "MPLBACKEND"):  # of a hook, whose repository DVC would use; of a notebook
    os.environ.pop(name, None)
