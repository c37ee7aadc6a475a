"""The commands. Ctrl-C ends each in one line, also while it still imports its modules."""

# isort: skip_file
import os  # Python has both already, wherever a user's own os.py lies
import sys


def _in_one_line(kind, error, trace) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        return sys.__excepthook__(kind, error, trace)
    print("error: interrupted; run the same command again to go on", file=sys.stderr, flush=True)
    os._exit(1)  # and not by the signal, which DVC would report a second time


sys.excepthook = _in_one_line

from slm.core import standard_library_first  # noqa: E402, F401
import signal  # noqa: E402
from slm.core.errors import interrupted  # noqa: E402
from slm.core.git import LOCAL  # noqa: E402

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # and not ignored, as by nohup
    signal.signal(signal.SIGINT, interrupted)
for name in (*LOCAL, "MPLBACKEND"):  # of a hook, whose repository DVC would use; of a notebook
    os.environ.pop(name, None)
